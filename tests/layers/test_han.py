import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch_geometric.nn import HANConv

from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.layers import HAN, Edges
from mmgraph.typing import EdgeSet

RELATIONS = (("a", "near", "a"), ("a", "far", "a"), ("b", "of", "a"), ("a", "has", "b"), ("b", "next", "b"))


def made(relations=RELATIONS, channels=(3, 4), **options):
    torch.manual_seed(0)
    layer = HAN(*channels, relations=relations, **{"heads": 2, **options}).double()
    for name, one in layer.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(one)
    return layer.eval()


def slow(layer, features, edges):
    g = {node: layer.project[weight_key(node)](state) for node, state in features.items()}
    wide = layer.semantic.in_features // layer.heads
    out, alphas, betas = dict(features), {}, {}
    for node in layer.targets:
        paths = []
        for relation in layer.relations:
            if relation[2] != node:
                continue
            index, weight = edges[relation]
            weight = torch.ones(index.shape[1], dtype=torch.float64) if weight is None else weight
            state = torch.zeros(len(features[node]), layer.heads * wide, dtype=torch.float64)
            alpha = torch.zeros(index.shape[1], layer.heads, dtype=torch.float64)
            for v in range(len(features[node])):
                into = [e for e in range(index.shape[1]) if index[1, e] == v and weight[e] > 0]
                for h in range(layer.heads):
                    some = slice(h * wide, (h + 1) * wide)
                    of_source, of_target = layer.ask[weight_key(*relation)][:, h]
                    scores = [
                        F.leaky_relu(of_source @ g[relation[0]][index[0, e], some] + of_target @ g[node][v, some], 0.2)
                        for e in into
                    ]
                    mass = sum(weight[e] * s.exp() for e, s in zip(into, scores, strict=True))
                    for e, s in zip(into, scores, strict=True):
                        alpha[e, h] = weight[e] * s.exp() / mass
                        state[v, some] += alpha[e, h] * g[relation[0]][index[0, e], some]
            alphas[relation] = alpha
            paths.append(state if layer.activation is None else layer.activation(state))
        rows = len(features[node])
        scores = [sum(layer.query[0] @ layer.semantic(p[v]).tanh() for v in range(rows)) / max(rows, 1) for p in paths]
        beta = torch.tensor(scores, dtype=torch.float64).softmax(dim=0)
        betas[node] = beta.tolist()
        out[node] = sum(b * p for b, p in zip(beta, paths, strict=True))
    return out, alphas, betas


@settings(max_examples=20)
@given(data=st.data())
@torch.no_grad()
def test_equals_a_slow_loop(graphs, data):
    features, edges = data.draw(graphs())
    if edges[RELATIONS[0]].weight is not None:
        edges[RELATIONS[0]].weight[::2] = 0  # edges that are none
    layer = made()
    expected, alphas, betas = slow(layer, features, edges)
    for given_edges in (edges, Edges(edges)):
        found = layer(features, given_edges)
        for node, state in expected.items():
            torch.testing.assert_close(found[node], state, rtol=1e-10, atol=1e-10)
        weights = layer.weights(features, given_edges)
        for relation, alpha in alphas.items():
            torch.testing.assert_close(weights[relation], alpha, rtol=1e-10, atol=1e-10)
        for node, shares in layer.shares(features, given_edges).items():
            if len(features[node]):
                assert list(shares.values()) == pytest.approx(betas[node])
            assert list(shares) == [relation for relation in RELATIONS if relation[2] == node]
            assert sum(shares.values()) == pytest.approx(1)


def test_equals_pyg(graph):
    features, edges = graph
    ours = made(activation=torch.relu)
    theirs = HANConv(3, 4, (["a", "b"], list(RELATIONS)), heads=2).double().eval()
    with torch.no_grad():
        for node in "ab":
            theirs.proj[node].weight.copy_(ours.project[weight_key(node)].weight)
            theirs.proj[node].bias.copy_(ours.project[weight_key(node)].bias)
        for relation in RELATIONS:
            of_source, of_target = ours.ask[weight_key(*relation)]
            theirs.lin_src["__".join(relation)].copy_(of_source[None])
            theirs.lin_dst["__".join(relation)].copy_(of_target[None])
        theirs.k_lin.load_state_dict(ours.semantic.state_dict())
        theirs.q.copy_(ours.query)
    index = {relation: one.index for relation, one in edges.items()}
    expected, shares = theirs(features, index, return_semantic_attention_weights=True)
    found = ours(features, edges)
    for node in "ab":
        torch.testing.assert_close(found[node], expected[node], rtol=1e-10, atol=1e-10)
        assert list(ours.shares(features, edges)[node].values()) == pytest.approx(shares[node].tolist())


def test_a_weight_counts_edges(graph):
    features, edges = graph
    layer, relation = made(RELATIONS[:1]), RELATIONS[0]
    index = edges[relation].index
    thrice = EdgeSet(torch.cat([index, index[:, :3], index[:, :3]], dim=1))
    weight = torch.ones(index.shape[1], dtype=torch.float64)
    weight[:3] = 3
    one, other = (layer(features, {relation: given})["a"] for given in (thrice, EdgeSet(index, weight)))
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gradients(graph):
    features, edges = graph
    layer = made(activation=torch.tanh)
    index = edges[RELATIONS[0]].index
    weight = (torch.rand(index.shape[1], dtype=torch.float64) + 0.5).requires_grad_()
    inputs = [*(state.requires_grad_() for state in features.values()), weight, *layer.parameters()]

    def run(*tensors):
        out = layer(dict(zip("ab", tensors[:2], strict=True)), {**edges, RELATIONS[0]: EdgeSet(index, tensors[2])})
        return tuple(out.values())

    assert torch.autograd.gradcheck(run, inputs)


def test_dropout_acts_on_the_weights_while_training(graph):
    features, edges = graph
    layer = made(dropout=0.5, activation=None, heads=1)
    still = layer(features, edges)["a"]
    torch.manual_seed(0)
    with torch.no_grad():
        mean = torch.stack([layer.train()(features, edges)["a"] for _ in range(4000)]).mean(dim=0)
    assert not torch.equal(layer(features, edges)["a"], layer(features, edges)["a"])
    torch.testing.assert_close(layer.eval()(features, edges)["a"], still)
    assert (mean - still).abs().max() < 0.2


def test_other_types_pass_unchanged(graph):
    features, edges = graph
    out = made(RELATIONS[2:3])(features, edges)
    assert out["b"] is features["b"]
    assert "heads=2, dropout=0.0" in repr(made())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "got 3 heads, 4 channels and 4 hidden"),
        ({"heads": 0}, "got 0 heads"),
        ({"hidden": 0}, "and 0 hidden"),
        ({"dropout": 1.0}, r"in \[0, 1\), got 1.0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        HAN(3, 4, **{"relations": RELATIONS, "heads": 2, **options})


@pytest.mark.parametrize("wrong", [-1.0, float("inf"), float("nan")])
def test_refuses_weights_that_count_nothing(graph, wrong):
    features, edges = graph
    index = edges[RELATIONS[0]].index
    weight = torch.ones(index.shape[1])
    weight[2] = wrong
    with pytest.raises(DataError, match=rf"got {wrong:g} in \('a', 'near', 'a'\); take the exponential"):
        made(RELATIONS[:1])(features, {RELATIONS[0]: EdgeSet(index, weight)})
