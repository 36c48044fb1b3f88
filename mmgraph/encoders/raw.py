"""Features as they stand in the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch.nn import functional as F

from mmgraph.encoders.base import Encoder
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Raw(Encoder):
    """The ``x`` of some node types, unchanged (with dropout while training, if asked).

    Args:
        nodes: Node types to read.
        dropout: Share of the values that is zeroed while training.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.ones(2, 3)
        >>> Raw(["paper"])(graph)["paper"].shape
        torch.Size([2, 3])
    """

    def __init__(self, nodes: Iterable[str], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        self.dropout = dropout

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        features = {node: graph[node].x for node in self.nodes}
        if not self.dropout:
            return features
        return {node: F.dropout(x, self.dropout, self.training) for node, x in features.items()}
