"""How good a ranking is: places, precision, average precision; equal scores count as in the mean of their orders."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 22  # scores held at once
CACHED_ELEMENTS = 1 << 18  # of these, what is worked on at once


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
    first = judge(slice(0, min(step, queries)))
    found = first.new_empty(queries, *first.shape[1:])  # small results of each block would scatter the heap
    found[: len(first)] = first
    for start in range(step, queries, step):
        block = slice(start, min(start + step, queries))
        found[block] = judge(block)
    return found


class Scores:
    """Scores of queries against candidates, ``[queries, candidates]``, computed when they are read.

    Read a slice at a time, they never exist all at once; a tensor serves wherever they do.

    Args:
        score: Rows of queries ``[rows]`` → their scores ``[rows, candidates]``.
        queries: How many there are; or, of those, which: ``[queries]``.
        candidates: How many.

    Example:
        >>> table = torch.arange(6.0).view(3, 2)
        >>> scores = Scores(lambda rows: table[rows], 3, 2)
        >>> scores.shape, scores[1:2].tolist(), scores.take(torch.tensor([2, 0]))[:].tolist()
        ((3, 2), [[2.0, 3.0]], [[4.0, 5.0], [0.0, 1.0]])
    """

    def __init__(self, score: Callable[[Tensor], Tensor], queries: int | Tensor, candidates: int) -> None:
        self._score = score
        self._rows = torch.arange(queries) if isinstance(queries, int) else queries
        self.shape = (len(self._rows), candidates)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        return self._score(self._rows[rows])

    def take(self, rows: Tensor) -> Scores:
        """The scores of some queries, in the order named."""
        return Scores(self._score, self._rows[rows.to(self._rows.device)], self.shape[1])


class Lists:
    """A list of values for each of some keys, without repetition, in two sorted tensors.

    Args:
        keys: Of each entry, ``[entries]`` of int64, at least 0.
        values: Of each entry, ``[entries]`` of int64, at least 0.

    Attributes:
        keys: Sorted, ``[different entries]``.
        values: Sorted within their key, ``[different entries]``.
        counts: How often each was given, ``[different entries]``.

    Example:
        >>> lists = Lists(torch.tensor([7, 3, 7, 7]), torch.tensor([2, 0, 1, 2]))
        >>> row, entry = lists.of(torch.tensor([7, 5, 3]))
        >>> row.tolist(), lists.values[entry].tolist(), lists.counts[entry].tolist()
        ([0, 0, 2], [1, 2, 0], [1, 2, 1])
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._span = int(values.max()) + 1 if len(values) else 1
        self._pairs, self.counts = (keys * self._span + values).unique(return_counts=True)
        self.keys, self.values = self._pairs // self._span, self._pairs % self._span

    def of(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """All entries of some keys: which of the keys each is of, and where it stands, two tensors ``[found]``."""
        start = torch.searchsorted(self.keys, keys)
        lengths = torch.searchsorted(self.keys, keys, right=True) - start
        row = torch.arange(len(keys)).repeat_interleave(lengths)
        return row, torch.arange(len(row)) + (start - lengths.cumsum(0) + lengths)[row]

    def have(self, keys: Tensor, values: Tensor) -> Tensor:
        """Whether there is an entry of each key and value, ``[keys]``."""
        if not len(self._pairs):
            return torch.zeros(len(keys), dtype=torch.bool)
        pairs = keys * self._span + values
        place = torch.searchsorted(self._pairs, pairs).clamp_max(len(self._pairs) - 1)
        return (self._pairs[place] == pairs) & (values < self._span)


def filtered_ranks(
    scores: Tensor, sought: Tensor, others: tuple[Tensor, Tensor], among: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    r"""The place of each query's sought candidate when some others are left out, and among how many rivals it is.

    Source: Bordes et al. 2013, Translating embeddings for modeling multi-relational data, NeurIPS, section 4.2: what
    also answers a query is no rival. Equal scores share the mean of their places; with :math:`C_i` the rivals of
    query :math:`i`

    .. math:: r_i = 1 + \frac12 \sum_{j \in C_i} \big(1 + \operatorname{sign}(s_{ij} - s_{i t_i})\big)

    The sum is taken over all candidates, and that over the few left out is subtracted: no mask is made.

    Args:
        scores: ``[queries, candidates]``; larger is better.
        sought: The candidate sought by each query, ``[queries]``.
        others: Query and candidate of each that is left out, two tensors ``[pairs]``, no pair twice. The sought
            one stays, even if it is among them.
        among: Query and candidate of those that are rivals at all, which ``others`` are some of; by default all.

    Returns:
        ``[queries, 2]``: place and number of rivals; the place is NaN where any score of the query is.

    Example:
        >>> scores = torch.tensor([[0.9, 0.5, 0.7, 0.5]])
        >>> filtered_ranks(scores, torch.tensor([1]), (torch.tensor([0]), torch.tensor([0])))
        tensor([[2.5000, 2.0000]], dtype=torch.float64)
    """
    if not scores.is_floating_point():
        scores = scores.double()
    own = scores.gather(1, sought[:, None])  # [queries, 1]
    if among is None:
        exact = torch.float64 if scores.shape[1] > 1 << 24 or scores.dtype == torch.float64 else torch.float32
        signs, step = torch.empty_like(own[:, 0], dtype=torch.float64), max(1, CACHED_ELEMENTS // scores.shape[1])
        for rows in [slice(start, start + step) for start in range(0, len(scores), step)]:
            signs[rows] = (scores[rows] - own[rows]).sign_().sum(dim=1, dtype=exact)
        rivals = torch.full_like(signs, scores.shape[1] - 1)
    else:
        signs, rivals = _balance(scores, own, sought, *among)
    fewer_signs, fewer = _balance(scores, own, sought, *others)
    signs, rivals = signs - fewer_signs, rivals - fewer
    place = (1 + (rivals + signs) / 2).masked_fill(scores.amax(dim=1).isnan(), torch.nan)
    return torch.stack([place, rivals], dim=1)


def _balance(scores: Tensor, own: Tensor, sought: Tensor, row: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor]:
    """Of some pairs: by query how many more score better than worse than the sought one, and how many there are."""
    rival = (candidate != sought[row]).double()
    signs = (scores[row, candidate] - own[row, 0]).sign() * rival
    zeros = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    return zeros.index_add(0, row, signs.double()), zeros.index_add(0, row, rival)
