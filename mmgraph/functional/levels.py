"""The order in which a graph without cycles can be worked through."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Chains(NamedTuple):
    """Rows that follow each other, each after one at most and before one at most."""

    first: Tensor  # [rows], the row that a row's chain begins with
    place: Tensor  # [rows], how many rows are before it in the chain


def levels(index: Tensor, num_nodes: int) -> Tensor:
    """How many edges the longest path into each node has; -1 for a node on a cycle, or behind one.

    Args:
        index: ``[2, edges]``.
        num_nodes: Number of nodes.

    Returns:
        ``[nodes]``. All edges lead from a lower to a higher level.

    Example:
        >>> levels(torch.tensor([[0, 1, 0], [1, 2, 2]]), 4).tolist()
        [0, 1, 2, 0]
    """
    if (found := chains(index, num_nodes)) is not None:
        return found.place
    order = index[0].argsort(stable=True)
    targets = index[1][order]
    fan = torch.bincount(index[0], minlength=num_nodes)
    starts = fan.cumsum(0) - fan
    waiting = torch.bincount(index[1], minlength=num_nodes)
    level = torch.full((num_nodes,), -1, dtype=torch.long, device=index.device)
    ready, number = (waiting == 0).nonzero().flatten(), 0
    while len(ready):
        level[ready] = number
        count = fan[ready]
        offset = torch.arange(int(count.sum()), device=index.device)
        offset -= (count.cumsum(0) - count).repeat_interleave(count)
        reached, arrived = targets[starts[ready].repeat_interleave(count) + offset].unique(return_counts=True)
        waiting[reached] -= arrived
        ready, number = reached[waiting[reached] == 0], number + 1
    return level


def chains(index: Tensor, num_nodes: int) -> Chains | None:
    """The chains that edges form; ``None`` if a node has two before or behind it, or they close to a ring.

    Args:
        index: ``[2, edges]``.
        num_nodes: Number of nodes; one without edges is a chain of its own.

    Example:
        >>> chains(torch.tensor([[2, 0], [0, 3]]), 4)
        Chains(first=tensor([2, 1, 2, 2]), place=tensor([1, 0, 0, 2]))
    """
    if index.shape[1] and max(int(torch.bincount(end).max()) for end in index) > 1:
        return None
    first = torch.arange(num_nodes, device=index.device)
    place = torch.zeros_like(first)
    first[index[1]], place[index[1]] = index[0], 1
    begins = place == 0
    for _ in range(num_nodes.bit_length()):  # each round looks twice as far back
        place, first = place + place[first], first[first]
    return Chains(first, place) if bool(begins[first].all()) else None


def cycle(index: Tensor, num_nodes: int) -> list[int]:
    """The nodes of one cycle in the direction of its edges; none if there is no cycle.

    Example:
        >>> sorted(cycle(torch.tensor([[0, 1, 2], [1, 2, 1]]), 3))
        [1, 2]
    """
    stuck = levels(index, num_nodes) < 0
    inner = index[:, stuck[index[0]] & stuck[index[1]]]
    before = dict(zip(inner[1].tolist(), inner[0].tolist(), strict=True))  # each that is stuck waits for one
    path: dict[int, None] = {}
    node = next(iter(before), None)
    while node is not None and node not in path:
        path[node] = None
        node = before[node]
    found = list(path)
    return [] if node is None else found[found.index(node) :][::-1]
