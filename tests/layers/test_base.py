import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.layers import GCN, Gated, Layer, Mean, Smooth, edge_sets
from mmgraph.layers.base import check_relations
from mmgraph.testing import fake_graph

MAKE = {
    Mean: lambda relations: Mean(2, 2, relations=relations),
    GCN: lambda relations: GCN(2, 2, relations=relations),
    Gated: lambda relations: Gated(2, relations=relations, rounds=1),
    Smooth: lambda relations: Smooth(relations=relations),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=[layer.__name__ for layer in MAKE])
def test_a_layer_needs_relations(make):
    with pytest.raises(ConfigError, match=r"at least 1 relation, got none; use Stack\(\)"):
        make([])
    with pytest.raises(ConfigError, match=r"\(source, relation, target\), got 'near'"):
        make(["near"])


@pytest.mark.parametrize("wrong", ["own", "a", ("a", "b"), ["a", "to", "b"]])
def test_a_relation_is_a_triple(wrong):
    with pytest.raises(ConfigError, match="A relation must be"):
        check_relations([wrong])


def test_relations_may_come_from_an_iterator():
    assert check_relations(iter([("a", "to", "b")])) == (("a", "to", "b"),)


def test_keys_have_no_dots():
    assert "." not in weight_key(*("a.1", "of", "b"))


def test_edge_sets_hold_weights_where_there_are_any():
    graph, _ = fake_graph()
    sets = edge_sets(graph)
    assert set(sets) == set(graph.edge_types)
    near = ("subject", "near", "subject")
    assert torch.equal(sets[near].weight, graph[near].edge_weight)
    assert sets["scan", "of", "subject"].weight is None


def test_a_layer_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Layer()
