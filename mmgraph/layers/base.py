"""What a layer is, and the edges it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import mean_weight
from mmgraph.functional.relational import Relation
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Activation: TypeAlias = Callable[[Tensor], Tensor]
Made = TypeVar("Made")


class Layer(Recorded, ABC):
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


class Edges(dict[EdgeType, EdgeSet]):
    """The edges of a graph, and what layers have made of them: sorted once, not once a layer and epoch."""

    def __init__(self, sets: dict[EdgeType, EdgeSet]) -> None:
        super().__init__(sets)
        self.made: dict[Hashable, object] = {}
        self._versions = self._read()

    def are_of(self, sets: dict[EdgeType, EdgeSet]) -> bool:
        """Whether these are still the edges: the same tensors, unchanged since."""
        return (
            self.keys() == sets.keys()
            and all(mine is its for key in sets for mine, its in zip(self[key], sets[key], strict=True))
            and self._versions == self._read()
        )

    def _read(self) -> list[int]:
        tensors = [tensor for edge_set in self.values() for tensor in edge_set if tensor is not None]
        return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


_EDGES = WeakIdKeyDictionary()  # graph → its Edges, for as long as the graph lives


def edge_sets(graph: HeteroData) -> Edges:
    """The edges of all types of a graph, with their weights; the same object while the graph keeps its edges.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["a", "to", "b"].edge_index = torch.tensor([[0], [1]])
        >>> edge_sets(graph)["a", "to", "b"].weight is None, edge_sets(graph) is edge_sets(graph)
        (True, True)
    """
    sets = {name: EdgeSet(store.edge_index, store.get("edge_weight")) for name, store in graph.edge_items()}
    edges: Edges | None = _EDGES.get(graph)
    if edges is None or not edges.are_of(sets):
        edges = _EDGES[graph] = Edges(sets)
    return edges


def keep(edges: EdgeSets, key: Hashable, make: Callable[[], Made]) -> Made:
    """Gives what was made of some edges before, or makes it; only :class:`Edges` keep it.

    Example:
        >>> edges = Edges({})
        >>> keep(edges, "sorted", lambda: [1]) is keep(edges, "sorted", lambda: [1])
        True
    """
    if not isinstance(edges, Edges) or torch.compiler.is_exporting():
        return make()
    if key not in edges.made:
        edges.made[key] = make()
    return edges.made[key]  # type: ignore[return-value]  # a key names what was made


def adjacency(edges: EdgeSets, relation: EdgeType, num_sources: int, num_targets: int) -> Adjacency:
    """The edges of one relation, sorted once for as long as they are kept.

    Example:
        >>> import torch
        >>> edges = Edges({("a", "to", "b"): EdgeSet(torch.tensor([[0, 1], [1, 0]]))})
        >>> adjacency(edges, ("a", "to", "b"), 2, 2).sources.tolist()
        [1, 0]
    """
    key = ("sorted", relation, num_sources, num_targets)
    return keep(edges, key, lambda: Adjacency(edges[relation].index, num_sources, num_targets))


def arriving(edges: EdgeSets, relations: Sequence[EdgeType], features: Features, *, reduce: str) -> list[Relation]:
    """Some relations, with edges sorted and the weights that make of their sum what is asked for."""
    rows = {node: state.shape[0] for node, state in features.items()}
    specs = [(edges[r].index, rows[r[0]], rows[r[2]]) for r in relations]
    key = (tuple(relations), *(spec[1:] for spec in specs))
    found = keep(edges, ("sorted", *key), lambda: Adjacency.several(specs))
    weights = [edges[relation].weight for relation in relations]
    dtypes = [features[relation[2]].dtype for relation in relations]

    def make() -> list[Relation]:
        values = [
            None if weight is None else weight.to(dtype).index_select(0, one.order)
            for one, weight, dtype in zip(found, weights, dtypes, strict=True)
        ]
        if reduce == "mean":
            values = [
                mean_weight(one, value, dtype=dtype) for one, value, dtype in zip(found, values, dtypes, strict=True)
            ]
        return [Relation(r[0], r[2], one, value) for r, one, value in zip(relations, found, values, strict=True)]

    if any(weight is not None and weight.requires_grad for weight in weights):
        return make()
    return keep(edges, (reduce, *dtypes, *key), make)


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


def node_types(relations: Iterable[EdgeType]) -> tuple[NodeType, ...]:
    """The node types that some relations join, each once, in order.

    Example:
        >>> node_types([("a", "of", "b"), ("b", "near", "b")])
        ('a', 'b')
    """
    return tuple(dict.fromkeys(node for source, _, target in relations for node in (source, target)))
