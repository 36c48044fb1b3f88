"""The labels that may be seen, as features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.schema import TargetSpec
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Labels(Encoder):
    """What is known of the nodes that carry a target: one-hot classes, and zeros where the class is not known.

    A view holds the labels of training alone; in training a node is thus given *its own*. Only what answers for no node
    by the node's own state may stand behind it, as :class:`mmgraph.layers.KernelRidge` does; any other layer or head
    would read the answer off it. For whole views: a batch hides the labels of all but its own nodes.

    Args:
        target: What the labels mean.

    Raises:
        ConfigError: The target has no classes.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].y = torch.tensor([1, -1])
        >>> Labels(TargetSpec(node="paper", kind="multiclass", classes=("a", "b", "c")))(graph)["paper"]
        tensor([[0., 1., 0.],
                [0., 0., 0.]])
    """

    def __init__(self, target: TargetSpec) -> None:
        super().__init__()
        if not target.classes:
            raise ConfigError(f"Labels needs a target with classes, got a {target.kind}")
        self.target = target

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, classes]``."""
        store = graph[self.target.node]
        if self.target.attribute not in store:  # a view without labels: nobody is known
            return {self.target.node: torch.zeros(store.num_nodes, len(self.target.classes))}
        y = store[self.target.attribute]
        classes = torch.arange(len(self.target.classes), device=y.device)
        return {self.target.node: (y[:, None] == classes).to(torch.get_default_dtype())}
