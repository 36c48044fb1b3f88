"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.layers.base import Layer
from mmgraph.typing import EdgeSets, Features


class Stack(Layer):
    """Layers in a row, with dropout before each; without layers it changes nothing.

    Args:
        layers: The layers, first to last.
        dropout: Share of the channels that is zeroed before each layer while training.

    Raises:
        ConfigError: ``dropout`` is not in [0, 1).

    Example:
        >>> import torch
        >>> Stack()({"a": torch.ones(1, 1)}, {})
        {'a': tensor([[1.]])}
    """

    def __init__(self, *layers: Layer, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {dropout}")
        self.layers = nn.ModuleList(layers)
        self.dropout = dropout

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives the states after the last layer."""
        return [features, *self.rounds(features, edges)][-1]

    def rounds(self, features: Features, edges: EdgeSets) -> Iterator[Features]:
        """Gives the states after each layer in turn."""
        for layer in self.layers:
            if self.training and self.dropout > 0:
                features = {node: F.dropout(state, self.dropout) for node, state in features.items()}
            features = layer(features, edges)
            yield features
