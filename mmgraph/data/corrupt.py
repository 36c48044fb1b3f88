"""Graphs with something missing, at random: two of them are what a subgraph is learned from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from typing import TypeVar

    from torch_geometric.data import HeteroData

    Graph = TypeVar("Graph", bound=HeteroData)


@dataclass(frozen=True)
class Corrupt:
    """Hides channels, the same of all nodes of a type, and takes edges away: what is left should mean the same.

    A channel that is hidden is 0. An edge and its way back, between nodes of one type, go together. As the ``augment``
    of :class:`~mmgraph.objectives.TwoViews` it gives two versions of the subgraph around each anchor.

    Source: Zhu, Xu, Yu, Liu, Wu and Wang 2020, Deep graph contrastive representation learning, section 3.2.1;
    arXiv:2006.04131.

    Args:
        channels: Node type → probability of each channel to be hidden.
        edges: Edge type → probability of each edge to be taken away.

    Raises:
        ConfigError: A probability out of its range.
        DataError: A type is not in the graph, or has no ``x`` of floating point (when called).

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, _ = fake_graph()
        >>> left = Corrupt(channels={"text": 1.0})(graph, torch.Generator().manual_seed(0))
        >>> int(left["text"].x.count_nonzero()), left["scan"].x is graph["scan"].x
        (0, True)
    """

    channels: Mapping[str, float] = field(default_factory=dict)
    edges: Mapping[EdgeType, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, share in (*self.channels.items(), *self.edges.items()):
            if not _is_share(share):
                raise ConfigError(f"The share of {name!r} must be a number from 0 to 1, got {share!r}")

    def __call__(self, graph: Graph, generator: torch.Generator) -> Graph:
        """Returns the graph, or batch, without what was drawn; the one given is left as it is."""
        left = copy.copy(graph)
        for node, share in sorted(self.channels.items()):
            x = graph[node].get("x") if node in graph.node_types else None
            if x is None or not x.is_floating_point():
                raise DataError(f"Corrupt needs {node!r} nodes with numeric x, got a graph of {graph.node_types}")
            stays = torch.rand(x.shape[1], generator=generator) >= share
            left[node].x = x * stays.to(x)
        for edge, share in sorted(self.edges.items()):
            if edge not in graph.edge_types:
                raise DataError(f"Corrupt needs {edge!r} edges, got a graph of {graph.edge_types}")
            store = graph[edge]
            stays = _stays(store.edge_index, share, generator, alike=edge[0] == edge[2])
            for key in store.edge_attrs():
                left[edge][key] = store[key][..., stays] if key == "edge_index" else store[key][stays]
        return left


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _stays(index: Tensor, share: float, generator: torch.Generator, *, alike: bool) -> Tensor:
    """Which edges stay, ``[edges]``: drawn once for each pair of nodes."""
    pairs = index.sort(dim=0).values if alike else index
    found, number = pairs.unique(dim=1, return_inverse=True)
    drawn = torch.rand(found.shape[1], generator=generator).to(index.device)
    return drawn[number] >= share
