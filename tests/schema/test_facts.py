"""Entities and relations by number."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.schema.facts import Numbering


def schema(*edges, nodes=("person", "text", "film", "query")):
    return Schema(nodes=dict.fromkeys(nodes, NodeSpec()), edges=dict.fromkeys(edges, EdgeSpec()))


SEEN, KNOWS, BACK = ("person", "seen", "film"), ("person", "knows", "person"), ("film", "^seen", "person")
TEXT = ("text", "of", "film")


def test_entities_are_what_relations_join_in_the_order_of_the_schema():
    found = Numbering(schema(SEEN, TEXT, KNOWS, BACK, nodes=("film", "text", "query", "person")))
    assert found.entities == ("film", "person")
    assert found.relations == ("seen", "knows")
    assert [found.number(name) for name in ("seen", "knows", "^seen", "^knows")] == [0, 1, 2, 3]


def test_facts_are_numbered_through_and_inverse_edges_left_out():
    graph = HeteroData()
    graph["film"].num_nodes, graph["person"].num_nodes, graph["text"].num_nodes = 2, 3, 1
    graph[SEEN].edge_index = torch.tensor([[0, 2], [1, 0]])
    graph[BACK].edge_index = torch.tensor([[1, 0], [0, 2]])
    graph[KNOWS].edge_index = torch.tensor([[1], [2]])
    graph[TEXT].edge_index = torch.tensor([[0], [1]])
    found = Numbering(schema(SEEN, TEXT, KNOWS, BACK, nodes=("film", "text", "person")))
    assert found.offsets(graph) == {"film": 0, "person": 2}
    assert found.count(graph) == 5
    assert found.facts(graph).tolist() == [[2, 0, 1], [4, 0, 0], [3, 1, 4]]


def test_one_relation_between_several_types_has_one_number():
    found = Numbering(schema(("person", "likes", "film"), ("person", "likes", "person"), nodes=("person", "film")))
    assert found.relations == ("likes",)


def test_what_joins_payloads_is_no_fact():
    found = Numbering(schema(KNOWS, ("text", "of", "person"), ("text", "next", "text"), ("text", "near", "film")))
    assert found.entities == ("person",)
    assert found.relations == ("knows",)
    assert found.joins == (KNOWS,)


def test_errors_name_the_value():
    with pytest.raises(SchemaError, match=r"at least 1 relation, got edge types \[\('text', 'of', 'film'\)\]"):
        Numbering(schema(TEXT))
    with pytest.raises(SchemaError, match=r"Inverse relation '\^seen' needs 'seen', got relations \['knows'\]"):
        Numbering(schema(KNOWS, BACK))
    with pytest.raises(SchemaError, match=r"Relation must be one of \['knows'\], got '\^sees'"):
        Numbering(schema(KNOWS)).number("^sees")
