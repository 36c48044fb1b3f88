"""Against exact distances in float64, by scipy; recall against queries that the search itself did not sample."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmgraph.functional import cells, closeness, kmeans, nearest_rows
from mmgraph.functional.kmeans import _split_the_largest, nearest_centres

METRICS = ("euclidean", "cosine", "correlation")


def noise(rows, channels, seed=0):
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed))


def clustered(rows, channels=16, topics=60, seed=0):
    """Overlapping clusters of unequal size."""
    chance = torch.Generator().manual_seed(seed)
    centres = torch.randn(topics, channels, generator=chance)
    topic = torch.multinomial(torch.arange(1.0, topics + 1), rows, replacement=True, generator=chance)
    return centres[topic] + 0.4 * torch.randn(rows, channels, generator=chance)


def apart(x, y, metric, exclude=None):
    """Distances in float64, ``[queries, sources]``; infinite to the excluded."""
    found = cdist(x.double().numpy(), y.double().numpy(), metric)
    if exclude is not None:
        rows = np.flatnonzero(exclude.numpy() >= 0)
        found[rows, exclude.numpy()[rows]] = np.inf
    return found


def check_exact(found, distances, k):
    """The k nearest, but for ties within the rounding of float32."""
    index = found.neighbours.index.numpy()
    kept = min(k, distances.shape[1])
    reached = np.where(index[:, :kept] >= 0, np.take_along_axis(distances, index[:, :kept].clip(0), axis=1), np.inf)
    np.testing.assert_allclose(reached, np.sort(distances, axis=1)[:, :kept], atol=2e-5)
    assert (index[:, kept:] == -1).all()
    assert ((index == -1) == (found.neighbours.score.numpy() == -np.inf)).all()
    for row in index:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


def true_share(found, x, y, k, metric, exclude=None, sample=slice(None)):
    true = np.argsort(apart(x[sample], y, metric, None if exclude is None else exclude[sample]), axis=1)[:, :k]
    index = found.neighbours.index[sample].numpy()
    return (index[:, :, None] == true[:, None, :]).any(2).mean()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("tile", [1, 7, 512])
@pytest.mark.parametrize("elements", [1, 100, 1 << 18])
@pytest.mark.parametrize("k", [1, 5, 40, 60])
def test_without_recall_all_are_found_whatever_the_blocks(monkeypatch, metric, tile, elements, k):
    monkeypatch.setattr(cells, "TILE", tile)
    monkeypatch.setattr(cells, "BLOCK_ELEMENTS", elements)
    monkeypatch.setattr(cells, "BLOCK_PROBES", elements)
    x, y = noise(23, 4) + 0.5, noise(50, 4, seed=1)
    found = nearest_rows(x, y, k=k, metric=metric)
    check_exact(found, apart(x, y, metric), k)
    assert (found.recall, found.share) == (1.0, 1.0)


@settings(max_examples=60)
@given(
    queries=st.integers(0, 8),
    sources=st.integers(0, 9),
    k=st.integers(1, 12),
    channels=st.integers(1, 3),
    seed=st.integers(0, 99),
    metric=st.sampled_from(METRICS),
    data=st.data(),
)
def test_ragged_sizes_gaps_and_ties(queries, sources, k, channels, seed, metric, data):
    values = st.sampled_from([-1.0, 0.0, 1.0, 2.0])  # many equal rows and distances
    matrix = st.lists(values, min_size=(queries + sources) * channels, max_size=(queries + sources) * channels)
    rows = torch.tensor(data.draw(matrix)).reshape(-1, channels)
    x, y = rows[:queries], rows[queries:]
    own = st.lists(st.integers(-1, sources - 1), min_size=queries, max_size=queries)
    exclude = data.draw(st.none() | own.map(lambda v: torch.tensor(v, dtype=torch.long)))
    found = nearest_rows(x, y, k=k, metric=metric, exclude=exclude, seed=seed)
    assert found.neighbours.index.shape == found.neighbours.score.shape == (queries, k)
    if not (queries and sources):
        assert (found.neighbours.index == -1).all()
        return
    score = closeness(y, metric=metric)(x)
    if exclude is not None:
        has = (exclude >= 0).nonzero().flatten()
        score[has, exclude[has]] = -torch.inf
    best = score.sort(dim=1, descending=True).values[:, :k]
    torch.testing.assert_close(found.neighbours.score[:, : best.shape[1]], best, atol=1e-5, rtol=1e-5)
    for index, scores, row in zip(found.neighbours.index, found.neighbours.score, score, strict=True):
        kept = index[index >= 0]
        torch.testing.assert_close(row[kept], scores[: len(kept)], atol=1e-5, rtol=1e-5)
        order = sorted(zip((-scores[: len(kept)]).tolist(), kept.tolist(), strict=True))
        assert [column for _, column in order] == kept.tolist()  # equal ones by row
        assert exclude is None or int(exclude[0]) == -1 or int(exclude[0]) not in found.neighbours.index[0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("recall", [0.9, 0.98])
def test_the_promised_recall_is_reached_at_a_fraction_of_the_work(metric, recall):
    x, own = clustered(8000), torch.arange(8000)
    found = nearest_rows(x, x, k=10, metric=metric, recall=recall, exclude=own)
    fresh = slice(0, 8000, 4)
    measured = true_share(found, x, x, 10, metric, own, fresh)
    assert measured >= recall
    assert found.recall == pytest.approx(measured, abs=0.015)
    assert recall <= found.recall < 1
    assert found.share < 0.25
    assert not (found.neighbours.index == own[:, None]).any()
    score = closeness(x, metric=metric)(x[fresh]).gather(1, found.neighbours.index[fresh])
    torch.testing.assert_close(found.neighbours.score[fresh], score, atol=1e-4, rtol=1e-5)
    assert (found.neighbours.score.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_later_queries_find_sources_they_are_not_among(metric):
    y = clustered(16_000)
    x = y[::2] + 0.05 * noise(8000, 16, seed=5)
    exclude = torch.where(torch.arange(8000) % 3 == 0, 2 * torch.arange(8000), -1)
    found = nearest_rows(x, y, k=7, metric=metric, recall=0.95, exclude=exclude)
    assert found.share < 0.3
    assert true_share(found, x, y, 7, metric, exclude, slice(0, 8000, 20)) >= 0.95
    assert not (found.neighbours.index == exclude.where(exclude >= 0, -2)[:, None]).any()


def test_what_has_no_cells_is_searched_exactly():
    x, own = noise(6000, 64), torch.arange(6000)
    found = nearest_rows(x, x, k=10, recall=0.98, exclude=own)
    assert (found.recall, found.share) == (1.0, 1.0)
    assert true_share(found, x, x, 10, "euclidean", own, slice(0, 6000, 20)) > 0.9999


@pytest.mark.parametrize(("queries", "sources"), [(10, 20_000), (2000, 2000), (5000, 16), (0, 10), (10, 0), (3, 1)])
def test_where_cells_cost_more_than_they_save_all_are_compared(queries, sources):
    x, y = clustered(max(queries, 1))[:queries], clustered(max(sources, 1), seed=1)[:sources]
    assert nearest_rows(x, y, k=3, recall=0.9).share == 1.0


def test_a_row_is_no_neighbour_of_its_own_when_recall_is_measured():
    x, own = clustered(8000, topics=3), torch.arange(8000)
    found = nearest_rows(x, x, k=1, recall=0.9, exclude=own)
    assert found.recall < 1
    assert true_share(found, x, x, 1, "euclidean", own, slice(0, 8000, 4)) >= 0.9


def test_recall_is_not_measured_on_the_rows_that_centres_start_from(monkeypatch):
    def spy(y, count, **options):
        seeds.append(options["seed"])
        return kmeans(y, count, **options)

    seeds = []
    monkeypatch.setattr(cells, "kmeans", spy)
    for seed in (0, 1):
        nearest_rows(clustered(6000), clustered(6000), k=3, recall=0.9, seed=seed)
        assert seeds[-1] != seed  # the seed of the sample
    assert seeds[0] != seeds[1]


def test_contenders_are_merged_before_they_fill_the_memory(monkeypatch):
    sizes = []
    merge = cells._merge

    def spy(best, found):
        sizes.append(sum(len(row) for row, _, _ in found))
        return merge(best, found)

    monkeypatch.setattr(cells, "_merge", spy)
    monkeypatch.setattr(cells, "PENDING", 500)
    monkeypatch.setattr(cells, "TILE", 40)
    monkeypatch.setattr(cells, "BLOCK_ELEMENTS", 64 * 20)
    y = torch.arange(2000.0)[:, None]  # each tile lies nearer than all before
    x = torch.full((50, 1), 3000.0)
    found = nearest_rows(x, y, k=6)
    assert (found.neighbours.index == torch.arange(1999, 1993, -1)).all()
    assert max(sizes) <= 500 + 20 * 6


def test_many_neighbours_are_found_beyond_their_own_cell():
    x, own = clustered(8000, channels=3), torch.arange(8000)
    found = nearest_rows(x, x, k=120, recall=0.9, exclude=own)  # a cell holds thirty
    assert found.share < 0.5
    assert true_share(found, x, x, 120, "euclidean", own, slice(0, 8000, 20)) >= 0.9


def test_equal_rows_cost_no_memory_and_lose_no_neighbour():
    x = torch.cat([torch.zeros(5000, 8), clustered(3000, channels=8)])
    own = torch.arange(8000)
    found = nearest_rows(x, x, k=5, recall=0.95, exclude=own)
    assert (found.neighbours.index >= 0).all()
    assert not (found.neighbours.index == own[:, None]).any()
    zeros = found.neighbours.index[:5000]
    assert (x[zeros] == 0).all()
    assert (zeros.diff(dim=1) > 0).all()  # equal ones by row


def test_equal_calls_give_equal_results_and_the_caller_keeps_what_is_the_callers():
    x, own = clustered(6000).requires_grad_(), torch.arange(6000)
    before, state = x.detach().clone(), torch.get_rng_state()
    one = nearest_rows(x, x, k=4, metric="cosine", recall=0.9, exclude=own, seed=3)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not one.neighbours.score.requires_grad
    again = nearest_rows(x, x.clone(), k=4, metric="cosine", recall=0.9, exclude=own, seed=3)
    assert torch.equal(one.neighbours.index, again.neighbours.index)
    assert (one.recall, one.share) == (again.recall, again.share)
    assert nearest_rows(x, x, k=4, metric="cosine", recall=0.9, exclude=own, seed=4).share != one.share


def test_fewer_are_compared_where_less_is_asked():
    x, own = clustered(8000, topics=3), torch.arange(8000)
    shares = [nearest_rows(x, x, k=10, recall=recall, exclude=own).share for recall in (0.5, 0.8, 0.95)]
    assert shares == sorted(set(shares))


@pytest.mark.parametrize("recall", [0, 1, 1.5, -0.1, math.nan])
def test_a_recall_that_can_not_be_promised_is_refused_by_value(recall):
    with pytest.raises(ValueError, match=f"below 1, or None for an exact search, got {recall}"):
        nearest_rows(noise(3, 2), noise(3, 2), k=1, recall=recall)


def test_probes_are_the_fewest_that_keep_two_standard_errors():
    # of 100 queries 90 find both neighbours in their own cell, and 10 find one there and one in the third
    ranks = torch.tensor([[0, 0]] * 90 + [[0, 2]] * 10)
    error = math.sqrt(0.9 * 0.05**2 + 0.1 * 0.45**2) / 10
    assert cells._probes(ranks, 5, 0.95 - 2 * error - 1e-4) == (1, pytest.approx(0.95))
    assert cells._probes(ranks, 5, 0.95 - 2 * error + 1e-4) == (3, 1.0)


def slow_kmeans_error(x, centres):
    return np.square(cdist(x.numpy(), centres.numpy())).min(axis=1).mean()


def test_centres_come_near_those_of_scikit_learn():
    from sklearn.cluster import KMeans

    x = clustered(2000, channels=6)
    reference = KMeans(40, n_init=3, random_state=0).fit(x.numpy()).inertia_ / len(x)
    assert slow_kmeans_error(x, kmeans(x, 40, rounds=20)) < 1.12 * reference
    errors = [slow_kmeans_error(x, kmeans(x, 40, rounds=rounds)) for rounds in (1, 3, 10)]
    assert errors == sorted(errors, reverse=True)


def test_one_round_is_lloyds():
    x = clustered(500, channels=4)
    first = x[torch.randperm(500, generator=torch.Generator().manual_seed(9))][:20]
    owner = cdist(x.numpy(), first.numpy()).argmin(axis=1)
    expected = np.stack([x.numpy()[owner == cell].mean(axis=0) for cell in range(20)])
    np.testing.assert_allclose(kmeans(x, 20, rounds=1, seed=9), expected, atol=1e-5)


def test_a_centre_with_few_moves_to_a_cell_with_more_than_twice_its_share():
    sample = torch.tensor([*range(12), 100, 101, 102, 200, 201, 202, 300, 301]).float()[:, None]  # a share is 4
    cell = torch.tensor([0] * 12 + [1] * 3 + [2] * 3 + [3] * 2 + [4] * 0)
    centres = torch.tensor([[5.5], [101.0], [201.0], [300.5], [400.0]])
    moved = centres.clone()
    _split_the_largest(moved, torch.bincount(cell, minlength=5), cell, sample)
    assert torch.equal(moved[:4], centres[:4])
    assert 0 <= moved[4] <= 11
    cell[:4] = 1  # eight and seven: no more than twice
    still = centres.clone()
    _split_the_largest(still, torch.bincount(cell, minlength=5), cell, sample)
    assert torch.equal(still, centres)


@pytest.mark.parametrize("seed", range(4))
def test_large_cells_are_split_between_the_rounds(seed):
    x = (100 * noise(40, 3)).repeat(25, 1) + 0.1 * noise(1000, 3, seed=1)  # forty heaps of 25
    owner = nearest_centres(x, kmeans(x, 40, rounds=10, seed=seed), 1).flatten()
    assert torch.bincount(owner.long(), minlength=40).max() <= 50  # where rounds alone leave 75 and more


@pytest.mark.parametrize("rows", [1, 5])
def test_equal_rows_have_equal_centres(rows):
    assert torch.equal(kmeans(torch.ones(rows, 3), rows), torch.ones(rows, 3))


@pytest.mark.parametrize("count", [0, 4, -1])
def test_cells_beyond_the_rows_are_refused_by_value(count):
    with pytest.raises(ValueError, match=f"from 1 to the 3 rows, got {count}"):
        kmeans(noise(3, 2), count)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_nearest_centres_equal_argsort(count):
    x, centres = noise(50, 3), noise(10, 3, seed=1)
    expected = cdist(x.numpy(), centres.numpy()).argsort(axis=1)[:, :count]
    np.testing.assert_array_equal(nearest_centres(x, centres, count), expected)
