"""Several encoders as one, each for node types of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Joined(Encoder):
    """The features of all node types that some encoders encode: pictures by one, learned tokens by another.

    Args:
        encoders: The encoders; no two may encode the same type.

    Raises:
        ConfigError: No encoder; when called, two that encode one type.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.encoders import Raw, SymbolEmbedding
        >>> graph = HeteroData()
        >>> graph["scan"].x, graph["latent"].symbol = torch.ones(3, 8), torch.tensor([0, 1])
        >>> encoder = Joined(Raw(["scan"]), SymbolEmbedding({"latent": 2}, 8))
        >>> {node: list(x.shape) for node, x in encoder(graph).items()}
        {'scan': [3, 8], 'latent': [2, 8]}
    """

    def __init__(self, *encoders: Encoder) -> None:
        super().__init__()
        if not encoders:
            raise ConfigError("Joined needs at least 1 encoder, got none")
        self.encoders = nn.ModuleList(encoders)

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type of any encoder."""
        features: Features = {}
        for encoder in self.encoders:
            found = encoder(graph)
            if twice := sorted(features.keys() & found.keys()):
                raise ConfigError(f"Each node type must be encoded by one encoder, got two for {twice[0]!r}")
            features |= found
        return features
