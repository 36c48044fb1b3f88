import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import seal
from mmgraph.index import BM25, Exact, Hybrid, Store, fuse_ranks, fuse_scores

TEXTS = ["a cat", "a dog", "a bird", "dog and dog", None]
IDS = ["cat", "dog", "bird", "dogs", "none"]
VECTORS = np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [2, 1]], dtype="f4")


@pytest.fixture
def index():
    return Exact(VECTORS, IDS, metadata={"text": TEXTS, "legs": [4, 4, 2, 8, 0]})


def found(hits):
    return [hit.id for hit in hits]


rankings = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=1, max_size=4)


@given(rankings=rankings)
def test_reciprocal_ranks_equal_a_slow_loop(rankings):
    weights = [0.5 + n for n in range(len(rankings))]
    expected = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, item in enumerate(ranking, start=1):
            expected[item] = expected.get(item, 0) + weight / (60 + rank)
    items, scores = fuse_ranks([np.array(one, dtype=np.int64) for one in rankings], weights)
    assert dict(zip(items.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected)
    assert (np.diff(scores) <= 0).all()


def test_ties_of_ranks_come_by_number():
    assert fuse_ranks([np.array([3]), np.array([1])])[0].tolist() == [1, 3]


def test_scores_are_brought_to_one_scale():
    fused = fuse_scores([np.array([2.0, 4.0, 3.0]), np.array([-10.0, -30.0, -30.0])], [0.5, 2])
    assert fused.tolist() == [2.0, 0.5, 0.25]
    assert fuse_scores([np.empty(0)], [1]).shape == (0,)


def test_both_methods_by_hand(index):
    bm25 = BM25.of(index)
    hits = Hybrid(index, bm25).search([1, 0], "dog", 5)
    gains = {"cat": 1 / 61, "none": 1 / 62, "bird": 1 / 63, "dog": 1 / 64 + 1 / 62, "dogs": 1 / 65 + 1 / 61}
    assert {hit.id: hit.score for hit in hits} == pytest.approx({id: gain / 2 for id, gain in gains.items()})
    assert found(hits) == ["dogs", "dog", "cat", "none", "bird"]
    assert hits[0].metadata == {"text": "dog and dog", "legs": 8}
    near = index.scores([1, 0], range(5))
    words = bm25.scores("dog")
    expected = 0.7 * (near + 1) / 2 + 0.3 * words / words.max()
    hits = Hybrid(index, bm25, weight=0.3, method="score").search([1, 0], "dog", 5)
    assert {hit.position: hit.score for hit in hits} == pytest.approx(dict(enumerate(expected)))


@pytest.mark.parametrize("method", ["rank", "score"])
def test_one_side_alone_and_filters(method, index):
    hybrid = Hybrid(index, BM25.of(index), method=method)
    assert found(hybrid.search([1, 0], None, 3)) == found(index.search([1, 0], 3))
    assert found(hybrid.search(None, "dog")) == ["dogs", "dog"]
    assert found(hybrid.search(None, "fish")) == []
    assert found(hybrid.search(None, "dog", where={"legs": 4})) == ["dog"]
    assert set(found(hybrid.search([1, 0], "dog", where={"legs": [4, 8]}, exclude=["cat"]))) == {"dog", "dogs"}
    assert found(hybrid.search([1, 0], "dog", where={"legs": 77})) == []


@pytest.mark.parametrize(("weight", "first"), [(0, "cat"), (1, "dogs")])
@pytest.mark.parametrize("method", ["rank", "score"])
def test_weight(method, weight, first, index):
    assert found(Hybrid(index, BM25.of(index), weight=weight, method=method).search([1, 0], "dog"))[0] == first


def test_texts_of_some_items_in_another_order(index):
    hybrid = Hybrid(index, BM25(["a dog", "a cat"], ["bird", "dog"]), weight=1, method="score")
    assert found(hybrid.search([-1, -1], "dog", 1)) == ["bird"]
    assert found(hybrid.search(None, "dog", where={"legs": 4})) == []


def test_depth_bounds_what_each_side_names(index):
    hybrid = Hybrid(index, BM25.of(index), depth=1)
    assert found(hybrid.search([1, 0], "dog", 1)) == ["cat"]
    assert len(hybrid.search([1, 0], "dog", 2)) == 2


def test_over_a_store(tmp_path, index):
    store = Store.create(tmp_path / "store", channels=2)
    store.add(VECTORS, IDS, metadata=index.metadata)
    store.update([[0, 1]], ["dog"], metadata={"text": ["a cat"]})
    store.delete(["cat"])
    snapshot = store.snapshot
    hybrid = Hybrid(snapshot, BM25.of(snapshot), method="score")
    assert found(hybrid.search(None, "cat")) == ["dog"]
    assert set(found(hybrid.search([2, 1], "dog", 2))) == {"dogs", "none"}
    with pytest.raises(ConfigError, match="Only a search over an index can be saved, got a Snapshot; save bm25"):
        hybrid.save(tmp_path / "hybrid")


def test_round_trip(tmp_path, index):
    hybrid = Hybrid(index, BM25.of(index), weight=0.2, method="score", depth=7)
    hybrid.save(tmp_path / "hybrid")
    again = Hybrid.load(tmp_path / "hybrid", fingerprint="", model="")
    assert (again.weight, again.method, again.depth) == (0.2, "score", 7)
    assert again.search([1, 2], "a dog") == hybrid.search([1, 2], "a dog")
    with pytest.raises(ArtifactError, match="another model"):
        Hybrid.load(tmp_path / "hybrid", model="m")
    path = tmp_path / "hybrid" / "meta.json"
    path.write_text(path.read_text().replace('"score"', '"sum"'))
    with pytest.raises(ArtifactError, match=r"meta.json' is damaged"):
        Hybrid.load(tmp_path / "hybrid")
    seal(tmp_path / "hybrid")
    with pytest.raises(ArtifactError, match="ConfigError: Option 'method' must be one of .* got 'sum'"):
        Hybrid.load(tmp_path / "hybrid")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i, w: Hybrid(i, w, weight=1.5), ConfigError, "'weight' must be from 0 to 1, got 1.5"),
        (
            lambda i, w: Hybrid(i, w, method="sum"),
            ConfigError,
            r"'method' must be one of \['rank', 'score'\], got 'sum'",
        ),
        (lambda i, w: Hybrid(i, w, depth=0), ConfigError, "'depth' must be a whole number at least 1, got 0"),
        (lambda i, w: Hybrid(i, BM25(["x"], ["cow"])), DataError, "one of the 5 in the index, got 'cow'"),
        (lambda i, w: Hybrid(i, w).search(None, None), ConfigError, "a vector, a text, or both, got neither"),
        (lambda i, w: Hybrid(i, w).search([1, 0], "a", 0), ConfigError, "'k' must be .* got 0"),
        (lambda i, w: Hybrid(i, w).search([1, np.nan], "a"), DataError, "row 0 holds nan"),
        (lambda i, w: Hybrid(i, w).search([1], "a"), DataError, r"shape \[queries, 2\], got \[1, 1\]"),
        (lambda i, w: Hybrid(i, w).search(None, "a", where={"age": 1}), ConfigError, "got 'age'"),
    ],
)
def test_errors(index, call, error, message):
    with pytest.raises(error, match=message):
        call(index, BM25.of(index))
