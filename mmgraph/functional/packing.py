"""Nodes of several types, side by side at the row that they are of."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """Where nodes stand when they are packed."""

    order: Tensor  # [nodes]: which node comes at each place
    row: Tensor  # [nodes]: its row
    column: Tensor  # [nodes]: its place in that row
    rows: int
    columns: int


def follow(path: Sequence[Tensor]) -> Tensor:
    """Which node reaches which by one edge of each kind, in turn.

    Args:
        path: The edges of each kind, ``[2, edges]``.

    Returns:
        First and last node of each way, ``[2, ways]``, by the last and then the first.

    Example:
        >>> follow([torch.tensor([[0, 1], [0, 0]]), torch.tensor([[0, 0], [2, 1]])]).tolist()
        [[0, 1, 0, 1], [1, 1, 2, 2]]
    """
    first, last = path[0].contiguous()
    for edges in path[1:]:
        source, order = edges[0].sort(stable=True)
        low, high = torch.searchsorted(source, last), torch.searchsorted(source, last, right=True)
        lengths = high - low
        way = torch.arange(len(last), device=last.device).repeat_interleave(lengths)
        step = torch.arange(len(way), device=last.device) + (low - lengths.cumsum(0) + lengths)[way]
        first, last = first[way], edges[1][order[step]]
    order = first.argsort(stable=True)
    order = order[last[order].argsort(stable=True)]
    return torch.stack([first[order], last[order]])


def places(row: Tensor, rows: int) -> Places:
    """Where each node stands: the nodes of a row side by side, in the order in which they are given.

    Args:
        row: The row of each node, ``[nodes]``.
        rows: How many there are.

    Example:
        >>> places(torch.tensor([1, 0, 1]), 3)[1:]
        (tensor([0, 1, 1]), tensor([0, 0, 1]), 3, 2)
    """
    row, order = row.sort(stable=True)
    counts = torch.bincount(row, minlength=rows)
    column = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    return Places(order, row, column, rows, int(counts.max()) if rows else 0)


def pack(states: Tensor, where: Places) -> tuple[Tensor, Tensor]:
    """Nodes at their places, and which places have one.

    Args:
        states: ``[nodes, channels]``.
        where: Their places.

    Returns:
        ``[rows, columns, channels]``, zeros where there is no node, and ``[rows, columns]`` of bool.

    Example:
        >>> packed, present = pack(torch.tensor([[1.0], [2.0], [3.0]]), places(torch.tensor([1, 0, 1]), 2))
        >>> packed[:, :, 0].tolist(), present.tolist()
        ([[2.0, 0.0], [1.0, 3.0]], [[True, False], [True, True]])
    """
    packed = states.new_zeros(where.rows, where.columns, states.shape[1])
    present = torch.zeros(where.rows, where.columns, dtype=torch.bool, device=states.device)
    present[where.row, where.column] = True
    return packed.index_put((where.row, where.column), states[where.order]), present
