import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.questions import Signed
from mmgraph.typing import EdgeSet

RELATIONS = [("a", "is", "b"), ("a", "not", "b"), ("b", "near", "b"), ("a", "near", "a")]


def made(rounds=2):
    torch.manual_seed(0)
    layer = Signed(4, relations=RELATIONS, rounds=rounds, denies={"not": "is"})
    with torch.no_grad():
        layer.factor.normal_()
    edges = {
        RELATIONS[0]: EdgeSet(torch.tensor([[0, 1, 1], [1, 0, 0]])),
        RELATIONS[1]: EdgeSet(torch.tensor([[2], [1]])),
        RELATIONS[3]: EdgeSet(torch.tensor([[0, 2], [0, 1]])),
    }
    return layer, {"a": torch.randn(3, 4), "b": torch.randn(2, 4), "c": torch.randn(1, 4)}, edges


def slow(layer, features, edges):
    names, affirmed = ["is", "not", "near"], ["is", "near"]
    states = {node: features[node] for node in ("a", "b")}
    for _ in range(layer.rounds):
        message = {node: torch.zeros_like(state) for node, state in states.items()}
        for (source, name, target), (index, _) in edges.items():
            factor = -layer.factor[0] if name == "not" else layer.factor[affirmed.index(name)]
            offset = layer.offset[names.index(name)]
            for u, v in index.T.tolist():
                message[target][v] = message[target][v] + factor * layer.there(states[source][u]) + offset
                message[source][u] = message[source][u] + factor * layer.back(states[target][v]) + offset
        cells = {node: layer.cell[key] for node, key in zip(("a", "b"), layer.cell, strict=True)}
        states = {node: cells[node](message[node], states[node]) for node in states}
    return states


def test_it_equals_its_formula():
    layer, features, edges = made()
    found, expected = layer(features, edges), slow(layer, features, edges)
    for node in ("a", "b"):
        torch.testing.assert_close(found[node], expected[node])
    assert found["c"] is features["c"]


def test_a_denial_turns_the_message_round():
    layer, features, _ = made(rounds=1)
    with torch.no_grad():
        layer.offset.zero_()
    affirmed = {RELATIONS[0]: EdgeSet(torch.tensor([[0], [0]]))}
    denied = {RELATIONS[1]: EdgeSet(torch.tensor([[0], [0]]))}
    before = layer.there.weight.clone()
    one = layer(features, denied)["b"]
    with torch.no_grad():
        layer.there.weight.neg_()
        layer.back.weight.neg_()
    torch.testing.assert_close(layer(features, affirmed)["b"], one)
    assert not torch.equal(before, layer.there.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"denies": {"not": "was"}}, r"'not' must deny one of \['is', 'near'\], got 'was'"),
        ({"denies": {"not": "is", "is": "not"}}, r"must deny one of \['near'\], got 'not'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Signed(4, **{"relations": RELATIONS, "rounds": 1, **options})
