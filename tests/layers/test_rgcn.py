import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.nn import RGCNConv

from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.layers import RGCN, Edges, Mean
from mmgraph.typing import EdgeSet

RELATIONS = (("a", "near", "a"), ("a", "far", "a"), ("b", "of", "a"), ("a", "has", "b"), ("b", "next", "b"))
LOOP = RELATIONS[:2]
KINDS = {"whole": {}, "bases": {"bases": 3}, "one basis": {"bases": 1}, "blocks": {"blocks": 2}}


def slow(layer, features, edges):
    out = {}
    for node, states in features.items():
        rows = []
        for v in range(len(states)):
            state = layer.loop[weight_key(node)] @ states[v] + layer.bias[weight_key(node)]
            for number, relation in enumerate(layer.relations):
                index, weight = edges[relation]
                ones = [1.0] * index.shape[1] if weight is None else weight.tolist()
                pairs = [(u, w) for u, t, w in zip(*index.tolist(), ones, strict=True) if t == v]
                if relation[2] == node and pairs:
                    mean = sum(w * features[relation[0]][u] for u, w in pairs) / sum(w for _, w in pairs)
                    state = state + matrix(layer, number) @ mean
            rows.append(state.relu())
        out[node] = torch.stack(rows) if rows else states.new_empty(0, layer.out_channels)
    return out


def matrix(layer, number):
    """W_r, entry by entry."""
    found = torch.zeros(layer.out_channels, layer.in_channels, dtype=torch.float64)
    if layer.bases is not None:
        for b in range(layer.bases):
            found += layer.share[number, b] * layer.basis[b]
        return found
    blocks, high, wide = layer.block.shape[1:]
    for b in range(blocks):
        found[b * high : (b + 1) * high, b * wide : (b + 1) * wide] = layer.block[number, b]
    return found


def made(seed=0, channels=(4, 6), relations=RELATIONS, **options):
    torch.manual_seed(seed)
    layer = RGCN(*channels, relations=relations, **options).double()
    for bias in layer.bias.values():
        torch.nn.init.normal_(bias)
    return layer


@pytest.mark.parametrize("channels", [(4, 6), (4, 2)], ids=["wider", "narrower"])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_equals_a_slow_loop(graphs, options, channels, data):
    features, edges = data.draw(graphs(4))
    layer = made(channels=channels, **options)
    for found in (layer(features, edges), layer(features, Edges(edges))):
        expected = slow(layer, features, edges)
        assert found.keys() == expected.keys()
        for node, state in expected.items():
            torch.testing.assert_close(found[node], state, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_matrix_of_a_relation(options):
    layer = made(**options)
    for number, relation in enumerate(RELATIONS):
        torch.testing.assert_close(layer.weight(relation), matrix(layer, number))


@pytest.mark.parametrize("options", [{"bases": 3}, {"blocks": 2}], ids=["bases", "blocks"])
def test_equals_pyg(graph, options):
    features, edges = graph
    ours = made(relations=LOOP, channels=(2, 6), activation=None, **options)
    theirs = RGCNConv(2, 6, 2, num_bases=options.get("bases"), num_blocks=options.get("blocks")).double()
    with torch.no_grad():
        if ours.bases is not None:
            theirs.weight.copy_(ours.basis.mT)
            theirs.comp.copy_(ours.share)
        else:
            theirs.weight.copy_(ours.block.mT)
        theirs.root.copy_(ours.loop[weight_key("a")].T)
        theirs.bias.copy_(ours.bias[weight_key("a")])
    x = features["a"][:, :2]
    index = torch.cat([edges[relation].index for relation in LOOP], dim=1)
    kind = torch.cat([torch.full_like(edges[relation].index[0], number) for number, relation in enumerate(LOOP)])
    torch.testing.assert_close(ours({"a": x}, edges)["a"], theirs(x, index, kind), rtol=1e-10, atol=1e-10)


def test_whole_matrices_are_mean(graph):
    features, edges = graph
    layer, mean = made(channels=(3, 2)), Mean(3, 2, relations=RELATIONS).double()
    with torch.no_grad():
        for relation in RELATIONS:
            mean.neighbour[weight_key(*relation)].weight.copy_(layer.weight(relation))
        for node in "ab":
            mean.root[weight_key(node)].weight.copy_(layer.loop[weight_key(node)])
            mean.root[weight_key(node)].bias.copy_(layer.bias[weight_key(node)])
    expected = mean(features, edges)
    for node, state in layer(features, edges).items():
        torch.testing.assert_close(state, expected[node], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_gradients(graph, options):
    features, edges = graph
    features = {node: state[:, :2].clone().requires_grad_() for node, state in features.items()}
    layer = made(channels=(2, 4), activation=torch.tanh, **options)
    index, weight = edges[LOOP[0]].index, torch.rand(edges[LOOP[0]].index.shape[1], dtype=torch.float64) + 0.5
    inputs = [*features.values(), weight.requires_grad_(), *layer.parameters()]

    def run(*states):
        given = {**edges, LOOP[0]: EdgeSet(index, states[2])}
        return tuple(layer(dict(zip(features, states[:2], strict=True)), given).values())

    assert torch.autograd.gradcheck(run, inputs)


def test_bases_hold_fewer_weights_than_relations():
    relations = [("a", str(number), "a") for number in range(50)]
    sizes = {
        name: sum(
            one.numel() for one in RGCN(8, 8, relations=relations, self_loop=False, bias=False, **how).parameters()
        )
        for name, how in KINDS.items()
    }
    assert sizes == {"whole": 50 * 64, "bases": 3 * 64 + 150, "one basis": 64 + 50, "blocks": 50 * 32}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_matrices_start_with_the_variance_of_glorot(options):
    torch.manual_seed(0)
    layer = RGCN(64, 64, relations=[("a", str(number), "a") for number in range(200)], **options)
    found = torch.stack([layer.weight(relation) for relation in layer.relations]).detach()
    width = 64 // (options.get("blocks") or 1)
    assert float(found[found != 0].var()) == pytest.approx(1 / width, rel=0.35)


def test_without_self_loop_a_lonely_node_gets_the_bias(graph):
    features, _ = graph
    layer = made(channels=(3, 2), relations=[("b", "of", "a")], bases=1, self_loop=False, activation=None)
    out = layer(features, {("b", "of", "a"): EdgeSet(torch.zeros(2, 0).long())})
    for node in "ab":
        torch.testing.assert_close(out[node], layer.bias[weight_key(node)].expand(len(features[node]), -1))


def test_other_types_pass_unchanged(graph):
    features, edges = graph
    assert made(channels=(3, 2), relations=LOOP, bases=2)(features, edges)["b"] is features["b"]
    assert (
        repr(made(bases=2))
        == "RGCN(\n  4, 6, bases=2, blocks=None\n  (loop): "
        + repr(made(bases=2).loop).replace("\n", "\n  ")
        + "\n  (bias): "
        + repr(made(bases=2).bias).replace("\n", "\n  ")
        + "\n)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bases": 2, "blocks": 3}, "got both, 2 and 3; leave one out"),
        ({"bases": 0}, "bases must be at least 1, got 0"),
        ({"blocks": -1}, "blocks must be at least 1, got -1"),
        ({"blocks": 3}, "got 3 for 4 and 6 channels"),
        ({"relations": []}, "at least 1 relation, got none"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        RGCN(4, 6, **{"relations": LOOP, **options})
