"""Rows of several processes, as if they were in one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def processes() -> int:
    """How many processes there are; 1 where no process group is initialised.

    Example:
        >>> processes()
        1
    """
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


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
    if processes() == 1:
        return x
    if x.dtype == torch.bool:
        return gather_rows(x.to(torch.uint8)).to(torch.bool)
    about = _told(len(x), int(x.requires_grad), device=x.device)  # [processes, 2]
    if bool(about[:, 1].any()) and not x.requires_grad:  # else only the others would wait for its gradient
        x = x.detach().requires_grad_()
    gathered: Tensor = _Gathered.apply(x, about[:, 0].tolist())
    return gathered


def gather_edges(index: Tensor, rows: int, *, names: Tensor | None = None, counts: Tensor | None = None) -> Tensor:
    """The edges of all processes, among the rows that :func:`gather_rows` gives.

    A node may be a row of several processes: of one that counts it, and of others that read it as somebody's neighbour.
    With ``names`` its edges all lead to the row that counts (if there is one), as in one process.

    Args:
        index: ``[2, edges]`` of this process, among its own rows.
        rows: How many rows this process has.
        names: What tells a node in all processes, ``[rows]`` of integers.
        counts: Which rows count, ``[rows]`` of bool; by default all.

    Returns:
        ``[2, all edges]``; ``index`` itself where no process group is initialised.

    Example:
        >>> gather_edges(torch.tensor([[0], [1]]), 2).tolist()
        [[0], [1]]
    """
    if processes() == 1:
        return index
    before = int(_told(rows, device=index.device)[: distributed.get_rank()].sum())
    found = gather_rows((index + before).T.contiguous()).T
    if names is None:
        return found
    named, counted = gather_rows(names), gather_rows(torch.ones_like(names).bool() if counts is None else counts)
    _, number = named.unique(return_inverse=True)
    place = torch.arange(len(named), device=named.device)
    first = place.new_full((len(named),), len(named)).scatter_reduce(0, number[counted], place[counted], "amin")[number]
    return first.where(first < len(named), place)[found]


def sum_over(x: Tensor) -> Tensor:
    """The sum over all processes, without a gradient; ``x`` itself where no process group is initialised.

    Example:
        >>> sum_over(torch.tensor([2, 3]))
        tensor([2, 3])
    """
    if processes() == 1:
        return x
    total = x.detach().clone()
    distributed.all_reduce(total)
    return total


def share_mean(mean: Tensor, count: Tensor | float) -> Tensor:
    r"""A mean over the rows of this process as its share of the mean over the rows of all.

    .. math:: \frac{P\, n_p}{\sum_q n_q}\, \bar x_p

    for :math:`P` processes, so that the mean of the shares over processes is :math:`\sum_p n_p \bar x_p / \sum_p n_p`;
    and so is that of the gradients, which ``DistributedDataParallel`` takes. All processes must call it together, also
    one that has no row (with a mean of 0).

    Args:
        mean: :math:`\bar x`, a scalar.
        count: :math:`n`, over how many rows, or the sum of their weights.

    Returns:
        A scalar; ``mean`` itself where no process group is initialised.

    Example:
        >>> share_mean(torch.tensor(0.5), 4)
        tensor(0.5000)
    """
    if processes() == 1:
        return mean
    own = torch.as_tensor(count, dtype=torch.float64, device=mean.device)
    total = sum_over(own)
    share = processes() * own / total.where(total > 0, torch.ones_like(total))
    return mean * share.to(mean.dtype)


def _told(*numbers: int, device: torch.device) -> Tensor:
    """What each process says, ``[processes, numbers]``."""
    own = torch.tensor(numbers, device=device)
    found = [torch.empty_like(own) for _ in range(processes())]
    distributed.all_gather(found, own)
    return torch.stack(found).cpu()


class _Gathered(torch.autograd.Function):
    """Rows of different numbers are sent in blocks as long as the longest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        block = x.new_zeros(max(sizes), *x.shape[1:])
        block[: len(x)] = x
        blocks = [torch.empty_like(block) for _ in sizes]
        distributed.all_gather(blocks, block)
        return torch.cat([some[:size] for some, size in zip(blocks, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].contiguous().clone()
        distributed.all_reduce(total)
        rank = distributed.get_rank()
        return total[sum(ctx.sizes[:rank]) : sum(ctx.sizes[: rank + 1])], None
