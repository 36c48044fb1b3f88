"""Bytes flipped, cut off or lost anywhere in a collection: a clear error or the right data, never anything else."""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, ColumnsWriter
from mmgraph.errors import ArtifactError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema

OF = ("a", "of", "b")


def graph(number):
    generator = torch.Generator().manual_seed(number)
    graph = HeteroData()
    graph["a"].x = torch.rand(number % 4, 3, generator=generator)
    graph["a"].mark = torch.rand(number % 4, generator=generator) > 0.5
    graph["b"].num_nodes = 2
    graph[OF].edge_index = torch.stack([torch.arange(number % 4), torch.ones(number % 4, dtype=torch.long)])
    graph.y = torch.tensor([number])
    return graph


def write(path):
    """A collection of two commits whose columns have many blocks each."""
    schema = Schema(nodes={"a": NodeSpec(channels=3), "b": NodeSpec()}, edges={OF: EdgeSpec()})
    for append in (False, True):
        with CollectionWriter(path, schema, append=append) as writer:
            for number in range(6):
                payloads = {"id": f"p{number}", ("a", "raw"): [bytes([row]) for row in range(number % 4)]}
                writer.add(graph(number), payloads=payloads, split="train" if number % 2 else "test")
    CollectionWriter(path, append=True).close()  # clears away what the second commit replaced
    return path


def read(path):
    """All that a collection says, in a form that can be compared."""
    collection = Collection(path)
    batch = collection.batch(range(len(collection)))
    found = [collection.batch([len(collection) - 1, 0]).y.tolist()]
    found += [
        value.tolist() if isinstance(value, torch.Tensor) else value for s in batch.stores for value in s.values()
    ]
    found += [collection.payloads(number) for number in range(len(collection))]
    found += [collection.payload("a", "raw").to_pylist(), collection.sizes.tolist()]
    found += [(name, numbers.tolist()) for name, numbers in collection.splits.items()]
    return [*found, None if collection.schema is None else collection.schema.to_json()]


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr("mmgraph.data.writer.ColumnsWriter", functools.partial(ColumnsWriter, block_bytes=32))
    return write(tmp_path / "c")


def files(path):
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)


def outcome(path, expected):
    """How a read ended: with an error of ours, or with the data as they were."""
    try:
        got = read(path)
    except ArtifactError as error:
        return "error" if str(path) in str(error) else f"an error that names no file: {error}"
    assert got == expected
    return "equal"


def test_two_thousand_flips_give_an_error_or_the_right_data(path):
    expected, names = read(path), files(path)
    original = {name: name.read_bytes() for name in names}
    rng = np.random.default_rng(0)
    ends = {"error": 0, "equal": 0}
    for case in range(2000):
        name = names[case % len(names)]
        data = bytearray(original[name])
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] ^= rng.integers(1, 256)
        name.write_bytes(data)
        ends[outcome(path, expected)] += data != original[name]
        name.write_bytes(original[name])
    assert read(path) == expected
    assert ends["error"] >= 1990  # among the rest are bytes of JSON that say the same, like "\n" for " "


def test_one_bit_anywhere_gives_an_error(path):
    """Each byte of each file but the spaces of the head."""
    expected = read(path)
    for name in files(path):
        original = name.read_bytes()
        for place in range(0, len(original), max(1, len(original) // 12)):
            data = bytearray(original)
            data[place] ^= 1 << place % 8
            name.write_bytes(data)
            assert outcome(path, expected) == "error", (name, place, bytes(data[place - 9 : place + 9]))
        name.write_bytes(original)


def test_files_cut_off_give_an_error(path):
    expected = read(path)
    rng = np.random.default_rng(1)
    for name in files(path):
        original = name.read_bytes()
        for length in {0, len(original) - 1, *rng.integers(0, len(original), 5).tolist()}:
            name.write_bytes(original[:length])
            same = name.name == "collection.json" and length == len(original) - 1  # the newline at its end
            assert outcome(path, expected) == ("equal" if same else "error"), (name, length)
        name.unlink()
        assert outcome(path, expected) == "error"
        name.write_bytes(original)


def test_what_lies_beyond_what_is_committed_does_not_count(path):
    expected = read(path)
    for name in sorted((path / "columns").iterdir()):
        with name.open("ab") as file:
            file.write(b"left by a writer that was killed" * 9)
    (path / "payloads/left.arrow").write_bytes(b"left")
    (path / "notes.txt").write_text("mine")
    assert read(path) == expected
    Collection(path).verify()
    with CollectionWriter(path, append=True) as writer:
        writer.add(graph(6), payloads={"id": "p6", ("a", "raw"): [b"0", b"1"]})
    collection = Collection(path)
    assert collection[12].y.item() == 6
    sizes = {column.path: column.rows * column.head.row_bytes for column in collection.columns.values()}
    assert {file: file.stat().st_size for file in sizes} == sizes
    assert not (path / "payloads/left.arrow").exists()
    assert (path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["offsets.node.a", "node.a.x", "edge.a.of.b.edge_index", "graph.y"])
def test_samples_whose_blocks_are_whole_are_read_beside_a_damaged_one(path, name):
    expected = [one.to_dict() for one in Collection(path)]
    file = path / "columns" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 16 * 8] ^= 1  # of a number its lowest byte, so that it stays plausible
    file.write_bytes(data)
    for ask in (lambda number: Collection(path)[number], lambda number: Collection(path).batch([number])[0]):
        refused = []
        for number in range(12):
            try:
                got = ask(number)
            except ArtifactError:
                refused.append(number)
            else:
                assert str(got.to_dict()) == str(expected[number])
        assert 0 < len(refused) < 7


def test_files_that_change_places_give_an_error(path):
    expected = read(path)
    columns = sorted((path / "columns").iterdir())
    for one, other in itertools.pairwise(columns):
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
        assert outcome(path, expected) == ("equal" if first == second else "error"), (one, other)
        one.write_bytes(first)
        other.write_bytes(second)
