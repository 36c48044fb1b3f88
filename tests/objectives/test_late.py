import math

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError
from mmgraph.objectives import Late
from mmgraph.schema import TargetSpec

THREE = TargetSpec(node="paper", kind="multiclass", classes=("a", "b", "c"))


class Parts(torch.nn.Module):
    def __init__(self, parts, present, answer):
        super().__init__()
        self.given, self.answer = (parts, present), answer

    def forward(self, graph):
        return self.answer

    def parts(self, graph):
        return self.given


@pytest.fixture
def case():
    torch.manual_seed(0)
    graph = HeteroData()
    graph["paper"].y = torch.tensor([0, 1, -1, 2, 1])
    parts = {name: torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for name in ("image", "text")}
    present = {"image": torch.tensor([True, False, True, True, False]), "text": torch.ones(5, dtype=torch.bool)}
    return graph, parts, present, torch.randn(5, 3, dtype=torch.float64)


def slow(logits, y, rows):
    each = [
        math.log(sum(math.exp(value) for value in logits[row])) - logits[row][y[row]] for row in rows if y[row] >= 0
    ]
    return sum(each) / len(each)


@pytest.mark.parametrize("joint", [0.0, 0.3])
def test_equals_a_slow_loop(case, joint):
    graph, parts, present, answer = case
    terms = Late(THREE, joint=joint)(Parts(parts, present, answer), graph)
    y = graph["paper"].y.tolist()
    expected = {
        f"late_{name}": slow(part.tolist(), y, present[name].nonzero().flatten().tolist())
        for name, part in parts.items()
    }
    total = sum(expected.values())
    if joint:
        expected["joint"] = slow(answer.tolist(), y, range(5))
        total += joint * expected["joint"]
    assert {name: term.item() for name, term in terms.items()} == pytest.approx({"total": total, **expected}, rel=1e-12)


def test_rows_without_the_modality_send_no_gradient(case):
    graph, parts, present, answer = case
    Late(THREE)(Parts(parts, present, answer), graph)["total"].backward()
    for name, part in parts.items():
        learned = present[name] & (graph["paper"].y >= 0)
        assert torch.equal((part.grad != 0).any(dim=1), learned)


def test_a_modality_that_no_labelled_row_has_is_nothing_with_a_gradient(case):
    graph, parts, present, answer = case
    present = {**present, "image": torch.tensor([False, False, True, False, False])}
    terms = Late(THREE)(Parts(parts, present, answer), graph)
    assert terms["late_image"].item() == 0
    terms["total"].backward()
    assert (parts["image"].grad == 0).all()


def test_options_that_can_not_work_are_refused():
    with pytest.raises(ConfigError, match="needs a target with classes, got a regression"):
        Late(TargetSpec(node="paper", kind="regression"))
    with pytest.raises(ConfigError, match="joint must be at least 0, got -1"):
        Late(THREE, joint=-1)
