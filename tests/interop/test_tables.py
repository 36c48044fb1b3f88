"""Graphs as tables: the same graph comes back, to the bit, or it is said what would be lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import ArtifactError, DataError
from mmgraph.interop import Tables, from_tables, to_tables
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import fake_graph, fake_knowledge
from mmgraph.testing.expect import difference

DTYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool]


@st.composite
def graphs(draw):
    """Types with no rows, no channels, tensors of any shape and type, NaN, edges of every kind."""
    graph, nodes, edges = HeteroData(), {}, {}
    names = draw(st.lists(st.sampled_from(["a", "b c", "d/é"]), min_size=1, max_size=3, unique=True))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    for name in names:
        rows, channels = draw(st.integers(0, 3)), draw(st.none() | st.integers(0, 2))
        attributes = draw(st.lists(st.sampled_from(["pixels", "mask"]), max_size=2, unique=True))
        graph[name].num_nodes = rows
        if channels is not None:
            del graph[name].num_nodes
            graph[name].x = torch.randn(rows, channels, generator=generator)
            if rows and channels:
                graph[name].x[0, 0] = float("nan")
        for key in attributes:
            shape = draw(st.lists(st.integers(0, 2), max_size=2))
            value = torch.randint(0, 2, (rows, *shape), generator=generator)
            graph[name][key] = value.to(draw(st.sampled_from(DTYPES)))
        nodes[name] = NodeSpec(channels=channels, allow_nan=True, attributes=tuple(attributes))
    for number in range(draw(st.integers(0, 3))):
        edge = (draw(st.sampled_from(names)), f"r{number}", draw(st.sampled_from(names)))
        rows = [graph[end].num_nodes for end in (edge[0], edge[2])]
        count = draw(st.integers(0, 3)) if min(rows) else 0
        ends = [torch.randint(0, max(1, size), (count,), generator=generator) for size in rows]
        graph[edge].edge_index = torch.stack(ends)
        weighted, channels = draw(st.booleans()), draw(st.none() | st.integers(0, 2))
        if weighted:
            graph[edge].edge_weight = torch.rand(count, generator=generator)
        if channels is not None:
            graph[edge].edge_attr = torch.randn(count, channels, generator=generator)
        edges[edge] = EdgeSpec(weighted=weighted, channels=channels, multiple=True)
    return graph, Schema(nodes=nodes, edges=edges)


def same(a, b):
    assert difference(a, b) is None
    assert a.node_types == b.node_types
    assert a.edge_types == b.edge_types
    assert [a[node].num_nodes for node in a.node_types] == [b[node].num_nodes for node in b.node_types]


@settings(deadline=None)
@given(graphs())
def test_any_graph_comes_back(given):
    graph, schema = given
    back, payloads = from_tables(to_tables(graph, schema))
    same(graph, back)
    assert payloads == {}


@pytest.mark.parametrize("make", [fake_graph, fake_knowledge])
def test_labels_masks_and_payloads_come_back(make, tmp_path):
    graph, schema = make()
    node = next(iter(schema.nodes))
    texts = [None, *(f"é {row}\n" for row in range(1, graph[node].num_nodes))]
    tables = Tables.read(to_tables(graph, schema, {node: texts}).write(tmp_path / "tables"))
    back, payloads = from_tables(tables)
    same(graph, back)
    assert payloads == {node: texts}
    assert tables.schema == schema


def small():
    graph = HeteroData()
    graph["a"].x = torch.zeros(2, 1)
    graph["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    return graph, Schema(nodes={"a": NodeSpec(channels=1)}, edges={("a", "to", "a"): EdgeSpec()})


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
def test_what_would_be_lost_is_refused(change, message):
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
def test_payloads_must_fit(payloads, message):
    with pytest.raises(DataError, match=message):
        to_tables(*small(), payloads)


def test_tables_must_fit(tmp_path):
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
