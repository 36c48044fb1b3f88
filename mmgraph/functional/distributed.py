"""Rows of several processes, as if they were in one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gather_rows(x: Tensor) -> Tensor:
    r"""The rows of all processes, in the order of their ranks, with gradients.

    Backwards a process gets for its rows the *sum* of what the losses of all processes ask of them. Where each computes
    the same loss L of all rows, that is the number of processes times its gradient; averaged over processes, as
    ``DistributedDataParallel`` does with the gradients of weights, it is the gradient of L in one process.

    Args:
        x: ``[rows, ...]``; processes may have different numbers of rows.

    Returns:
        ``[all rows, ...]``; ``x`` itself where no process group is initialised.

    Example:
        >>> gather_rows(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if not _together():
        return x
    if x.dtype == torch.bool:
        return _Gathered.apply(x.to(torch.uint8)).to(torch.bool)
    return _Gathered.apply(x)


def gather_edges(index: Tensor, rows: int) -> Tensor:
    """The edges of all processes, among the rows that :func:`gather_rows` gives.

    Args:
        index: ``[2, edges]`` of this process, among its own rows.
        rows: How many rows this process has.

    Returns:
        ``[2, all edges]``; ``index`` itself where no process group is initialised.

    Example:
        >>> gather_edges(torch.tensor([[0], [1]]), 2).tolist()
        [[0], [1]]
    """
    if not _together():
        return index
    before = sum(_sizes(rows, index.device)[: distributed.get_rank()])
    return gather_rows((index + before).T.contiguous()).T


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _sizes(rows: int, device: torch.device) -> list[int]:
    """How many rows each process has."""
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([rows], device=device))
    return [int(count) for count in counts]


class _Gathered(torch.autograd.Function):
    """Rows of different numbers are sent in blocks as long as the longest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.sizes = sizes = _sizes(len(x), x.device)
        block = x.new_zeros(max(sizes), *x.shape[1:])
        block[: len(x)] = x
        blocks = [torch.empty_like(block) for _ in sizes]
        distributed.all_gather(blocks, block)
        return torch.cat([some[:size] for some, size in zip(blocks, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        distributed.all_reduce(total)
        rank = distributed.get_rank()
        return total[sum(ctx.sizes[:rank]) : sum(ctx.sizes[: rank + 1])]
