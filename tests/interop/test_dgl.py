"""Graphs for DGL and back."""

import importlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError, MissingPackageError, SchemaError
from mmgraph.interop import from_dgl, to_dgl
from mmgraph.schema import Schema
from mmgraph.testing import fake_graph, fake_knowledge
from mmgraph.testing.expect import difference

dgl = pytest.importorskip("dgl")


def alike(a, b):
    """The same, whatever the order of the types."""
    assert set(a.node_types) == set(b.node_types)
    assert set(a.edge_types) == set(b.edge_types)
    for store in [*a.node_types, *a.edge_types]:
        one, other = a[store], b[store]
        assert one.num_nodes == other.num_nodes if isinstance(store, str) else True
        assert {key for key in one if key != "num_nodes"} == {key for key in other if key != "num_nodes"}
        for key in one:
            if key != "num_nodes":
                assert one[key].dtype == other[key].dtype
                assert torch.equal(one[key].nan_to_num(-7.0), other[key].nan_to_num(-7.0))


@given(st.data())
def test_any_graph_comes_back(graphs, data):
    graph, schema = data.draw(graphs)
    joined = to_dgl(graph, schema)
    alike(graph, from_dgl(joined, schema))
    alike(graph, from_dgl(joined))


@pytest.mark.parametrize("make", [fake_graph, fake_knowledge])
def test_whole_graphs_come_back(make):
    graph, schema = make()
    alike(graph, from_dgl(to_dgl(graph, schema)))


def test_messages_are_those_of_the_edges():
    graph, schema = fake_graph()
    joined = to_dgl(graph, schema)
    joined.nodes["subject"].data["h"] = torch.arange(40.0)
    joined.update_all(dgl.function.copy_u("h", "m"), dgl.function.sum("m", "s"), etype=("subject", "near", "subject"))
    source, target = graph["subject", "near", "subject"].edge_index
    wanted = torch.zeros(40).index_add(0, target, source.float())
    assert torch.allclose(joined.nodes["subject"].data["s"], wanted)


def test_a_type_with_nodes_and_no_edges_stays():
    graph = HeteroData()
    graph["a"].x, graph["b"].x = torch.ones(2, 1), torch.ones(3, 1)
    graph["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    back = from_dgl(to_dgl(graph, Schema.infer(graph)))
    assert difference(graph, back) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: setattr(g, "note", 1), "got 'note' on the graph; remove it"),
        (lambda g: setattr(g["a"], "name", ["x", "y"]), "'name' of 'a' must be a tensor .* got a list"),
        (lambda g: g["a"].update({"_ID": torch.zeros(2)}), "begin with '_' for itself, got '_ID' of 'a'"),
    ],
)
def test_what_would_be_lost_is_refused(small, change, message):
    graph, schema = small()
    change(graph)
    with pytest.raises(DataError, match=message):
        to_dgl(graph, schema)


def test_other_things_are_refused(small):
    graph, schema = small()
    with pytest.raises(DataError, match="takes a graph of DGL that is no block, got HeteroData"):
        from_dgl(graph)
    block = dgl.to_block(dgl.graph(([0], [1])), dst_nodes=torch.tensor([1]))
    with pytest.raises(DataError, match="that is no block, got DGLBlock"):
        from_dgl(block)
    joined = dgl.heterograph({("b", "to", "b"): ([0], [1])})
    with pytest.raises(DataError, match=r"must have the node types \['a'\], got no 'a'"):
        from_dgl(joined, schema)
    joined = to_dgl(graph, schema)
    del joined.nodes["a"].data["x"]
    with pytest.raises(SchemaError):
        from_dgl(joined, schema)


def test_without_dgl_it_is_said_what_to_install(small, monkeypatch):
    def refused(name, *args):
        raise ModuleNotFoundError("no dgl", name=name)

    monkeypatch.setattr(importlib, "import_module", refused)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[dgl\]'"):
        to_dgl(*small())
