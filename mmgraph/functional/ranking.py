"""How good a ranking is: places, precision, average precision; equal scores count as in the mean of their orders."""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 22  # scores held at once


def ranks(scores: Tensor, sought: Tensor) -> Tensor:
    r"""The place of each query's one sought candidate, from 1; equal scores share the mean of their places.

    .. math:: r_i = 1 + |\{j : s_{ij} > s_{i t_i}\}| + \tfrac12 |\{j \ne t_i : s_{ij} = s_{i t_i}\}|

    Args:
        scores: ``[queries, candidates]``; larger is better.
        sought: The candidate sought by each query, ``[queries]``.

    Returns:
        ``[queries]``, float.

    Example:
        >>> ranks(torch.tensor([[0.9, 0.5, 0.5], [0.9, 0.5, 0.1]]), torch.tensor([1, 0]))
        tensor([2.5000, 1.0000])
    """
    own = scores.gather(1, sought[:, None])
    better = (scores > own).sum(dim=1)
    equal = (scores == own).sum(dim=1) - 1
    return 1 + better + equal / 2


def precision_at(scores: Tensor, relevant: Tensor, *, k: int) -> Tensor:
    """The share of relevant ones among each query's k best candidates, expected over all orders of equal scores.

    Args:
        scores: ``[queries, candidates]``; ``-inf`` for those that are no candidates of a query.
        relevant: ``[queries, candidates]`` of bool.
        k: How many; where there are fewer candidates, all.

    Returns:
        ``[queries]``.

    Example:
        >>> scores, relevant = torch.tensor([[0.9, 0.5, 0.5, 0.1]]), torch.tensor([[False, True, False, True]])
        >>> precision_at(scores, relevant, k=2)
        tensor([0.2500])
    """
    there = scores > -torch.inf
    taken = there.sum(dim=1).clamp(max=k)  # [queries]
    least = scores.sort(dim=1, descending=True).values.gather(1, (taken - 1).clamp_min(0)[:, None])
    above, level = (scores > least) & there, (scores == least) & there
    room = taken - above.sum(dim=1)
    share = (level & relevant).sum(dim=1) / level.sum(dim=1).clamp_min(1)
    return ((above & relevant).sum(dim=1) + room * share) / taken.clamp_min(1)


def average_precision(scores: Tensor, relevant: Tensor) -> Tensor:
    r"""The mean, over a query's relevant candidates, of the precision among those that score at least as well.

    .. math:: AP = \frac1{|R|} \sum_{j \in R} \frac{|\{l \in R : s_l \ge s_j\}|}{|\{l : s_l \ge s_j\}|}

    Args:
        scores: ``[queries, candidates]``; ``-inf`` for those that are no candidates of a query.
        relevant: ``[queries, candidates]`` of bool.

    Returns:
        ``[queries]``; NaN for a query without a relevant candidate.

    Example:
        >>> average_precision(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[True, False, True]]))
        tensor([0.8333])
    """
    ordered, order = scores.sort(dim=1, descending=True, stable=True)
    hit = relevant.gather(1, order) & (ordered > -torch.inf)
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    precision = hit.cumsum(dim=1) / places  # [queries, candidates]
    last = torch.ones_like(hit)
    last[:, :-1] = ordered[:, :-1] != ordered[:, 1:]
    ends = torch.where(last, places - 1, places[-1]).flip(1).cummin(dim=1).values.flip(1)  # of those equal to each
    return (precision.gather(1, ends) * hit).sum(dim=1) / hit.sum(dim=1)


def in_blocks(queries: int, candidates: int, judge: Callable[[slice], Tensor]) -> Tensor:
    """Judges queries block by block, so that no more than ``BLOCK_ELEMENTS`` scores are held at once.

    Example:
        >>> in_blocks(3, 2, lambda rows: torch.arange(3)[rows])
        tensor([0, 1, 2])
    """
    step = max(1, BLOCK_ELEMENTS // max(candidates, 1))
    return torch.cat([judge(slice(start, min(start + step, queries))) for start in range(0, queries, step)])
