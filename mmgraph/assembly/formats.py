"""Formats of tables: each is read in blocks of rows, and what is broken in it is said row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmgraph.assembly.cells import Cell, filled
from mmgraph.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Block: TypeAlias = tuple[int, dict[str, list[Cell]]]
"""The number of the first row, and column → the cells of some rows."""

Complain: TypeAlias = Callable[[int, str], None]
"""Takes the number of a row that can't be read, and why; its cells are empty."""

ROWS = 256  # of a block
_LONGEST = 1 << 26  # characters of a cell of a CSV file
_BLOCK = 1 << 24  # characters of a block, about


@dataclass(frozen=True)
class Table:
    """A table whose rows are read as often as they are asked for.

    Args:
        name: As the declaration has it.
        columns: Its columns.
        read: (columns, complain) → blocks of rows.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Sequence[str], Complain], Iterator[Block]] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise DataError(f"Table {self.name!r} must have columns, each once, got {list(self.columns)}")

    def blocks(self, columns: Sequence[str], complain: Complain) -> Iterator[Block]:
        """Reads some columns, in blocks of rows; empty cells are ``None``.

        Raises:
            DataError: There is no such column, or the file can't be read on.
        """
        if missing := [column for column in columns if column not in self.columns]:
            raise DataError(f"Table {self.name!r} must have the column {missing[0]!r}, got {list(self.columns)}")
        for first, cells in self.read(columns, complain):
            yield first, {name: [filled(cell) for cell in values] for name, values in cells.items()}


def open_file(path: Path, name: str) -> Table:
    """Opens a file by the end of its name.

    Args:
        path: The file.
        name: Of the table, for messages.

    Raises:
        DataError: Its format is not known, or its beginning can't be read.
    """
    import pyarrow as pa

    if path.suffix.lower() not in _FORMATS:
        raise DataError(f"Table {name!r} must end in one of {sorted(_FORMATS)}, got {path.suffix!r}; convert it")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"Table {name!r} must hold a header at least, got 0 bytes")
        return _FORMATS[path.suffix.lower()](path, name)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"Table {name!r} can't be read: {error}") from None


def open_arrow(table: pa.Table, name: str) -> Table:
    """A table in memory."""

    def read(columns: Sequence[str], _: Complain) -> Iterator[Block]:
        return _blocks(table.select(list(columns)).to_batches(max_chunksize=ROWS), columns)

    return Table(name, tuple(table.column_names), read)


def _csv(path: Path, name: str, delimiter: str = ",") -> Table:
    """Lines without a character are no rows; cells that are no UTF-8 are bytes."""
    names = next(_records(path, name, delimiter), "it has no line")
    if isinstance(names, str):
        raise DataError(f"Table {name!r} must begin with the names of its columns, but {names}")
    if bad := [one for one in names if isinstance(_text(one), bytes)]:
        raise DataError(f"Table {name!r} must be UTF-8, got the column {_text(bad[0])!r}; convert it")

    def read(columns: Sequence[str], complain: Complain) -> Iterator[Block]:
        places = [names.index(column) for column in columns]
        records = _records(path, name, delimiter)
        next(records)
        first, size = 0, 0
        block: list[Sequence[Cell]] = []
        for cells in records:
            if isinstance(cells, str) or len(cells) != len(names):
                reason = cells if isinstance(cells, str) else f"a row must have {len(names)} cells, got {len(cells)}"
                complain(first + len(block), reason)
                block.append([None] * len(places))
            else:
                block.append([_text(cells[place]) for place in places])
                size += sum(len(cells[place]) for place in places)
            if len(block) == ROWS or size > _BLOCK:
                yield first, _columns(block, columns)
                first, size, block = first + len(block), 0, []
        if block:
            yield first, _columns(block, columns)

    return Table(name, tuple(names), read)


def _tsv(path: Path, name: str) -> Table:
    return _csv(path, name, "\t")


def _records(path: Path, name: str, delimiter: str) -> Iterator[list[str] | str]:
    """The cells of each row, or what is wrong with it."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        records = csv.reader(file, delimiter=delimiter, strict=True)
        while True:
            try:
                cells = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                if "limit" in str(error):
                    raise DataError(
                        f"Table {name!r} can't be read on from line {records.line_num}: a cell must have at most "
                        f"{csv.field_size_limit()} characters; is a quotation mark not closed before it?"
                    ) from None
                yield f"a row must be well quoted, but {error}"
                continue
            if cells:
                yield cells


def _text(cell: str) -> str | bytes:
    """A cell as it is, or as its bytes if they are no UTF-8."""
    if cell.isascii():
        return cell
    try:
        cell.encode()
    except UnicodeEncodeError:
        return cell.encode(errors="surrogateescape")
    return cell


def _columns(rows: Sequence[Sequence[Cell]], columns: Sequence[str]) -> dict[str, list[Cell]]:
    return {column: list(cells) for column, cells in zip(columns, zip(*rows, strict=True), strict=True)}


def _jsonl(path: Path, name: str) -> Table:
    """Its columns are the names that are in any line; lines without a character are no rows."""
    names: dict[str, None] = {}
    for found in _objects(path):
        names.update(dict.fromkeys(found) if isinstance(found, dict) else {})
    if not names:
        raise DataError(f"Table {name!r} must hold JSON objects, one a line, got none")

    def read(columns: Sequence[str], complain: Complain) -> Iterator[Block]:
        first, size = 0, 0
        block: list[list[Cell]] = []
        for found in _objects(path):
            if isinstance(found, str):
                complain(first + len(block), found)
                found = {}
            block.append([found.get(column) for column in columns])
            size += sum(len(cell) for cell in block[-1] if isinstance(cell, str | list))
            if len(block) == ROWS or size > _BLOCK:
                yield first, _columns(block, columns)
                first, size, block = first + len(block), 0, []
        if block:
            yield first, _columns(block, columns)

    return Table(name, tuple(names), read)


def _objects(path: Path) -> Iterator[dict[str, Any] | str]:
    """Each line's JSON object, or why it is none."""
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"a line must be JSON, but {error}"
                continue
            yield found if isinstance(found, dict) else f"a line must be a JSON object, got {type(found).__name__}"


def _parquet(path: Path, name: str) -> Table:
    """Where the file is damaged, the rest of that group of rows is lost, and no more."""
    import pyarrow as pa
    from pyarrow import parquet

    names = tuple(parquet.read_schema(path).names)

    def read(columns: Sequence[str], complain: Complain) -> Iterator[Block]:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            first = 0
            for group in range(file.num_row_groups):
                end = first + file.metadata.row_group(group).num_rows
                try:
                    for _, cells in _blocks(
                        file.iter_batches(ROWS, row_groups=[group], columns=list(columns)), columns
                    ):
                        yield first, cells
                        first += len(cells[columns[0]])
                except (pa.ArrowException, OSError) as error:
                    for start in range(first, end, ROWS):
                        lost = range(start, min(start + ROWS, end))
                        for row in lost:
                            complain(row, f"a row must be readable, but {error}")
                        yield start, {column: [None] * len(lost) for column in columns}
                first = end

    return Table(name, names, read)


def _arrow(path: Path, name: str) -> Table:
    import pyarrow as pa

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            with pa.memory_map(str(path)) as mapped, _reader(mapped) as reader:
                if isinstance(reader, pa.ipc.RecordBatchFileReader):
                    found = (reader.get_batch(number) for number in range(reader.num_record_batches))
                    yield from (batch.select(list(columns)) for batch in found)
                else:
                    yield from (batch.select(list(columns)) for batch in reader)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"Table {name!r} can't be read to its end: {error}") from None

    def read(columns: Sequence[str], _: Complain) -> Iterator[Block]:
        return _blocks(batches(columns), columns)

    with pa.memory_map(str(path)) as mapped, _reader(mapped) as reader:
        return Table(name, tuple(reader.schema.names), read)


def _reader(mapped: pa.MemoryMappedFile) -> Any:
    """Of a file, or of a stream that was written to one."""
    import pyarrow as pa

    try:
        return pa.ipc.open_file(mapped)
    except pa.ArrowInvalid:
        mapped.seek(0)
        return pa.ipc.open_stream(mapped)


def _blocks(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> Iterator[Block]:
    first = 0
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            some = batch.slice(start, ROWS)
            yield first, {column: _values(some.column(column)) for column in columns}
            first += some.num_rows


def _values(array: pa.Array) -> list[Cell]:
    """Python's values; the bytes of strings that are no UTF-8, and as strings what Python has no value for."""
    try:
        return array.to_pylist()
    except (ValueError, OverflowError):
        return [_value(cell) for cell in array]


def _value(cell: pa.Scalar) -> Cell:
    import pyarrow as pa

    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return bytes(cell.as_buffer()) if hasattr(cell, "as_buffer") else None
    except (ValueError, OverflowError):
        return cell.cast(pa.string()).as_py()


_FORMATS: Mapping[str, Callable[[Path, str], Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".arrow": _arrow,
    ".feather": _arrow,
}
