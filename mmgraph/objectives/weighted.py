"""Several objectives at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmgraph.errors import ConfigError
from mmgraph.objectives.base import Objective
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Weighted(Objective):
    r"""A weighted sum of objectives, :math:`L = \sum_k w_k L_k`: labels and reconstruction, for instance.

    Each of them asks the model anew. For several targets that are read from one answer, take
    :class:`~mmgraph.objectives.Several`.

    Args:
        objectives: Name → objective.
        weights: Name → :math:`w_k`, at least 0; by default 1.

    Raises:
        ConfigError: No objective, or weights of others or below 0.

    Example:
        >>> from mmgraph.objectives import Supervised
        >>> from mmgraph.schema import TargetSpec
        >>> target = TargetSpec(node="paper", kind="regression")
        >>> Weighted({"labels": Supervised(target)}, {"label": 0.5})
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: weights must be at least 0, of some of ['labels'], got {'label': 0.5}
    """

    def __init__(self, objectives: Mapping[str, Objective], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.weights = check_weights(objectives, weights)
        self.objectives = nn.ModuleList(objectives.values())
        self.labelled = all(objective.labelled for objective in objectives.values())
        self.shared = all(objective.shared for objective in objectives.values())

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, each objective's total by its name, and ``<name>_<term>`` for several parts."""
        terms: Terms = {}
        for name, objective in zip(self.weights, self.objectives, strict=True):
            found: Terms = objective(model, graph)
            terms[name] = found.pop("total")
            terms |= {f"{name}_{term}": value for term, value in found.items()} if len(found) > 1 else {}
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        return {"total": total, **terms}


def check_weights(names: Mapping[str, object], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Name → weight, 1 where none is given.

    Raises:
        ConfigError: No name, or weights of others or below 0.
    """
    given = dict(weights or {})
    if not names or not set(given) <= set(names) or min(given.values(), default=0) < 0:
        raise ConfigError(f"weights must be at least 0, of some of {list(names)}, got {given}")
    return {name: given.get(name, 1.0) for name in names}
