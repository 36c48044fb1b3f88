"""Graphs for NetworkX and GraphML: the same graph comes back, to the bit."""

import networkx as nx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgraph.errors import ArtifactError, DataError
from mmgraph.interop import from_networkx, read_graphml, to_networkx, write_graphml
from mmgraph.testing import fake_graph, fake_knowledge

TEXTS = ["", "<a & b>", None, " é\n"]


@given(st.data())
def test_any_graph_comes_back(graphs, same, data):
    graph, schema = data.draw(graphs)
    back, again, payloads = from_networkx(to_networkx(graph, schema))
    same(graph, back)
    assert again == schema
    assert payloads == {}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_graph_comes_back_from_graphml(graphs, same, tmp_path, data):
    graph, schema = data.draw(graphs)
    node = graph.node_types[0]
    texts = (TEXTS * 2)[: graph[node].num_nodes]
    blobs = [None if text is None else text.encode() + b"\xff" for text in texts]
    for payloads in ({}, {node: texts}, {node: blobs}):
        back, again, found = read_graphml(write_graphml(graph, schema, tmp_path / "graph.graphml", payloads))
        same(graph, back)
        assert again == schema
        assert found == payloads


@pytest.mark.parametrize("make", [fake_graph, fake_knowledge])
def test_whole_graphs_come_back(same, make):
    graph, schema = make()
    same(graph, from_networkx(to_networkx(graph, schema))[0])


def test_it_is_a_graph_for_networkx():
    graph, schema = fake_graph()
    joined = to_networkx(graph, schema, {"text": [f"text {row}" for row in range(graph["text"].num_nodes)]})
    assert joined.number_of_nodes() == sum(graph[node].num_nodes for node in graph.node_types)
    assert joined.number_of_edges() == sum(graph[edge].num_edges for edge in graph.edge_types)
    near = nx.MultiDiGraph(edge for edge in joined.edges(keys=True) if edge[2][0] == "near")
    assert sum(dict(near.in_degree()).values()) == graph["subject", "near", "subject"].num_edges
    assert joined.nodes["text", 3]["payload"] == "text 3"


def test_changes_made_there_are_taken(small):
    graph, schema = small()
    joined = to_networkx(graph, schema)
    joined.add_node("new", type="a", x=[7.0])
    joined.add_edge("new", ("a", 1), relation="to")
    joined.remove_node(("a", 0))
    back, *_ = from_networkx(joined)
    assert back["a"].x.tolist() == [[0.0], [7.0]]
    assert back["a", "to", "a"].edge_index.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.graph.clear(), "must say what its types mean, .* make it by to_networkx"),
        (lambda g: g.add_node("b", type="b"), r"must have a type, one of \['a'\], got 'b' for 'b'"),
        (lambda g: g.add_node("b", type="a"), "Each of 'a' must have 'x', got one without"),
        (lambda g: g.add_node("b", type="a", x=["c"]), "'x' of 'a' must be fixed_size_list"),
        (lambda g: g.add_edge(("a", 0), ("a", 1), relation="of"), "must be of one of the types .* got"),
    ],
)
def test_what_does_not_fit_is_said(small, change, message):
    joined = to_networkx(*small())
    change(joined)
    with pytest.raises(DataError, match=message):
        from_networkx(joined)


def test_names_that_are_taken_and_signs_that_xml_has_not(small, tmp_path):
    graph, schema = small()
    with pytest.raises(DataError, match=r"holds no control characters, got '\\x00'"):
        write_graphml(graph, schema, tmp_path / "a.graphml", {"a": ["\0", "b"]})
    graph["a"].type = torch.zeros(2)
    with pytest.raises(DataError, match="must not be called 'type' in a NetworkX graph"):
        to_networkx(graph, schema)
    with pytest.raises(ArtifactError, match="must be GraphML"):
        read_graphml(tmp_path / "none.graphml")
