"""Edges that are held out leave nothing behind."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import HeteroData

from mmgraph.builders import hold_out
from mmgraph.errors import ConfigError, DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import fake_graph

NEAR = ("a", "near", "a")


def made(pairs, nodes, *, both=False):
    graph = HeteroData()
    graph["a"].num_nodes = nodes
    index = torch.tensor(pairs).T.reshape(2, -1)
    graph[NEAR].edge_index = torch.cat([index, index.flip(0)], dim=1) if both else index
    graph[NEAR].edge_weight = torch.arange(graph[NEAR].edge_index.shape[1]).float()
    schema = Schema(nodes={"a": NodeSpec()}, edges={NEAR: EdgeSpec(weighted=True, multiple=True)}, anchor="a")
    return graph, schema


def unordered(index):
    return {frozenset(pair) for pair in index.T.tolist()}


def asked(graph, part=None, joined=1):
    store = graph["pair"]
    rows = store.joined == joined
    if part is not None:
        rows &= store[f"{part}_mask"]
    return torch.stack([store.source, store.target])[:, rows]


@settings(max_examples=30)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), unique=True, min_size=25, max_size=60),
    both=st.booleans(),
    train=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)
def test_no_held_out_pair_is_in_an_edge_either_way(pairs, both, train, seed):
    graph, schema = made(pairs, 20, both=both)
    before = graph[NEAR].edge_index.clone()
    real = {frozenset(pair) for pair in pairs if pair[0] != pair[1]}
    assume(len(real) >= 10)
    held, more = hold_out(graph, schema, NEAR, val=0.2, test=0.2, train=train, seed=seed)
    more.check(held)
    assert torch.equal(graph[NEAR].edge_index, before)
    assert "pair" not in graph.node_types
    positives, negatives = asked(held), asked(held, joined=0)
    left = unordered(held[NEAR].edge_index)
    assert not unordered(positives) & left
    assert (left | unordered(positives)) - {one for one in left if len(one) == 1} == real
    assert not unordered(negatives) & (real | {frozenset([n]) for n in range(20)})
    everyone = torch.cat([positives, negatives], dim=1)
    assert len(unordered(everyone)) == everyone.shape[1] == held["pair"].num_nodes
    edges = {tuple(pair) for pair in before.T.tolist()}
    assert {tuple(pair) for pair in positives.T.tolist()} <= edges
    kept = held[NEAR].edge_weight.long()  # the weights are the columns
    assert torch.equal(before[:, kept], held[NEAR].edge_index)
    masks = torch.stack([held["pair"][f"{part}_mask"] for part in ("train", "val", "test")])
    assert (masks.sum(dim=0) == 1).all()
    for part, share in (("train", train), ("val", 0.2), ("test", 0.2)):
        count = round(share * len(real))
        assert asked(held, part).shape[1] == asked(held, part, joined=0).shape[1] == count


def ring(nodes):
    return [(n, (n + 1) % nodes) for n in range(nodes)]


def test_neither_rows_nor_directions_tell_who_is_joined():
    graph, schema = made(ring(3000), 3000, both=True)
    held, _ = hold_out(graph, schema, NEAR, val=0.3, test=0.3)
    store = held["pair"]
    half = store.joined[: len(store.joined) // 2].float().mean()
    assert abs(float(half) - 0.5) < 0.05
    for joined in (0, 1):
        rows = store.joined == joined
        assert abs(float((store.source < store.target)[rows].float().mean()) - 0.5) < 0.05


def test_the_direction_of_directed_edges_is_asked_for():
    held, _ = hold_out(*made(ring(50), 50), NEAR, val=0.2, test=0.2)
    source, target = asked(held)
    assert ((source + 1) % 50 == target).all()


def test_others_are_uniform_over_all_pairs_that_are_no_edges():
    graph, schema = made([(0, 1), (1, 2), (2, 3), (3, 4)], 6)
    counts = {}
    for seed in range(400):
        held, _ = hold_out(graph, schema, NEAR, val=0.25, test=0.25, negatives=2, seed=seed)
        for pair in unordered(asked(held, joined=0)):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 15 - 4
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_in_a_dense_graph_all_others_are_listed():
    pairs = [(a, b) for a in range(12) for b in range(a) if (a, b) not in {(3, 1), (7, 2), (9, 8)}]
    held, _ = hold_out(*made(pairs, 12), NEAR, val=1 / 63, test=2 / 63, seed=4)
    assert unordered(asked(held, joined=0)) == {frozenset([3, 1]), frozenset([7, 2]), frozenset([9, 8])}
    with pytest.raises(DataError, match="must be 4 pairs of nodes that are no edges, got 3"):
        hold_out(*made(pairs, 12), NEAR, val=2 / 63, test=2 / 63)


def test_the_inverse_and_what_else_joins_them_go_too():
    graph, schema = HeteroData(), None
    graph["a"].num_nodes, graph["b"].num_nodes = 30, 30
    index = torch.stack([torch.arange(30), torch.arange(30).roll(7)])
    types = [("a", "likes", "b"), ("b", "^likes", "a"), ("a", "saw", "b"), ("b", "sent", "a")]
    for edge in types:
        graph[edge].edge_index = index if edge[0] == "a" else index.flip(0)
    schema = Schema(nodes=dict.fromkeys("ab", NodeSpec()), edges=dict.fromkeys(types, EdgeSpec()))
    held, more = hold_out(graph, schema, types[0], val=0.2, test=0.3, also=[types[3]])
    more.check(held)
    gone = {tuple(pair) for pair in asked(held).T.tolist()}
    assert len(gone) == 15
    for edge in (types[0], types[1], types[3]):
        pairs = held[edge].edge_index if edge[0] == "a" else held[edge].edge_index.flip(0)
        assert {tuple(pair) for pair in pairs.T.tolist()} == {tuple(pair) for pair in index.T.tolist()} - gone
    assert held[types[2]].edge_index.shape[1] == 30


def test_the_seed_says_all():
    given_ = fake_graph()
    near = ("subject", "near", "subject")
    one, other, third = (hold_out(*given_, near, seed=seed)[0]["pair"] for seed in (1, 1, 2))
    for key in ("source", "target", "joined", "val_mask"):
        assert torch.equal(one[key], other[key])
    assert not torch.equal(one.source, third.source)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"val": -0.1}, ConfigError, r"got 0.0, -0.1, 0.1 and 1"),
        ({"val": 0.5, "test": 0.5}, ConfigError, "in sum between 0 and 1"),
        ({"val": 0.0, "test": 0.0}, ConfigError, "in sum between 0 and 1"),
        ({"negatives": 0}, ConfigError, "and 0$"),
        ({"val": 0.001}, DataError, "got 50, of which val would get 0.001"),
        ({"also": [("a", "no", "a")]}, SchemaError, r"got \('a', 'no', 'a'\)"),
        ({"node": "a"}, SchemaError, "got 'a' and 'joined'"),
    ],
)
def test_what_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        hold_out(*made(ring(50), 50), NEAR, **options)


def test_a_relation_must_be_declared_and_also_join_the_same():
    graph, schema = fake_graph()
    with pytest.raises(SchemaError, match=r"got \('subject', 'far', 'subject'\)"):
        hold_out(graph, schema, ("subject", "far", "subject"))
    with pytest.raises(SchemaError, match=r"also must join 'subject' and 'subject'"):
        hold_out(graph, schema, ("subject", "near", "subject"), also=[("scan", "next", "scan")])
