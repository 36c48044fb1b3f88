"""Neo4j's CSV files: the same graph comes back, to the bit, and the files are what Neo4j reads."""

import csv

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import ArtifactError, DataError
from mmgraph.interop import read_neo4j, write_neo4j
from mmgraph.schema import Schema
from mmgraph.testing import fake_graph, fake_knowledge

TEXTS = ["", 'a "b", c;\nd\r', None, " é"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_graph_comes_back(graphs, same, tmp_path, data):
    graph, schema = data.draw(graphs)
    node = graph.node_types[0]
    texts = (TEXTS * 2)[: graph[node].num_nodes]
    blobs = [None if text is None else text.encode() + b"\xff" for text in texts]
    for payloads in ({}, {node: texts}, {node: blobs}):
        back, again, found = read_neo4j(write_neo4j(graph, schema, tmp_path / "neo4j", payloads))
        same(graph, back)
        assert again == schema
        assert found == payloads


@pytest.mark.parametrize("make", [fake_graph, fake_knowledge])
def test_whole_graphs_come_back(same, make, tmp_path):
    graph, schema = make()
    same(graph, read_neo4j(write_neo4j(graph, schema, tmp_path / "neo4j"))[0])


def test_files_are_what_neo4j_reads(tmp_path):
    graph = HeteroData()
    graph["a"].x, graph["a"].y = torch.tensor([[0.5, -1.0], [2.0, 3.0]]), torch.tensor([3, 4])
    graph["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    graph["a", "to", "a"].edge_weight = torch.tensor([0.25])
    folder = write_neo4j(graph, Schema.infer(graph), tmp_path / "neo4j")
    nodes = list(csv.reader((folder / "node.a.csv").read_text().splitlines()))
    assert nodes == [
        ["id:ID(a)", ":LABEL", "x:float[]", "y:long"],
        ["0", "a", "0.5;-1.0", "3"],
        ["1", "a", "2.0;3.0", "4"],
    ]
    edges = list(csv.reader((folder / "edge.0000.csv").read_text().splitlines()))
    assert edges == [[":START_ID(a)", ":END_ID(a)", ":TYPE", "edge_weight:float"], ["0", "1", "to", "0.25"]]
    assert "--nodes=node.a.csv" in (folder / "import.sh").read_text()


def test_what_can_not_be_is_refused(small, tmp_path):
    graph, schema = small()
    odd = HeteroData()
    odd["a(b"].x = torch.zeros(1, 1)
    with pytest.raises(DataError, match=r"can't hold '\(' here, got 'a\(b'; rename the type"):
        write_neo4j(odd, Schema.infer(odd), tmp_path / "odd")
    assert not (tmp_path / "odd").exists()
    folder = write_neo4j(graph, schema, tmp_path / "neo4j")
    (folder / "node.a.csv").write_text("")
    with pytest.raises(ArtifactError):
        read_neo4j(folder)
