"""One piece of a partitioned graph: it draws from its own edges, and reads its own rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmgraph.data.csc import Csc
from mmgraph.data.partitions.book import Book, Type
from mmgraph.data.partitions.wire import VERSION, Message
from mmgraph.data.sampling.pick import Draw, Wanted
from mmgraph.errors import ArtifactError, DataError

MOST_DRAWS = 1 << 31


class Part:
    """A piece, mapped into memory; its sorted edges are checked whole when it is opened, its attributes when touched.

    Args:
        book: The book of the graph.
        number: Which piece.

    Raises:
        ConfigError: There is no such part.
        ArtifactError: It is missing, damaged, or of another graph.
    """

    def __init__(self, book: Book, number: int) -> None:
        self.book = book
        self.number = number
        self._columns = book.piece(number)
        self._nodes = list(book.nodes.values())
        self._edges = list(book.edges.values())
        self._csc = [self._sorted(edge) for edge in self._edges]
        self._rows = {
            column: int(one.bounds[number + 1] - one.bounds[number])
            for one in (*self._nodes, *self._edges)
            for column in one.columns.values()
        }
        for name, rows in self._rows.items():
            if self._columns[name].rows != rows:
                raise self._wrong(f"column {name!r} has {self._columns[name].rows} rows, the book says {rows}")
        self._draw = Draw()

    def answer(self, request: Message) -> Message:
        """Does what a request asks.

        Raises:
            DataError: It asks for what is not here.
            ArtifactError: The bytes that it asks for are damaged.
        """
        try:
            match request.fields.get("ask"):
                case "hello":
                    return self._hello(request.fields)
                case "draw":
                    return self._drawn(request)
                case "take":
                    return Message({}, self._taken(request))
                case "edges":
                    return Message({}, self._all(request.fields))
                case "hot":
                    return Message({}, [self._hot(request.fields)])
        except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
            if isinstance(error, (ArtifactError, DataError)):
                raise
            raise DataError(f"A request to part {self.number} must be well formed, but {error!r}") from None
        raise DataError(f"A request to part {self.number} must be of a kind that it knows, got {request.fields}")

    def _hello(self, fields: dict[str, Any]) -> Message:
        if fields.get("version") != VERSION:
            raise ArtifactError(
                f"Both ends must speak version {VERSION} of the protocol, got {fields.get('version')!r}; "
                "install the same mmgraph on all machines"
            )
        if fields.get("book") != self.book.digest:
            raise ArtifactError(
                f"Both ends must have the same book of parts, {self.book.digest[:12]}…, got "
                f"{str(fields.get('book'))[:12]}…; copy book and pieces from one partition_graph"
            )
        return Message({"part": self.number}, [])

    def _drawn(self, request: Message) -> Message:
        """Sizes, sources, columns and positions of what is drawn, four arrays for each type that is wanted."""
        arrays, found = iter(request.arrays), []
        if (count := sum(3 if one["timed"] else 2 for one in request.fields["wanted"])) != len(request.arrays):
            raise ValueError(f"{len(request.arrays)} arrays for {count}")
        for one in request.fields["wanted"]:
            edge, csc = self._edges[int(one["edge"])], self._csc[int(one["edge"])]
            rows, place = next(arrays), next(arrays)
            limit = next(arrays) if one["timed"] else None
            self._check_rows(rows, csc.num_targets)
            fan_out, replace = int(one["fan_out"]), bool(one["replace"])
            if len(place) != len(rows) or (limit is not None and len(limit) != len(rows)) or fan_out < -1:
                raise ValueError(f"{len(place)} places for {len(rows)} rows, fan_out {fan_out}")
            if replace and fan_out * len(rows) > MOST_DRAWS:
                raise ValueError(f"{fan_out} draws for {len(rows)} rows")
            wanted = Wanted(edge.name, rows, place, limit, fan_out, replace, np.uint64(int(one["key"])))
            picked = self._draw(csc, rows, wanted)
            found += [
                picked.size,
                picked.source.astype(csc.source.dtype),
                picked.column.astype(csc.edge.dtype),
                picked.position if edge.attributes else picked.position[:0],
            ]
        return Message({}, found)

    def _taken(self, request: Message) -> list[np.ndarray]:
        """The rows that are asked for, an array a column."""
        found = []
        for names, rows in zip(request.fields["columns"], request.arrays, strict=True):
            for name in names:
                self._check_rows(rows, self._rows[name])
                column = self._columns[name]
                column.check_rows(rows)
                found.append(np.take(column.array, rows, axis=0))
        return found

    def _all(self, fields: dict[str, Any]) -> list[np.ndarray]:
        """Source, target, column and time of all edges from one position to another, as the graph counts."""
        number, start, stop = int(fields["edge"]), int(fields["start"]), int(fields["stop"])
        csc, edge = self._csc[number], self._edges[number]
        if not 0 <= start <= stop <= len(csc):
            raise ValueError(f"positions {start} to {stop} of {len(csc)}")
        target = np.searchsorted(csc.indptr, np.arange(start, stop), side="right") - 1
        name = f"{self.book.nodes[edge.name[2]].column}.id"
        time = [] if csc.time is None else [csc.time[start:stop]]
        return [csc.source[start:stop], self._column(name)[target], csc.edge[start:stop], *time]

    def _hot(self, fields: dict[str, Any]) -> np.ndarray:
        """The nodes of other parts that most edges come from."""
        return self._column(f"{self._nodes[int(fields['node'])].column}.hot")[: int(fields["most"])]

    def _column(self, name: str) -> np.ndarray:
        self._columns[name].verify()
        return self._columns[name].array

    def _check_rows(self, rows: np.ndarray, count: int) -> None:
        if rows.ndim != 1 or rows.dtype != np.int64 or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
            raise ValueError(f"rows of {rows.dtype} {list(rows.shape)} for {count} rows")

    def _sorted(self, edge: Type) -> Csc:
        """The sorted edges of a type; what a compiled loop will follow is checked."""
        indptr, source, column = (self._column(f"{edge.column}.{name}") for name in ("indptr", "source", "edge"))
        time = self._column(f"{edge.column}.time") if edge.time is not None else None
        targets = self.book.nodes[edge.name[2]].bounds
        own, edges = targets[self.number + 1] - targets[self.number], np.diff(edge.bounds)[self.number]
        whole = indptr.dtype == np.int64 and all(one.dtype in (np.int32, np.int64) for one in (source, column))
        lengths = {len(one) for one in (source, column, time) if one is not None}
        if not whole or lengths != {edges} or len(indptr) != own + 1 or (time is not None and time.dtype != np.int64):
            raise self._wrong(f"the edges {edge.name} are not as many as the book says")
        if indptr[0] != 0 or indptr[-1] != edges or (np.diff(indptr) < 0).any():
            raise self._wrong(f"the offsets of the edges {edge.name} do not rise from 0 to {edges}")
        sources = len(self.book.nodes[edge.name[0]])
        for ends, count in ((source, sources), (column, len(edge))):
            if edges and not 0 <= ends.min() <= ends.max() < count:
                raise self._wrong(f"the edges {edge.name} name rows beyond {count}")
        return Csc(sources, indptr, source, column, time)

    def _wrong(self, why: str) -> ArtifactError:
        return ArtifactError(f"Part {self.number} in {str(self.book.folder)!r} disagrees with itself: {why}")
