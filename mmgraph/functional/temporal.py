"""Who comes before whom, and who is there at the same time: edges read off sequences and times, without a loop."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Clock(NamedTuple):
    """When each of some rows is: in which sequence, and at what time in it."""

    sequence: Tensor  # [rows], whole numbers
    time: Tensor  # [rows]


def positions(clock: Clock) -> Tensor:
    """The place of each row in its sequence, by time, ``[rows]``; rows at one time keep their order.

    Example:
        >>> positions(Clock(torch.tensor([0, 0, 1, 0]), torch.tensor([2.0, 1.0, 9.0, 2.0]))).tolist()
        [1, 0, 0, 2]
    """
    order = _order(clock)
    sequence = clock.sequence[order]
    rows = torch.arange(len(order), device=order.device)
    place = torch.empty_like(order)
    place[order] = rows - torch.searchsorted(sequence, sequence)
    return place


def preceding(source: Clock, target: Clock, *, reach: int | None = 1) -> Tensor:
    """Edges into each target from the latest sources that are before it in its sequence, strictly.

    Args:
        source: When the sources are.
        target: When the targets are.
        reach: From how many sources; ``None`` for all.

    Returns:
        ``[2, edges]``: source row, target row; by target.

    Example:
        >>> audio = Clock(torch.tensor([0, 0, 0]), torch.tensor([0.0, 0.5, 1.0]))
        >>> preceding(audio, Clock(torch.tensor([0, 0, 1]), torch.tensor([1.0, 9.0, 9.0]))).tolist()
        [[1, 2], [0, 1]]
    """
    order = _order(source)
    ranked, wanted = _ranks(source, target)
    end = torch.searchsorted(ranked[order], wanted)
    start = torch.searchsorted(source.sequence[order], target.sequence)
    if reach is not None:
        start = torch.maximum(start, end - reach)
    return _ranges(order, start, end)


def within(source: Clock, target: Clock, *, before: float | None, after: float | None) -> Tensor:
    """Edges into each target from the sources of its sequence in a window around it, both ends included.

    Args:
        source: When the sources are.
        target: When the targets are.
        before: How far before the target a source may be; ``None`` for any time before.
        after: How far after.

    Returns:
        ``[2, edges]``: source row, target row; by target. A pair of one row with itself is among them.

    Example:
        >>> clock = Clock(torch.zeros(4, dtype=torch.long), torch.arange(4.0))
        >>> within(clock, clock, before=1.0, after=0.0).tolist()
        [[0, 0, 1, 1, 2, 2, 3], [0, 1, 1, 2, 2, 3, 3]]
    """
    order = _order(source)
    infinite = torch.full_like(target.time, torch.inf)
    first = Clock(target.sequence, -infinite if before is None else target.time - before)
    last = Clock(target.sequence, infinite if after is None else target.time + after)
    ranked, low, high = _ranks(source, first, last)
    start = torch.searchsorted(ranked[order], low)
    return _ranges(order, start, torch.searchsorted(ranked[order], high, right=True))


def closest(source: Clock, target: Clock) -> Tensor:
    """An edge into each target from the source of its sequence that is nearest in time; of two, from the earlier one.

    Returns:
        ``[2, edges]``: source row, target row; by target. A sequence without sources gives no edge.

    Example:
        >>> audio = Clock(torch.tensor([0, 0]), torch.tensor([0.0, 1.0]))
        >>> closest(audio, Clock(torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.6, 0.0]))).tolist()
        [[0, 1], [0, 1]]
    """
    order = _order(source)
    sequence, time = source.sequence[order], source.time[order]
    ranked, wanted = _ranks(source, target)
    later = torch.searchsorted(ranked[order], wanted)
    start = torch.searchsorted(sequence, target.sequence)
    end = torch.searchsorted(sequence, target.sequence, right=True)
    known = (start < end).nonzero().flatten()
    before = (later - 1).maximum(start)[known]
    after = later.minimum(end - 1)[known]
    asked = target.time[known]
    nearer = (time[after] - asked).abs() < (time[before] - asked).abs()
    return torch.stack([order[torch.where(nearer, after, before)], known])


def _order(clock: Clock) -> Tensor:
    """The rows by sequence, then time."""
    order = clock.time.argsort(stable=True)
    return order[clock.sequence[order].argsort(stable=True)]


def _ranks(*clocks: Clock) -> list[Tensor]:
    """Numbers in the order of (sequence, time) over all clocks together; equal where both are equal."""
    joined = Clock(torch.cat([one.sequence for one in clocks]), torch.cat([one.time for one in clocks]))
    order = _order(joined)
    sequence, time = joined.sequence[order], joined.time[order]
    rank = torch.zeros_like(order)
    rank[order[1:]] = ((sequence[1:] != sequence[:-1]) | (time[1:] != time[:-1])).cumsum(0)
    return list(rank.split([len(one.time) for one in clocks]))


def _ranges(order: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Edges from the places ``start`` to ``end`` in an order, into each target."""
    count = (end - start).clamp_min(0)
    targets = torch.arange(len(count), device=order.device).repeat_interleave(count)
    offset = torch.arange(len(targets), device=order.device) - (count.cumsum(0) - count)[targets]
    return torch.stack([order[start[targets] + offset], targets])
