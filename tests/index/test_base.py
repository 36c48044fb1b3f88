import functools
import json
import re
import shutil

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import seal
from mmgraph.index import Exact, Faiss, Hit, base, load

VECTORS = np.array([[1, 0], [0, 1], [1, 1], [2, 1]], dtype=np.float32)
IDS = ["cat", "cap", "dog", "hen"]
COLUMNS = {"year": [1, 2, 2, None], "tags": [["a"], [], ["a"], ["b", "c"]]}
BUILDS = {
    "exact": lambda **given: Exact(VECTORS, IDS, metadata=COLUMNS, **given),
    "flat": lambda **given: Faiss(VECTORS, IDS, metadata=COLUMNS, kind="flat", **given),
    "hnsw": lambda **given: Faiss(VECTORS, IDS, metadata=COLUMNS, kind="hnsw", links=4, **given),
    "ivf": lambda **given: Faiss(VECTORS, IDS, metadata=COLUMNS, kind="ivf", cells=2, **given),
    "ivfpq": lambda **given: Faiss(VECTORS, IDS, metadata=COLUMNS, kind="ivfpq", cells=2, **given),
}
KINDS = {
    "exact": Exact,
    **{kind: functools.partial(Faiss, kind=kind) for kind in ("flat", "hnsw", "ivf", "ivfpq")},
}


def found(hits):
    return [hit.id for hit in hits]


def reseal(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))
    seal(folder)


@pytest.fixture
def index():
    return Exact(VECTORS, IDS, metadata=COLUMNS)


@pytest.fixture
def folder(tmp_path, index):
    index.save(tmp_path / "index")
    return tmp_path / "index"


def test_hits_carry_id_score_metadata_position_and_subgraph():
    graphs = [HeteroData() for _ in IDS]
    index = Exact(VECTORS, IDS, metadata=COLUMNS, subgraph=graphs.__getitem__)
    row = {"year": 2, "tags": ["a"]}
    assert index.search([5, 5], 1) == [Hit("dog", 1.0, row, 2, graphs[2])]
    assert len(index) == 4
    assert index.vector("hen").tolist() == [2, 1]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, ["cat", "hen", "dog", "cap"]),
        ({"year": 2}, ["dog", "cap"]),
        ({"year": None}, ["hen"]),
        ({"year": {1, None}}, ["cat", "hen"]),
        ({"year": (2,), "tags": [["a"]]}, ["dog"]),
        ({"tags": [["a"], ["b", "c"]]}, ["cat", "hen", "dog"]),
        ({"year": 7}, []),
        ({"year": []}, []),
    ],
)
@pytest.mark.parametrize("kind", BUILDS)
def test_where(kind, where, ids):
    assert found(BUILDS[kind]().search([1, 0], where=where)) == ids


def test_exclude_and_search_id(index):
    assert found(index.search([1, 0], exclude=["cat", "dog"])) == ["hen", "cap"]
    assert found(index.search_id("cat", 2)) == ["hen", "dog"]
    assert found(index.search_id("cat", 2, exclude=["hen"])) == ["dog", "cap"]
    assert found(index.search_id("cat", where={"year": 1})) == []


def test_no_queries_and_wide_k(index):
    assert index.search_batch(np.empty((0, 2))) == []
    assert len(index.search([1, 0], 10**12)) == 4
    assert found(index.search([1, 0], np.int64(1))) == ["cat"]


def test_metadata_is_copied():
    columns = {"year": [1, 2, 3, 4], "pair": [(1, 2)] * 4}
    index = Exact(VECTORS, IDS, metadata=columns)
    columns["year"][0] = 9
    assert index.search([1, 0], 1)[0].metadata == {"year": 1, "pair": [1, 2]}


@pytest.mark.parametrize(
    ("vectors", "ids", "given", "error", "message"),
    [
        ([], [], {}, DataError, r"\[items, channels\], channels at least 1, got \[0\]; .*np.empty\(\(0, channels"),
        (np.empty((3, 0)), "abc", {}, DataError, r"channels at least 1, got \[3, 0\]"),
        ([1, 2], "ab", {}, DataError, r"\[items, channels\], channels at least 1, got \[2\]; give one row"),
        ([[1], [2, 3]], "ab", {}, DataError, "must be an array of real numbers, but .*; stack equal rows"),
        ([["x"]], "a", {}, DataError, "Vectors must hold real numbers, got dtype <U1; convert"),
        (torch.ones(1, 1, dtype=torch.cfloat), "a", {}, DataError, "real numbers, got dtype complex64"),
        ([[1], [np.nan]], "ab", {}, DataError, "Vectors must be finite in float32: row 1 holds nan; leave"),
        ([[1, 2], [3, 1e39]], "ab", {}, DataError, "Vectors must be finite in float32: row 1 holds inf"),
        ([[1], [2]], "abc", {}, DataError, "as many as vectors: got 3 ids for 2 vectors; pair"),
        ([[1]] * 4, "abcb", {}, DataError, "unique: 'b' stands at positions 1 and 3; rename one"),
        ([[1], [2]], ["a", 7], {}, DataError, r"Ids must be strings, got 7 at position 1; write str\(id\)"),
        ([[1], [2]], ["a", "\udc80"], {}, DataError, r"Unicode text, got '\\udc80' at position 1; decode"),
        ([[1]], "a", {"metadata": {"y": [1, 2]}}, DataError, "column .y. .* got 2 for 1 vectors; use None"),
        ([[1]], "a", {"metadata": {"y": [np.int64(1)]}}, DataError, r"'y' must hold JSON .* int64 .*\.tolist"),
        ([[1]], "a", {"metadata": {"y": [np.nan]}}, DataError, "'y' must hold JSON .* NaN to None"),
        ([[1]], "a", {"metadata": {"y": ["\udc80"]}}, DataError, "'y' must hold JSON .* surrogates"),
        ([[1]], "a", {"metric": "l1"}, ConfigError, r"'metric' must be one of \['cosine', .*, got 'l1'"),
    ],
)
def test_construction_errors(vectors, ids, given, error, message):
    with pytest.raises(error, match=message):
        Exact(vectors, ids, **given)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: i.search([1, 2, 3]), DataError, r"shape \[queries, 2\], got \[1, 3\]; encode them with"),
        (lambda i: i.search(VECTORS), DataError, r"\[channels\], got \[4, 2\]; search_batch takes several"),
        (lambda i: i.search_batch([1, 2]), DataError, r"shape \[queries, 2\], got \[2\]"),
        (lambda i: i.search([1, np.nan]), DataError, "Queries must be finite in float32: row 0 holds nan"),
        (lambda i: i.search_batch([[1, 1], [-np.inf, 1]]), DataError, "row 1 holds -inf"),
        (lambda i: i.search([1, 0], 0), ConfigError, "Option 'k' must be a whole number at least 1, got 0"),
        (lambda i: i.search([1, 0], 1.5), ConfigError, "whole number at least 1, got 1.5; give such"),
        (lambda i: i.vector("caz"), DataError, r"one of the 4 in the index, got 'caz'; did you mean .*'cat'"),
        (lambda i: i.search_id("xyz"), DataError, "got 'xyz'; ids look like 'cat'"),
        (lambda i: i.search([1, 0], exclude=["doge"]), DataError, r"got 'doge'; did you mean one of \['dog'\]"),
        (lambda i: i.search([1, 0], where={"age": 1}), ConfigError, r"columns \['year', 'tags'\], got 'age'"),
    ],
)
def test_search_errors(index, call, error, message):
    with pytest.raises(error, match=message):
        call(index)


@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_round_trip(kind, metric, tmp_path):
    index = BUILDS[kind](metric=metric, fingerprint="5eed")
    index.save(str(tmp_path / "index"))
    again = load(tmp_path / "index", fingerprint="5eed")
    assert (type(again), again.kind, again.options) == (type(index), kind, index.options)
    assert (again.ids, again.metadata, again.metric) == (index.ids, index.metadata, metric)
    assert again.fingerprint == "5eed"
    for asked in ({}, {"where": {"year": 2}}, {"exclude": ["cap"]}):
        assert again.search_batch(VECTORS, 3, **asked) == index.search_batch(VECTORS, 3, **asked)
    files = {"meta.json", "vectors.safetensors", "sha256.json"} | ({"index.faiss"} if kind != "exact" else set())
    assert {path.name for path in (tmp_path / "index").iterdir()} == files


def test_load_takes_subgraphs(folder):
    graphs = [HeteroData() for _ in IDS]
    assert load(folder, subgraph=graphs.__getitem__).search([0, 1], 1)[0].subgraph is graphs[1]
    assert load(folder).search([0, 1], 1)[0].subgraph is None


def test_load_refuses_another_schema(folder, tmp_path):
    BUILDS["flat"](fingerprint="a" * 64).save(tmp_path / "other")
    text = "Index of another schema: .* must have fingerprint 'bbbbbbbbbbbb', got 'aaaaaaaaaaaa'; build it again"
    with pytest.raises(ArtifactError, match=text):
        load(tmp_path / "other", fingerprint="b" * 64)
    with pytest.raises(ArtifactError, match="fingerprint 'bbbbbbbbbbbb', got ''"):
        load(folder, fingerprint="b" * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "must have format version 1 or older, got 2; upgrade mmgraph"),
        ({"version": None}, "must have format version 1 or older, got None"),
        ({"format": "mmgraph.run"}, "must hold the format 'mmgraph.index', got 'mmgraph.run'; give the folder of one"),
        ({"shape": [4, 3]}, r"vectors must have shape \[4, 3\], got \[4, 2\]; build it again"),
        ({"kind": "pq"}, "Option 'kind' must be one of .* got 'pq'.*; build it again"),
        ({"kind": "exact", "ids": ["a"]}, "got 1 ids for 4 vectors"),
        ({"kind": "ivf", "options": {}}, "must be a faiss IndexIVFFlat for kind 'ivf', got IndexFlat"),
        ({"options": {"depth": 1}}, "TypeError: .*depth"),
        ({"metadata": [1]}, "AttributeError: "),
    ],
)
def test_load_refuses_what_contradicts_itself(changes, message, tmp_path):
    BUILDS["flat"]().save(tmp_path / "index")
    reseal(tmp_path / "index", **changes)
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path / "index")


@pytest.mark.parametrize("damage", [b"", b"x" * 50])
@pytest.mark.parametrize("name", ["vectors.safetensors", "index.faiss", "meta.json"])
def test_load_refuses_sealed_rubbish(name, damage, tmp_path):
    BUILDS["flat"]().save(tmp_path / "index")
    (tmp_path / "index" / name).write_bytes(damage)
    seal(tmp_path / "index")
    with pytest.raises(ArtifactError, match=re.escape(str(tmp_path / "index"))):
        load(tmp_path / "index")


@pytest.mark.parametrize("kind", BUILDS)
def test_every_flipped_byte_and_every_cut_is_found(kind, tmp_path):
    BUILDS[kind]().save(tmp_path / "index")
    for path in sorted((tmp_path / "index").iterdir()):
        whole = path.read_bytes()
        places = range(0, len(whole), max(1, len(whole) // 40))
        damaged = [whole[:n] + bytes([whole[n] ^ 0xFF]) + whole[n + 1 :] for n in places]
        for data in damaged + [whole[:n] for n in places]:
            path.write_bytes(data)
            with pytest.raises(ArtifactError, match=re.escape(str(path.parent))):
                load(tmp_path / "index")
        path.unlink()
        with pytest.raises(ArtifactError, match=re.escape(path.name)):
            load(tmp_path / "index")
        path.write_bytes(whole)
    assert found(load(tmp_path / "index").search([1, 0], 1)) == ["cat"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere' must exist; it does not"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", BUILDS)
def test_a_killed_write_leaves_the_older_index(kind, folder, monkeypatch):
    def killed(draft):
        raise KeyboardInterrupt

    monkeypatch.setattr(base, "seal", killed)
    with pytest.raises(KeyboardInterrupt):
        BUILDS[kind](metric="dot").save(folder)
    assert load(folder).metric == "cosine"
    assert [path.name for path in folder.parent.iterdir()] == ["index"]


def test_saving_again_replaces_the_older_index(folder):
    BUILDS["hnsw"]().save(folder)
    assert load(folder).kind == "hnsw"
    Exact([[1.0]], ["one"]).save(folder)
    assert load(folder).ids == ("one",)
    assert not (folder / "index.faiss").exists()


def test_an_index_can_be_moved(folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert found(load(tmp_path / "elsewhere").search([1, 0], 1)) == ["cat"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_an_empty_index_finds_nothing(kind, metric, tmp_path):
    given = {"metadata": {"year": []}, "metric": metric}
    index = KINDS[kind](np.empty((0, 3)), [], **given)
    index.save(tmp_path / "index")
    for one in (index, load(tmp_path / "index")):
        assert len(one) == 0
        assert one.search([1, 0, 0]) == []
        assert one.search_batch(np.ones((2, 3)), where={"year": 1}) == [[], []]
        assert [array.shape for array in one.search_arrays(np.ones((2, 3)))] == [(2, 0), (2, 0)]
        with pytest.raises(DataError, match=r"shape \[queries, 3\], got \[1, 2\]"):
            one.search([1, 0])
        with pytest.raises(DataError, match="one of the index, which is empty, got 'a'; add items first"):
            one.vector("a")


@pytest.mark.parametrize("kind", BUILDS)
def test_arrays_are_the_hits(kind):
    index = BUILDS[kind]()
    queries = np.array([[1, 0], [0, 2], [0, 0]])
    for asked in ({}, {"where": {"year": 2}}, {"where": {"year": 9}}, {"exclude": IDS[:3]}):
        positions, scores = index.search_arrays(queries, 3, **asked)
        assert (positions.shape, positions.dtype, scores.dtype) == ((3, 3), np.int64, np.float64)
        assert ((positions == -1) == np.isneginf(scores)).all()
        for hits, places, values in zip(index.search_batch(queries, 3, **asked), positions, scores, strict=True):
            assert [(hit.position, hit.score) for hit in hits] == [
                (p, s) for p, s in zip(places, values, strict=True) if p >= 0
            ]
    assert index.search_arrays(queries, 10**12)[0].shape == (3, 4)
    assert index.search_arrays(np.empty((0, 2)), 3)[0].shape == (0, 3)


def test_scores_of_some_items_are_those_of_the_search(index):
    hits = index.search([3, 1])
    assert index.scores([3, 1], [hit.position for hit in hits]).tolist() == [hit.score for hit in hits]
    assert index.scores([3, 1], []).shape == (0,)
    with pytest.raises(DataError, match=r"shape \[queries, 2\], got \[1, 3\]"):
        index.scores([1, 2, 3], [0])


def test_positions_and_columns(index):
    assert [index.position(id) for id in IDS] == [0, 1, 2, 3]
    assert index.column("year") == [1, 2, 2, None]
    with pytest.raises(ConfigError, match=r"columns \['year', 'tags'\], got 'age'"):
        index.column("age")
    assert index.allowed() is None
    assert index.allowed({"year": 2}, ["dog"]).tolist() == [1]


def test_load_refuses_another_model(tmp_path):
    BUILDS["ivfpq"](model="a" * 64).save(tmp_path / "index")
    assert load(tmp_path / "index", model="a" * 64).model == "a" * 64
    with pytest.raises(
        ArtifactError, match="another model: .* must have model 'bbbbbbbbbbbb', got 'aaaaaaaaaaaa'; build"
    ):
        load(tmp_path / "index", model="b" * 64)


def test_an_index_of_before_there_were_models(folder):
    meta = json.loads((folder / "meta.json").read_text())
    del meta["model"]
    (folder / "meta.json").write_text(json.dumps(meta))
    seal(folder)
    assert load(folder).model == ""
    with pytest.raises(ArtifactError, match="must have model 'm', got ''"):
        load(folder, model="m")
