"""Graphs as tables: the same graph comes back, to the bit, or it is said what would be lost."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ArtifactError, DataError
from mmgraph.interop import Tables, from_tables, to_tables
from mmgraph.testing import fake_graph, fake_knowledge


@given(st.data())
def test_any_graph_comes_back(graphs, same, data):
    graph, schema = data.draw(graphs)
    back, payloads = from_tables(to_tables(graph, schema))
    same(graph, back)
    assert payloads == {}


@pytest.mark.parametrize("make", [fake_graph, fake_knowledge])
def test_labels_masks_and_payloads_come_back(make, same, tmp_path):
    graph, schema = make()
    node = next(iter(schema.nodes))
    texts = [None, *(f"é {row}\n" for row in range(1, graph[node].num_nodes))]
    tables = Tables.read(to_tables(graph, schema, {node: texts}).write(tmp_path / "tables"))
    back, payloads = from_tables(tables)
    same(graph, back)
    assert payloads == {node: texts}
    assert tables.schema == schema


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: setattr(g, "note", 1), "got 'note' on the graph; remove it"),
        (lambda g: setattr(g["a"], "name", ["x", "y"]), "'name' of 'a' must be a tensor .* got a list; remove it"),
        (lambda g: setattr(g["a"], "y", torch.zeros(3)), r"'y' of 'a' must be a tensor with a row for each of 2, got"),
        (lambda g: setattr(g["a"], "y", torch.zeros(2).bfloat16()), "can't be kept as torch.bfloat16"),
        (lambda g: setattr(g["a", "to", "a"], "source", torch.zeros(1)), "must not have a tensor 'source'"),
    ],
)
def test_what_would_be_lost_is_refused(small, change, message):
    graph, schema = small()
    change(graph)
    with pytest.raises(DataError, match=message):
        to_tables(graph, schema)


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ({"b": []}, r"payloads must be of node types, \['a'\], got 'b'"),
        ({"a": ["x"]}, "must be one for each of its 2 nodes, got 1 of them"),
        ({"a": ["x", b"y"]}, r"must be all texts or all bytes, got \['bytes', 'str'\]"),
    ],
)
def test_payloads_must_fit(small, payloads, message):
    with pytest.raises(DataError, match=message):
        to_tables(*small(), payloads)


def test_tables_must_fit(small, tmp_path):
    import pyarrow as pa

    graph, schema = small()
    tables = to_tables(graph, schema)
    with pytest.raises(DataError, match="a table for each type of the schema, got none for 'a'"):
        from_tables(Tables(schema, {}, tables.edges))
    wrong = {("a", "to", "a"): pa.table({"source": [0], "target": [2]})}
    with pytest.raises(DataError, match="must be a row of 'a', 0 to 1, got 2 to 2"):
        from_tables(Tables(schema, tables.nodes, wrong))
    for column, message in (
        ([1.0, None], "a number in each row, got 1 without"),
        (["b", "c"], "must be numbers, got string"),
    ):
        with pytest.raises(DataError, match=message):
            from_tables(Tables(schema, {"a": pa.table({"x": column})}, tables.edges))
    tables.write(tmp_path / "t")
    (tmp_path / "t" / "edge.0000.parquet").write_bytes(b"")
    with pytest.raises(ArtifactError):
        Tables.read(tmp_path / "t")
