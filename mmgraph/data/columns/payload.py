"""What the nodes of a collection stand for (texts, paths, bytes) as Arrow files, one a name and a commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmgraph.data.columns.layout import column_name
from mmgraph.data.format import file_name
from mmgraph.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from mmgraph.data.columns.columns import Columns

Value = str | bytes | None
PayloadKey = str | tuple[str, str]
"""A name, for one value a sample; or a node type and a name, for one value a node."""

_SEGMENT_BYTES = 8 << 20
_VALUE_BYTES = 64  # what a Python string costs besides its characters


class SegmentHead(BaseModel):
    """One Arrow file: its name among the whole files, and how many values it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    rows: int = Field(ge=0)


class PayloadHead(BaseModel):
    """One payload: whose it is, what it is called, what it holds, and in which files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str | None
    name: str
    kind: Literal["string", "binary"] | None = None
    segments: tuple[SegmentHead, ...] = ()

    @property
    def key(self) -> PayloadKey:
        """The key under which values are given and found."""
        return self.name if self.type is None else (self.type, self.name)

    @property
    def rows(self) -> int:
        """How many values there are."""
        return sum(segment.rows for segment in self.segments)


@dataclass(frozen=True)
class Stream:
    """Values that are read one by one while they are written, and never held together.

    Args:
        count: How many there are.
        values: The values.
    """

    count: int
    values: Iterable[Value]

    def __len__(self) -> int:
        return self.count


@dataclass
class PayloadBuffer:
    """The values of one payload that wait for their file."""

    head: PayloadHead
    index: list[int | None] = field(default_factory=list)  # which of the distinct values each is
    place: dict[str | bytes, int] = field(default_factory=dict)  # the distinct ones, in their first order
    waiting: int = 0  # bytes in memory
    whole: int = 0  # bytes of a file that has each value as often as it is given
    parted: int = 0  # bytes of a file that has each distinct value once

    def check(self, values: Sequence[Value], kind: str | None) -> Literal["string", "binary"] | None:
        """Returns what the payload holds once these values are in.

        Raises:
            DataError: A value is neither a string nor bytes nor None, or strings and bytes are mixed.
        """
        found: Any = kind
        for value in values:
            this = "string" if isinstance(value, str) else "binary" if isinstance(value, bytes) else None
            if this is None and value is not None:
                raise DataError(
                    f"Payload {self.head.key!r} must be strings, bytes or None, got {type(value).__name__}; convert it"
                )
            if this is not None and found not in (None, this):
                raise DataError(f"Payload {self.head.key!r} must be all strings or all bytes, got {found} and {this}")
            found = found or this
        return found

    def add(self, values: Sequence[Value]) -> bool:
        """Takes values; returns whether a file should be written now."""
        self.head = self.head.model_copy(update={"kind": self.check(values, self.head.kind)})
        for value in values:
            size = len(value or "") + 8  # and where it begins
            if value is not None and value not in self.place:
                self.place[value] = len(self.place)
                self.waiting += size
                self.parted += size
            self.index.append(None if value is None else self.place[value])
            self.waiting += _VALUE_BYTES
            self.whole += size
            self.parted += 4
        return self.waiting >= _SEGMENT_BYTES

    def flush(self) -> tuple[str, bytes] | None:
        """The next file, its name and all its bytes, and nothing if no values wait."""
        if not self.index:
            return None
        import pyarrow as pa

        kind = {"string": pa.large_string(), "binary": pa.large_binary(), None: pa.null()}[self.head.kind]
        distinct = list(self.place)
        if distinct and 2 * self.parted <= self.whole:
            index = pa.array(self.index, type=pa.int32())
            values = pa.DictionaryArray.from_arrays(index, pa.array(distinct, type=kind))
        else:
            values = pa.array([None if place is None else distinct[place] for place in self.index], type=kind)
        table = pa.table({self.head.name: values})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        parts = ("graph",) if self.head.type is None else ("node", self.head.type)
        file = f"payloads/{file_name(column_name(*parts, self.head.name))}.{len(self.head.segments)}.arrow"
        segments = (*self.head.segments, SegmentHead(file=file, rows=len(self.index)))
        self.head = self.head.model_copy(update={"segments": segments})
        self.index, self.place, self.waiting, self.whole, self.parted = [], {}, 0, 0, 0
        return file, sink.getvalue().to_pybytes()


class Payload:
    """The values of one payload, read from their files when they are asked for, each file checked at its first use."""

    def __init__(self, columns: Columns, head: PayloadHead) -> None:
        self.head = head
        self._columns = columns
        self._segments: dict[int, Any] = {}

    def all(self) -> Any:
        """All values as one ``pyarrow.ChunkedArray``, mapped, not read.

        It is of a dictionary's type where a file has its distinct values once.
        """
        import pyarrow as pa

        kind = {"string": pa.large_string(), "binary": pa.large_binary(), None: pa.null()}[self.head.kind]
        segments = [self._segment(number) for number in range(len(self.head.segments))]
        chunks = [chunk for one in segments for chunk in one.chunks]
        if not any(pa.types.is_dictionary(chunk.type) for chunk in chunks):
            return pa.chunked_array([chunk.cast(kind) for chunk in chunks], type=kind)
        encoded = [
            chunk if pa.types.is_dictionary(chunk.type) else chunk.cast(kind).dictionary_encode() for chunk in chunks
        ]
        return pa.chunked_array(encoded, type=pa.dictionary(pa.int32(), kind))

    def values(self, start: int, stop: int) -> list[Value]:
        """Some values, as Python strings or bytes."""
        return [value for part in self._parts(start, stop) for value in part.to_pylist()]

    def _parts(self, start: int, stop: int) -> Iterator[Any]:
        first = 0
        for number, segment in enumerate(self.head.segments):
            low, high = max(start - first, 0), min(stop - first, segment.rows)
            if low < high:
                yield self._segment(number).slice(low, high - low)
            first += segment.rows

    def _segment(self, number: int) -> Any:
        if number not in self._segments:
            import pyarrow as pa

            segment = self.head.segments[number]
            path = self._columns.file(segment.file)
            try:
                (column,) = pa.ipc.open_file(pa.memory_map(str(path))).read_all().columns
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ArtifactError(f"File {str(path)!r} must be an Arrow file of one column, but {error}") from None
            if len(column) != segment.rows:
                raise ArtifactError(f"File {str(path)!r} must hold {segment.rows} values, got {len(column)}")
            self._segments[number] = column
        return self._segments[number]
