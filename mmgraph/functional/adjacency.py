"""Edges, sorted once by target and once by source: what every sum along them is read off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

MOST_REACHED = 0.75
"""Above this share of the targets it does not pay to leave out those that no edge points at."""

_MOST_KEPT = 1 << 14  # rows


class Reached(NamedTuple):
    """The targets that any edge points at."""

    rows: Tensor  # [reached], in order
    offsets: Tensor  # [reached + 1]: the edges into the i-th of them are those from offsets[i] to offsets[i + 1]
    before: Tensor  # [targets + 1]: how many of them are below each target


class Adjacency:
    """The edges between two sets of rows, sorted once.

    Args:
        index: ``[2, edges]``, source and target row of each edge.
        num_sources: Number of source rows.
        num_targets: Number of target rows.

    Raises:
        ValueError: A target is not one of the rows; so it is for a source, once the way back is asked for.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1, 2], [1, 0, 1]]), 3, 2)
        >>> edges.sources.tolist(), edges.offsets.tolist()
        ([1, 0, 2], [0, 1, 3])
    """

    _turned: _Turned | None  # none: an identity, which is its own way back
    _number: int
    _device: torch.device

    def __init__(self, index: Tensor, num_sources: int, num_targets: int) -> None:
        self.num_sources, self.num_targets = num_sources, num_targets
        self._turned, self._number = None, 0
        if torch.compiler.is_exporting():
            _leave(self, index)
        elif num_sources == num_targets == index.shape[1] and _is_identity(index):
            self.is_identity, self._device = True, index.device
            return  # so is a batch of samples that each have the modality: nothing to sort, nor to turn round
        else:
            _sort([self], [index[0]], [index[1]])
        self._turned = _Turned([self])

    @classmethod
    def several(cls, edges: Sequence[tuple[Tensor, int, int]]) -> list[Adjacency]:
        """Sorts many edge sets at once, which takes less than one after the other.

        Args:
            edges: Index, number of sources and number of targets of each.

        Example:
            >>> index = torch.tensor([[0, 1], [1, 0]])
            >>> [one.sources.tolist() for one in Adjacency.several([(index, 2, 2), (index.flip(0), 2, 2)])]
            [[1, 0], [1, 0]]
        """
        made = [cls.__new__(cls) for _ in edges]
        for one, (_, num_sources, num_targets) in zip(made, edges, strict=True):
            one.num_sources, one.num_targets = num_sources, num_targets
        if torch.compiler.is_exporting():
            for one, (index, *_) in zip(made, edges, strict=True):
                _leave(one, index)
            return made
        _sort(made, [index[0] for index, *_ in edges], [index[1] for index, *_ in edges])
        turned = _Turned(made)
        for number, one in enumerate(made):
            one._turned, one._number = turned, number
        return made

    # Sorting sets the next four; of an identity they are made when they are asked for, which its mean never does.

    @cached_property
    def order(self) -> Tensor:
        """The edges sorted by target, as positions in ``index``, ``[edges]``."""
        return torch.arange(self.num_targets, device=self._device)

    @cached_property
    def offsets(self) -> Tensor:
        """The edges into target t are those from ``offsets[t]`` to ``offsets[t + 1]``, ``[targets + 1]``."""
        return torch.arange(self.num_targets + 1, dtype=_dtype(self.num_targets), device=self._device)

    @cached_property
    def sources(self) -> Tensor:
        """The source rows in the order of the targets, ``[edges]``."""
        return self.offsets[:-1]

    @cached_property
    def targets(self) -> Tensor:
        """The target rows in their order, ``[edges]``."""
        return self.sources

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return self.sources.shape[0]

    @property
    def transposed(self) -> Adjacency:
        """The same edges the other way round; their ``order`` are positions in *this* one's order."""
        return self if self._turned is None else self._turned.all[self._number]

    @property
    def degree(self) -> Tensor:
        """How many edges point at each target, ``[targets]``."""
        if torch.compiler.is_exporting():
            return self.targets.new_zeros(self.num_targets).index_add(0, self.targets, torch.ones_like(self.targets))
        return self.offsets.diff()

    @cached_property
    def reached(self) -> Reached | None:
        """The targets that any edge points at; ``None`` if they are nearly all."""
        degree = self.degree
        if int(degree.count_nonzero()) > MOST_REACHED * self.num_targets or self.num_targets == 0:
            return None
        some = degree > 0
        rows = some.nonzero().flatten()
        return Reached(rows, torch.cat([self.offsets[rows], self.offsets[-1:]]), _starts(some))

    @cached_property
    def is_identity(self) -> bool:
        """Whether each source points at the target of its own number, and at no other."""
        if not self.num_edges == self.num_sources == self.num_targets:
            return False
        return torch.equal(self.sources, self.targets) and bool((self.degree == 1).all())


class _Turned:
    """Edge sets that were sorted together, to be sorted together the other way round, once that is asked for."""

    def __init__(self, edges: Sequence[Adjacency]) -> None:
        self._ends = [(one.sources, one.targets, one.num_sources, one.num_targets) for one in edges]

    @cached_property
    def all(self) -> list[Adjacency]:
        made = [Adjacency.__new__(Adjacency) for _ in self._ends]
        for one, (_, _, num_sources, num_targets) in zip(made, self._ends, strict=True):
            one.num_sources, one.num_targets = num_targets, num_sources
        _sort(made, [targets for _, targets, *_ in self._ends], [sources for sources, *_ in self._ends])
        turned = _Turned(made)
        for number, one in enumerate(made):
            one._turned, one._number = turned, number
        return made


def _leave(edges: Adjacency, index: Tensor) -> None:
    """Leaves edges as they are, for a program that is exported: it knows no sums over sorted runs."""
    edges.sources, edges.targets = index[0], index[1]
    edges.order = torch.arange(index.shape[1], device=index.device)
    edges.is_identity = False


def _sort(edges: Sequence[Adjacency], sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """Sorts each of some edge sets by target, by one sort of them all, and gives them their sorted ends."""
    counts, rows = [len(one) for one in sources], [one.num_targets for one in edges]
    most = max([sum(rows), sum(counts), *(one.num_sources for one in edges)])
    dtype = _dtype(most)
    first = [sum(rows[:number]) for number in range(len(rows))]  # row of a set among all rows
    joined = torch.cat([target.to(dtype) + start for target, start in zip(targets, first, strict=True)])
    compiling = torch.compiler.is_compiling()
    if not compiling and any(counts) and int(torch.cat(list(targets)).min()) < 0:
        _refuse(edges, targets)
    by_target, order = joined.sort(stable=True)
    by_source = torch.cat([source.to(dtype) for source in sources]).index_select(0, order)
    starts = _starts(torch.bincount(joined, minlength=sum(rows))).to(dtype)
    if not compiling and starts[[*first, sum(rows)]].diff().tolist() != counts:  # one has counted among the next set's
        _refuse(edges, targets)
    edge = 0
    for one, count, start in zip(edges, counts, first, strict=True):
        mine = slice(edge, edge + count)
        one.targets, one.sources, one.order = by_target[mine] - start, by_source[mine], order[mine] - edge
        one.offsets = starts[start : start + one.num_targets + 1] - edge
        edge += count


def _dtype(most: int) -> torch.dtype:
    return torch.int32 if most < 2**31 else torch.int64  # half the bytes


def _is_identity(index: Tensor) -> bool:
    """Whether edge number i leads from row i to row i."""
    if torch.compiler.is_compiling():
        return False
    made = _kept if index.shape[1] <= _MOST_KEPT else _identity
    return torch.equal(index, made(index.shape[1], index.dtype, index.device))


def _identity(rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.arange(rows, dtype=dtype, device=device).expand(2, -1)


_kept = lru_cache(maxsize=8)(_identity)  # batches of a loader are of one size


def _refuse(edges: Sequence[Adjacency], targets: Sequence[Tensor]) -> None:
    """Names the first end that is no row."""
    for one, target in zip(edges, targets, strict=True):
        if wrong := target[(target < 0) | (target >= one.num_targets)].tolist():
            raise ValueError(f"Edges must lead to rows below {one.num_targets}, got {wrong[0]}")


def _starts(counts: Tensor) -> Tensor:
    """Where each of some runs starts, and the last ends, ``[counts + 1]``."""
    starts = counts.new_zeros(len(counts) + 1, dtype=torch.int64)
    torch.cumsum(counts, 0, out=starts[1:])
    return starts
