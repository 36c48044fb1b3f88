import dgl
import pytest
import torch
from dgl.nn.pytorch import GraphConv, HeteroGraphConv
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.nn import GCNConv, HeteroConv, SAGEConv

from mmgraph.keys import weight_key
from mmgraph.layers import GCN, Mean, Stack
from mmgraph.typing import EdgeSet

LOOP = [("a", "near", "a")]
RELATIONS = (("a", "near", "a"), ("a", "far", "a"), ("b", "of", "a"), ("a", "has", "b"), ("b", "next", "b"))


def arriving(edge_set, target):
    """(source, weight) of each edge into a row."""
    index, weight = edge_set
    ones = [1.0] * index.shape[1] if weight is None else weight.tolist()
    return [(s, w) for s, t, w in zip(*index.tolist(), ones, strict=True) if t == target]


def slow_mean(layer, features, edges):
    out = {}
    for node, states in features.items():
        rows = []
        for v in range(len(states)):
            state = layer.root[weight_key(node)](states[v])
            for relation in layer.relations:
                if relation[2] == node and (pairs := arriving(edges[relation], v)):
                    mean = sum(w * features[relation[0]][u] for u, w in pairs) / sum(w for _, w in pairs)
                    state = state + layer.neighbour[weight_key(*relation)].weight @ mean
            rows.append(state.relu())
        out[node] = torch.stack(rows) if rows else states.new_empty(0, layer.root[weight_key(node)].out_features)
    return out


def slow_gcn(layer, features, edges):
    out = {}
    for node, states in features.items():
        rows = []
        for v in range(len(states)):
            state = layer.bias[weight_key(node)].clone()
            if all(relation[:1] != relation[2:] for relation in layer.relations if relation[2] == node):
                state = state + layer.weight[weight_key(node, "itself", node)].weight @ states[v]
            for relation in layer.relations:
                if relation[2] == node:
                    state = state + layer.weight[weight_key(*relation)].weight @ slow_norm(relation, v, features, edges)
            rows.append(state.relu())
        out[node] = torch.stack(rows) if rows else states.new_empty(0, len(layer.bias[weight_key(node)]))
    return out


def slow_norm(relation, v, features, edges):
    source, _, target = relation
    pairs = arriving(edges[relation], v)
    total = torch.zeros(features[source].shape[1], dtype=torch.float64)
    if source == target:
        degree = [1 + sum(w for _, w in arriving(edges[relation], u)) for u in range(len(features[source]))]
        for u, w in [*pairs, (v, 1.0)]:
            total = total + w / (degree[u] * degree[v]) ** 0.5 * features[source][u]
        return total
    flipped = EdgeSet(edges[relation].index.flip(0), edges[relation].weight)
    for u, w in pairs:
        left, arrived = sum(x for _, x in arriving(flipped, u)), sum(x for _, x in pairs)
        total = total + w / (left * arrived) ** 0.5 * features[source][u]
    return total


def assert_same(one, other, tolerance):
    assert one.keys() == other.keys()
    for node in one:
        torch.testing.assert_close(one[node], other[node], rtol=tolerance, atol=tolerance)


def identity(layer, *names):
    for name in names:
        for linear in getattr(layer, name).values():
            torch.nn.init.eye_(linear.weight)
    return layer.double()


def test_mean_of_the_lecture(lecture):
    x, index = lecture
    layer = identity(Mean(1, 1, relations=LOOP, activation=None, bias=False), "neighbour")
    torch.nn.init.zeros_(layer.root[weight_key("a")].weight)
    out = layer({"a": x}, {LOOP[0]: EdgeSet(index)})["a"].flatten().tolist()
    assert out == [3, 2, 3.5, 1, 4.5, 4]


def test_gcn_of_the_lecture(lecture):
    x, index = lecture
    layer = identity(GCN(1, 1, relations=LOOP, activation=None), "weight")
    out = layer({"a": x}, {LOOP[0]: EdgeSet(index)})["a"].flatten()
    expected = [2.912384, 1.729938, 4.180192, 2.353553, 4.441263, 4.441263]
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [Mean, GCN])
def test_receptive_field_of_the_lecture(lecture, layer):
    x, index = lecture
    edges = {LOOP[0]: EdgeSet(index)}
    rounds = [layer(1, 1, relations=LOOP, activation=None).double() for _ in range(2)]
    for depth, expected in ((1, {"A", "B", "C", "D"}), (2, set("ABCDEF"))):
        model = Stack(*rounds[:depth])
        before = model({"a": x}, edges)["a"][0]
        seen = set()
        for row, name in enumerate("ABCDEF"):
            other = x.clone()
            other[row] += 1
            if not torch.equal(model({"a": other}, edges)["a"][0], before):
                seen.add(name)
        assert seen == expected


@pytest.mark.parametrize(("layer", "slow", "tolerance"), [(Mean, slow_mean, 1e-12), (GCN, slow_gcn, 1e-5)])
@settings(max_examples=25)
@given(data=st.data())
def test_equals_a_slow_loop(graphs, layer, slow, tolerance, data):
    features, edges = data.draw(graphs())
    torch.manual_seed(0)
    made = layer(3, 2, relations=RELATIONS).double()
    assert_same(made(features, edges), slow(made, features, edges), tolerance)


@pytest.mark.parametrize("relations", [RELATIONS[2:3], RELATIONS[2:4], RELATIONS[3:]])
@settings(max_examples=10)
@given(data=st.data())
def test_gcn_between_types_equals_a_slow_loop(graphs, relations, data):
    features, edges = data.draw(graphs())
    torch.manual_seed(0)
    made = GCN(3, 2, relations=relations).double()
    assert_same(made(features, edges), slow_gcn(made, features, edges), 1e-5)


def test_mean_equals_pyg_sage(graph):
    features, edges = graph
    torch.manual_seed(0)
    made = Mean(3, 4, relations=RELATIONS, activation=None).double()
    convs = {relation: SAGEConv((3, 3), 4, aggr="mean", bias=False).double() for relation in RELATIONS}
    roots = {}
    for relation, conv in convs.items():
        conv.lin_l.weight.data = made.neighbour[weight_key(*relation)].weight.data
        first = roots.setdefault(relation[2], relation) == relation  # the root of a type is counted once
        conv.lin_r.weight.data = made.root[weight_key(relation[2])].weight.data * first
    hetero = HeteroConv(convs, aggr="sum")
    theirs = hetero(features, {relation: edge_set.index for relation, edge_set in edges.items()})
    ours = made(features, edges)
    assert_same({n: s - made.root[weight_key(n)].bias for n, s in ours.items()}, dict(theirs), 1e-5)


def test_gcn_equals_pyg_with_weighted_edges(graph):
    features, edges = graph
    torch.manual_seed(0)
    within = [relation for relation in RELATIONS if relation[0] == relation[2]]
    edges = {r: EdgeSet(edges[r].index, torch.rand(edges[r].index.shape[1], dtype=torch.float64)) for r in within}
    made = GCN(3, 4, relations=within, activation=None).double()
    torch.nn.init.normal_(made.bias[weight_key("a")])
    convs = {relation: GCNConv(3, 4, bias=False).double() for relation in within}
    for relation, conv in convs.items():
        conv.lin.weight.data = made.weight[weight_key(*relation)].weight.data
    theirs = HeteroConv(convs, aggr="sum")(
        features,
        {relation: edge_set.index for relation, edge_set in edges.items()},
        edge_weight_dict={relation: edge_set.weight for relation, edge_set in edges.items()},
    )
    ours = {node: state - made.bias[weight_key(node)] for node, state in made(features, edges).items()}
    assert_same(ours, dict(theirs), 1e-5)


@pytest.mark.parametrize("layer", [Mean, GCN])
def test_gradients(graph, layer):
    features, edges = graph
    torch.manual_seed(0)
    made = layer(3, 2, relations=RELATIONS, activation=torch.tanh).double()
    names, inputs = list(features), [state.requires_grad_() for state in features.values()]
    run = lambda *states: tuple(made(dict(zip(names, states, strict=True)), edges).values())  # noqa: E731
    assert torch.autograd.gradcheck(run, inputs)


def test_gcn_is_mean_on_a_regular_graph():
    torch.manual_seed(0)
    ring = torch.arange(7)
    index = torch.cat([torch.stack([ring, (ring + step) % 7]) for step in (1, 2, 5, 6)], dim=1)  # each has 4
    gcn = GCN(3, 2, relations=LOOP).double()
    mean = Mean(3, 2, relations=LOOP, bias=False).double()
    weight = gcn.weight[weight_key(*LOOP[0])].weight.data
    mean.neighbour[weight_key(*LOOP[0])].weight.data = weight * 4 / 5
    mean.root[weight_key("a")].weight.data = weight / 5
    features = {"a": torch.randn(7, 3, dtype=torch.float64)}
    assert_same(gcn(features, {LOOP[0]: EdgeSet(index)}), mean(features, {LOOP[0]: EdgeSet(index)}), 1e-6)


@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_gcn_on_a_complete_graph_forgets_which_node_is_which(modalities):
    """Why modalities are joined by a fusion: GCN gives each of them their mean."""
    torch.manual_seed(0)
    layer = GCN(3, 2, relations=LOOP, activation=None).double()
    x = torch.randn(modalities, 3, dtype=torch.float64)
    index = (~torch.eye(modalities, dtype=torch.bool)).nonzero().T
    out = layer({"a": x}, {LOOP[0]: EdgeSet(index)})["a"]
    mean = layer.weight[weight_key(*LOOP[0])](x.mean(dim=0))
    torch.testing.assert_close(out, mean.expand(modalities, -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layer", [Mean, GCN])
def test_a_type_of_no_relation_passes_unchanged(graph, layer):
    features, edges = graph
    out = layer(3, 2, relations=LOOP).double()(features, edges)
    assert out["b"] is features["b"]
    assert out["a"].shape == (8, 2)


@pytest.mark.parametrize("relations", [RELATIONS, RELATIONS[2:3], RELATIONS[:2]])
def test_gcn_without_self_loops_equals_dgl(graph, relations):
    features, edges = graph
    torch.manual_seed(0)
    both = {r: torch.cat([edges[r].index, edges[r].index.flip(0)], 1).unique(dim=1) for r in relations if r[0] == r[2]}
    edges = {r: EdgeSet(both.get(r, edges[r].index)) for r in relations}  # within a type both ways, as DGL's out-degree
    made = GCN(3, 4, relations=relations, activation=None, self_loops=False, bias=False).double()
    graph = dgl.heterograph({r: tuple(edges[r].index) for r in relations}, {n: len(x) for n, x in features.items()})
    convs = {r[1]: GraphConv(3, 4, norm="both", bias=False, allow_zero_in_degree=True).double() for r in relations}
    for relation in relations:
        convs[relation[1]].weight.data = made.weight[weight_key(*relation)].weight.data.T.contiguous()
    theirs = HeteroGraphConv(convs, aggregate="sum")(graph, features)
    ours = made(features, edges)
    for node in {relation[2] for relation in relations}:
        torch.testing.assert_close(ours[node], theirs[node], rtol=1e-6, atol=1e-6)
    for node in features.keys() - {relation[2] for relation in relations}:
        assert ours[node] is features[node]


def test_without_self_loops_nothing_else_is_learned():
    names = {name for name, _ in GCN(3, 2, relations=RELATIONS[2:3], self_loops=False).named_parameters()}
    assert names == {"weight.[b of a].weight", "bias.[a]"}


def test_gcn_has_one_weight_a_relation_and_one_bias_a_type():
    names = {name for name, _ in GCN(3, 2, relations=RELATIONS[2:4]).named_parameters()}
    keys = ("[b of a]", "[a has b]", "[b itself b]", "[a itself a]")
    assert names == {*(f"weight.{key}.weight" for key in keys), "bias.[a]", "bias.[b]"}
