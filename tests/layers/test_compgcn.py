import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.errors import ConfigError, DataError
from mmgraph.layers import CompGCN, Edges, compgcn
from mmgraph.typing import EdgeSet

BASE = (("a", "near", "a"), ("b", "of", "a"), ("a", "has", "b"))
RELATIONS = (*BASE, *((target, f"^{name}", source) for source, name, target in BASE))
KINDS = ("sub", "mult", "corr")


def both_ways(edges):
    """The edges of each relation, and the same ones back."""
    found = {relation: edges[relation] for relation in BASE}
    for source, name, target in BASE:
        index, weight = edges[source, name, target]
        found[target, f"^{name}", source] = EdgeSet(index.flip(0), weight)
    return found


def phi(kind, x, z):
    if kind == "sub":
        return x - z
    if kind == "mult":
        return x * z
    n = len(x)
    return torch.stack([sum(x[i] * z[(i + k) % n] for i in range(n)) for k in range(n)])


def triples(relations, edges):
    """(source type, source, row of the relation's state, target type, target, weight) of each edge."""
    names = ["near", "of", "has"]
    for source, name, target in relations:
        index, weight = edges[source, name, target]
        ones = [1.0] * index.shape[1] if weight is None else weight.tolist()
        row = names.index(name.removeprefix("^")) + len(names) * name.startswith("^")
        for u, v, w in zip(*index.tolist(), ones, strict=True):
            yield source, u, row, target, v, w


def slow(layer, features, edges):
    z, out = features["relation"], {}
    for node in ("a", "b"):
        rows = []
        for v in range(len(features[node])):
            state = layer.weight["itself"] @ phi(layer.composition, features[node][v], layer.loop[0]) + layer.bias
            for direction in ("original", "inverse"):
                mine = [one for one in RELATIONS if one[1].startswith("^") == (direction == "inverse")]
                all_edges = list(triples(mine, edges))
                for source, u, row, target, t, w in all_edges:
                    if (target, t) == (node, v):
                        left = sum(e[5] for e in all_edges if e[:2] == (source, u))
                        arrived = sum(e[5] for e in all_edges if e[3:5] == (node, v))
                        message = phi(layer.composition, features[source][u], z[row])
                        state = state + w / (left * arrived) ** 0.5 * layer.weight[direction] @ message
            rows.append(state.tanh())
        out[node] = torch.stack(rows) if rows else z.new_empty(0, layer.out_channels)
    out["relation"] = z @ layer.weight["relation"].T
    return out


def made(kind, channels=(3, 2), **options):
    torch.manual_seed(0)
    layer = CompGCN(*channels, relations=RELATIONS, composition=kind, **options).double()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    return layer


def states(channels=3):
    return torch.randn(6, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_equals_a_slow_loop(graphs, kind, channels, data):
    features, edges = data.draw(graphs(channels))
    features, edges = {**features, "relation": states(channels)}, both_ways(edges)
    layer = made(kind, (channels, 2))
    expected = slow(layer, features, edges)
    for found in (layer(features, edges), layer(features, Edges(edges))):
        assert found.keys() == expected.keys()
        for node, state in expected.items():
            torch.testing.assert_close(found[node], state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_edges_change_nothing(graph, kind, monkeypatch):
    features, edges = graph
    features, edges = {**features, "relation": states()}, both_ways(edges)
    layer = made(kind)

    def run():
        given = {name: state.clone().requires_grad_() for name, state in features.items()}
        out = layer(given, edges)
        sum((state * state).sum() for state in out.values()).backward()
        return [*out.values(), *(state.grad for state in given.values())]

    whole = run()
    for size in (1, 100, 200):  # one edge at a time, and some
        monkeypatch.setattr(compgcn, "BLOCK_BYTES", size)
        for one, other in zip(run(), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(graph, kind):
    features, edges = graph
    edges = both_ways(edges)
    layer = made(kind)
    index = edges[BASE[0]].index
    weight = (torch.rand(index.shape[1], dtype=torch.float64) + 0.5).requires_grad_()
    given = {**features, "relation": states()}
    inputs = [*(state.requires_grad_() for state in given.values()), weight, *layer.parameters()]

    def run(*tensors):
        out = layer(dict(zip(given, tensors[:3], strict=True)), {**edges, BASE[0]: EdgeSet(index, tensors[3])})
        return tuple(out.values())

    assert torch.autograd.gradcheck(run, inputs)


def test_correlation_of_the_paper():
    """Nickel et al. 2016, eq. 2: [a * b]_k = sum_i a_i b_((i + k) mod d)."""
    layer = made("corr", (4, 4))
    x, z = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[1.0, 0, 0, 2]])
    assert layer._compose(x, z)[0].tolist() == pytest.approx([1 + 4 * 2, 3 * 2 + 4, 3 + 2 * 2, 2 + 1 * 2])


def test_without_inverses_there_is_no_matrix_for_them(graph):
    features, edges = graph
    layer = CompGCN(3, 2, relations=BASE, bias=False, activation=None).double()
    assert {name for name, _ in layer.named_parameters()} == {
        "loop",
        "weight.original",
        "weight.itself",
        "weight.relation",
    }
    out = layer({**features, "relation": states()}, edges)
    assert {name: list(state.shape) for name, state in out.items()} == {"a": [8, 2], "b": [6, 2], "relation": [6, 2]}
    assert repr(layer).startswith("CompGCN(\n  3, 2, composition='corr'\n")


def test_relations_of_one_name_share_a_state(graph):
    features, edges = graph
    relations = [("a", "near", "a"), ("b", "near", "b")]
    layer = CompGCN(3, 2, relations=relations, composition="mult").double()
    given = {relations[0]: edges["a", "near", "a"], relations[1]: edges["b", "next", "b"]}
    z = states()[:2]
    before = layer({**features, "relation": z}, given)
    z = z.clone()
    z[0] += 1
    after = layer({**features, "relation": z}, given)
    assert not torch.equal(before["a"], after["a"])
    assert not torch.equal(before["b"], after["b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"composition": "add"}, "'sub', 'mult' or 'corr', got 'add'"),
        ({"relations": [("a", "r", "a"), ("a", "^q", "a")]}, r"got '\^q' without 'q'; name both"),
        ({"relations": [("a", "r", "relation")]}, "got a node type of that name"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        CompGCN(3, 2, **{"relations": RELATIONS, **options})


@pytest.mark.parametrize(
    ("relation", "message"),
    [({}, "got None"), ({"relation": torch.zeros(3, 3)}, r"\[6, 3\].*got \[3, 3\]")],
)
def test_refuses_states_of_other_relations(graph, relation, message):
    features, edges = graph
    with pytest.raises(DataError, match=message):
        made("sub")({**features, **relation}, both_ways(edges))
