import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch_geometric.nn import HGTConv

from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.layers import HGT, Edges
from mmgraph.typing import EdgeSet

RELATIONS = (("a", "near", "a"), ("a", "far", "a"), ("b", "of", "a"), ("a", "has", "b"), ("b", "next", "b"))


def made(channels=(4, 4), relations=RELATIONS, **options):
    torch.manual_seed(0)
    layer = HGT(*channels, relations=relations, **{"heads": 2, **options}).double()
    for name, one in layer.named_parameters():
        if name.endswith("bias") or name.startswith(("prior", "skip")):
            torch.nn.init.normal_(one)
    return layer.eval()


def slow(layer, features, edges):
    out = dict(features)
    for node in layer.targets:
        rows = []
        for v in range(len(features[node])):
            heads = []
            query = layer.query[weight_key(node)](features[node][v]).chunk(layer.heads)
            for h in range(layer.heads):
                mass, message = 0.0, torch.zeros_like(query[h])
                for relation in layer.relations:
                    index, weight = edges[relation]
                    weight = torch.ones(index.shape[1]) if weight is None else weight
                    source, key = relation[0], weight_key(*relation)
                    for u, t, w in zip(*index.tolist(), weight.tolist(), strict=True):
                        if relation[2] == node and t == v:
                            k = layer.key[weight_key(source)](features[source][u]).chunk(layer.heads)[h]
                            value = layer.value[weight_key(source)](features[source][u]).chunk(layer.heads)[h]
                            score = (layer.attend[key][h] @ k) @ query[h] * layer.prior[key][h] / len(k) ** 0.5
                            mass = mass + w * score.exp()
                            message = message + w * score.exp() * (layer.message[key][h] @ value)
                heads.append(message / mass if mass else message)
            state = layer.out[weight_key(node)](F.gelu(torch.cat(heads)))
            if layer.skip:
                gate = layer.skip[weight_key(node)].sigmoid()
                state = gate * state + (1 - gate) * features[node][v]
            rows.append(state)
        out[node] = torch.stack(rows) if rows else features[node].new_empty(0, 4)
    return out


@pytest.mark.parametrize("channels", [(4, 4), (3, 4)], ids=["gated", "other width"])
@settings(max_examples=15)
@given(data=st.data())
@torch.no_grad()
def test_equals_a_slow_loop(graphs, channels, data):
    features, edges = data.draw(graphs(channels[0]))
    if edges[RELATIONS[0]].weight is not None:
        edges[RELATIONS[0]].weight[::2] = 0  # edges that are none
    layer = made(channels)
    expected = slow(layer, features, edges)
    for found in (layer(features, edges), layer(features, Edges(edges))):
        for node, state in expected.items():
            torch.testing.assert_close(found[node], state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", [(4, 4), (3, 4)], ids=["gated", "other width"])
def test_equals_pyg(graph, channels):
    features, edges = graph
    features = {n: torch.randn(len(x), channels[0], dtype=torch.float64) for n, x in features.items()}
    ours = made(channels)
    theirs = HGTConv(*channels, (["a", "b"], list(RELATIONS)), heads=2).double()
    with torch.no_grad():
        for node in "ab":
            key = weight_key(node)
            three = [part[key] for part in (ours.key, ours.query, ours.value)]
            theirs.kqv_lin.lins[node].weight.copy_(torch.cat([one.weight for one in three]))
            theirs.kqv_lin.lins[node].bias.copy_(torch.cat([one.bias for one in three]))
            theirs.out_lin.lins[node].load_state_dict(ours.out[key].state_dict())
            if ours.skip:
                theirs.skip[node].copy_(ours.skip[key][None])
        for number, relation in enumerate(RELATIONS):
            key = weight_key(*relation)
            theirs.p_rel["__".join(relation)].copy_(ours.prior[key][None])
            for head in range(2):
                place = head * len(RELATIONS) + number
                theirs.k_rel.weight[place].copy_(ours.attend[key][head].T)
                theirs.v_rel.weight[place].copy_(ours.message[key][head].T)
    expected = theirs(features, {relation: one.index for relation, one in edges.items()})
    found = ours(features, edges)
    for node in "ab":
        torch.testing.assert_close(found[node], expected[node], rtol=1e-9, atol=1e-9)


def test_a_weight_counts_edges(graph):
    features, edges = graph
    layer, relation = made((3, 4), RELATIONS[:1]), RELATIONS[0]
    index = edges[relation].index
    thrice = EdgeSet(torch.cat([index, index[:, :3], index[:, :3]], dim=1))
    weight = torch.ones(index.shape[1], dtype=torch.float64)
    weight[:3] = 3
    one, other = (layer(features, {relation: given})["a"] for given in (thrice, EdgeSet(index, weight)))
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gradients(graph):
    features, edges = graph
    features = {node: state[:, :2].clone().requires_grad_() for node, state in features.items()}
    layer = made((2, 2))
    index = edges[RELATIONS[0]].index
    weight = (torch.rand(index.shape[1], dtype=torch.float64) + 0.5).requires_grad_()
    inputs = [*features.values(), weight, *layer.parameters()]

    def run(*tensors):
        out = layer(dict(zip("ab", tensors[:2], strict=True)), {**edges, RELATIONS[0]: EdgeSet(index, tensors[2])})
        return tuple(out.values())

    assert torch.autograd.gradcheck(run, inputs)


def test_a_relation_whose_prior_is_low_is_not_heard(graph):
    """With keys that all agree with the query, the prior alone decides."""
    features, edges = graph
    layer = made((3, 4), RELATIONS[:2], heads=1)
    with torch.no_grad():
        layer.query["[a]"].weight.zero_()
        layer.query["[a]"].bias.fill_(1)
        layer.key["[a]"].weight.zero_()
        layer.key["[a]"].bias.fill_(1)
        for key in layer.attend:
            layer.attend[key].copy_(torch.eye(4))
        layer.prior[weight_key(*RELATIONS[1])].fill_(-50.0)
        layer.prior[weight_key(*RELATIONS[0])].fill_(50.0)
    near, far = (set(edges[r].index[1].tolist()) for r in RELATIONS[:2])
    out = layer(features, edges)["a"]
    alone = layer(features, {**edges, RELATIONS[1]: EdgeSet(torch.zeros(2, 0).long())})["a"]
    heard = sorted(near & far)
    assert heard
    torch.testing.assert_close(out[heard], alone[heard])


def test_dropout_acts_while_training(graph):
    features, edges = graph
    layer = made((3, 4), dropout=0.5)
    assert torch.equal(layer(features, edges)["a"], layer(features, edges)["a"])
    layer.train()
    assert not torch.equal(layer(features, edges)["a"], layer(features, edges)["a"])


def test_other_types_pass_unchanged(graph):
    features, edges = graph
    layer = made((3, 4), RELATIONS[2:3])
    assert layer(features, edges)["b"] is features["b"]
    assert "heads=2, dropout=0.0" in repr(layer)
    assert not layer.skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "got 3 heads and 4 channels"),
        ({"heads": 0}, "got 0 heads"),
        ({"dropout": -0.1}, r"in \[0, 1\), got -0.1"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        HGT(4, 4, **{"relations": RELATIONS, "heads": 2, **options})


def test_refuses_a_negative_weight(graph):
    features, edges = graph
    index = edges[RELATIONS[0]].index
    with pytest.raises(DataError, match="got -2 in"):
        made((3, 4), RELATIONS[:1])(features, {RELATIONS[0]: EdgeSet(index, torch.full(index.shape[1:], -2.0))})
