"""Payload files: values that repeat are kept once, whatever they are, and come back as they were."""

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, Stream
from mmgraph.data.columns.payload import PayloadBuffer, PayloadHead
from mmgraph.errors import DataError


def written(folder, values, *, stream=True):
    graph = HeteroData()
    graph["a"].x = torch.zeros(len(values), 1)
    with CollectionWriter(folder) as writer:
        writer.add(graph, payloads={("a", "p"): Stream(len(values), iter(values)) if stream else values})
    return Collection(folder)


def segments(folder):
    found = []
    for file in sorted((folder / "payloads").iterdir(), key=lambda file: int(file.name.split(".")[-2])):
        with pa.memory_map(str(file)) as mapped:
            found.append(pa.ipc.open_file(mapped).read_all().column(0))
    return found


@pytest.mark.parametrize("kind", ["string", "binary"])
def test_values_that_repeat_are_kept_once(tmp_path, kind):
    values = [f"{row % 3}" * 100 if row % 7 else None for row in range(1000)]
    values = [value and value.encode() for value in values] if kind == "binary" else values
    collection = written(tmp_path / "c", values)
    (segment,) = segments(tmp_path / "c")
    assert pa.types.is_dictionary(segment.type)
    assert segment.type.value_type == (pa.large_binary() if kind == "binary" else pa.large_string())
    assert len(segment.chunk(0).dictionary) == 3
    assert segment.null_count == 143
    assert collection.payload("a", "p").to_pylist() == values
    assert collection.payloads(0)["a", "p"] == values
    assert sum(file.stat().st_size for file in (tmp_path / "c" / "payloads").iterdir()) < 10_000


@pytest.mark.parametrize(
    ("values", "once"),
    [
        ([f"text {row}" for row in range(100)], False),
        (["x" * 9] * 4, True),
        (["a", "b", "a", "b"], False),  # so short that places cost as much
        (["ab" * 9, "cd" * 9] * 4, True),
        ([None] * 9, False),
        (["x" * 10_000, *map(str, range(40)), *["x" * 10_000] * 3], True),  # few repeat, but large ones
    ],
)
def test_that_is_done_where_it_halves_the_file(tmp_path, values, once):
    written(tmp_path / "c", values)
    (segment,) = segments(tmp_path / "c")
    assert pa.types.is_dictionary(segment.type) == once
    assert Collection(tmp_path / "c").payload("a", "p").to_pylist() == values


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | st.text("ab", max_size=30), max_size=60), st.integers(60, 2000), st.booleans())
def test_any_values_come_back_from_any_segments(tmp_path_factory, values, size, stream):
    folder = tmp_path_factory.mktemp("any") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmgraph.data.columns.payload._SEGMENT_BYTES", size)
        patch.setattr("mmgraph.data.writer._STREAMED", 3)
        collection = written(folder, values, stream=stream)
    assert collection.payload("a", "p").to_pylist() == values
    assert collection.payloads(0)["a", "p"] == values


def test_files_with_and_without_a_dictionary_are_one_column(tmp_path, monkeypatch):
    monkeypatch.setattr("mmgraph.data.columns.payload._SEGMENT_BYTES", 4000)
    values = [*["same" * 9] * 300, *[f"{row}" * 9 for row in range(300)], *[None] * 300]
    collection = written(tmp_path / "c", values)
    kinds = {pa.types.is_dictionary(segment.type) for segment in segments(tmp_path / "c")}
    assert kinds == {True, False}
    column = collection.payload("a", "p")
    assert column.to_pylist() == values
    assert column.type == pa.dictionary(pa.int32(), pa.large_string())


def test_memory_holds_each_value_once():
    buffer = PayloadBuffer(PayloadHead(type=None, name="p"))
    for row in range(1000):
        assert not buffer.add([bytes([row % 3]) * 1_000_000])  # 3 MB, not a GB
    assert len(buffer.place) == 3
    assert buffer.waiting < 4_000_000
    _, data = buffer.flush()
    assert len(data) < 4_000_000
    assert not buffer.place
    assert buffer.waiting == 0


@pytest.mark.parametrize("off", [-1, 1])
def test_a_stream_has_the_values_that_it_says(tmp_path, off):
    graph = HeteroData()
    graph["a"].x = torch.zeros(600, 1)
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(graph, payloads={("a", "p"): Stream(600, map(str, range(600)))})
        writer.commit()
    message = rf"\('a', 'p'\) must have one value a node, 600, got {600 + off} in its stream"
    with pytest.raises(DataError, match=message), CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(graph, payloads={("a", "p"): Stream(600, map(str, range(600 + off)))})
    refused = pytest.raises(DataError, match="must be strings, bytes or None, got int")
    with refused, CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(graph, payloads={("a", "p"): Stream(600, range(600))})
    assert len(Collection(tmp_path / "c")) == 1  # what was committed stays
    refused = pytest.raises(DataError, match="must have one value a node, 600, got 599 values")
    with CollectionWriter(tmp_path / "d") as writer, refused:
        writer.add(graph, payloads={("a", "p"): Stream(599, iter(()))})


def test_a_stream_is_never_held_together(tmp_path):
    alive, most = 0, 0

    class Text(str):
        def __init__(self, value):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    graph = HeteroData()
    graph["a"].x = torch.zeros(50_000, 1)
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(graph, payloads={("a", "p"): Stream(50_000, (Text(f"{row:01000}") for row in range(50_000)))})
    assert most < 9_000  # a file of 8 MiB, of 50
    assert Collection(tmp_path / "c").payload("a", "p")[49_999].as_py() == f"{49_999:01000}"
