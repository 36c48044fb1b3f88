import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import seal
from mmgraph.index import MultiVector, multi

ITEMS = [[[1, 0], [0, 1]], [[1, 1]], np.empty((0, 2)), [[3, 0], [0, -1]]]
IDS = ["both", "one", "none", "long"]


def slow(query, items):
    return [
        sum(max(math.fsum(a * b for a, b in zip(q, d, strict=True)) for d in item) for q in query)
        if len(item)
        else -math.inf
        for item in items
    ]


def found(hits):
    return [hit.id for hit in hits]


vector = st.tuples(*[st.sampled_from([-1, 0, 1, 2])] * 2)


@settings(max_examples=100)
@given(
    items=st.lists(st.lists(vector, max_size=4), min_size=1, max_size=8),
    query=st.lists(vector, min_size=1, max_size=4),
    k=st.integers(1, 10),
    room=st.sampled_from([1, 8, 1 << 20]),
)
def test_exact_equals_a_slow_loop(items, query, k, room):
    arrays = [np.array(item, dtype="f4").reshape(-1, 2) for item in items]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi, "BLOCK", room)
        index = MultiVector(arrays, map(str, range(len(items))))
        expected = slow(query, items)
        assert index.scores(query, range(len(items))).tolist() == expected
        order = sorted((n for n in range(len(items)) if items[n]), key=lambda n: (-expected[n], n))[:k]
        positions, scores = index.search_arrays(query, k)
        assert positions.tolist() == order
        assert scores.tolist() == [expected[n] for n in order]


def many(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rng.integers(0, 9), 16)).astype("f4") for _ in range(400)], rng.normal(size=(6, 16))


def test_exact_on_real_numbers():
    items, query = many()
    index = MultiVector(items, map(str, range(400)))
    np.testing.assert_allclose(
        index.scores(query, range(400)), slow(query.astype("f4").tolist(), [one.tolist() for one in items]), rtol=1e-12
    )
    assert index.search(query, 400) == sorted(index.search(query, 400), key=lambda hit: (-hit.score, hit.position))
    assert len(index.search(query, 400)) == sum(len(one) > 0 for one in items)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_candidates_are_scored_exactly(kind):
    items, query = many()
    index = MultiVector(items, map(str, range(400)), kind=kind, depth=120)
    exact = index.search(query, 10, exact=True)
    assert exact == MultiVector(items, map(str, range(400))).search(query, 10)
    hits = index.search(query, 10)
    assert len({*found(hits)} & {*found(exact)}) >= 8
    scores = dict(zip(range(400), index.scores(query, range(400)), strict=True))
    assert [hit.score for hit in hits] == [scores[hit.position] for hit in hits]
    assert len(index.search(query, 399)) == sum(len(one) > 0 for one in items)  # candidates are too few: all are scored


def test_filters_hits_and_subgraphs():
    graphs = [HeteroData() for _ in IDS]
    index = MultiVector(ITEMS, IDS, metadata={"year": [1, 2, 2, 1]}, subgraph=graphs.__getitem__)
    query = [[1, 0], [0, 2]]
    assert found(index.search(query)) == ["both", "one", "long"]
    assert found(index.search(query, where={"year": 2})) == ["one"]
    assert found(index.search(query, 2, exclude=["both", "none"])) == ["one", "long"]
    assert index.search(query, where={"year": 3}) == []
    (hit,) = index.search(query, 1)
    assert (hit.metadata, hit.subgraph is graphs[0], hit.position, hit.score) == ({"year": 1}, True, 0, 3.0)
    assert MultiVector([np.empty((0, 2))], ["none"]).search(query) == []
    assert len(index) == 4


@pytest.mark.parametrize("kind", ["exact", "ivfpq"])
def test_round_trip(kind, tmp_path):
    index = MultiVector(ITEMS, IDS, metadata={"year": [1, 2, 2, 1]}, kind=kind, depth=2, fingerprint="f", model="m")
    index.save(tmp_path / "multi")
    graphs = [HeteroData() for _ in IDS]
    again = MultiVector.load(tmp_path / "multi", fingerprint="f", model="m", subgraph=graphs.__getitem__)
    assert (again.index.kind, again.depth, again.ids) == (kind, 2, index.ids)
    assert again.search_arrays([[1, 2]])[1].tolist() == index.search_arrays([[1, 2]])[1].tolist()
    assert again.search([[1, 2]])[0].subgraph is not None
    for wrong, message in ({"fingerprint": "x"}, "another schema"), ({"model": "x"}, "another model"):
        with pytest.raises(ArtifactError, match=message):
            MultiVector.load(tmp_path / "multi", **wrong)
    path = tmp_path / "multi" / "meta.json"
    path.write_text(path.read_text().replace('"one"', '"both"'))
    with pytest.raises(ArtifactError, match="is damaged"):
        MultiVector.load(tmp_path / "multi")
    seal(tmp_path / "multi")
    with pytest.raises(ArtifactError, match="DataError: Ids must be unique: 'both'"):
        MultiVector.load(tmp_path / "multi")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: MultiVector([], []), DataError, "Items must be at least one, .* got none"),
        (lambda i: MultiVector([[[1, 0]], [[1]]], "ab"), DataError, r"\[1, 2\] for item 0 and widths \[1, 2\]"),
        (lambda i: MultiVector([[1, 0]], "a"), DataError, r"shape \[vectors, channels\], all as wide, got \[2\]"),
        (lambda i: MultiVector([[[1, np.inf]]], "a"), DataError, "row 0 holds inf"),
        (lambda i: MultiVector(ITEMS, "ab"), DataError, "as many as items: got 2 ids for 4 items"),
        (lambda i: MultiVector(ITEMS, IDS, metadata={"y": [1]}), DataError, "'y' .* got 1 for 4 items"),
        (lambda i: MultiVector(ITEMS, IDS, kind="flat"), ConfigError, "'kind' must be one of .* got 'flat'"),
        (lambda i: MultiVector(ITEMS, IDS, depth=0), ConfigError, "'depth' .* got 0"),
        (lambda i: i.search([1, 0]), DataError, r"\[vectors, 2\], at least one vector, got \[2\]"),
        (lambda i: i.search(np.empty((0, 2))), DataError, r"at least one vector, got \[0, 2\]"),
        (lambda i: i.search([[1, 0, 0]]), DataError, r"\[vectors, 2\], at least one vector, got \[1, 3\]"),
        (lambda i: i.search([[1, np.nan]]), DataError, "Query must be finite in float32: row 0 holds nan"),
        (lambda i: i.search([[1, 0]], 0), ConfigError, "'k' .* got 0"),
        (lambda i: i.search([[1, 0]], where={"age": 1}), ConfigError, r"columns \[\], got 'age'"),
        (lambda i: i.search([[1, 0]], exclude=["bath"]), DataError, "got 'bath'; did you mean .*'both'"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(MultiVector(ITEMS, IDS))
