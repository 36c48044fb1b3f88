import copy

import pytest
import torch
from torch import nn

from mmgraph.testing import fake_graph
from mmgraph.testing.expect import check_registered, close, difference, expect, same, untouched


def test_expect_raises_the_message():
    expect(True, "never seen")
    with pytest.raises(AssertionError, match=r"^must be 3, got 2$"):
        expect(False, "must be 3, got 2")


def test_same_is_exact():
    x = torch.tensor([0.0, float("nan"), float("inf")])
    assert same(x, x.clone())
    assert not same(x, x.double())
    assert not same(x, x[:2])
    assert not same(x, torch.tensor([1e-45, float("nan"), float("inf")]))
    assert not same(x, torch.tensor([0.0, 0.0, float("inf")]))
    assert same(torch.tensor([1, -1]), torch.tensor([1, -1]))


def test_close_is_not():
    assert close(torch.ones(2), torch.ones(2) + 1e-6)
    assert not close(torch.ones(2), torch.ones(2) + 1e-3)
    assert not close(torch.ones(2), torch.ones(1))


def test_difference_names_the_place():
    graph, _ = fake_graph()
    other = copy.deepcopy(graph)
    assert difference(graph, other) is None
    other["subject", "near", "subject"].edge_weight[3] += 1
    assert difference(graph, other) == "'edge_weight' of ('subject', 'near', 'subject')"
    other = copy.deepcopy(graph)
    other["scan"].colour = "red"
    assert difference(graph, other) == "'colour' of 'scan'"
    del other["scan"]
    assert difference(graph, other).startswith("types")


def test_untouched_sees_a_change_in_place():
    graph, _ = fake_graph()
    with untouched(graph, nn.Identity()):
        pass
    with pytest.raises(AssertionError, match="another 'x' of 'text'"), untouched(graph, nn.Identity()):
        graph["text"].x[0, 0] += 1


class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = nn.Linear(2, 2)
        self.kept = {"deep": [nn.Linear(2, 3, bias=False)]}

    def forward(self, x):
        return self.kept["deep"][0](self.seen(x)).relu()


def test_tensors_that_learn_outside_of_parameters_are_found():
    module = Hidden()
    check_registered(module.seen, module.seen(torch.ones(1, 2)))
    with pytest.raises(AssertionError, match=r"Hidden learns a tensor \[3, 2\] that is not in parameters"):
        check_registered(module, module(torch.ones(1, 2)))


def test_parameters_that_are_not_saved_are_found():
    module = nn.Linear(2, 2)
    module.state_dict = lambda: {"weight": module.weight}
    with pytest.raises(AssertionError, match=r"must have 'bias' in state_dict\(\), got \['weight'\]"):
        check_registered(module, module(torch.ones(1, 2)))
