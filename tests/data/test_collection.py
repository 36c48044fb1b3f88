"""Reading: indices, splits, sizes, columns, payloads; and parts that disagree."""

import hashlib
import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, Columns, ColumnsWriter, OutOfRangeError
from mmgraph.errors import ArtifactError, DataError, MMGraphError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema

OF = ("a", "of", "b")


def graph(number):
    """Graph ``number`` has that many nodes and edges, and each value says whose it is."""
    graph = HeteroData()
    graph["a"].x = torch.full((number, 3), float(number))
    graph["b"].num_nodes = 2
    graph[OF].edge_index = torch.stack([torch.arange(number), torch.ones(number, dtype=torch.long)])
    graph[OF].edge_attr = torch.full((number, 1), float(number))
    graph.y = torch.tensor([number])
    return graph


def payloads(number):
    return {
        "id": f"p{number}",
        ("a", "text"): [f"{number}/{row}" if row else None for row in range(number)],
        ("b", "raw"): [b"\0\xff", bytes([number])],
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("collection") / "c"
    schema = Schema(nodes={"a": NodeSpec(channels=3), "b": NodeSpec()}, edges={OF: EdgeSpec(channels=1)})
    with CollectionWriter(path, schema) as writer:
        for number in range(5):
            writer.add(graph(number), payloads=payloads(number), split="train" if number % 2 else None)
    with CollectionWriter(path, append=True) as writer:
        for number in range(5, 7):
            writer.add(graph(number), payloads=payloads(number), split="test")
    return path


@pytest.fixture
def collection(made):
    return Collection(made)


def test_length_iteration_and_repr(collection):
    assert [int(one.y) for one in collection] == [*range(7)]
    assert len(collection) == 7
    assert repr(collection) == f"Collection({str(collection.path)!r}, samples=7)"


@pytest.mark.parametrize("index", [3, -4, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_an_index_is_a_whole_number(collection, index):
    assert int(collection[index].y) == 3


@pytest.mark.parametrize(
    "indices",
    [
        [5, -1, 5, 0, -7],
        (5, -1, 5, 0, -7),
        np.array([5, -1, 5, 0, -7], dtype=np.int8),
        torch.tensor([5, -1, 5, 0, -7]),
    ],
)
def test_indices_may_be_repeated_negative_and_in_any_order(collection, indices):
    assert collection.batch(indices).y.tolist() == [5, 6, 5, 0, 0]


@pytest.mark.parametrize(
    "indices", [range(2, 6), slice(2, 6), [2, 3, 4, 5], range(5, 1, -1), [2, 4, 3, 5], [2, 2, 4], [3]]
)
def test_runs_are_read_as_well(collection, indices):
    if isinstance(indices, slice):
        with pytest.raises(DataError, match="whole number"):
            collection.batch(indices)
    else:
        assert collection.batch(indices).y.tolist() == list(indices)


@pytest.mark.parametrize(("index", "value"), [(7, 7), (-8, -8), (2**40, 2**40), (2**70, 2**70)])
def test_a_sample_that_is_not_there_is_named(collection, index, value):
    for ask in (collection.__getitem__, collection.payloads, lambda one: collection.batch([0, one])):
        with pytest.raises(MMGraphError, match=rf"{value}" if value < 2**64 else "whole number") as caught:
            ask(index)
        if value < 2**64:
            assert isinstance(caught.value, OutOfRangeError)
            assert isinstance(caught.value, IndexError)
            assert "between -7 and 6 (there are 7 samples)" in str(caught.value)


@pytest.mark.parametrize(
    ("indices", "got"),
    [
        ([], r"float64 \[0\]"),
        ([1.0], r"float64 \[1\]"),
        ([True, False], r"bool \[2\]"),
        ([[1]], r"int64 \[1, 1\]"),
        (["a"], r"<U1 \[1\]"),
        (3, r"int64 \[\]"),
        ([None], "object"),
    ],
)
def test_what_is_no_index_is_named(collection, indices, got):
    with pytest.raises(DataError, match=rf"at least one whole number, got {got}"):
        collection.batch(indices)


def test_a_sample_asked_for_by_something_else_is_refused(collection):
    for index in (slice(0, 2), "a", 1.0, None, True, [1]):
        with pytest.raises(DataError, match="whole number"):
            collection[index]


def test_splits_and_sizes(collection):
    assert {name: numbers.tolist() for name, numbers in collection.splits.items()} == {"train": [1, 3], "test": [5, 6]}
    assert collection.splits["train"].dtype == np.int64
    assert collection.sizes.tolist() == [2 * number + 2 for number in range(7)]


def test_columns_are_all_rows_one_after_another(collection):
    rows = [number for number in range(7) for _ in range(number)]
    assert collection.column("a", "x").read(0, 21)[:, 0].tolist() == rows
    assert collection.column(OF, "edge_attr").array[:, 0].tolist() == rows
    assert collection.column(OF, "edge_index").array[-6:].tolist() == [[row, 1] for row in range(6)]
    assert collection.column(None, "y").array.tolist() == [*range(7)]
    assert collection.offsets("a", "x").tolist() == [0, 0, 1, 3, 6, 10, 15, 21]
    assert collection.offsets(None, "y").tolist() == [*range(8)]
    for kind, name, message in [
        ("z", "x", r"must be one of \[None, 'a', 'b', .*\], got 'z'"),
        ("a", "z", r"Attribute of 'a' must be one of \['x'\], got 'z'"),
        ("b", "num_nodes", r"Attribute of 'b' must be one of \[\]"),
    ]:
        with pytest.raises(DataError, match=message):
            collection.column(kind, name)
        with pytest.raises(DataError, match=message):
            collection.offsets(kind, name)


def test_payloads_are_what_went_in(collection):
    assert [collection.payloads(number) for number in range(7)] == [payloads(number) for number in range(7)]
    assert collection.payloads(-1) == payloads(6)
    texts = collection.payload("a", "text")
    assert isinstance(texts, pa.ChunkedArray)
    assert texts.type == pa.large_string()
    assert texts.to_pylist() == [text for number in range(7) for text in payloads(number)["a", "text"]]
    assert collection.payload("b", "raw").type == pa.large_binary()
    assert collection.payload(None, "id").to_pylist() == [f"p{number}" for number in range(7)]
    with pytest.raises(DataError, match=r"must be one of \['id', \('a', 'text'\), \('b', 'raw'\)\], got \('a', 'id'\)"):
        collection.payload("a", "id")


def test_any_arrow_reader_reads_the_payloads(collection):
    (first, second) = sorted((collection.path / "payloads").glob("graph.id*"))
    assert pa.ipc.open_file(str(first)).read_all().to_pydict() == {"id": [f"p{number}" for number in range(5)]}
    assert pa.ipc.open_file(str(second)).read_all().num_rows == 2


def test_payloads_may_be_none_for_a_while_and_fill_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr("mmgraph.data.columns.payload._SEGMENT_BYTES", 500)
    values = [None] * 9 + ["x" * number for number in range(60)]
    with CollectionWriter(tmp_path / "c") as writer:
        for number, value in enumerate(values):
            writer.add(graph(1), payloads={"id": value, "nothing": None, ("b", "text"): [value, None]})
            if number == 4:
                writer.commit()
    collection = Collection(tmp_path / "c")
    assert len(list((tmp_path / "c/payloads").glob("graph.id*"))) > 5
    assert collection.payload(None, "id").to_pylist() == values
    assert collection.payload(None, "nothing").to_pylist() == [None] * len(values)
    assert [collection.payloads(number)["b", "text"] for number in range(69)] == [[value, None] for value in values]
    with CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(graph(1), payloads={"id": "last", "nothing": b"0", ("b", "text"): ["a", "b"]})
    assert Collection(tmp_path / "c").payload(None, "nothing").to_pylist() == [*[None] * 69, b"0"]


def test_schema_comes_back(collection):
    assert collection.schema.nodes["a"].channels == 3
    assert collection.schema.edges[OF].channels == 1
    collection.schema.check(collection[4])


def test_an_empty_collection_can_be_read_and_added_to(tmp_path):
    with CollectionWriter(tmp_path / "c"):
        pass
    empty = Collection(tmp_path / "c")
    empty.verify()
    assert (len(empty), list(empty), empty.sizes.tolist(), empty.splits) == (0, [], [], {})
    with pytest.raises(OutOfRangeError, match="there are 0 samples.*got 0"):
        empty[0]
    with CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(graph(2), payloads={"id": "p"})
    assert Collection(tmp_path / "c").payloads(0) == {"id": "p"}


def test_a_collection_can_be_sent_to_another_process_in_its_version(made, tmp_path):
    shutil.copytree(made, tmp_path / "c")
    collection = Collection(tmp_path / "c")
    with CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(graph(7), payloads=payloads(7))
    twin = pickle.loads(pickle.dumps(collection))
    assert len(twin) == len(collection) == 7
    assert twin.batch([6, 2]).y.tolist() == [6, 2]


def test_types_of_any_name_become_files(tmp_path):
    names = ["a b", "A", "ä/ö", "x.y", "..", "é" * 120, "%", "a%2Fb"]
    one = HeteroData()
    for number, name in enumerate(names):
        one[name].x = torch.full((1, 2), float(number))
    one["A", "..", "ä/ö"].edge_index = torch.zeros(2, 1, dtype=torch.long)
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(one, payloads={("ä/ö", "../../t"): ["text"], ("é" * 120, "t"): ["long"]})
    collection = Collection(tmp_path / "c")
    assert [float(collection[0][name].x[0, 0]) for name in names] == [*range(len(names))]
    assert collection.payloads(0) == {("ä/ö", "../../t"): ["text"], ("é" * 120, "t"): ["long"]}
    assert {path.name for path in tmp_path.iterdir()} == {"c"}


def test_offsets_that_become_their_own_are_right(tmp_path):
    """A column shares its offsets with its type until the first sample that needs others, commits apart or not."""
    for at in range(4):
        with CollectionWriter(tmp_path / str(at)) as writer:
            for number, (rows, labels, units) in enumerate([(2, 2, 1), (0, 0, 1), (3, 1, 1), (1, 2, 0), (2, 2, 3)]):
                if number == at:
                    writer.commit()
                one = HeteroData()
                one["a"].x = torch.full((rows, 1), float(number))
                one["a"].y = torch.full((labels,), number)
                one.z = torch.full((units,), number)
                writer.add(one)
        collection = Collection(tmp_path / str(at))
        collection.verify()
        assert [len(one["a"].y) for one in collection] == [2, 0, 1, 2, 2]
        assert [len(one.z) for one in collection] == [1, 1, 1, 0, 3]
        assert collection.batch([4, 2])["a"].y.tolist() == [4, 4, 2]
        assert collection.offsets("a", "y").tolist() == [0, 2, 2, 3, 5, 7]
        assert collection.offsets("a", "x").tolist() == [0, 2, 2, 5, 6, 8]


def seal(folder, change):
    """Changes the head of a collection by hand, and gives it the digest that belongs to it."""
    path = folder / "collection.json"
    head = json.loads(path.read_text())
    head.pop("sha256")
    change(head)
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    path.write_text(json.dumps({**head, "sha256": hashlib.sha256(text.encode()).hexdigest()}))


def rewrite(folder, name, array):
    """Puts other rows into a column, with the digest that belongs to them."""
    made = Columns.open(folder, kind="collection").head.columns[name]
    with ColumnsWriter(folder.parent / "other", kind="csc") as writer:
        writer.append(name, array)
        writer.commit({})
    shutil.copy(folder.parent / "other" / made.file, folder / made.file)
    other = Columns.open(folder.parent / "other", kind="csc").head.columns[name]
    seal(folder, lambda head: head["columns"].update({name: other.model_dump(mode="json")}))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("offsets.node.a", [0, 0, 1, 6, 3, 10, 15, 21], r"offsets\.node\.a.*do not fall, .*got 6 to 3 for sample 3"),
        ("offsets.node.a", [0, 0, -1, 3, 6, 10, 15, 21], r"do not fall, within 21 rows, got 0 to -1 for sample 1"),
        ("offsets.node.a", [0, 0, 1, 22, 6, 10, 15, 21], r"do not fall, within 21 rows, got 1 to 22 for sample 2"),
        ("offsets.node.a", [1, 1, 1, 3, 6, 10, 15, 21], r"'offsets.node.a' must begin with 0, got 1"),
        ("offsets.node.a", [0, 0, 1, 3, 6, 10, 15, 20], r"'node.a.x' must have 20 rows, got 21"),
        ("offsets.node.a", [0, 0, 1, 3, 6, 10, 15], r"'offsets.node.a' must be \[8\] of int64, got .*\[7\]"),
        ("node.a.x", np.zeros((20, 3), np.float32), r"'node.a.x' must have 21 rows, got 20"),
        ("node.a.x", np.zeros((21, 4), np.float32), r"'node.a.x' must be \[3\] float32, got .*\[21, 4\], float32"),
        ("node.a.x", np.zeros((21, 3), np.float64), r"'node.a.x' must be \[3\] float32, got .* float64"),
        ("edge.a.of.b.edge_index", np.full((21, 2), 3, np.int32), r"join nodes of 'a' below 1 in sample 1, got 3"),
        ("edge.a.of.b.edge_index", np.full((21, 2), -1, np.int32), r"join nodes of 'a' below 1 in sample 1, got -1"),
    ],
)
def test_parts_that_disagree_are_named_at_the_latest_when_they_are_read(made, tmp_path, name, array, message):
    shutil.copytree(made, tmp_path / "c")
    rewrite(tmp_path / "c", name, np.array(array))

    def read():
        Collection(tmp_path / "c").batch(range(7))

    def verify():
        Collection(tmp_path / "c").verify()

    def one_by_one():
        list(Collection(tmp_path / "c"))

    for work in (read, verify, one_by_one):
        with pytest.raises(ArtifactError, match=message):
            work()


def test_everything_is_verified_part_by_part(made, monkeypatch):
    monkeypatch.setattr("mmgraph.data.collection._PART_ROWS", 9)
    collection = Collection(made)
    collection.verify()
    assert collection._guard._seen.all()


def test_sizes_of_offsets_that_fall_are_refused(made, tmp_path):
    shutil.copytree(made, tmp_path / "c")
    rewrite(tmp_path / "c", "offsets.node.a", np.array([0, 0, 1, 6, 3, 10, 15, 21]))
    collection = Collection(tmp_path / "c")
    assert collection[0].num_nodes == 2  # others are fine
    for ask in (lambda: collection.sizes, lambda: collection.offsets("a", "x")):
        with pytest.raises(ArtifactError, match="do not fall, within 21 rows, got 6 to 3 for sample 3"):
            ask()


def layout(head, number):
    return head["meta"]["layout"]["stores"][number]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["meta"].pop("samples"), r"say what it holds, but samples: Field required"),
        (lambda h: h["meta"].update(samples=6), r"must be \[7\] of int64"),
        (lambda h: h["columns"].pop("node.a.x"), r"must have a column 'node.a.x'"),
        (lambda h: h["files"].pop("splits.json"), r"must have a file 'splits.json'"),
        (lambda h: layout(h, 3).update(type=["a", "of", "z"]), r"edge type \('a', 'of', 'z'\) must join node types"),
        (lambda h: layout(h, 1)["attributes"][0].update(dtype="float64"), r"'node.a.x' must be \[3\] float64"),
        (lambda h: layout(h, 1)["attributes"][0].update(dtype="system"), r"'node.a.x' must be \[3\] system"),
        (lambda h: layout(h, 1)["attributes"][0].update(kind="other"), r"kind: Input should be 'count'"),
        (lambda h: h["meta"]["payloads"][0]["segments"].pop(), r"payload 'id' must have 7 values, got 5"),
        (lambda h: h.update(version=9), r"made by a newer mmgraph: it has format 9, this one reads up to 1; upgrade"),
    ],
)
def test_heads_that_disagree_with_the_columns_are_named_on_opening(made, tmp_path, change, message):
    shutil.copytree(made, tmp_path / "c")
    seal(tmp_path / "c", change)
    with pytest.raises(ArtifactError, match=message):
        Collection(tmp_path / "c")


def replace(folder, name, data):
    """Puts other bytes into a whole file, with the digest that belongs to them."""

    def change(head):
        (folder / head["files"][name]["file"]).write_bytes(data)
        head["files"][name].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    seal(folder, change)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("splits.json", b"[]", "splits must be ranges of samples"),
        ("splits.json", b'{"train": [[0, 8]]}', "within 7 samples, got 0, 8 in 'train'"),
        ("splits.json", b'{"train": [[3, 1]]}', "within 7 samples, got 3, 1 in 'train'"),
        ("splits.json", b'{"train": [3]}', "splits must be ranges of samples"),
        ("splits.json", b'{"train": [[0, 1], [0.5, 2.0]]}', "within 7 samples, got 0.5, 2.0 in 'train'"),
        ("splits.json", b"\xff", "splits must be ranges of samples"),
        ("schema.json", b"{", "must hold a schema, but"),
        ("schema.json", b"\xff", "must hold a schema, but"),
        ("schema.json", b'{"nodes": {"a": {}}}', r"schema declares \['a'\], its columns are of \['a', 'b', \('a'"),
        (
            "schema.json",
            Schema(nodes={"a": NodeSpec(channels=4), "b": NodeSpec()}, edges={OF: EdgeSpec()}).to_json().encode(),
            r"schema declares 4 channels for 'a', its column has \(3,\)",
        ),
        (
            "schema.json",
            Schema(nodes={"a": NodeSpec(channels=3), "b": NodeSpec(channels=0)}, edges={OF: EdgeSpec()})
            .to_json()
            .encode(),
            r"schema declares 0 channels for 'b', its column has None",
        ),
    ],
)
def test_whole_files_that_disagree_are_named_on_opening(made, tmp_path, name, data, message):
    shutil.copytree(made, tmp_path / "c")
    replace(tmp_path / "c", name, data)
    with pytest.raises(ArtifactError, match=message):
        Collection(tmp_path / "c")


@pytest.mark.parametrize(("data", "message"), [(b"no arrow", "must be an Arrow file of one column"), (b"", "Arrow")])
def test_payload_files_of_something_else_are_named(made, tmp_path, data, message):
    shutil.copytree(made, tmp_path / "c")
    replace(tmp_path / "c", "payloads/graph.id.0.arrow", data)
    with pytest.raises(ArtifactError, match=message):
        Collection(tmp_path / "c").payloads(0)


def test_payload_files_of_another_length_are_named(made, tmp_path):
    shutil.copytree(made, tmp_path / "c")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema([("id", pa.large_string())])) as writer:
        writer.write_table(pa.table({"id": pa.array(["a"], pa.large_string())}))
    replace(tmp_path / "c", "payloads/graph.id.0.arrow", sink.getvalue().to_pybytes())
    with pytest.raises(ArtifactError, match="must hold 5 values, got 1"):
        Collection(tmp_path / "c").payload(None, "id")
