"""Numbers in columns, through a small network for each node type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Table(Encoder):
    """A linear map, or a small network, for each node type with numeric ``x``.

    Args:
        widths: Node type → channels of its ``x``.
        channels: Width of the features.
        hidden: Widths of the hidden layers, each followed by a ReLU and dropout; none makes it a linear map.
        dropout: Share of the values that is zeroed, before each layer, while training.
        final: Whether a ReLU follows the last layer too.
        norm: Whether each row is brought to mean 0 and deviation 1 first (Ba, Kiros & Hinton 2016, Layer Normalization,
            arXiv:1607.06450): for features of unit length, whose single numbers are small.

    Raises:
        ConfigError: No node type, or a width below 1.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["blood"].x = torch.ones(2, 3)
        >>> Table({"blood": 3}, 8, hidden=[16])(graph)["blood"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        channels: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        final: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if not widths or min(*widths.values(), channels, *hidden) < 1:
            raise ConfigError(
                f"Table needs node types, and widths of at least 1, got {dict(widths)} to {channels} by {list(hidden)}"
            )
        self.nodes = tuple(widths)
        self.networks = nn.ModuleDict(
            {
                weight_key(node): _network([width, *hidden, channels], dropout, final=final, norm=norm)
                for node, width in widths.items()
            }
        )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        return {node: self.networks[weight_key(node)](graph[node].x) for node in self.nodes}


def _network(widths: Sequence[int], dropout: float, *, final: bool, norm: bool) -> nn.Sequential:
    steps: list[nn.Module] = [nn.LayerNorm(widths[0])] if norm else []
    for number, (before, after) in enumerate(pairwise(widths)):
        steps += [nn.ReLU()] if number else []
        steps += [nn.Dropout(dropout), nn.Linear(before, after)]
    return nn.Sequential(*steps, *([nn.ReLU()] if final else []))
