import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mmgraph.builders import patterns
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import Blocks
from mmgraph.layers import Attention, Edges, Stack, edge_sets
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.typing import EdgeSet

CHANNELS, ANCHORS, TYPES = 8, 3, {"a": 4, "b": 3}


def sample(seed=0):
    """Three anchors with four nodes of a and three of b each."""
    from torch_geometric.data import HeteroData

    torch.manual_seed(seed)
    graph, features = HeteroData(), {}
    graph["anchor"].num_nodes = ANCHORS
    for node, each in TYPES.items():
        owner = torch.arange(ANCHORS).repeat_interleave(each)
        graph[node].num_nodes = len(owner)
        graph[node, "of", "anchor"].edge_index = torch.stack([torch.arange(len(owner)), owner])
        features[node] = torch.randn(len(owner), CHANNELS)
    nodes = dict.fromkeys(["anchor", *TYPES], NodeSpec())
    schema = Schema(nodes=nodes, edges={(node, "of", "anchor"): EdgeSpec() for node in TYPES}, anchor="anchor")
    return graph, schema, features


def informs(schema):
    return [edge for edge in schema.edges if edge[1] == "informs"]


def like_torch(layer, *, norm_first, activation):
    """``nn.TransformerEncoderLayer`` with the same weights."""
    hidden = layer.linear1["all"].out_features
    theirs = nn.TransformerEncoderLayer(
        CHANNELS, layer.heads, hidden, activation=activation, batch_first=True, norm_first=norm_first, dropout=0.1
    )
    own = theirs.self_attn
    own.in_proj_weight.data = torch.cat([layer.query["all"].weight, layer.key["all"].weight, layer.value["all"].weight])
    own.in_proj_bias.data = torch.cat([layer.query["all"].bias, layer.key["all"].bias, layer.value["all"].bias])
    own.out_proj.load_state_dict(layer.out["all"].state_dict())
    for name in ("linear1", "linear2", "norm1", "norm2"):
        getattr(theirs, name).load_state_dict(getattr(layer, name)["all"].state_dict())
    return theirs


@pytest.fixture(params=[(False, F.relu), (True, F.gelu)], ids=["post-norm", "pre-norm"])
def pair(request):
    """A function: relations → our layer and torch's, with random weights."""
    norm_first, activation = request.param

    def make(relations):
        torch.manual_seed(1)
        layer = Attention(
            CHANNELS, relations=relations, heads=2, hidden=16, norm_first=norm_first, activation=activation
        )
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.4)
        return layer.eval(), like_torch(layer, norm_first=norm_first, activation=activation).eval()

    return make


def stacked(features, nodes=tuple(TYPES)):
    """The states of each anchor as one sequence, ``[anchors, rows, channels]``."""
    return torch.cat([features[node].reshape(ANCHORS, -1, CHANNELS) for node in nodes], dim=1)


def mask(allowed):
    """``[sequence, sequence]``, True where torch must not look; rows of nobody look at themselves."""
    blind = ~allowed
    blind[~allowed.any(1)] = ~torch.eye(len(allowed), dtype=torch.bool)[~allowed.any(1)]
    return blind


def places():
    """Type and place in the sequence of each of the seven nodes of an anchor."""
    kind = torch.tensor([0] * TYPES["a"] + [1] * TYPES["b"])
    return kind, torch.cat([torch.arange(n) for n in TYPES.values()])


KIND, PLACE = places()
SAME = KIND[:, None] == KIND
PATTERNS = {
    "merged": (lambda *g: patterns.merged(*g), torch.ones(7, 7, dtype=torch.bool)),
    "no loops": (lambda *g: patterns.merged(*g, loops=False), ~torch.eye(7, dtype=torch.bool)),
    "modality_specific": (lambda *g: patterns.modality_specific(*g), SAME),
    "co_attention": (lambda *g: patterns.co_attention(*g), ~SAME),
    "windowed": (lambda *g: patterns.windowed(*g, width=1), (PLACE[:, None] - PLACE).abs() <= 1),
    "window within": (
        lambda *g: patterns.windowed(*g, width=1, between="within"),
        SAME & ((PLACE[:, None] - PLACE).abs() <= 1),
    ),
    "causal": (lambda *g: patterns.causal(*g), PLACE[:, None] >= PLACE),
    "causal across": (lambda *g: patterns.causal(*g, between="across"), ~SAME & (PLACE[:, None] >= PLACE)),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_each_pattern_is_the_masked_encoder_layer(name, pair):
    make, allowed = PATTERNS[name]
    graph, schema, features = sample()
    graph, schema = make(graph, schema)
    ours, theirs = pair(informs(schema))
    out = stacked(ours(features, edge_sets(graph)))
    torch.testing.assert_close(out, theirs(stacked(features), src_mask=mask(allowed)), atol=1e-5, rtol=1e-5)
    if name == "merged":
        torch.testing.assert_close(out, theirs(stacked(features)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PATTERNS)
def test_so_are_the_gradients(name, pair):
    make, allowed = PATTERNS[name]
    graph, schema, features = sample()
    graph, schema = make(graph, schema)
    ours, theirs = pair(informs(schema))
    for state in features.values():
        state.requires_grad_()
    stacked(ours(features, edge_sets(graph))).sin().sum().backward()
    grads = {node: state.grad.clone() for node, state in features.items()}
    for state in features.values():
        state.grad = None
    theirs(stacked(features), src_mask=mask(allowed)).sin().sum().backward()
    for node, state in features.items():
        torch.testing.assert_close(grads[node], state.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.linear1["all"].weight.grad, theirs.linear1.weight.grad, atol=1e-4, rtol=1e-4)
    ours_in = torch.cat([table["all"].weight.grad for table in (ours.query, ours.key, ours.value)])
    torch.testing.assert_close(ours_in, theirs.self_attn.in_proj_weight.grad, atol=1e-4, rtol=1e-4)


def test_asymmetric_changes_the_targets_alone(pair):
    graph, schema, features = sample()
    graph, schema = patterns.asymmetric(graph, schema, source="a", target="b")
    ours, theirs = pair(informs(schema))
    out = ours(features, edge_sets(graph))
    assert out["a"] is features["a"]
    expected = theirs(stacked(features), src_mask=mask((KIND[:, None] == 1) & (KIND == 0)))
    torch.testing.assert_close(stacked(out, ["b"]), expected[:, 4:], atol=1e-5, rtol=1e-5)


def test_bottleneck_is_the_masked_encoder_layer(pair):
    graph, schema, features = sample()
    graph, schema = patterns.bottleneck(*patterns.modality_specific(graph, schema), count=2)
    features["bottleneck"] = torch.randn(2 * ANCHORS, CHANNELS)
    ours, theirs = pair(informs(schema))
    kind = torch.cat([KIND, torch.tensor([2, 2])])
    allowed = (kind[:, None] == kind) | (kind == 2) | (kind[:, None] == 2)
    nodes = ("a", "b", "bottleneck")
    expected = theirs(stacked(features, nodes), src_mask=mask(allowed))
    torch.testing.assert_close(stacked(ours(features, edge_sets(graph)), nodes), expected, atol=1e-5, rtol=1e-5)
    two = Stack(ours, ours)(features, edge_sets(graph))  # through the tokens a reaches b in two layers, not in one
    moved = {**features, "a": features["a"].flip(1)}
    assert torch.equal(ours(moved, edge_sets(graph))["b"], ours(features, edge_sets(graph))["b"])
    assert (Stack(ours, ours)(moved, edge_sets(graph))["b"] - two["b"]).abs().max() > 1e-3


def test_latents_read_all_and_the_order_of_the_inputs_does_not_matter(pair):
    graph, schema, features = sample()
    graph, schema = patterns.latents(graph, schema, count=2)
    features["latent"] = torch.randn(2 * ANCHORS, CHANNELS)
    ours, theirs = pair(informs(schema))
    out = ours(features, edge_sets(graph))
    assert out["a"] is features["a"]
    assert out["latent"].shape == (2 * ANCHORS, CHANNELS)
    allowed = torch.zeros(9, 9, dtype=torch.bool)
    allowed[7:] = True
    expected = theirs(stacked(features, ("a", "b", "latent")), src_mask=mask(allowed))[:, 7:]
    torch.testing.assert_close(stacked(out, ["latent"]), expected, atol=1e-5, rtol=1e-5)
    order = torch.cat([torch.randperm(4) + 4 * anchor for anchor in range(ANCHORS)])
    again = ours({**features, "a": features["a"][order]}, edge_sets(graph))
    torch.testing.assert_close(again["latent"], out["latent"], atol=1e-6, rtol=1e-5)


def test_memory_slots_are_read_and_get_no_message(pair):
    graph, schema, features = sample()
    graph, schema = patterns.memory(*patterns.merged(graph, schema), count=2)
    features["memory"] = torch.randn(2 * ANCHORS, CHANNELS)
    ours, theirs = pair(informs(schema))
    out = ours(features, edge_sets(graph))
    assert out["memory"] is features["memory"]
    allowed = torch.ones(9, 9, dtype=torch.bool)
    allowed[7:] = False
    expected = theirs(stacked(features, ("a", "b", "memory")), src_mask=mask(allowed))[:, :7]
    torch.testing.assert_close(stacked(out), expected, atol=1e-5, rtol=1e-5)
    moved = ours({**features, "a": features["a"].flip(1)}, edge_sets(graph))
    assert moved["memory"] is features["memory"]


@pytest.mark.parametrize("large", [False, True], ids=["sparse", "dense"])
def test_a_later_node_leaves_earlier_ones_equal_to_the_bit(large, pair):
    from torch_geometric.data import HeteroData

    count = 60 if large else 5
    graph = HeteroData()
    graph["word"].num_nodes, graph["word"].text = count, torch.zeros(count, dtype=torch.int64)
    graph, schema = patterns.causal(graph, Schema(nodes={"word": NodeSpec()}), types=["word"], group="text")
    ours, _ = pair(informs(schema))
    x = torch.randn(count, CHANNELS)
    moved = x.clone()
    moved[count - 2] = x[count - 2].flip(0)
    before, after = (ours({"word": one}, edge_sets(graph))["word"] for one in (x, moved))
    found = next(one for one in edge_sets(graph).made.values())
    assert bool(found.blocks.dense) is large
    assert torch.equal(before[: count - 2], after[: count - 2])
    assert (before[count - 2 :] != after[count - 2 :]).any(1).all()


def test_without_cross_edges_it_is_two_independent_encoders():
    graph, schema, features = sample()
    graph, schema = patterns.modality_specific(graph, schema)
    torch.manual_seed(0)
    both = Attention(CHANNELS, relations=informs(schema), heads=2, share="type").eval()
    out = both(features, edge_sets(graph))
    for node, other in (("a", "b"), ("b", "a")):
        alone = Attention(CHANNELS, relations=[(node, "informs", node)], heads=2, share="type").eval()
        alone.load_state_dict({k: v for k, v in both.state_dict().items() if f"[{node}]" in k})
        torch.testing.assert_close(alone(features, edge_sets(graph))[node], out[node])
        moved = both({**features, other: features[other].flip(1)}, edge_sets(graph))
        assert torch.equal(moved[node], out[node])


@pytest.mark.parametrize("share", ["type", "relation"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_sets_of_equal_weights_are_one_shared_set(share, norm_first):
    graph, schema, features = sample()
    graph, schema = patterns.memory(*patterns.merged(graph, schema), count=2)
    features["memory"] = torch.randn(2 * ANCHORS, CHANNELS)
    options = {"relations": informs(schema), "heads": 2, "norm_first": norm_first}
    one, many = Attention(CHANNELS, **options).eval(), Attention(CHANNELS, **options, share=share).eval()
    for parameter in one.parameters():
        nn.init.normal_(parameter, std=0.4)
    state = one.state_dict()
    many.load_state_dict({k: state[f"{k.split('.')[0]}.all.{k.rsplit('.', 1)[1]}"] for k in many.state_dict()})
    ours, theirs = (layer(features, edge_sets(graph)) for layer in (many, one))
    for node in features:
        torch.testing.assert_close(ours[node], theirs[node])
    keys = {k.split(".")[1] for k in many.state_dict() if k.startswith("key.")}
    if share == "relation":
        assert keys == {f"[{' '.join(r)}]" for r in informs(schema)}
    else:
        assert keys == {"[a]", "[b]", "[memory]"}


@pytest.mark.parametrize("share", ["all", "type", "relation"])
def test_every_set_of_weights_counts(share):
    graph, schema, features = sample()
    graph, schema = patterns.merged(graph, schema)
    layer = Attention(CHANNELS, relations=informs(schema), heads=2, share=share).eval()
    states = layer(features, edge_sets(graph))
    sum((state.sin()).sum() for state in states.values()).backward()
    for name, parameter in layer.named_parameters():
        if not (name.startswith("key") and name.endswith("bias") and share != "relation"):
            assert parameter.grad.abs().sum() > 0, name  # a bias of all keys of a target shifts all its scores alike


def lonely(edges=((0, 0), (1, 0)), weight=None):
    index = torch.tensor(edges).T.reshape(2, -1)
    return {("a", "informs", "b"): EdgeSet(index, weight)}


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_node_without_in_edges_keeps_its_residual(norm_first):
    torch.manual_seed(0)
    layer = Attention(CHANNELS, relations=[("a", "informs", "b")], heads=2, norm_first=norm_first).eval()
    nn.init.ones_(layer.out["all"].bias)
    features = {"a": torch.randn(2, CHANNELS), "b": torch.randn(3, CHANNELS)}
    out = layer(features, lonely())["b"]
    x = features["b"][1:]
    norm1, norm2 = layer.norm1["all"], layer.norm2["all"]

    def feed(x):
        return layer.linear2["all"](layer.linear1["all"](x).relu())

    expected = x + feed(norm2(x)) if norm_first else norm2(norm1(x) + feed(norm1(x)))
    torch.testing.assert_close(out[1:], expected)
    layer.zero_grad()
    out[1:].sum().backward()
    assert all(table["all"].weight.grad.abs().sum() == 0 for table in (layer.query, layer.key, layer.value, layer.out))


def test_a_source_that_is_gone_has_no_influence():
    torch.manual_seed(0)
    layer = Attention(CHANNELS, relations=[("a", "informs", "b"), ("b", "informs", "b")], heads=2).eval()
    features = {"a": torch.randn(4, CHANNELS), "b": torch.randn(3, CHANNELS)}
    loops = torch.arange(3).expand(2, -1)
    edges = {("a", "informs", "b"): EdgeSet(torch.tensor([[0, 1], [0, 1]])), ("b", "informs", "b"): EdgeSet(loops)}
    fewer = {**features, "a": features["a"][:2]}
    torch.testing.assert_close(layer(features, edges)["b"], layer(fewer, edges)["b"], rtol=0, atol=0)
    nothing = {**edges, ("a", "informs", "b"): EdgeSet(torch.empty(2, 0, dtype=torch.int64))}
    none = layer({**features, "a": features["a"][:0]}, nothing)["b"]
    alone = Attention(CHANNELS, relations=[("b", "informs", "b")], heads=2).eval()
    alone.load_state_dict(layer.state_dict())
    torch.testing.assert_close(none, alone(features, nothing)["b"])


def test_types_in_no_relation_pass_unchanged():
    layer = Attention(CHANNELS, relations=[("a", "informs", "b")])
    features = {node: torch.randn(2, CHANNELS) for node in "abc"}
    out = layer(features, lonely(weight=torch.ones(2)))
    assert list(out) == ["a", "b", "c"]
    assert out["c"] is features["c"]
    assert out["a"] is features["a"]


@settings(max_examples=40)
@given(data=st.data())
def test_weights_are_those_that_it_uses(graphs, data):
    features, edges = data.draw(graphs(channels=4))
    relations = list(edges)
    share = data.draw(st.sampled_from(["all", "type", "relation"]))
    layer = Attention(4, relations=relations, heads=2, share=share).double().eval()
    weights = layer.weights(features, edges)
    assert {r: list(w.shape) for r, w in weights.items()} == {r: [edges[r].index.shape[1], 2] for r in relations}
    keys = {"all": lambda r: "all", "type": lambda r: f"[{r[0]}]", "relation": lambda r: f"[{' '.join(r)}]"}[share]
    for node, state in features.items():
        total = torch.zeros(len(state), 2, dtype=torch.float64)
        message = torch.zeros(len(state), 4, dtype=torch.float64)
        for r in relations:
            if r[2] == node:
                index = edges[r].index
                value = layer.value[keys(r)](features[r[0]])[index[0]].unflatten(1, (2, 2))
                total.index_add_(0, index[1], weights[r])
                message = message.index_add(0, index[1], (value * weights[r][:, :, None]).flatten(1))
        reached = total[:, 0] > 0
        torch.testing.assert_close(total[reached], torch.ones_like(total[reached]))
        own = "all" if share == "all" else f"[{node}]"
        x = state + torch.where(reached[:, None], layer.out[own](message), 0)
        x = layer.norm1[own](x)
        x = layer.norm2[own](x + layer.linear2[own](layer.linear1[own](x).relu()))
        torch.testing.assert_close(layer(features, edges)[node], x)


def test_a_weight_counts_as_so_many_edges():
    torch.manual_seed(0)
    layer = Attention(CHANNELS, relations=[("a", "informs", "b")], heads=2).eval()
    features = {"a": torch.randn(2, CHANNELS), "b": torch.randn(3, CHANNELS)}
    weighted = lonely([(0, 0), (1, 0), (1, 1)], torch.tensor([3.0, 1.0, 0.0]))
    plain = lonely([(0, 0)] * 3 + [(1, 0)])
    torch.testing.assert_close(layer(features, weighted)["b"], layer(features, plain)["b"])
    found = layer.weights(features, weighted)["a", "informs", "b"]
    torch.testing.assert_close(found[0], 3 * layer.weights(features, plain)["a", "informs", "b"][0])
    assert found[2].tolist() == [0, 0]


def test_weights_that_are_learned_get_a_gradient_and_are_not_kept():
    layer = Attention(CHANNELS, relations=[("a", "informs", "b")], heads=2).eval()
    features = {"a": torch.randn(2, CHANNELS), "b": torch.randn(3, CHANNELS)}
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    edges = Edges(lonely(weight=weight))
    for _ in range(2):
        layer(features, edges)["b"].sin().sum().backward()
    assert weight.grad.abs().sum() > 0
    assert edges.made == {}


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_no_number_of_edges_are_refused(wrong):
    layer = Attention(CHANNELS, relations=[("a", "informs", "b")], heads=2)
    features = {"a": torch.randn(2, CHANNELS), "b": torch.randn(3, CHANNELS)}
    with pytest.raises(DataError, match=rf"got {wrong:g} in \('a', 'informs', 'b'\); take the exponential"):
        layer(features, lonely(weight=torch.tensor([1.0, wrong])))


def test_the_edges_are_joined_once():
    graph, schema, features = sample()
    graph, schema = patterns.merged(graph, schema)
    layer, other = (Attention(CHANNELS, relations=informs(schema), heads=heads) for heads in (2, 4))
    edges = edge_sets(graph)
    for one in (layer, other, layer):
        one(features, edges)
    (found,) = edges.made.values()
    assert isinstance(found.blocks, Blocks)


def test_dropout_is_for_training_alone():
    graph, schema, features = sample()
    graph, schema = patterns.merged(graph, schema)
    layer = Attention(CHANNELS, relations=informs(schema), heads=2, dropout=0.5)
    edges = edge_sets(graph)
    assert not torch.equal(layer(features, edges)["a"], layer(features, edges)["a"])
    layer.eval()
    assert torch.equal(layer(features, edges)["a"], layer(features, edges)["a"])


def test_fresh_weights_are_drawn_by_glorots_rule():
    layer = Attention(64, relations=[("a", "informs", "a")], heads=2)
    bound = (6 / 128) ** 0.5
    for table in (layer.query, layer.key, layer.value, layer.out):
        assert table["all"].bias.abs().sum() == 0
        assert 0.9 * bound < table["all"].weight.abs().max() <= bound
    assert layer.linear1["all"].out_features == 256
    assert layer.norm1["all"].weight.tolist() == [1] * 64
    assert repr(layer).startswith("Attention(\n  heads=2, share='all', dropout=0.0, norm_first=False")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "got 3 heads, 8 channels and 32 hidden"),
        ({"heads": 0}, "got 0 heads"),
        ({"hidden": 0}, "got 4 heads, 8 channels and 0 hidden"),
        ({"dropout": 1.0}, "got 1.0, 'all'"),
        ({"share": "some"}, "got 0.0, 'some'"),
        ({"relations": []}, "at least 1 relation, got none"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Attention(**{"channels": 8, "relations": [("a", "informs", "b")], **options})
