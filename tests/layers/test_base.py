import copy
import gc
import weakref

import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.layers import GCN, Edges, Gated, Layer, Mean, Smooth, adjacency, edge_sets
from mmgraph.layers.base import arriving, check_relations
from mmgraph.testing import fake_graph, fake_states
from mmgraph.typing import EdgeSet

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


def test_edges_are_sorted_once_for_as_long_as_they_stay():
    graph, _ = fake_graph()
    near = ("subject", "near", "subject")
    rows = graph["subject"].num_nodes
    first = adjacency(edge_sets(graph), near, rows, rows)
    assert adjacency(edge_sets(graph), near, rows, rows) is first
    assert adjacency(edge_sets(graph), near, rows + 1, rows + 1) is not first
    graph[near].edge_index[:, 0] = graph[near].edge_index[:, 1]  # in place
    second = adjacency(edge_sets(graph), near, rows, rows)
    assert second is not first
    assert torch.equal(second.sources.long(), graph[near].edge_index[0][second.order])
    graph[near].edge_index = graph[near].edge_index.clone()  # by another tensor
    assert adjacency(edge_sets(graph), near, rows, rows) is not second
    graph[near].edge_weight = graph[near].edge_weight * 2
    assert torch.equal(edge_sets(graph)[near].weight, graph[near].edge_weight)
    del graph[near]
    assert near not in edge_sets(graph)


def test_a_copy_has_edges_of_its_own():
    graph, _ = fake_graph()
    other = copy.copy(graph)
    near = ("subject", "near", "subject")
    kept = edge_sets(graph)
    other[near].edge_index = other[near].edge_index[:, :1]
    other[near].edge_weight = other[near].edge_weight[:1]
    assert edge_sets(other)[near].index.shape[1] == 1
    assert edge_sets(graph) is kept


def test_what_was_made_of_a_graph_goes_with_it():
    graph, _ = fake_graph()
    found = weakref.ref(edge_sets(graph))
    del graph
    gc.collect()
    assert found() is None


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_in_the_order_of_the_sorted_edges(reduce, weighted):
    relation = ("a", "to", "b")
    index = torch.tensor([[0, 1, 2, 0], [1, 0, 1, 1]])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True) if weighted else None
    features = {"a": torch.ones(3, 2, dtype=torch.float64), "b": torch.ones(2, 2, dtype=torch.float64)}
    edges = Edges({relation: EdgeSet(index, weight)})
    (made,) = arriving(edges, [relation], features, reduce=reduce)
    found, values = made.edges, made.values
    given = torch.ones(4) if weight is None else weight.detach()
    expected = given[found.order].double()
    if reduce == "mean":
        expected = expected / torch.zeros(2).double().index_add(0, index[1], given.double())[index[1][found.order]]
    if reduce == "sum" and not weighted:
        assert values is None
    else:
        assert values.dtype == torch.float64
        torch.testing.assert_close(values.detach(), expected)
        assert values.requires_grad == weighted
        assert (arriving(edges, [relation], features, reduce=reduce)[0] is made) == (not weighted)  # learned: made anew


@pytest.mark.parametrize("make", [MAKE[Mean], MAKE[GCN], MAKE[Gated]], ids=["Mean", "GCN", "Gated"])
def test_kept_edges_change_no_number(make):
    features, edges = fake_states(channels=2)
    layer = make(list(edges))
    kept = Edges(dict(edges))
    plain = layer(features, edges)
    for _ in range(2):
        again = layer(features, kept)
        assert all(torch.equal(plain[node], again[node]) for node in plain)


@pytest.mark.parametrize("make", [MAKE[Mean], MAKE[GCN], MAKE[Gated]], ids=["Mean", "GCN", "Gated"])
def test_learned_edge_weights_get_their_gradient(make):
    features, edges = fake_states(channels=2)
    layer, relation = make(list(edges)).double(), ("subject", "near", "subject")
    features = {node: state.double() for node, state in features.items()}
    weight = (0.5 + torch.rand(edges[relation].index.shape[1], dtype=torch.float64)).requires_grad_()

    def run(weight):
        out = layer(features, Edges({**edges, relation: EdgeSet(edges[relation].index, weight)}))
        return torch.cat([state.flatten() for state in out.values()])

    assert torch.autograd.gradcheck(run, (weight,))


@pytest.mark.parametrize("make", [MAKE[Mean], MAKE[GCN], MAKE[Gated]], ids=["Mean", "GCN", "Gated"])
def test_a_layer_under_autocast(make):
    features, edges = fake_states(channels=2)
    layer = make(list(edges))
    exact = layer(features, edges)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(features, edges)
    for node in exact:
        assert out[node].dtype == torch.bfloat16
        torch.testing.assert_close(out[node].float(), exact[node], rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("make", [MAKE[Mean], MAKE[GCN], MAKE[Gated]], ids=["Mean", "GCN", "Gated"])
def test_a_layer_compiled(make):
    features, edges = fake_states(channels=2)
    layer = make(list(edges))
    features["subject"].requires_grad_()
    outs = [way(features, Edges(dict(edges))) for way in (layer, torch.compile(layer, backend="aot_eager"))]
    grads = [torch.autograd.grad(sum(s.square().sum() for s in out.values()), features["subject"])[0] for out in outs]
    for node in outs[0]:
        torch.testing.assert_close(outs[1][node], outs[0][node], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-4)


def test_a_layer_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Layer()
