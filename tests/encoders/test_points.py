import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import skew
from torch_geometric.data import HeteroData

from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.points import BINS, Cloud, CloudSummary, PointNet, _histogram, cloud_bytes, read_points
from mmgraph.errors import ConfigError, DataError

NAN = float("nan")
RNG = np.random.default_rng(0)
clouds = st.lists(st.tuples(*[st.integers(-50, 50)] * 3), min_size=1, max_size=20)


@given(clouds, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points, random):
    other = list(points)
    random.shuffle(other)
    assert cloud_bytes(points) == cloud_bytes(other)
    for encoder in (Cloud(num_points=5), Cloud(num_points=30, unit_sphere=False), CloudSummary()):
        one, two = encoder([points]), encoder([other])
        assert torch.equal(one.nan_to_num(77), two.nan_to_num(77))


def test_points_come_back_with_nan_after_them():
    encoder = Cloud(num_points=6, columns=4, unit_sphere=False)
    points = RNG.normal(size=(4, 4))
    found = encoder([points, points[:1]])
    assert (found.shape, encoder.shape, found.dtype) == ((2, 6, 4), (6, 4), torch.float32)
    np.testing.assert_allclose(found[0, :4], points[points[:, 0].argsort()], atol=1e-6)
    assert found[0, 4:].isnan().all()
    assert found[1, 1:].isnan().all()


def test_of_many_points_the_same_ones_are_drawn_from_everywhere():
    points = RNG.normal(size=(5000, 3))
    found = Cloud(num_points=800, unit_sphere=False)([points])[0].double().numpy()
    assert set(map(tuple, found.round(4))) <= set(map(tuple, points.astype(np.float32).astype(float).round(4)))
    assert len({tuple(row) for row in found}) == 800
    np.testing.assert_allclose(found.mean(axis=0), points.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(found.std(axis=0), points.std(axis=0), atol=0.1)


def test_a_unit_sphere_is_filled_and_the_further_columns_stay():
    points = RNG.normal(size=(50, 5)) * 9 + 100
    found = Cloud(num_points=50, columns=5)([points])[0]
    torch.testing.assert_close(found[:, :3].mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, :3].norm(dim=1).max(), torch.tensor(1.0))
    np.testing.assert_allclose(np.sort(found[:, 3]), np.sort(points[:, 3]), rtol=1e-6)
    assert (Cloud(num_points=1)([[[3, 4, 5]]]) == 0).all()


def test_the_summary_is_that_of_numpy_and_scipy():
    points = RNG.normal(size=(40, 4)) * [1, 2, 3, 1]
    found = CloudSummary(columns=4)([points])[0].double().numpy()
    place = points[:, :3] - points[:, :3].mean(axis=0)
    size = np.sqrt((place**2).sum(axis=1).mean())
    place /= size
    second = [np.cov(place.T, bias=True)[row, column] for row in range(3) for column in range(row, 3)]
    third = np.cbrt(skew(place, axis=0)) * place.std(axis=0)
    shape = np.concatenate([second, third, place.max(axis=0) - place.min(axis=0)])
    np.testing.assert_allclose(found[:12], shape / np.linalg.norm(shape) / np.sqrt(3), atol=1e-6)
    for block, distance, farthest in (
        (found[12 : 12 + BINS], np.linalg.norm(place, axis=1), 3.0),
        (found[12 + BINS : 12 + 2 * BINS], pdist(place), 4.0),
    ):
        expected = np.zeros(BINS)
        for one in distance:
            spot = min(one / farthest * (BINS - 1), BINS - 1)
            for bin_ in range(BINS):
                expected[bin_] += max(0.0, 1 - abs(spot - bin_))
        np.testing.assert_allclose(block, expected / np.linalg.norm(expected) / np.sqrt(3), atol=1e-6)
    rest = [0.1 * np.log(size), points[:, 3].mean(), points[:, 3].std()]
    np.testing.assert_allclose(found[12 + 2 * BINS :], rest, atol=1e-6)


def test_where_a_cloud_lies_and_how_large_it_is_does_not_matter_to_its_shape():
    points, encoder = RNG.normal(size=(700, 3)) * [1, 2, 3], CloudSummary()
    one, moved, larger = encoder([points, points + np.array([5, -7, 11]), points * 40])
    torch.testing.assert_close(moved, one, atol=1e-5, rtol=0)
    torch.testing.assert_close(larger[:-1], one[:-1], atol=1e-5, rtol=0)
    assert larger[-1] - one[-1] == pytest.approx(0.1 * np.log(40), abs=1e-5)
    few = points[:300]  # all pairs are taken
    turned = few @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    one, other = encoder([few, turned])
    torch.testing.assert_close(one[12:], other[12:], atol=1e-5, rtol=0)
    assert (one[:12] - other[:12]).abs().max() > 0.05


def test_shapes_are_told_apart():
    def ball():
        points = RNG.normal(size=(200, 3))
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    def stick():
        return RNG.uniform(-1, 1, size=(200, 1)) * [1, 1, 1] + RNG.normal(size=(200, 3)) / 50

    found = CloudSummary()([ball() * 3 + 9, ball(), stick(), stick() * 8])
    alike = found @ found.T
    assert min(alike[0, 1], alike[2, 3]) > 0.9
    assert alike[:2, 2:].max() < 0.8


def test_one_point_is_a_cloud():
    found = CloudSummary()([[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]])
    assert found.isfinite().all()


def test_features_come_out_of_the_cache(tmp_path):
    cache, encoder = FeatureCache(tmp_path), Cloud(num_points=3)
    first = encoder([[[0, 0, 0], [1, 2, 3]]], cache=cache)
    done = encoder.attempt([[[1, 2, 3], [0, 0, 0]]], cache=cache)  # the same cloud
    assert (done.cached, done.made) == (1, 0)
    assert torch.equal(done.features.nan_to_num(7), first.nan_to_num(7))


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("cloud", r"a list of points \[x, y, z\], got str"),
        ([], r"at least 1 point of at least 3 numbers, got \[0\]"),
        ([1, 2, 3], r"got \[3\]"),
        ([[1, 2]], r"got \[1, 2\]"),
        ([[1, 2, 3], [1, 2]], "equally many numbers in each point"),
        ([["1", "2", "3"]], "got 1 of <U1"),
        ([[1, 2, None]], "got 1 of object"),
        ([[0, 0, 0], [1, NAN, 2]], r"got \[1.0, nan, 2.0\] at point 1"),
        ([[1e30, 0, 0]], "at point 0"),
    ],
)
def test_what_is_no_cloud_is_refused_by_value(payload, value):
    with pytest.raises(DataError, match=value):
        read_points(payload)
    for encoder in (Cloud(), CloudSummary()):
        with pytest.raises(DataError, match=f"Payload 0 .*{value}"):
            encoder([payload])


def test_columns_and_options_are_checked(monkeypatch):
    for encoder in (Cloud(), CloudSummary()):
        with pytest.raises(DataError, match=r"at least 1 point of 3 numbers, got \[1, 4\]"):
            encoder([[[1, 2, 3, 4]]])
    monkeypatch.setattr("mmgraph.encoders.points.MAX_POINTS", 1)
    with pytest.raises(DataError, match="at most 1 points of numbers, got 2"):
        read_points([[1, 2, 3], [1, 2, 3]])
    with pytest.raises(ConfigError, match="got 0 of 3"):
        Cloud(num_points=0)
    with pytest.raises(ConfigError, match="got 1 of 2"):
        Cloud(num_points=1, columns=2)
    with pytest.raises(ConfigError, match="at least 3 columns, got 2"):
        CloudSummary(columns=2)


def test_options_are_in_the_identity():
    made = [Cloud(), Cloud(num_points=9), Cloud(columns=4), Cloud(unit_sphere=False)]
    made += [CloudSummary(), CloudSummary(columns=4)]
    assert len({one.identity.digest for one in made}) == 6


def test_a_histogram_holds_all_distances():
    found = _histogram(np.array([0.0, 3.0, 99.0, 0.1]), 3.0)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[[0, 1, -1]], [0.25 + 0.25 * 0.5, 0.125, 0.5])


def graph():
    made = HeteroData()
    made["shape"].points = torch.randn(4, 9, 3, generator=torch.Generator().manual_seed(0))
    made["shape"].points[1, 5:] = NAN
    made["shape"].points[2, 1:] = NAN
    made["shape"].points[3] = NAN
    return made


def net(**options):
    torch.manual_seed(0)
    return PointNet({"shape": 3}, 6, **{"hidden": (8, 16), **options}).eval()


def test_the_network_is_the_maximum_over_the_points():
    encoder, one = net(), graph()
    found = encoder(one)["shape"]
    inner, outer = encoder.inner["[shape]"], encoder.outer["[shape]"]
    for row, count in ((0, 9), (1, 5), (2, 1)):
        each = torch.stack([inner(one["shape"].points[row, point]) for point in range(count)])
        torch.testing.assert_close(found[row], outer(each.max(dim=0).values))
    torch.testing.assert_close(found[3], outer(torch.zeros(16)))


def test_order_and_padding_have_no_influence_and_all_parameters_learn():
    encoder, changed = net(), graph()
    before = encoder(graph())["shape"]
    points = torch.cat([changed["shape"].points, torch.full((4, 5, 3), NAN)], dim=1)
    changed["shape"].points = points[:, torch.randperm(14, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(encoder(changed)["shape"], before, atol=1e-6, rtol=0)
    before.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


@pytest.mark.parametrize(("rows", "points"), [(0, 9), (0, 0), (2, 0)])
def test_no_rows_and_no_points(rows, points):
    empty = graph()
    empty["shape"].points = torch.empty(rows, points, 3)
    found = net()(empty)["shape"]
    assert found.shape == (rows, 6)
    assert found.isfinite().all()


def test_bad_widths_are_refused():
    for widths, channels, hidden in [
        ({}, 6, (8,)),
        ({"shape": 0}, 6, (8,)),
        ({"shape": 3}, 0, (8,)),
        ({"shape": 3}, 6, ()),
    ]:
        with pytest.raises(ConfigError, match=f"to {channels} by"):
            PointNet(widths, channels, hidden=hidden)
