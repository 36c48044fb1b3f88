"""What a store held at one moment, whole and unchanging."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgraph.index.base import Index
from mmgraph.index.columns import allowed, check_column
from mmgraph.index.inputs import as_floats
from mmgraph.index.score import merge
from mmgraph.index.searchable import Hit, Searchable, unknown

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True)
class Segment:
    """Items written together, and those of them that have been deleted since."""

    name: str
    digest: str  # of its seal
    index: Index
    dead: frozenset[int] = frozenset()  # positions in the index

    def __len__(self) -> int:
        return len(self.index) - len(self.dead)

    @cached_property
    def alive(self) -> np.ndarray:
        """Positions in the index that are not deleted, ascending."""
        keep = np.ones(len(self.index), dtype=bool)
        keep[list(self.dead)] = False
        return np.flatnonzero(keep)

    def find(self, id: str) -> int | None:
        """The position of an item that is not deleted."""
        position = self.index._positions.get(id)
        return None if position is None or position in self.dead else position


@dataclass(frozen=True)
class Items:
    """Rows on their way into a segment."""

    vectors: np.ndarray  # [items, channels]
    ids: Sequence[str]
    metadata: Mapping[str, Sequence[Any]]


def gather(segments: Sequence[Segment], new: Items, columns: Sequence[str]) -> Items:
    """What is alive in some segments, and new items after it."""
    vectors = [one.index.vectors[one.alive] for one in segments]
    ids = [one.index.ids[row] for one in segments for row in one.alive.tolist()]
    metadata = {
        name: [value for one in segments for value in _rows(one, name)]
        + list(new.metadata.get(name, [None] * len(new.ids)))
        for name in columns
    }
    return Items(np.concatenate([*vectors, new.vectors]), [*ids, *new.ids], metadata)


def without(segments: Sequence[Segment], places: Iterable[tuple[int, int]]) -> list[Segment]:
    """The segments without some of their items, each given by its segment and its place there."""
    dead: dict[int, set[int]] = {}
    for number, row in places:
        dead.setdefault(number, set()).add(row)
    return [replace(one, dead=one.dead | dead.get(number, set())) for number, one in enumerate(segments)]


class Snapshot(Searchable):
    """The items of a `Store` at one moment, in the order in which they were last written.

    Searches give what one index over the same items gives; only items in segments large enough for an
    approximate index can be missed. Nothing that a writer does later changes a snapshot.

    Attributes:
        generation: How many writes the store had seen.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        generation: int,
        columns: Sequence[str],
        channels: int,
        metric: str,
        fingerprint: str,
        model: str,
        subgraph: "Callable[[str], HeteroData] | None" = None,
    ) -> None:
        self.segments = tuple(segments)
        self.generation = generation
        self.columns = tuple(columns)
        self.channels = channels
        self.metric = metric
        self.fingerprint = fingerprint
        self.model = model
        self.subgraph = subgraph
        self._starts = np.cumsum([0, *map(len, segments)])  # the first position of each segment, and their end

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def ids(self) -> tuple[str, ...]:  # type: ignore[override]
        """The ids, in order; made when asked for, as a write asks for few."""
        return tuple(one.index.ids[row] for one in self.segments for row in one.alive.tolist())

    def locate(self, id: str) -> tuple[int, int] | None:
        """Returns the segment of an item and its place in it, or None."""
        for number, segment in enumerate(self.segments):
            row = segment.find(id)
            if row is not None:
                return number, row
        return None

    def place(self, id: str) -> tuple[int, int]:
        """Does what `locate` does.

        Raises:
            DataError: The id is unknown.
        """
        found = self.locate(id)
        if found is None:
            raise unknown(id, self.ids)
        return found

    def position(self, id: str) -> int:
        """Returns the place of an item; see `Searchable.position`."""
        number, row = self.place(id)
        return int(self._starts[number] + np.searchsorted(self.segments[number].alive, row))

    def vector(self, id: str) -> np.ndarray:
        """Returns a copy of an item's vector, float32 ``[channels]``."""
        number, row = self.place(id)
        return self.segments[number].index.vectors[row].copy()

    def column(self, name: str) -> list[Any]:
        """Returns a column of the metadata, one value an item."""
        check_column(name, self.columns)
        return [value for one in self.segments for value in _rows(one, name)]

    def allowed(self, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()) -> np.ndarray | None:
        """Returns the positions that a filter allows; see `Searchable.allowed`."""
        return allowed(len(self), where, [self.position(name) for name in exclude], self._matches)

    def scores(self, query: Any, positions: Any) -> np.ndarray:
        """Scores some items against one query; float64 ``[positions]``."""
        (row,) = self._checked(as_floats(query, "Query")[None])
        places = np.asarray(positions, dtype=np.int64)
        found = np.empty(len(places))
        for start, segment in zip(self._starts, self.segments, strict=False):
            here = (places >= start) & (places < start + len(segment))
            found[here] = segment.index.scores(row, segment.alive[places[here] - start])
        return found

    def hit(self, position: int, score: float) -> Hit:
        """Makes the hit of an item that a search has found."""
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        segment = self.segments[number]
        row = int(segment.alive[position - self._starts[number]])
        values = {
            name: segment.index.metadata[name][row] if name in segment.index.metadata else None for name in self.columns
        }
        id = segment.index.ids[row]
        return Hit(id, score, values, position, None if self.subgraph is None else self.subgraph(id))

    def _matches(self, column: str, value: Any) -> np.ndarray:
        check_column(column, self.columns)
        wanted = value if isinstance(value, (set, frozenset, list, tuple)) else (value,)
        found = [np.empty(0, dtype=bool)]
        for one in self.segments:
            known = column in one.index.metadata
            found.append(
                one.index._columns.matches(column, value)[one.alive] if known else np.full(len(one), None in wanted)
            )
        return np.concatenate(found)

    def _search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for start, segment in zip(self._starts, self.segments, strict=False):
            rows = segment.alive if segment.dead else None
            if allowed is not None:
                here = allowed[slice(*np.searchsorted(allowed, [start, start + len(segment)]))] - start
                rows = segment.alive[here]
            fetch = min(k, len(segment) if rows is None else len(rows))
            if fetch > 0:
                places, scores = segment.index._search(queries, fetch, rows)
                found.append((start + np.searchsorted(segment.alive, places), scores))
        return merge(
            np.concatenate([places for places, _ in found], axis=1),
            np.concatenate([scores for _, scores in found], axis=1),
            k,
        )


def _rows(segment: Segment, column: str) -> list[Any]:
    """A column of what is alive; None where the segment knows no such column."""
    values = segment.index.metadata.get(column)
    return [None if values is None else values[row] for row in segment.alive.tolist()]
