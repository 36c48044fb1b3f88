import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmgraph.index import Exact, exact, score
from mmgraph.index.score import METRICS, best


def slow_score(query, vector, metric):
    products = math.fsum(a * b for a, b in zip(query, vector, strict=True))
    if metric == "dot":
        return products
    if metric == "euclidean":
        return -math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(query, vector, strict=True)))
    scale = math.sqrt(math.fsum(a * a for a in query) * math.fsum(b * b for b in vector))
    return products / scale if scale > 0 else 0.0


def slow_search(query, vectors, k, metric):
    scores = [slow_score(query.tolist(), vector.tolist(), metric) for vector in vectors]
    return sorted(range(len(vectors)), key=lambda i: (-scores[i], i))[:k], scores


@pytest.mark.parametrize("metric", METRICS)
def test_scores_equal_a_slow_loop(metric):
    rng = np.random.default_rng(0)
    vectors, query = rng.normal(size=(50, 7)).astype("f4"), rng.normal(size=7).astype("f4")
    expected = [slow_score(query.tolist(), vector.tolist(), metric) for vector in vectors]
    np.testing.assert_allclose(score(query, vectors, metric), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 10, 299, 300, 1000])
def test_hits_equal_a_slow_loop(metric, k, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK", 64)  # many blocks of items and of queries
    monkeypatch.setattr(exact, "ROOM", 700)
    rng = np.random.default_rng(1)
    vectors, queries = rng.normal(size=(300, 5)).astype("f4"), rng.normal(size=(7, 5)).astype("f4")
    index = Exact(vectors, [f"i{n}" for n in range(300)], metric=metric)
    for query, hits in zip(queries, index.search_batch(queries, k), strict=True):
        positions, scores = slow_search(query, vectors, k, metric)
        assert [hit.position for hit in hits] == positions
        assert [hit.id for hit in hits] == [f"i{n}" for n in positions]
        np.testing.assert_allclose([hit.score for hit in hits], [scores[n] for n in positions], rtol=1e-12)
        assert hits == index.search(query, k)


small = hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=st.sampled_from([-1, 0, 1, 2]))


@settings(max_examples=100)
@given(vectors=small, query=hnp.arrays(np.float32, 3, elements=st.sampled_from([-1, 0, 2])), k=st.integers(1, 40))
@pytest.mark.parametrize("metric", METRICS)
def test_ties_come_by_position(metric, vectors, query, k):
    hits = Exact(vectors, map(str, range(len(vectors))), metric=metric).search(query, k)
    assert [hit.position for hit in hits] == slow_search(query, vectors, k, metric)[0]


@settings(max_examples=60)
@given(
    vectors=hnp.arrays(
        np.float32,
        st.tuples(st.integers(2, 12), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    k=st.integers(1, 4),
)
@pytest.mark.parametrize("metric", METRICS)
def test_any_finite_float_is_searched_exactly(metric, vectors, k):
    """From subnormal numbers to numbers whose square overflows float32."""
    hits = Exact(vectors, map(str, range(len(vectors))), metric=metric).search(vectors[0], k)
    positions, scores = best(vectors[0], vectors, np.arange(len(vectors)), k, metric)
    assert [hit.position for hit in hits] == positions.tolist()
    assert [hit.score for hit in hits] == scores.tolist()
    assert np.isfinite(scores).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), channels=st.sampled_from([1, 3, 64, 700]), offset=st.sampled_from([0, 10, 1e4]))
@pytest.mark.parametrize("metric", METRICS)
def test_margin_bounds_single_precision(metric, seed, channels, offset):
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(20, channels)) + offset).astype("f4")
    squares = np.square(vectors.astype("f8")).sum(1)
    rough = exact._rough(vectors[:1], vectors, squares, metric, None)[0]
    true = score(vectors[0], vectors, metric)
    if metric == "euclidean":
        true = (squares[0] - np.square(true)) / 2
    assert (np.abs(rough - true) <= exact.margin(vectors[:1], squares, metric)).all()


def test_equal_vectors_tie_wherever_they_stand():
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(40, 130)), 25, axis=0).astype("f4")[rng.permutation(1000)]
    for metric in METRICS:
        scores = score(vectors[0], vectors, metric)
        assert len(np.unique(scores)) == 40
        assert (score(vectors[0], vectors[3:4], metric) == scores[3]).all()


def test_an_item_is_its_own_best_match():
    vectors = np.random.default_rng(0).normal(size=(100, 33)).astype("f4")
    assert set(score(vectors[0], vectors[:1], "cosine").tolist()) == {1.0}
    assert str(score(vectors[0], vectors[:1], "euclidean")[0]) == "0.0"


@pytest.mark.parametrize("seed", range(3))
def test_best_orders_candidates_that_come_in_any_order(seed):
    candidates = np.random.default_rng(seed).permutation(500)
    positions, _ = best(np.ones(1, "f4"), np.ones((500, 1), "f4"), candidates, 30, "dot")
    assert positions.tolist() == list(range(30))


def test_what_overflows_single_precision_on_the_way_is_scored_exactly():
    huge = np.array([3e38] * 32 + [-3e38] * 32)
    index = Exact([huge, np.roll(huge, 16), [1e38] + [0] * 63], "abc", metric="dot")
    assert [(hit.id, round(hit.score / 1e38, 3)) for hit in index.search(np.ones(64), 1)] == [("c", 1.0)]


def test_zero_vectors_score_zero_under_cosine():
    index = Exact([[0, 0], [1, 0], [-1, 0]], "abc")
    assert [(hit.id, hit.score) for hit in index.search([1, 0])] == [("b", 1.0), ("a", 0.0), ("c", -1.0)]
    assert [(hit.id, hit.score) for hit in index.search([0, 0])] == [("a", 0.0), ("b", 0.0), ("c", 0.0)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_tensors_and_arrays_give_the_same_index(dtype):
    tensor = torch.tensor([[1, 0, 1], [0, 1, 0]]).to(dtype)
    index = Exact(tensor, ["a", "b"])
    assert index.vectors.dtype == np.float32
    assert index.vectors.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert index.search(tensor[1], 1)[0].id == "b"


def test_vectors_are_copied_and_can_not_be_changed():
    vectors = torch.eye(2, requires_grad=True)
    index = Exact(vectors, ["a", "b"])
    with torch.no_grad():
        vectors.mul_(0)
    index.vector("a")[:] = 9
    assert index.vectors.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = 3
