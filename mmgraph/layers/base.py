"""What a layer is, and the edges it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Activation: TypeAlias = Callable[[Tensor], Tensor]


class Layer(nn.Module, ABC):
    """One or more rounds of message passing: ``layer(features, edges) -> features``.

    Promises: permuting the nodes permutes the result; a node without neighbours keeps a finite state; edge
    types without edges work; edge types that the layer was not made for are left aside.
    """

    @abstractmethod
    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives new states ``[rows, channels]`` of every node type.

        Args:
            features: States of every node type, ``[rows, channels]``.
            edges: Edges of every type.
        """


def edge_sets(graph: HeteroData) -> dict[EdgeType, EdgeSet]:
    """The edges of all types of a graph, with their weights.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["a", "to", "b"].edge_index = torch.tensor([[0], [1]])
        >>> edge_sets(graph)["a", "to", "b"].weight is None
        True
    """
    return {
        edge_type: EdgeSet(graph[edge_type].edge_index, graph[edge_type].get("edge_weight"))
        for edge_type in graph.edge_types
    }


def check_relations(relations: Iterable[EdgeType]) -> tuple[EdgeType, ...]:
    """Checks the relations that a layer is made for.

    Raises:
        ConfigError: There are none, or one is not a triple.
    """
    relations = tuple(relations)
    if not relations:
        raise ConfigError("A layer needs at least 1 relation, got none; use Stack() for no layer at all")
    for relation in relations:
        if not isinstance(relation, tuple) or len(relation) != 3:  # type: ignore[redundant-expr]  # e.g. a plain string
            raise ConfigError(f"A relation must be (source, relation, target), got {relation!r}")
    return relations
