import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.index import Exact, Store

VALUES = st.sampled_from([-1, 0, 1, 2])
IDS = st.sampled_from("abcdefgh")


def found(hits):
    return [hit.id for hit in hits]


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store", channels=2)
    store.add([[1, 0], [0, 1], [1, 1]], ["cat", "dog", "hen"], metadata={"legs": [4, 4, 2]})
    return store


class Model:
    """What a store holds, as a dict in the order of the last writes."""

    def __init__(self):
        self.held = {}
        self.columns = []

    def put(self, items, column):
        if column not in self.columns:
            self.columns.append(column)
        for name, (vector, value) in items.items():
            self.held.pop(name, None)
            self.held[name] = (vector, {column: value})

    def index(self, metric):
        metadata = {name: [row.get(name) for _, row in self.held.values()] for name in self.columns}
        vectors = np.array([vector for vector, _ in self.held.values()], dtype="f4").reshape(-1, 2)
        return Exact(vectors, list(self.held), metadata=metadata, metric=metric)


operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.dictionaries(IDS, st.tuples(st.tuples(VALUES, VALUES), st.integers(0, 2)), max_size=6),
            st.sampled_from(["year", "size"]),
        ),
        st.tuples(st.just("delete"), st.sets(IDS, max_size=3)),
        st.tuples(st.just("compact")),
        st.tuples(st.just("reopen")),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(
    operations=operations, query=st.tuples(VALUES, VALUES), k=st.integers(1, 9), exact_below=st.sampled_from([3, 99])
)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_any_writes_give_what_one_index_gives(metric, operations, query, k, exact_below, tmp_path_factory):
    """Large segments are flat here: what an approximate index may miss is tested elsewhere."""
    folder = tmp_path_factory.mktemp("any") / "store"
    store = Store.create(folder, channels=2, metric=metric, large="exact", exact_below=exact_below)
    reader, model = Store(folder), Model()
    for name, *asked in operations:
        if name == "put":
            items, column = asked
            new = not set(items) & set(model.held)
            write = store.add if new else store.update
            write(
                np.array([v for v, _ in items.values()]).reshape(-1, 2),
                items,
                metadata={column: [n for _, n in items.values()]},
            )
            if items:
                model.put(*asked)
        elif name == "delete":
            gone = [id for id in sorted(asked[0]) if id in model.held]
            store.delete(gone)
            for id in gone:
                del model.held[id]
        elif name == "compact":
            store.compact()
        else:
            store = Store(folder)
    reader.refresh()
    expected = model.index(metric)
    for one in (store, reader):
        snapshot = one.snapshot
        assert snapshot.ids == expected.ids
        assert len(one) == len(expected)
        queries = [query, (1, 1)]
        for asked in ({}, {"where": {"year": [0, None]}}, {"exclude": list(expected.ids)[:1]}):
            if "where" in asked and "year" not in model.columns:
                continue
            assert snapshot.search_batch(queries, k, **asked) == expected.search_batch(queries, k, **asked)
            for mine, theirs in zip(*(i.search_arrays(queries, k, **asked) for i in (snapshot, expected)), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        for position, id in enumerate(expected.ids):
            assert snapshot.position(id) == position
            np.testing.assert_array_equal(snapshot.vector(id), expected.vector(id))
        every = np.arange(len(expected))[::-1]
        np.testing.assert_array_equal(snapshot.scores(query, every), expected.scores(query, every))
        for column in model.columns:
            assert snapshot.column(column) == expected.column(column)


@pytest.mark.parametrize("large", ["hnsw", "ivf", "ivfpq"])
def test_large_segments_are_searched_by_their_index(large, tmp_path):
    store = Store.create(tmp_path / "store", channels=8, large=large, exact_below=200)
    vectors = np.random.default_rng(0).normal(size=(450, 8)).astype("f4")
    names = [f"i{n}" for n in range(450)]
    store.add(vectors[:300], names[:300])
    store.add(vectors[300:], names[300:])
    assert [one.index.kind for one in store.snapshot.segments] == [large, "exact"]
    store.delete(names[:300:2])
    expected = Exact(np.concatenate([vectors[1:300:2], vectors[300:]]), names[1:300:2] + names[300:])
    for _ in range(2):
        assert store.snapshot.ids == expected.ids
        same = [len({*found(store.search(one, 10))} & {*found(expected.search(one, 10))}) for one in vectors[:40]]
        assert np.mean(same) >= 9.5
        assert len(store.search(vectors[0], 300)) == 300
        store.compact()
        assert [one.index.kind for one in store.snapshot.segments] == [large]
    assert len(Store(store.folder)) == 300


def test_small_writes_are_merged_as_they_come(tmp_path):
    store = Store.create(tmp_path / "store", channels=2, exact_below=32)
    for number in range(80):
        store.add([[number, 1]], [str(number)])
        sizes = [len(one) for one in store.snapshot.segments]
        assert sum(sizes) == number + 1
        assert max(sizes) < 32
        assert len(sizes) <= 6 + number // 16
    assert len(list((store.folder / "segments").iterdir())) <= len(sizes) + 6
    expected = Exact([[number, 1] for number in range(80)], map(str, range(80)))
    assert store.search([79, 1], 2) == expected.search([79, 1], 2)


def test_large_and_small_writes_by_turns_are_merged_too(tmp_path):
    store = Store.create(tmp_path / "store", channels=2)
    for number in range(8):
        store.add(np.ones((1 + 9 * (number % 2), 2)), [f"{number}-{n}" for n in range(1 + 9 * (number % 2))])
    assert len(store.snapshot.segments) <= 3


def test_compaction_leaves_one_segment_and_no_grave(store):
    store.add([[5, 1]], ["cow"])
    store.delete(["dog"])
    store.compact()
    assert [len(one.index) for one in store.snapshot.segments] == [3]
    assert store.snapshot.ids == ("cat", "hen", "cow")
    assert found(store.search([0, 1], where={"legs": None})) == ["cow"]
    before = store.snapshot.generation
    store.compact()  # nothing to do
    assert store.snapshot.generation == before
    store.add([[5, 2]], ["ant"])
    store.add([[5, 3]], ["bee"])  # sweeps what compaction has left
    assert len(list((store.folder / "segments").iterdir())) == 3
    assert not list(store.folder.glob("dead-*"))


def test_an_update_moves_to_the_end_and_forgets(store):
    store.update([[9, 9], [0, 3]], ["cat", "emu"], metadata={"wings": [0, 2]})
    assert store.snapshot.ids == ("dog", "hen", "cat", "emu")
    assert store.search([1, 1], 4)[0].metadata == {"legs": 2, "wings": None}
    assert store.snapshot.hit(2, 0.5).metadata == {"legs": None, "wings": 0}
    assert store.snapshot.vector("cat").tolist() == [9, 9]


def test_a_snapshot_does_not_change(store):
    reader = Store(store.folder)
    snapshot, hits = store.snapshot, store.search([1, 0])
    store.delete(["cat"])
    store.compact()
    store.add([[1, 0]], ["cow"])
    store.add([[1, 0]], ["ant"])
    assert snapshot.search([1, 0]) == hits
    assert reader.search([1, 0]) == hits  # its files are gone by now
    assert reader.refresh()
    assert not reader.refresh()
    assert reader.search([1, 0]) == store.search([1, 0])
    assert found(reader.search([1, 0])) == ["cow", "ant", "hen", "dog"]


def test_an_empty_store(tmp_path):
    store = Store.create(tmp_path / "store", channels=3)
    assert store.search([1, 0, 0]) == []
    assert [array.shape for array in store.snapshot.search_arrays(np.ones((2, 3)))] == [(2, 0), (2, 0)]
    store.add(np.empty((0, 3)), [])
    store.update(np.empty((0, 3)), [])
    store.delete([])
    store.compact()
    assert (len(store), store.snapshot.generation) == (0, 0)
    with pytest.raises(DataError, match="one of the index, which is empty, got 'cat'; add items first"):
        store.delete(["cat"])
    with pytest.raises(ConfigError, match=r"metadata columns \[\], got 'legs'"):
        store.search([1, 0, 0], where={"legs": 4})


def test_everything_deleted(store):
    store.delete(["hen", "cat", "dog"])
    assert store.search([1, 0], where={"legs": 4}) == []
    assert Store(store.folder).snapshot.segments == ()
    store.add([[1, 2]], ["cat"])
    assert found(store.search([1, 0])) == ["cat"]


def test_hits_carry_subgraphs_by_id(store):
    graphs = {"cat": HeteroData(), "dog": HeteroData(), "hen": HeteroData()}
    again = Store(store.folder, subgraph=graphs.__getitem__)
    again.delete(["cat"])
    assert [hit.subgraph is graphs[hit.id] for hit in again.search([1, 0])] == [True, True]
    assert store.search([1, 0])[0].subgraph is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.add([[1, 0]], ["cat"]), DataError, "Ids must be new to the store, got 'cat'; update replaces"),
        (lambda s: s.add([[1, 0, 0]], ["cow"]), DataError, r"shape \[items, 2\], got \[1, 3\]; encode them"),
        (lambda s: s.add([[1, np.nan]], ["cow"]), DataError, "row 0 holds nan"),
        (lambda s: s.add([[1, 0]] * 2, ["cow", "cow"]), DataError, "unique: 'cow' stands at positions 0 and 1"),
        (lambda s: s.update([[1, 0]], ["cow"], metadata={"legs": [1, 2]}), DataError, "got 2 for 1 vectors"),
        (lambda s: s.delete(["cat", "caz"]), DataError, r"one of the 3 in the index, got 'caz'; did you mean .*'cat'"),
        (lambda s: s.search([1]), DataError, r"shape \[queries, 2\], got \[1, 1\]"),
        (lambda s: s.search([1, 0], where={"wings": 1}), ConfigError, r"columns \['legs'\], got 'wings'"),
        (lambda s: Store(s.folder, fingerprint="b" * 64), ArtifactError, "another schema: .* 'bbbbbbbbbbbb', got ''"),
        (lambda s: Store(s.folder, model="m1"), ArtifactError, "another model: .* must have model 'm1', got ''"),
        (lambda s: Store.create(s.folder, channels=2), ArtifactError, "must hold no store yet, got one; open it"),
        (lambda s: Store.create(s.folder / "x", channels=0), ConfigError, "'channels' .* at least 1, got 0"),
        (lambda s: Store.create(s.folder / "x", channels=1, large="pq"), ConfigError, "'large' must be one of .*'pq'"),
        (lambda s: Store.create(s.folder / "x", channels=1, metric="l1"), ConfigError, "'metric' must be one of"),
        (lambda s: Store.create(s.folder / "x", channels=1, exact_below=0), ConfigError, "'exact_below' .* got 0"),
        (lambda s: Store(s.folder / "nowhere"), ArtifactError, "nowhere' must exist; it does not: make it with"),
    ],
)
def test_errors(store, call, error, message):
    before = store.snapshot.search([1, 0])
    with pytest.raises(error, match=message):
        call(store)
    assert Store(store.folder).search([1, 0]) == before


def test_origin_is_kept(tmp_path):
    Store.create(tmp_path / "store", channels=1, fingerprint="f" * 64, model="m" * 64).add([[1]], ["a"])
    store = Store(tmp_path / "store", fingerprint="f" * 64, model="m" * 64)
    assert (store.snapshot.fingerprint, store.snapshot.model) == ("f" * 64, "m" * 64)


def test_writers_wait_for_each_other(store):
    with FileLock(store.folder / ".lock"):
        with pytest.raises(ArtifactError, match=r"another has been at work for 0.05 s; try again"):
            Store(store.folder, wait_s=0.05).delete(["cat"])
        assert found(Store(store.folder).search([1, 0], 1)) == ["cat"]  # readers do not
    one, two = Store(store.folder), Store(store.folder)
    one.add([[1, 2]], ["cow"])
    with pytest.raises(DataError, match="got 'cow'"):
        two.add([[1, 2]], ["cow"])
    two.add([[1, 3]], ["ant"])
    one.delete(["ant", "cat"])
    assert one.snapshot.ids == ("dog", "hen", "cow")
