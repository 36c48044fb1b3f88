import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmgraph.functional import agreement, closeness, distance, nearest, rbf, similarity
from mmgraph.functional.similarity import directions, pair_distance

METRICS = ("euclidean", "cosine", "correlation")


def matrix(rows, channels, seed, dtype=torch.float64):
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("rows", "others", "channels"), [(7, 5, 4), (1, 9, 2), (0, 3, 2), (3, 0, 2), (40, 40, 30)])
def test_distance_equals_scipy(metric, rows, others, channels):
    x, y = matrix(rows, channels, 0) + 0.5, matrix(others, channels, 1)
    expected = cdist(x, y, metric) if rows and others else np.empty((rows, others))
    np.testing.assert_allclose(distance(x, y, metric=metric), expected, atol=1e-7)
    np.testing.assert_allclose(distance(x.float(), y.float(), metric=metric), expected, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_pair_distance_is_the_diagonal_of_distance(metric):
    x, y = matrix(9, 4, 0), matrix(9, 4, 1)
    np.testing.assert_allclose(pair_distance(x, y, metric=metric), cdist(x, y, metric).diagonal(), rtol=1e-12)
    assert torch.equal(pair_distance(x, y, metric=metric), pair_distance(y, x, metric=metric))


def test_pair_distance_does_not_cancel():
    x = torch.full((1, 3), 1e4)
    y = x + torch.tensor([[0.0, 0.0, 0.25]])
    assert pair_distance(x, y, metric="euclidean").item() == 0.25


def test_the_default_is_euclidean():
    assert distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).item() == 5


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("channels", [1, 3, 7, 50])
def test_rows_without_a_direction_are_at_distance_1_from_all(metric, channels):
    constants = [0.0, 0.0] if metric == "cosine" else [0.1, 0.3, 1 / 3, 1e4 / 3, -7.7, 0.0, 1e-20]
    still = torch.tensor(constants)[:, None].expand(-1, channels).contiguous()
    moving = matrix(5, max(channels, 2), 0, torch.float32)[:, :channels]
    for one, other in ((still, still), (still, moving), (moving, still)):
        apart = distance(one, other, metric=metric)
        torch.testing.assert_close(apart, torch.ones_like(apart))
    torch.testing.assert_close(pair_distance(still, still, metric=metric), torch.ones(len(still)))


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_angular_distances_stay_between_0_and_2(metric):
    x = matrix(50, 3, 0, torch.float32)
    apart = distance(torch.cat([x, -x]), torch.cat([x, 3 * x]), metric=metric)
    assert apart.min() >= 0
    assert apart.max() <= 2
    pairs = pair_distance(torch.cat([x, -x]), torch.cat([x, x]), metric=metric)
    assert pairs.min() >= 0
    assert pairs.max() <= 2


def test_directions_have_unit_length():
    x = (matrix(6, 4, 0) + 3).numpy()
    units = directions(torch.from_numpy(x), metric="cosine")
    np.testing.assert_allclose(units, x / np.linalg.norm(x, axis=1, keepdims=True))
    centred = directions(torch.from_numpy(x), metric="correlation")
    np.testing.assert_allclose(centred.mean(1), 0, atol=1e-15)
    np.testing.assert_allclose(centred.norm(dim=1), 1)


@pytest.mark.parametrize("metric", METRICS)
def test_closeness_orders_as_distance_does(metric):
    x, y = matrix(7, 4, 0) + 0.5, matrix(9, 4, 1)
    apart, close = torch.from_numpy(cdist(x, y, metric)), closeness(y, metric=metric)(x)
    expected = (x.square().sum(1, keepdim=True) - apart**2) / 2 if metric == "euclidean" else 1 - apart
    np.testing.assert_allclose(close, expected, atol=1e-12)
    assert close.argsort(dim=1, descending=True).tolist() == apart.argsort(dim=1).tolist()


def test_rbf_equals_its_formula():
    distances = [0.0, 0.5, 2.0, 100.0]
    expected = [math.exp(-(d**2) / (2 * 1.5**2)) for d in distances]
    np.testing.assert_allclose(rbf(torch.tensor(distances, dtype=torch.float64), 1.5), expected, rtol=1e-14)


numbers = st.sampled_from([0.0, 1.0, 1.5, 2.0, 60.0, math.nan])
phenotypes = st.integers(1, 3).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=4) for _ in range(2)],
        st.lists(st.none() | st.sampled_from([0.5, 1.0, 100.0]), min_size=n, max_size=n),
    )
)


@settings(max_examples=100)
@given(phenotypes)
def test_agreement_equals_a_slow_loop(drawn):
    x, y, thresholds = drawn

    def gamma(a, b, threshold):
        if math.isnan(a) or math.isnan(b):
            return 0
        return int(a == b) if threshold is None else int(abs(a - b) < threshold)

    expected = [[sum(map(gamma, a, b, thresholds)) for b in y] for a in x]
    columns = [[torch.tensor(values, dtype=torch.float64) for values in zip(*rows, strict=True)] for rows in (x, y)]
    assert agreement(*columns, thresholds=thresholds).tolist() == expected


def test_agreement_needs_a_threshold_for_each_phenotype():
    with pytest.raises(ValueError, match="shorter|longer"):
        agreement([torch.zeros(1)], [torch.zeros(1)], thresholds=[None, None])


def slow_nearest(scores, k, exclude):
    """Best first, equal ones by column."""
    index, best = [], []
    for row, values in enumerate(scores.tolist()):
        columns = [c for c, v in enumerate(values) if v > -math.inf and (exclude is None or c != exclude[row])]
        columns = sorted(columns, key=lambda c: (-values[c], c))[:k]
        index.append(columns + [-1] * (k - len(columns)))
        best.append([values[c] for c in columns] + [-math.inf] * (k - len(columns)))
    return index, best


@pytest.mark.parametrize("elements", [1, 40, 1 << 24])
@pytest.mark.parametrize("k", [1, 3, 12, 13, 20])
@pytest.mark.parametrize("exclude", [None, [*range(9), -1]])
def test_nearest_equals_brute_force_whatever_the_blocks(monkeypatch, elements, k, exclude):
    monkeypatch.setattr(similarity, "BLOCK_ELEMENTS", elements)
    scores = matrix(10, 13, 0, torch.float32)
    scores[2, 4:] = -torch.inf
    blocks = []

    def score(rows):
        blocks.append(rows)
        return scores[rows]

    given = scores.clone()
    own = None if exclude is None else torch.tensor(exclude)
    found = nearest(10, 13, score, k=k, exclude=own)
    index, best = slow_nearest(given, k, exclude)
    assert found.index.tolist() == index
    assert found.score.tolist() == best
    assert torch.equal(scores, given)  # the caller's scores are the caller's
    assert all((rows.stop - rows.start) * 13 <= max(elements, 13) for rows in blocks)
    assert [row for rows in blocks for row in range(rows.start, rows.stop)] == list(range(10))


@settings(max_examples=100)
@given(data=st.data(), queries=st.integers(0, 5), sources=st.integers(0, 6), k=st.integers(1, 8))
def test_equal_scores_come_by_column(data, queries, sources, k):
    values = st.lists(st.sampled_from([0.0, 1.0, -math.inf]), min_size=sources, max_size=sources)
    scores = torch.tensor(data.draw(st.lists(values, min_size=queries, max_size=queries))).reshape(queries, sources)
    found = nearest(queries, sources, lambda rows: scores[rows], k=k)
    assert found.index.shape == found.score.shape == (queries, k)
    for row in range(queries):
        assert found.score[row].tolist() == slow_nearest(scores, k, None)[1][row]
        chosen = [c for c in found.index[row].tolist() if c >= 0]
        assert chosen == sorted(set(chosen), key=lambda c: (-scores[row, c].item(), c))
        assert [scores[row, c].item() for c in chosen] == found.score[row, : len(chosen)].tolist()
        if k >= sources:
            assert found.index[row].tolist() == slow_nearest(scores, k, None)[0][row]


@pytest.mark.parametrize("metric", METRICS)
def test_nearest_by_distance_equals_argsort(metric):
    x = matrix(30, 5, 3)
    found = nearest(30, 30, lambda rows: -distance(x[rows], x, metric=metric), k=4, exclude=torch.arange(30))
    apart = cdist(x, x, metric)
    np.fill_diagonal(apart, np.inf)
    assert found.index.tolist() == apart.argsort(axis=1)[:, :4].tolist()
