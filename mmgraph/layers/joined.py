"""The edges of several relations as one set, between the rows of all node types laid one below the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.layers.base import keep
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features, NodeType

Made = TypeVar("Made")


class Joined(NamedTuple):
    """Edges of several relations: who points at whom, by which relation, and how much it weighs."""

    edges: Adjacency
    relation: Tensor  # [edges], in the order of the sorted edges: the relation's number
    weight: Tensor | None  # [edges], in the same order; None: all 1


def stacked(features: Features, nodes: Sequence[NodeType]) -> tuple[Tensor, dict[NodeType, slice]]:
    """The states of some types, one below the other, and where each lies.

    Example:
        >>> x, rows = stacked({"a": torch.ones(2, 1), "b": torch.zeros(3, 1)}, ["b", "a"])
        >>> x.flatten().tolist(), rows
        ([0.0, 0.0, 0.0, 1.0, 1.0], {'b': slice(0, 3, None), 'a': slice(3, 5, None)})
    """
    ends = [0, *accumulate(features[node].shape[0] for node in nodes)]
    places = zip(nodes, ends, ends[1:], strict=False)
    return torch.cat([features[node] for node in nodes]), {node: slice(start, end) for node, start, end in places}


def join(
    edges: EdgeSets, relations: Sequence[EdgeType], shifts: Sequence[tuple[int, int]], size: tuple[int, int]
) -> Joined:
    """Joins the edges of some relations.

    Args:
        edges: Edges of each type.
        relations: Which of them.
        shifts: Of each relation: where its source and its target type start among the rows.
        size: Number of source rows and of target rows in all.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> edge = EdgeSet(torch.tensor([[0], [0]]))
        >>> found = join({("a", "to", "b"): edge, ("b", "to", "a"): edge}, [("a", "to", "b"), ("b", "to", "a")],
        ...              [(0, 1), (1, 0)], (2, 2))
        >>> found.edges.sources.tolist(), found.relation.tolist()  # into the row of a, then into that of b
        ([1, 0], [1, 0])
    """
    moved = [
        torch.stack([edges[name].index[0] + source, edges[name].index[1] + target])
        for name, (source, target) in zip(relations, shifts, strict=True)
    ]
    index = torch.cat(moved, dim=1)
    found = Adjacency(index, *size)
    relation = torch.cat([torch.full_like(one[0], number) for number, one in enumerate(moved)])
    weight = None
    if any(edges[name].weight is not None for name in relations):
        weight = torch.cat([weight_of(edges, name) for name in relations]).index_select(0, found.order)
    return Joined(found, relation.index_select(0, found.order), weight)


def counted(edges: EdgeSets, relations: Sequence[EdgeType]) -> dict[EdgeType, EdgeSet]:
    """The edges that a softmax counts, where a weight is a number of edges: without those of weight 0.

    Raises:
        DataError: A weight is negative, infinite or no number.

    Example:
        >>> edge = EdgeSet(torch.tensor([[0, 1], [0, 0]]), torch.tensor([2.0, 0.0]))
        >>> counted({("a", "to", "b"): edge}, [("a", "to", "b")])["a", "to", "b"].index.tolist()
        [[0], [0]]
    """
    found = {}
    for name in relations:
        index, weight = edges[name]
        if weight is not None and not torch.compiler.is_exporting():  # there, the logarithm of 0 says as much
            if bool((wrong := ~(weight >= 0) | weight.isinf()).any()):
                raise DataError(
                    f"Attention reads a weight as a number of edges, which must be finite and at least 0, got "
                    f"{float(weight.detach()[wrong][0]):g} in {name}; take the exponential of what is a score"
                )
            index, weight = index[:, weight > 0], weight[weight > 0]
        found[name] = EdgeSet(index, weight)
    return found


def keep_constant(edges: EdgeSets, relations: Sequence[EdgeType], key: Hashable, make: Callable[[], Made]) -> Made:
    """As :func:`~mmgraph.layers.base.keep`, unless the weight of one of the relations is learned: then it is made anew.

    Example:
        >>> keep_constant({}, [], "sum", lambda: 1)
        1
    """
    if any((weight := edges[name].weight) is not None and weight.requires_grad for name in relations):
        return make()
    return keep(edges, key, make)


def weight_of(edges: EdgeSets, relation: EdgeType) -> Tensor:
    """The weights of a relation's edges, ``[edges]``; 1 where it has none.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> weight_of({("a", "to", "b"): EdgeSet(torch.zeros(2, 3).long())}, ("a", "to", "b"))
        tensor([1., 1., 1.])
    """
    index, weight = edges[relation]
    return torch.ones(index.shape[1], device=index.device) if weight is None else weight
