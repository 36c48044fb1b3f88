import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.errors import ConfigError
from mmgraph.layers import Smooth
from mmgraph.typing import EdgeSet

WITHIN = (("a", "near", "a"), ("a", "far", "a"), ("b", "next", "b"))


def matrix(layer, features, edges, node):
    """P, row-stochastic (zero rows where there is no neighbour), built entry by entry."""
    rows = len(features[node])
    each = []
    for relation in layer.relations:
        if relation[0] != node:
            continue
        P = torch.zeros(rows, rows, dtype=torch.float64)
        index, weight = edges[relation]
        for e, (u, v) in enumerate(index.T.tolist()):
            P[v, u] += 1.0 if weight is None else weight[e]
        each.append(P / P.sum(dim=1, keepdim=True).where(P.sum(dim=1, keepdim=True) > 0, 1.0))
    reached = torch.stack([(P.sum(dim=1) > 0) for P in each]).sum(dim=0)
    return torch.stack(each).sum(dim=0) / reached.clamp_min(1)[:, None], reached > 0


@pytest.mark.parametrize("alpha", [0.1, 0.8])
@settings(max_examples=20)
@given(data=st.data())
def test_equals_the_formula(graphs, alpha, data):
    features, edges = data.draw(graphs())
    layer = Smooth(relations=WITHIN, rounds=data.draw(st.integers(1, 4)), alpha=alpha)
    out = layer(features, edges)
    for node, start in features.items():
        P, reached = matrix(layer, features, edges, node)
        state = start
        for _ in range(layer.rounds):
            state = ((1 - alpha) * start + alpha * P @ state).where(reached[:, None], start)
        torch.testing.assert_close(out[node], state, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.7])
def test_many_rounds_are_personalised_pagerank(lecture, alpha):
    x, index = lecture
    layer = Smooth(relations=WITHIN[:1], rounds=200, alpha=alpha)
    edges = {WITHIN[0]: EdgeSet(index)}
    P, _ = matrix(layer, {"a": x}, edges, "a")
    closed = (1 - alpha) * torch.linalg.solve(torch.eye(6, dtype=torch.float64) - alpha * P, x)
    torch.testing.assert_close(layer({"a": x}, edges)["a"], closed, rtol=1e-10, atol=1e-10)


def test_a_node_without_neighbours_keeps_its_state(lecture):
    x, index = lecture
    alone = torch.cat([x, torch.tensor([[42.0]], dtype=torch.float64)])
    out = Smooth(relations=WITHIN[:2], rounds=5, alpha=0.9)(
        {"a": alone}, {WITHIN[0]: EdgeSet(index), WITHIN[1]: EdgeSet(index[:, :0])}
    )["a"]
    assert out[-1].item() == 42
    assert (out[:-1] != x).all()


def test_states_stay_between_the_least_and_the_greatest(lecture):
    x, index = lecture
    out = Smooth(relations=WITHIN[:1], rounds=7, alpha=0.5)({"a": x}, {WITHIN[0]: EdgeSet(index)})["a"]
    assert out.min() >= 1
    assert out.max() <= 6


def test_a_learned_alpha_starts_without_the_graph_and_gets_a_gradient(lecture):
    x, index = lecture
    layer = Smooth(relations=WITHIN[:1], rounds=2, alpha=None).double()
    out = layer({"a": x}, {WITHIN[0]: EdgeSet(index)})["a"]
    assert torch.equal(out, x)
    (out * x).sum().backward()
    (gate,) = layer.parameters()
    assert gate.grad.abs() > 0
    gate.data.fill_(0.5)
    fixed = Smooth(relations=WITHIN[:1], rounds=2, alpha=float(torch.tanh(torch.tensor(0.5, dtype=torch.float64))))
    ours, theirs = (one({"a": x}, {WITHIN[0]: EdgeSet(index)})["a"] for one in (layer, fixed))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_fixed_alpha_has_no_parameters_and_is_shown():
    layer = Smooth(relations=WITHIN[:1], rounds=3, alpha=0.25)
    assert list(layer.parameters()) == []
    assert repr(layer) == "Smooth(rounds=3, alpha=0.25)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "got rounds=0, alpha=0.5"),
        ({"alpha": 0.0}, "got rounds=2, alpha=0.0"),
        ({"alpha": 1.0}, "got rounds=2, alpha=1.0"),
        ({"relations": [("a", "of", "b")]}, r"nodes of one type, got \('a', 'of', 'b'\)"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Smooth(**{"relations": WITHIN, **options})
