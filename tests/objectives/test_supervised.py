import math

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError
from mmgraph.objectives import Supervised
from mmgraph.schema import TargetSpec

THREE = TargetSpec(node="paper", kind="multiclass", classes=("a", "b", "c"))
NUMBER = TargetSpec(node="paper", attribute="size", kind="regression")


def graph_of(y, attribute="y"):
    graph = HeteroData()
    graph["paper"][attribute] = torch.as_tensor(y)
    return graph


def run(objective, outputs, graph):
    return objective(lambda graph: outputs, graph)


def slow_cross_entropy(logits, y, weight):
    total = mass = 0.0
    for row, label in zip(logits.tolist(), y, strict=True):
        if label >= 0:
            log_sum = math.log(sum(math.exp(value) for value in row))
            total += weight[label] * (log_sum - row[label])
            mass += weight[label]
    return total / mass


@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 7.0]])
def test_equals_a_slow_loop(weight):
    torch.manual_seed(0)
    y, logits = [0, 2, -1, 1, 1, -1, 0], torch.randn(7, 3, dtype=torch.float64)
    given = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    terms = run(Supervised(THREE, class_weight=given), logits, graph_of(y))
    expected = slow_cross_entropy(logits, y, weight or [1.0] * 3)
    assert terms["total"].item() == pytest.approx(expected, rel=1e-12)
    assert terms.keys() == {"total", "cross_entropy"}
    assert terms["cross_entropy"].item() == terms["total"].item()


def test_regression_equals_a_slow_loop():
    torch.manual_seed(0)
    y, outputs = [1.0, float("nan"), -2.0, float("nan"), 0.5], torch.randn(5, 1, dtype=torch.float64)
    terms = run(Supervised(NUMBER), outputs, graph_of(torch.tensor(y, dtype=torch.float64), "size"))
    errors = [(o - t) ** 2 for o, t in zip(outputs.flatten().tolist(), y, strict=True) if not math.isnan(t)]
    assert terms["total"].item() == pytest.approx(sum(errors) / 3, rel=1e-12)
    assert terms["squared_error"].item() == terms["total"].item()


@pytest.mark.parametrize(
    ("target", "y", "columns"), [(THREE, [-1, -1, -1], 3), (NUMBER, [float("nan")] * 3, 1), (THREE, [], 3)]
)
def test_without_labels_it_is_nothing_with_a_gradient(target, y, columns):
    outputs = torch.randn(len(y), columns, requires_grad=True)
    y = torch.tensor(y, dtype=torch.float32 if target is NUMBER else torch.int64)
    terms = run(Supervised(target), outputs, graph_of(y, target.attribute))
    assert terms["total"].item() == 0
    terms["total"].backward()
    assert (outputs.grad == 0).all()


def test_unknown_labels_send_no_gradient():
    for target, y in ((THREE, torch.tensor([0, -1, 2])), (NUMBER, torch.tensor([0.0, float("nan"), 2.0]))):
        outputs = torch.randn(3, 3 if target is THREE else 1, requires_grad=True)
        run(Supervised(target), outputs, graph_of(y, target.attribute))["total"].backward()
        assert (outputs.grad[1] == 0).all()
        assert (outputs.grad[[0, 2]] != 0).any(dim=1).all()


def test_classes_without_weight_alone_are_nothing_too():
    outputs = torch.randn(2, 3, requires_grad=True)
    objective = Supervised(THREE, class_weight=torch.tensor([0.0, 1.0, 1.0]))
    terms = run(objective, outputs, graph_of([0, 0]))
    assert terms["total"].item() == 0
    terms["total"].backward()
    assert (outputs.grad == 0).all()


def test_class_weights_travel_with_the_objective():
    assert Supervised(THREE, class_weight=torch.ones(3)).double().class_weight.dtype == torch.float64


@pytest.mark.parametrize(
    ("target", "weight", "message"),
    [(THREE, [1.0, 2.0], r"one a class, \[3\], got .*\[2\]"), (NUMBER, [1.0], r"one a class, \[0\], got .*\[1\]")],
)
def test_class_weights_must_be_one_a_class(target, weight, message):
    with pytest.raises(ConfigError, match=message):
        Supervised(target, class_weight=torch.tensor(weight))


def test_label_smoothing_equals_its_formula():
    outputs = torch.randn(4, 3)
    smoothed = run(Supervised(THREE, label_smoothing=0.3), outputs, graph_of([0, -1, 2, 1]))["total"]
    log_p = outputs.log_softmax(dim=1)
    expected = -torch.stack(
        [(0.7 * log_p[row, label] + 0.1 * log_p[row].sum()) for row, label in ((0, 0), (2, 2), (3, 1))]
    ).mean()
    torch.testing.assert_close(smoothed, expected)


@pytest.mark.parametrize(("target", "share"), [(THREE, 1.0), (THREE, -0.1), (NUMBER, 0.1)])
def test_label_smoothing_must_be_a_share(target, share):
    with pytest.raises(ConfigError, match=f"label_smoothing must be from 0 to below 1, .* got {share}"):
        Supervised(target, label_smoothing=share)
