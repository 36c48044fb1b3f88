"""Pairs that are dealt anew within a class."""

import copy
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.data import NewPairs
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Schema
from mmgraph.testing import fake_graph


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def owners(graph, node="scan", anchor="subject"):
    """Node → its anchors."""
    row, owner = graph[node, "of", anchor].edge_index
    return {one: sorted(owner[row == one].tolist()) for one in row.unique().tolist()}


@pytest.fixture
def given_graph():
    return fake_graph(60)


def test_nodes_stay_in_their_class_and_anchors_of_none_keep_theirs(given_graph):
    graph, schema = given_graph
    dealt = NewPairs(schema, "scan", by="diagnosis")(graph, seeded())
    y, before, after = graph["subject"].y, owners(graph), owners(dealt)
    assert before.keys() == after.keys()
    moved = [node for node in before if before[node] != after[node]]
    assert len(moved) > len(before) / 2
    for node in before:
        assert [int(y[one]) for one in before[node]] == [int(y[one]) for one in after[node]]
    unknown = [node for node, of in before.items() if y[of[0]] < 0]
    assert unknown
    assert not set(unknown) & set(moved)


@given(st.integers(0, 2**32), st.lists(st.integers(-1, 2), max_size=12))
def test_each_anchor_gives_all_its_nodes_to_one_of_its_class(seed, classes):
    graph = HeteroData()
    graph["a"].x = torch.empty(len(classes), 0)
    graph["a"].y = torch.tensor([*classes], dtype=torch.long)
    graph["b"].x = torch.arange(2.0 * len(classes))[:, None]
    graph["b", "of", "a"].edge_index = torch.stack(
        [torch.arange(2 * len(classes)), torch.arange(len(classes)).repeat_interleave(2)]
    )
    full = HeteroData()
    full["a"].x, full["a"].y = torch.empty(4, 0), torch.tensor([0, 1, 2, -1])
    full["b"].x, full["b", "of", "a"].edge_index = torch.ones(1, 1), torch.tensor([[0], [0]])
    schema = Schema.infer(full, anchor="a")
    name = next(iter(schema.targets))
    row, owner = NewPairs(schema, "b", by=name)(graph, seeded(seed))["b", "of", "a"].edge_index
    assert torch.equal(row, torch.arange(2 * len(classes)))
    assert torch.equal(owner[::2], owner[1::2])  # both nodes of an anchor stay together
    assert sorted(owner[::2].tolist()) == list(range(len(classes)))  # one to one
    assert graph["a"].y[owner[::2]].tolist() == classes
    assert all(int(owner[2 * k]) == k for k, one in enumerate(classes) if one < 0)


def test_every_partner_in_a_class_is_as_likely():
    graph, schema = fake_graph(12)
    y = graph["subject"].y
    node, (before,) = next((one, of) for one, of in owners(graph).items() if y[of[0]] == 0)
    mates = (y == 0).nonzero()[:, 0].tolist()
    pairs = NewPairs(schema, "scan", by="diagnosis")
    found = Counter(owners(pairs(graph, seeded(seed)))[node][0] for seed in range(600))
    assert before in mates
    assert set(found) == set(mates)
    assert max(abs(count - 600 / len(mates)) for count in found.values()) < 5 * (600 / len(mates)) ** 0.5


def test_relations_made_from_the_modality_move_with_it(given_graph):
    graph, schema = given_graph
    relation = ("subject", "near_scan", "subject")
    whose = owners(graph)
    pair = [next(of[0] for of in whose.values() if graph["subject"].y[of[0]] == label) for label in (0, 1)]
    graph[relation].edge_index = torch.tensor(pair)[:, None]
    nodes = [next(node for node, of in whose.items() if of == [one]) for one in pair]
    dealt = NewPairs(schema, "scan", by="diagnosis")(graph, seeded(3))
    assert dealt[relation].edge_index[:, 0].tolist() == [owners(dealt)[node][0] for node in nodes] != pair


def test_the_rest_and_the_given_graph_stay_as_they_are(given_graph):
    graph, schema = given_graph
    kept = copy.deepcopy(graph)
    pairs = NewPairs(schema, "scan", by="diagnosis")
    dealt, again, other = (pairs(graph, seeded(seed)) for seed in (0, 0, 1))
    of = ("scan", "of", "subject")
    assert torch.equal(graph[of].edge_index, kept[of].edge_index)
    assert torch.equal(dealt[of].edge_index, again[of].edge_index)
    assert not torch.equal(dealt[of].edge_index, other[of].edge_index)
    assert dealt["scan"].x is graph["scan"].x
    for edge in graph.edge_types:
        if edge != of:
            assert dealt[edge].edge_index is graph[edge].edge_index


def test_errors(given_graph):
    graph, schema = given_graph
    with pytest.raises(ConfigError, match=r"one of the anchor's, \['scan', 'text'\], got 'video'"):
        NewPairs(schema, "video", by="diagnosis")
    with pytest.raises(ConfigError, match=r"of 'subject' with classes, one of \['diagnosis'\], got 'age'"):
        NewPairs(schema, "scan", by="age")
    del graph["subject"].y
    with pytest.raises(DataError, match="labels 'y' of 'diagnosis' on 'subject', got"):
        NewPairs(schema, "scan", by="diagnosis")(graph, seeded())
