"""Nodes known by name alone: a vector that is learned for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Nodes(Encoder):
    """A learned vector for each node, whatever it carries: for graphs whose nodes are all known (transductive).

    In a view or a batch it knows the nodes by ``n_id``, their rows in the whole graph. It reads no payload, so that it
    can't tell anything of a node that training has not seen. The vectors start as draws from a normal distribution of
    deviation 1 / √channels, so that their lengths are about 1.

    Args:
        sizes: Node type → how many nodes the whole graph has.
        channels: Width of the vectors.

    Raises:
        ConfigError: No node type, or a size or width below 1.
        DataError: When called, a node of a row beyond the size.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].num_nodes = 3
        >>> Nodes({"paper": 3}, 8)(graph)["paper"].shape
        torch.Size([3, 8])
    """

    def __init__(self, sizes: Mapping[str, int], channels: int) -> None:
        super().__init__()
        if not sizes or min(*sizes.values(), channels) < 1:
            raise ConfigError(f"Nodes needs node types, sizes and a width of at least 1, got {dict(sizes)}, {channels}")
        self.sizes = dict(sizes)
        self.tables = nn.ParameterDict(
            {weight_key(node): torch.randn(size, channels) / channels**0.5 for node, size in sizes.items()}
        )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        found = {}
        for node, size in self.sizes.items():
            table, store = self.tables[weight_key(node)], graph[node]
            rows = store.n_id if "n_id" in store else torch.arange(store.num_nodes, device=table.device)
            if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < size:
                raise DataError(
                    f"Nodes has vectors for rows 0 to {size - 1} of {node!r}, got row {int(rows.max())}; "
                    "it can't be asked for nodes that it was not made for"
                )
            found[node] = table[rows]
        return found
