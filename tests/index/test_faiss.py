import sys

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmgraph.errors import ConfigError, DataError, MissingPackageError
from mmgraph.index import Exact, Faiss
from mmgraph.index.faiss import KINDS
from mmgraph.index.score import METRICS


def names(count):
    return [f"i{n}" for n in range(count)]


def clustered(items=5000, channels=32, centres=50):
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(centres, channels))
    return (middles[rng.integers(centres, size=items)] + 0.3 * rng.normal(size=(items, channels))).astype("f4")


@pytest.fixture(scope="module")
def vectors():
    return clustered()


few = hnp.arrays(np.float32, st.tuples(st.integers(1, 60), st.just(2)), elements=st.sampled_from([-1, 0, 1, 3]))


@settings(max_examples=60)
@given(
    vectors=few,
    queries=hnp.arrays(np.float32, (3, 2), elements=st.sampled_from([-1, 0, 0.5, 1])),
    k=st.integers(1, 70),
    where=st.sampled_from([None, {"part": 1}, {"part": {0, 2}}, {"part": 9}]),
    drop=st.booleans(),
)
@pytest.mark.parametrize("metric", METRICS)
def test_flat_equals_exact_with_ties_and_filters(metric, vectors, queries, k, where, drop):
    given = {"ids": names(len(vectors)), "metadata": {"part": [n % 3 for n in range(len(vectors))]}}
    asked = {"where": where, "exclude": ["i0"] if drop else []}
    expected = Exact(vectors, metric=metric, **given).search_batch(queries, k, **asked)
    assert Faiss(vectors, metric=metric, **given).search_batch(queries, k, **asked) == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-42, 1e-22, 1.0, 1e18, 1e37])
def test_flat_equals_exact_at_any_scale(metric, scale):
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 9)) * scale).astype("f4")
    vectors[50:100] = vectors[:50]
    answers = [Kind(vectors, names(200), metric=metric).search_batch(vectors, 5) for Kind in (Exact, Faiss)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("metric", METRICS)
def test_flat_equals_exact_where_single_precision_can_not_tell(metric):
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=64) + 1e-6 * rng.normal(size=(400, 64))).astype("f4")
    answers = [Kind(vectors, names(400), metric=metric).search_batch(vectors, 3) for Kind in (Exact, Faiss)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("metric", METRICS)
def test_flat_equals_exact_on_many_items(metric, vectors):
    mine, reference = (Kind(vectors, names(5000), metric=metric) for Kind in (Faiss, Exact))
    assert mine.search_batch(vectors[:50], 7) == reference.search_batch(vectors[:50], 7)
    assert [mine.search(vector, 7) for vector in vectors[:9]] == mine.search_batch(vectors[:9], 7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_recall(metric, kind, vectors):
    index, reference = (
        Kind(vectors, names(5000), metric=metric, **options) for Kind, options in [(Faiss, {"kind": kind}), (Exact, {})]
    )
    rng = np.random.default_rng(1)
    queries = vectors[:100] + 0.1 * rng.normal(size=(100, 32)).astype("f4")
    found, true = ([{hit.id for hit in hits} for hits in i.search_batch(queries)] for i in (index, reference))
    assert np.mean([len(a & b) / 10 for a, b in zip(found, true, strict=True)]) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_filters_hold_and_fill_k(kind, metric, vectors):
    part = vectors[:1000]
    index = Faiss(part, names(1000), metric=metric, kind=kind, metadata={"part": [n % 100 for n in range(1000)]})
    reference = Exact(part, names(1000), metric=metric, metadata=index.metadata)
    asked = {"where": {"part": [3, 4]}, "exclude": ["i3"]}
    hits = index.search_batch(part[:20], 19, **asked)
    assert hits == reference.search_batch(part[:20], 19, **asked)  # all 19 allowed, so recall is 1
    assert [len(row) for row in index.search_batch(part[:5], 1000)] == [1000] * 5
    assert "i7" not in {hit.id for hit in index.search_id("i7", 50)}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_exact(kind, vectors):
    part = vectors[:500]
    index, reference = Faiss(part, names(500), kind=kind), Exact(part, names(500))
    scores = {hit.id: hit.score for hit in reference.search(part[0], 500)}
    hits = index.search(part[0], 10)
    assert [hit.score for hit in hits] == [scores[hit.id] for hit in hits]
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.position))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_equal_and_zero_vectors(kind, metric):
    vectors = np.concatenate([np.zeros((30, 4)), np.ones((30, 4))])
    index = Faiss(vectors, names(60), metric=metric, kind=kind)
    for query in (np.zeros(4), np.ones(4)):
        scores = [hit.score for hit in index.search(query, 60)]
        assert len(scores) == 60
        assert np.isfinite(scores).all()
    if metric == "cosine":
        assert scores == [1.0] * 30 + [0.0] * 30


@pytest.mark.parametrize("kind", KINDS)
def test_builds_are_equal(kind, vectors):
    first, second = (faiss.serialize_index(Faiss(vectors[:800], names(800), kind=kind)._built) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("items", "cells"), [(1, 1), (77, 1), (78, 2), (5000, 128), (100_000, 1265)])
def test_default_cells_have_39_items(items, cells):
    from mmgraph.index.faiss import _default_cells

    assert _default_cells(items) == cells
    assert cells == 1 or items // cells >= 39


@pytest.mark.parametrize("items", [1, 5, 100, 5000])
def test_faiss_warns_of_nothing(items, vectors, capfd):
    for kind in ("ivf", "ivfpq"):
        Faiss(vectors[:items], names(items), kind=kind).search(vectors[0])
        Faiss(vectors[:items], names(items), kind=kind, cells=min(items, 60), probes=100).search(vectors[0])
    assert capfd.readouterr() == ("", "")


def test_threads_are_given_back(vectors):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        Faiss(vectors[:50], names(50), kind="hnsw")
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pq"}, r"Option 'kind' must be one of \['flat', 'hnsw', 'ivf', 'ivfpq'\], got 'pq'"),
        ({"links": 1}, "Option 'links' must be a whole number at least 2, got 1"),
        ({"ef_construction": 0}, "Option 'ef_construction' must be a whole number at least 1, got 0"),
        ({"ef_search": 2.5}, "Option 'ef_search' must be a whole number at least 1, got 2.5"),
        ({"cells": 4}, "Option 'cells' must be a whole number from 1 to 3, got 4"),
        ({"codes": 3}, "Option 'codes' must be a whole number from 1 to 2, got 3"),
        ({"recall": 0}, "Option 'recall' must be above 0 and at most 1, got 0; .97 is usual"),
        ({"recall": 1.5}, "Option 'recall' must be above 0 and at most 1, got 1.5"),
        ({"shortlist": 0}, "Option 'shortlist' must be a whole number at least 1, got 0"),
        ({"probes": -1}, "Option 'probes' must be a whole number at least 1, got -1"),
        ({"built": faiss.IndexFlatIP(2)}, r"metric \(3, 2, 0\), got \(0, 2, 0\); leave it out"),
        ({"built": faiss.IndexHNSWFlat(2, 4)}, "must be a faiss IndexFlat for kind 'flat', got IndexHNSWFlat"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        Faiss(np.eye(3, 2), "abc", **options)


def test_codes_must_divide_the_channels():
    with pytest.raises(ConfigError, match="Option 'codes' must divide the 6 channels, got 4; leave it out"):
        Faiss(np.ones((3, 6)), "abc", codes=4)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_vectors_too_long_for_faiss(kind):
    with pytest.raises(DataError, match=f"at most 1e.18 long for kind '{kind}' under 'dot', got length 3e.30; scale"):
        Faiss([[3e30], [1]], "ab", kind=kind, metric="dot")
    assert Faiss([[3e30], [-1]], "ab", kind=kind).search([1], 1)[0].id == "a"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("length", [1e-30, 1e17, 3e38])
def test_queries_of_any_length(kind, metric, length, vectors):
    part = vectors[:100] * np.float32(0.5e17)
    index, reference = Faiss(part, names(100), kind=kind, metric=metric), Exact(part, names(100), metric=metric)
    query = np.eye(1, 32)[0] * length
    assert len(index.search(query, 5)) == 5
    assert index.search(query, 100) == reference.search(query, 100)


def test_a_built_index_is_used(vectors):
    first = Faiss(vectors[:300], names(300), kind="hnsw")
    second = Faiss(vectors[:300], names(300), kind="hnsw", built=first._built)
    assert second._built is first._built
    assert second.search(vectors[3]) == first.search(vectors[3])


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[index\]'"):
        Faiss([[1.0]], ["a"])


@pytest.mark.parametrize("metric", METRICS)
def test_an_index_by_codes_is_tuned_to_the_recall(metric):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(4000, 24)).astype("f4")  # no clusters: the hardest there is
    index, reference = (
        Kind(vectors, names(4000), metric=metric, **o)
        for Kind, o in [(Faiss, {"kind": "ivfpq", "recall": 0.9}), (Exact, {})]
    )
    queries = rng.normal(size=(300, 24)).astype("f4")
    found, true = (one.search_arrays(queries)[0] for one in (index, reference))
    assert (found[:, :, None] == true[:, None, :]).any(axis=2).mean() >= 0.87
    assert index.options["codes"] == 12


def test_options_that_are_given_are_kept(vectors):
    index = Faiss(vectors, names(5000), kind="ivfpq", cells=70, probes=5, codes=8, shortlist=7)
    assert index.options == {"cells": 70, "probes": 5, "codes": 8, "shortlist": 7}
    index = Faiss(vectors, names(5000), kind="ivfpq", probes=9, recall=0.5)
    assert index.options["probes"] == 9
    assert index.options["shortlist"] < 9
    index = Faiss(vectors, names(5000), kind="ivfpq", shortlist=64, recall=0.5)
    assert (index.options["shortlist"], index.options["probes"]) == (64, 1)
    assert Faiss(vectors, names(5000), kind="ivf", probes=5).options == {"cells": 128, "probes": 5}


@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
def test_filters_widen_the_search(kind, vectors):
    """One probe finds few of the items that a filter allows: more cells are looked into, or all that is allowed."""
    columns = {"fifth": [n % 5 for n in range(5000)], "hundredth": [n % 100 for n in range(5000)]}
    index = Faiss(vectors, names(5000), kind=kind, metadata=columns, **({"shortlist": 64} if kind == "ivfpq" else {}))
    reference = Exact(vectors, names(5000), metadata=columns)
    for where in ({"fifth": 2}, {"hundredth": 7}):
        found, true = (one.search_arrays(vectors[:100], 10, where=where)[0] for one in (index, reference))
        assert (found[:, :, None] == true[:, None, :]).any(axis=2).mean() >= (0.95 if "fifth" in where else 1)


@pytest.mark.parametrize(("channels", "codes"), [(1, 1), (2, 1), (3, 1), (37, 37), (64, 32), (100, 50), (128, 64)])
def test_codes_divide_the_channels(channels, codes):
    from mmgraph.index.faiss import _default_codes

    assert _default_codes(channels) == codes


def test_tuned_indexes_of_twins():
    vectors = np.repeat(np.eye(4, dtype="f4"), 40, axis=0)
    index = Faiss(vectors, names(160), kind="ivfpq")
    assert [hit.score for hit in index.search(np.eye(4)[2], 40)] == [1.0] * 40
    assert index.options["shortlist"] == 1
