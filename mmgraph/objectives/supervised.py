"""Learning from labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.distributed import share_mean
from mmgraph.objectives.base import Objective
from mmgraph.schema import TargetSpec
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Supervised(Objective):
    r"""Cross entropy (classes) or squared error (regression), over the rows whose label is known.

    .. math:: L = -\frac{1}{\sum_i c_{y_i}} \sum_{i: y_i \ge 0} c_{y_i} \log \mathrm{softmax}(f(i))_{y_i}

    Args:
        target: What the labels mean.
        class_weight: :math:`c`, one a class; by default 1.
        label_smoothing: Share of the target that is spread over all classes, from 0 to below 1 (Szegedy et al. 2016,
            Rethinking the Inception Architecture, arXiv:1512.00567).

    Raises:
        ConfigError: Class weights for a regression, or not one a class; smoothing out of range.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.zeros(2, 3)
        >>> graph["paper"].y = torch.tensor([1, -1])
        >>> objective = Supervised(TargetSpec(node="paper", kind="multiclass", classes=("a", "b", "c")))
        >>> objective(lambda graph: graph["paper"].x, graph)["total"]
        tensor(1.0986)
    """

    shared = True

    def __init__(
        self, target: TargetSpec, *, class_weight: torch.Tensor | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1 or (label_smoothing and target.kind == "regression"):
            raise ConfigError(
                f"label_smoothing must be from 0 to below 1, and 0 for a regression, got {label_smoothing} "
                f"for a {target.kind} target"
            )
        if class_weight is not None and class_weight.shape != (len(target.classes),):
            raise ConfigError(f"class_weight must be one a class, [{len(target.classes)}], got {class_weight.shape}")
        self.target, self.label_smoothing = target, label_smoothing
        self.register_buffer("class_weight", class_weight)

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total`` and, under its own name, the loss."""
        outputs = model(graph)  # [anchors, classes], or [anchors, 1]
        y = graph[self.target.node][self.target.attribute]
        if self.target.kind == "regression":
            known = y.isfinite()
            loss = (outputs.squeeze(1)[known] - y[known]).square().sum() / known.sum().clamp_min(1)
            loss = share_mean(loss, known.sum())
            return {"total": loss, "squared_error": loss}
        counts = (y >= 0).float()
        if self.class_weight is not None:
            counts = counts * self.class_weight[y.clamp_min(0)]
        if bool((counts > 0).any()):
            loss = F.cross_entropy(
                outputs, y, weight=self.class_weight, ignore_index=-1, label_smoothing=self.label_smoothing
            )
        else:
            loss = outputs.sum() * 0
        loss = share_mean(loss, counts.sum())
        return {"total": loss, "cross_entropy": loss}
