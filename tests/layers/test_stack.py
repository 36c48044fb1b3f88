import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.layers import GCN, Mean, Smooth, Stack

NEAR = [("a", "near", "a")]


def test_layers_run_one_after_the_other(graph):
    features, edges = graph
    torch.manual_seed(0)
    one, two = Mean(3, 4, relations=NEAR).double(), GCN(4, 2, relations=NEAR).double()
    out = Stack(one, two)(features, edges)
    assert torch.equal(out["a"], two(one(features, edges), edges)["a"])
    assert torch.equal(out["b"], features["b"])


def test_without_layers_nothing_changes_even_while_training(graph):
    features, edges = graph
    assert Stack(dropout=0.5)(features, edges) is features


def test_dropout_acts_while_training_alone(graph):
    features, edges = graph
    before = {node: state.clone() for node, state in features.items()}
    stack = Stack(Smooth(relations=NEAR, rounds=1), dropout=0.5)
    assert stack.training
    torch.manual_seed(0)
    out = stack(features, edges)
    share = (out["b"] == 0).double().mean().item()  # b passes the layer unchanged
    assert 0.2 < share < 0.8
    assert torch.equal(out["b"][out["b"] != 0], 2 * features["b"][out["b"] != 0])
    stack.eval()
    assert torch.equal(stack(features, edges)["b"], features["b"])
    assert torch.equal(stack(features, edges)["a"], stack(features, edges)["a"])
    assert all(torch.equal(features[node], before[node]) for node in before)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5])
def test_dropout_out_of_range_is_refused(dropout):
    with pytest.raises(ConfigError, match=rf"dropout must be in \[0, 1\), got {dropout}"):
        Stack(dropout=dropout)
