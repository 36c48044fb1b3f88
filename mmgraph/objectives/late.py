"""Learning from labels, each modality for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.distributed import share_mean
from mmgraph.objectives.base import Objective
from mmgraph.schema import TargetSpec
from mmgraph.typing import Parts, Present, Terms

if TYPE_CHECKING:
    from torch import nn
    from torch_geometric.data import HeteroData


class Late(Objective):
    r"""Cross entropy of each modality's own logits, before they are fused: late fusion, trained as such.

    .. math:: L = \sum_m \frac{1}{|A_m|} \sum_{i \in A_m} -\log \mathrm{softmax}(h_m(i))_{y_i} + \lambda L_{joint}

    over the labelled anchors :math:`A_m` that have modality m. Fitting the mean of the logits alone would be one
    linear model on all columns; this is one model a modality, which many columns and few rows need.

    The model must give its parts before fusion by ``model.parts(graph)``, as :class:`~mmgraph.model.Model` does.

    Args:
        target: What the labels mean.
        joint: :math:`\lambda`, weight of the cross entropy of the model's answer itself.

    Raises:
        ConfigError: The target has no classes, or ``joint`` is negative.

    Example:
        >>> Late(TargetSpec(node="paper", kind="regression"))
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: Late needs a target with classes, got a regression
    """

    shared = True

    def __init__(self, target: TargetSpec, *, joint: float = 0.0) -> None:
        super().__init__()
        if not target.classes:
            raise ConfigError(f"Late needs a target with classes, got a {target.kind}")
        if joint < 0:
            raise ConfigError(f"joint must be at least 0, got {joint}")
        self.target, self.joint = target, joint

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, ``late_<modality>`` for each, and ``joint`` if it has a weight."""
        y = graph[self.target.node][self.target.attribute]
        parts: Parts
        present: Present
        parts, present = model.parts(graph)
        terms = {f"late_{name}": _loss(part, y.where(present[name], -1)) for name, part in parts.items()}
        total = torch.stack(list(terms.values())).sum()
        if self.joint > 0:
            terms["joint"] = _loss(model(graph), y)
            total = total + self.joint * terms["joint"]
        return {"total": total, **terms}


def _loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    count = (y >= 0).sum()
    loss = F.cross_entropy(logits, y, ignore_index=-1) if count > 0 else logits.sum() * 0
    return share_mean(loss, count)
