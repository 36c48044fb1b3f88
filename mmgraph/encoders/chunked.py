"""Large batches in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Chunked(Encoder):
    """An encoder that holds what lies between payloads and features for some rows at a time.

    Contrastive learning wants many rows in a batch, and their features are small; what the encoder keeps for the way
    back is not. Here nothing is kept: chunk by chunk, rows are encoded once for the loss of all, and once more when
    their gradient is known, with the same chance (dropout). The gradient is that of the whole batch.

    Source: Gao, Zhang, Han & Callan 2021, Scaling deep contrastive learning batch size under memory limited setup
    (gradient cache), arXiv:2101.06983, as recomputation (Chen et al. 2016, arXiv:1604.06174).

    Args:
        encoder: What encodes each row by itself; batch normalisation does not.
        rows: Of each node type in a chunk.

    Raises:
        ConfigError: Less than one row, or batch normalisation.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.encoders import Table
        >>> graph = HeteroData()
        >>> graph["blood"].x = torch.ones(1000, 3)
        >>> Chunked(Table({"blood": 3}, 8), rows=100)(graph)["blood"].shape
        torch.Size([1000, 8])
    """

    def __init__(self, encoder: Encoder, *, rows: int = 256) -> None:
        super().__init__()
        if rows < 1:
            raise ConfigError(f"rows must be at least 1, got {rows}")
        if any(isinstance(module, _BatchNorm) for module in encoder.modules()):
            raise ConfigError(
                f"Chunked needs an encoder that encodes each row by itself, got batch normalisation in a "
                f"{type(encoder).__name__}; take layer or group normalisation"
            )
        self.encoder, self.rows = encoder, rows

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        if torch.compiler.is_exporting():  # for any number of rows
            return self._some(graph)
        longest = max((graph[node].num_nodes for node in graph.node_types), default=0)
        if longest <= self.rows:
            return self._some(graph)
        chunks = [self._some(_slice(graph, start, self.rows)) for start in range(0, longest, self.rows)]
        return {node: torch.cat([chunk[node] for chunk in chunks]) for node in chunks[0]}

    def _some(self, graph: HeteroData) -> Features:
        if not torch.is_grad_enabled():
            return self.encoder(graph)
        found: Features = checkpoint(self.encoder, graph, use_reentrant=False)
        return found


def _slice(graph: HeteroData, start: int, rows: int) -> HeteroData:
    """Rows of each node type, without edges."""
    from torch_geometric.data import HeteroData

    part = HeteroData()
    for node in graph.node_types:
        count = graph[node].num_nodes
        for key, value in graph[node].items():
            if isinstance(value, torch.Tensor) and value.dim() and len(value) == count:
                value = value[start : start + rows]
            elif key == "num_nodes":
                value = len(range(count)[start : start + rows])
            part[node][key] = value
    return part
