"""Which edges of some nodes are drawn: out of sorted edges, wherever a graph keeps them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mmgraph.data.csc import Csc
from mmgraph.data.sampling import draw, loops
from mmgraph.typing import EdgeType


@dataclass(frozen=True, eq=False)
class Wanted:
    """What one hop asks for along one edge type.

    Attributes:
        edge_type: Along which.
        ids: The nodes that neighbours are drawn for, rows of the graph, ``[targets]``.
        place: What distinguishes them in the stream of draws, ``[targets]``.
        limit: Up to when each may see edges, ``[targets]``; None without times.
        fan_out: Most neighbours a node; -1 for all.
        replace: Whether an edge may be drawn again.
        key: Seed of the stream.
    """

    edge_type: EdgeType
    ids: np.ndarray
    place: np.ndarray
    limit: np.ndarray | None
    fan_out: int
    replace: bool
    key: np.uint64


@dataclass(frozen=True, eq=False)
class Picked:
    """The edges that were drawn, those of each target together.

    Attributes:
        size: How many each target has, ``[targets]``.
        target: Which of the targets each leads to, int64 ``[edges]``.
        source: Where each comes from, a row of the graph, int64 ``[edges]``.
        column: Its column in the graph's ``edge_index``, int64 ``[edges]``.
        position: Where it lies among the sorted edges, ``[edges]``.
    """

    size: np.ndarray
    target: np.ndarray
    source: np.ndarray
    column: np.ndarray
    position: np.ndarray

    def without(self, which: np.ndarray) -> Picked:
        """Takes some of the edges out; ``size`` stays what it was."""
        left = ~which
        return Picked(self.size, self.target[left], self.source[left], self.column[left], self.position[left])


class Picker(Protocol):
    """Draws edges; what is drawn is a function of what is wanted and of the edges alone."""

    @property
    def edges(self) -> Mapping[EdgeType, Csc]:
        """The sorted edges that are at hand here."""

    def pick(self, wanted: Sequence[Wanted]) -> Iterable[Picked]:
        """Draws what a hop wants, in that order."""


class Draw:
    """Draws from the edges of one type, compiled or not.

    Args:
        compiled: Whether numba compiles the loops; by default if it is installed. Results are the same.

    Raises:
        MissingPackageError: ``compiled`` is True, and numba is not installed.
    """

    def __init__(self, *, compiled: bool | None = None) -> None:
        self.compiled = importlib.util.find_spec("numba") is not None if compiled is None else compiled
        self._draw, self._until, self._look_up = draw.draw, draw.until, draw.look_up
        if self.compiled:
            self._draw, self._until = loops.compiled(loops.draw), loops.compiled(loops.until)
            self._look_up = loops.compiled(loops.look_up)

    def __call__(self, csc: Csc, rows: np.ndarray, wanted: Wanted) -> Picked:
        """Draws for the targets at ``rows [targets]`` of the sorted edges."""
        start, stop = csc.indptr[rows], csc.indptr[rows + 1]
        if csc.time is not None and wanted.limit is not None:
            self._until(start, stop.copy(), csc.time, wanted.limit, stop)
        count = stop - start
        size = count if wanted.fan_out == -1 else np.minimum(count, wanted.fan_out)
        again = wanted.replace and wanted.fan_out != -1
        if again:
            size = np.where(count > 0, wanted.fan_out, 0)
        offset = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(size, out=offset[1:])
        position = np.empty(offset[-1], dtype=np.int64)
        marks = np.zeros(count.max(initial=0) if wanted.fan_out > loops.SCAN else 0, dtype=np.int64)
        self._draw(start, count, wanted.place, offset, wanted.key, max(wanted.fan_out, 1), again, position, marks)
        target, source, column = np.empty((3, len(position)), dtype=np.int64)
        self._look_up(position, offset, 0, csc.source, csc.edge, source, target, column)
        return Picked(size, target, source, column, position)


class SortedEdges:
    """Draws from sorted edges that lie in this process, or are mapped into it.

    Args:
        edges: The sorted edges of each type that is followed.
        draw: Draws from one type.
    """

    def __init__(self, edges: Mapping[EdgeType, Csc], draw: Draw) -> None:
        self.edges = dict(edges)
        self._draw = draw

    def pick(self, wanted: Sequence[Wanted]) -> Iterator[Picked]:
        """Draws one type after the other, when it is asked for."""
        for one in wanted:
            yield self._draw(self.edges[one.edge_type], one.ids, one)
