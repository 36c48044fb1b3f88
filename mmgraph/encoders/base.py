"""What an encoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from mmgraph.blueprint import Recorded
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Encoder(Recorded, ABC):
    """Payload to features: ``encoder(graph) -> {type: [rows, channels]}``.

    Promises: a row of features for each node; types with zero rows work; a view works; changing the payload of
    one type changes the features of that type alone.
    """

    @abstractmethod
    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type that it encodes."""
