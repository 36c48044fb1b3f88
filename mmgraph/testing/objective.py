"""Whether an objective keeps its promises."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmgraph.objectives import Objective
from mmgraph.testing.expect import expect, name_of, untouched
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def check_objective(objective: Objective, model: nn.Module, graph: HeteroData, nothing: HeteroData) -> None:
    """Checks an objective: scalar terms, a gradient that is finite, and 0 where there is nothing to learn from.

    Args:
        objective: What to check; it is checked in evaluation mode.
        model: A model that it can train.
        graph: A view with something to learn from: labels, pairs.
        nothing: A view without.

    Raises:
        AssertionError: A promise is broken.

    Example:
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.fusion import Sum
        >>> from mmgraph.model import Model
        >>> from mmgraph.objectives import Supervised
        >>> from mmgraph.schema import view
        >>> from mmgraph.testing import check_objective, fake_graph
        >>> graph, schema = fake_graph()
        >>> encoder = Table({"scan": 3, "text": 5}, 2)
        >>> model = Model(schema=schema, encoder=encoder, fusion=Sum(), head=nn.Identity())
        >>> nothing = view(graph, schema, labels={"diagnosis": torch.zeros(40, dtype=torch.bool)})
        >>> check_objective(Supervised(schema.target("diagnosis")), model, graph, nothing)
    """
    objective, model = copy.deepcopy(objective).eval(), copy.deepcopy(model).eval()
    name = name_of(objective)
    with untouched(graph, objective):
        terms = objective(model, graph)
    _check_terms(name, terms)
    gradients = _gradients(name, terms["total"], model)
    expect(any(bool((g != 0).any()) for g in gradients), f"{name} must move the model, got a gradient of 0 everywhere")
    terms = objective(model, nothing)
    _check_terms(name, terms)
    total = float(terms["total"].detach())
    expect(total == 0, f"{name} must be 0 where there is nothing to learn from, got {total}")
    _gradients(name, terms["total"], model)


def _check_terms(name: str, terms: Terms) -> None:
    expect("total" in terms, f"{name} must give a term 'total', got {sorted(terms)}")
    expect(len(terms) > 1, f"{name} must name the parts of its total, got 'total' alone")
    for term, value in terms.items():
        expect(value.dim() == 0, f"{name} must give scalars, got {term!r} of {list(value.shape)}")
        expect(bool(value.isfinite()), f"{name} must give finite terms, got {term!r} = {float(value.detach())}")


def _gradients(name: str, total: Tensor, model: nn.Module) -> list[Tensor]:
    expect(total.requires_grad, f"{name} must give a total with a gradient, got one without")
    found = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    gradients = [gradient for gradient in found if gradient is not None]
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    expect(finite, f"{name} must give finite gradients, got others")
    return gradients
