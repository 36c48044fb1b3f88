import pytest
import torch
from torch import nn

from mmgraph import fusion, layers
from mmgraph.blueprint import Recorded, first_difference
from mmgraph.model import classifier
from mmgraph.testing import fake_graph


class Holds(Recorded):
    def __init__(self, value):
        super().__init__()
        self.value = value


def maker(factor):
    return lambda x: factor * x


class Plain:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (float("nan"), float("nan")),
        ({"a": [1, (2, 3)]}, {"a": [1, (2, 3)]}),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")])),
        (nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(2))),  # weights are no difference
        (maker(2), maker(2)),
        (Plain([1]), Plain([1])),
        (nn.Linear(2, 3), nn.Linear(2, 3)),
        ([nn.Dropout(0.1)], [nn.Dropout(0.1)]),
        ({1, 2}, {2, 1}),
    ],
)
def test_equal_attributes_are_no_difference(one, other):
    assert first_difference(Holds(one), Holds(other)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, "1"),
        ([1], (1,)),
        ([1], [1, 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (torch.ones(2), torch.zeros(2)),
        (torch.ones(2), torch.ones(2, dtype=torch.float64)),
        (torch.ones(2), torch.ones(3)),
        (maker(2), maker(3)),
        (maker(2), lambda x: 2 * x),
        (Plain([1]), Plain([2])),
        (torch.relu, torch.tanh),
        ([nn.Dropout(0.1)], [nn.Dropout(0.2)]),
        (nn.Linear(2, 3), nn.Linear(2, 4)),
        (object(), object()),
    ],
)
def test_other_attributes_are_told(one, other):
    assert first_difference(Holds(one), Holds(other)) is not None


def test_the_first_difference_is_named():
    _, schema = fake_graph()
    one, other = classifier(schema), classifier(schema)
    assert first_difference(one, other) is None
    other.between.layers[0].activation = torch.tanh
    assert "activation of between.layers.0 is" in first_difference(one, other)
    other.fusion = fusion.Sum()
    assert first_difference(one, other) == "fusion is a Concat and a Sum"
    one.fusion = fusion.Sum(mean=True)
    assert first_difference(one, other) == "mean of fusion is True and False"
    other.head = nn.Linear(16, 3)
    one.fusion = fusion.Sum()
    assert first_difference(one, other) == "weight of head is [2, 16] of float32 and [3, 16] of float32"


def test_modules_and_tensors_that_only_one_has_are_told():
    assert first_difference(nn.Sequential(nn.ReLU()), nn.Sequential()) == "0 is in one of them alone"
    assert "bias of itself is [3] of float32 and none" in first_difference(nn.Linear(2, 3), nn.Linear(2, 3, bias=False))
    one, other = Holds(1), Holds(1)
    one.more = 2
    assert first_difference(one, other) == "more of itself is in one of them alone"
    assert first_difference(other, one) == "more of itself is in one of them alone"
    one, other = Holds(1), Holds(1)
    one.register_buffer("kept", torch.ones(1))
    assert "kept of itself is [1] of float32 and none" in first_difference(one, other)


def test_buffers_that_no_state_dict_holds_must_be_equal():
    one, other = Holds(1), Holds(1)
    for module, value in ((one, 1.0), (other, 2.0)):
        module.register_buffer("table", torch.tensor([value]), persistent=False)
    assert first_difference(one, other) == "table of itself, which is in no state dict, has other values"
    other.table.fill_(1.0)
    assert first_difference(one, other) is None
    one, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    one(torch.randn(4, 2))  # whose statistics are in the state dict
    assert first_difference(one, other) is None


def test_hooks_are_told():
    one, other = Holds(1), Holds(1)
    one.register_forward_hook(lambda module, given, out: out)
    assert first_difference(one, other) == "itself has 1 and 0 hooks"


def test_dtypes_are_told():
    assert "float64" in first_difference(nn.Linear(1, 1).double(), nn.Linear(1, 1))


def test_use_is_no_difference():
    graph, schema = fake_graph()
    used, fresh = classifier(schema), classifier(schema)
    used(graph).sum().backward()
    used.eval()
    assert first_difference(used, fresh) is None
    gru = nn.GRU(2, 3)
    gru(torch.ones(1, 1, 2))
    assert first_difference(gru, nn.GRU(2, 3)) is None
    relations = [("subject", "near", "subject")]
    assert first_difference(layers.GCN(2, 2, relations=relations), layers.GCN(2, 2, relations=relations)) is None
