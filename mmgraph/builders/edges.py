"""Edge types of a graph as sets: what is added, and their algebra."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, Schema
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def add(graph: HeteroData, schema: Schema, edges: Mapping[EdgeType, Tensor]) -> tuple[HeteroData, Schema]:
    """A graph with further edge types, and its schema; the ones given are left as they are.

    Raises:
        ConfigError: An edge type is there already.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> back = graph["scan", "next", "scan"].edge_index.flip(0)
        >>> add(graph, schema, {("scan", "previous", "scan"): back})[1].edges["scan", "previous", "scan"]
        EdgeSpec(weighted=False, channels=None, multiple=False, unit='')
    """
    if known := [edge for edge in edges if edge in graph.edge_types]:
        raise ConfigError(f"Edges must be of a type that is not there yet, got {known[0]}; name them by relation=")
    larger = copy.copy(graph)
    for edge, index in edges.items():
        larger[edge].edge_index = index
    specs = {**schema.edges, **dict.fromkeys(edges, EdgeSpec())}
    return larger, Schema(**{**dict(schema), "edges": specs})


def union(*indices: Tensor) -> Tensor:
    """The edges that are in any of some sets, each once, by target and source: ``[2, edges]``.

    Example:
        >>> union(torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0], [1]])).tolist()
        [[0, 0, 1], [0, 1, 1]]
    """
    return torch.cat(indices, dim=1).flip(0).unique(dim=1).flip(0)


def difference(index: Tensor, *others: Tensor) -> Tensor:
    """The edges of one set that are in no other, in their order: ``[2, edges]``.

    Example:
        >>> difference(torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0], [0]])).tolist()
        [[1], [1]]
    """
    return index[:, ~_among(index, torch.cat([index[:, :0], *others], dim=1))]


def intersection(index: Tensor, other: Tensor) -> Tensor:
    """The edges of one set that are in the other too, in their order: ``[2, edges]``.

    Example:
        >>> intersection(torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0], [0]])).tolist()
        [[0], [0]]
    """
    return index[:, _among(index, other)]


def _among(index: Tensor, other: Tensor) -> Tensor:
    size = int(torch.cat([index, other], dim=1).max()) + 1 if index.shape[1] + other.shape[1] else 1
    return torch.isin(index[1] * size + index[0], other[1] * size + other[0])
