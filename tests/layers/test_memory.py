import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.layers import Attention, MemoryAttention, edge_sets
from mmgraph.typing import EdgeSet

CHANNELS = 8
RELATIONS = [("a", "to", "a"), ("b", "to", "a"), ("a", "to", "b")]


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return {"a": torch.randn(4, CHANNELS, generator=generator), "b": torch.randn(3, CHANNELS, generator=generator)}


@pytest.fixture
def edges():
    return {
        ("a", "to", "a"): EdgeSet(torch.tensor([[0, 1, 2], [1, 0, 1]])),
        ("b", "to", "a"): EdgeSet(torch.tensor([[0, 1], [0, 2]])),
        ("a", "to", "b"): EdgeSet(torch.empty(2, 0, dtype=torch.int64)),
    }


def stirred(layer):
    torch.manual_seed(1)
    for weight in layer.parameters():
        nn.init.normal_(weight, std=0.4)
    return layer.eval()


@pytest.mark.parametrize("share", ["all", "type", "relation"])
def test_without_slots_it_is_attention(share, features, edges):
    layer = stirred(MemoryAttention(CHANNELS, relations=RELATIONS, memories=0, heads=2, share=share))
    plain = Attention(CHANNELS, relations=RELATIONS, heads=2, share=share).eval()
    plain.load_state_dict(layer.attention.state_dict())
    for node, state in plain(features, edges).items():
        assert torch.equal(layer(features, edges)[node], state)
    for relation, weight in plain.weights(features, edges).items():
        assert torch.equal(layer.weights(features, edges)[relation], weight)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("share", ["all", "type", "relation"])
@pytest.mark.parametrize("memories", [1, 5])
def test_it_equals_its_formula(memories, share, norm_first, features, edges):
    layer = stirred(
        MemoryAttention(
            CHANNELS, relations=RELATIONS, memories=memories, heads=2, share=share, norm_first=norm_first, hidden=6
        )
    )
    inner = layer.attention

    def by(table, *names):
        keys = ["all", *(weight_key(name) if isinstance(name, str) else weight_key(*name) for name in names)]
        return table[next(key for key in keys if key in table)]

    def normed(node, x):
        return by(inner.norm1, node)(x) if norm_first else x

    for target in features:
        for row, h in enumerate(features[target]):
            q = by(inner.query, target)(normed(target, h))
            told = [(("memory", "informs", target), "memory", s) for s in layer.memory]
            for relation in RELATIONS:
                if relation[2] == target:
                    sources = edges[relation].index[0][edges[relation].index[1] == row]
                    told += [(relation, relation[0], features[relation[0]][u]) for u in sources.tolist()]
            keys = torch.stack([by(inner.key, r, node)(normed(node, x)) for r, node, x in told])
            values = torch.stack([by(inner.value, r, node)(normed(node, x)) for r, node, x in told])
            heads = []
            for k, v, part in zip(keys.chunk(2, 1), values.chunk(2, 1), q.chunk(2), strict=True):
                heads.append((k @ part / (CHANNELS // 2) ** 0.5).softmax(0) @ v)
            y = h + by(inner.out, target)(torch.cat(heads))
            if not norm_first:
                y = by(inner.norm1, target)(y)
            grown = by(inner.linear1, target)(by(inner.norm2, target)(y) if norm_first else y)
            y = y + by(inner.linear2, target)(grown.relu())
            if not norm_first:
                y = by(inner.norm2, target)(y)
            torch.testing.assert_close(layer(features, edges)[target][row], y, atol=1e-5, rtol=1e-5)


def test_slots_can_have_any_keys_and_values(features):
    """One slot with weights of its own is torch's ``add_bias_kv``: a learned key and value in every sequence."""
    layer = stirred(MemoryAttention(CHANNELS, relations=[("a", "to", "a")], memories=1, heads=2, share="type"))
    inner, theirs = layer.attention, nn.MultiheadAttention(CHANNELS, 2, add_bias_kv=True, batch_first=True)
    stirred(theirs)
    with torch.no_grad():
        for table, weight, bias in zip(
            (inner.query, inner.key, inner.value),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            table[weight_key("a")].weight.copy_(weight)
            table[weight_key("a")].bias.copy_(bias)
        inner.out[weight_key("a")].load_state_dict(theirs.out_proj.state_dict())
        layer.memory.copy_(torch.eye(1, CHANNELS))
        for table, wanted in ((inner.key, theirs.bias_k), (inner.value, theirs.bias_v)):
            table[weight_key("memory")].bias.zero_()
            table[weight_key("memory")].weight[:, 0] = wanted.flatten()
    x = features["a"]
    everyone = {("a", "to", "a"): EdgeSet(torch.cartesian_prod(torch.arange(4), torch.arange(4)).T)}
    heard = theirs(x[None], x[None], x[None])[0][0]
    y = inner.norm1[weight_key("a")](x + heard)
    y = inner.norm2[weight_key("a")](y + inner.linear2[weight_key("a")](inner.linear1[weight_key("a")](y).relu()))
    torch.testing.assert_close(layer({"a": x}, everyone)["a"], y, atol=1e-5, rtol=1e-5)


def test_weights_of_edges_and_slots_add_up_to_one(features, edges):
    layer = stirred(MemoryAttention(CHANNELS, relations=RELATIONS, memories=3, heads=2))
    weights = layer.weights(features, edges)
    for target, rows in (("a", 4), ("b", 3)):
        total = weights["memory", "informs", target].reshape(3, rows, 2).sum(0)
        for relation in RELATIONS:
            if relation[2] == target:
                total = total.index_add(0, edges[relation].index[1], weights[relation])
        torch.testing.assert_close(total, torch.ones(rows, 2))


def test_slots_are_no_nodes_outside_and_learn(features, edges):
    layer = MemoryAttention(CHANNELS, relations=RELATIONS, memories=3, heads=2)
    out = layer({**features, "c": torch.ones(1, 1)}, edges)
    assert list(out) == ["a", "b", "c"]
    out["b"].sin().sum().backward()  # at b no edge points: it reads the slots alone
    assert (layer.memory.grad != 0).any(dim=1).all()
    assert "memory" in layer.state_dict()


def test_the_slots_edges_are_made_once_for_a_graph(features):
    graph = HeteroData()
    graph["a"].num_nodes = 4
    graph["a", "to", "a"].edge_index = torch.tensor([[0, 1], [1, 2]])
    layer = MemoryAttention(CHANNELS, relations=[("a", "to", "a")], memories=2)
    sets = edge_sets(graph)
    assert layer._joined(features, sets) is layer._joined(features, sets)
    fewer = {"a": features["a"][:3]}
    assert layer._joined(fewer, sets)["memory", "informs", "a"].index.shape == (2, 6)
    assert layer(fewer, sets)["a"].shape == (3, CHANNELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memories": -1}, "memories must be at least 0 .* got -1"),
        ({"relations": [("memory", "to", "a")]}, "no node type be called 'memory', got 2 and \\['memory', 'a'\\]"),
        ({"heads": 3}, "heads must divide"),
        ({"relations": []}, "at least 1 relation"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MemoryAttention(CHANNELS, **{"relations": RELATIONS, "memories": 2, **options})
