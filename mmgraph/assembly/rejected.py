"""What was set aside, and why: one list for the whole build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmgraph.errors import DataError
from mmgraph.files import write_bytes

_SHOWN = 200  # characters of a value


@dataclass(frozen=True)
class Rejection:
    """One cell, row or edge that was set aside.

    Args:
        table: Where it stood.
        row: Number of the row, from 0.
        column: Name of the column; empty for a whole row.
        key: Key of the row's node, if it has one.
        value: The cell, cut short.
        reason: What must hold, and what was got.
    """

    table: str
    row: int
    column: str
    key: str
    value: str
    reason: str


@dataclass
class Rejected:
    """Takes what is set aside.

    Args:
        strict: Raise at the first instead.
    """

    strict: bool = False
    found: dict[Rejection, None] = field(default_factory=dict)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)
    parts: list[Rejected] = field(default_factory=list, init=False)

    def part(self) -> Rejected:
        """The same list for one reader: its share of what is wrong is counted by itself."""
        self.parts.append(Rejected(self.strict, self.found))
        return self.parts[-1]

    @property
    def items(self) -> list[Rejection]:
        """All that was set aside so far."""
        return list(self.found)

    def add(self, table: str, row: int, column: str, value: object, reason: str, *, key: str = "") -> None:
        """Sets something aside.

        Raises:
            DataError: The build is strict.
        """
        if self.strict:
            where = f"row {row}" + (f" ({key})" if key else "") + (f", column {column!r}" if column else "")
            raise DataError(f"Table {table!r}, {where}: {reason}; mend it, or build without strict to set it aside")
        self.wrong[table, column] += 1
        self.found[Rejection(table, row, column, key, short(value), reason)] = None  # two readers of a cell say it once

    def count(self, table: str, column: str, cells: int) -> None:
        """Counts cells (or rows, with an empty column name) that were looked at."""
        self.seen[table, column] += cells

    def check(self, most: float) -> None:
        """Checks that no more than a share of any column was set aside by any reader.

        Raises:
            TooManyRejectedError: More was.
        """
        shares = [(place, count, one.seen[place]) for one in (self, *self.parts) for place, count in one.wrong.items()]
        for (table, column), count, seen in shares:
            total = max(seen, count)
            if count > most * total:
                where = f"column {column!r} of table {table!r}" if column else f"the rows of table {table!r}"
                reasons = Counter(item.reason for item in self.items if (item.table, item.column) == (table, column))
                raise TooManyRejectedError(
                    f"At most {most:.1%} of {where} may be set aside, got {count} of {total}: "
                    f"{reasons.most_common(1)[0][0]}; mend them, or raise limits.rejected",
                    self.items,
                )


def short(value: object) -> str:
    """A cell for the list, cut short."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else "" if value is None else str(value)[:_SHOWN]


class TooManyRejectedError(DataError):
    """More was set aside than the declaration allows.

    Attributes:
        items: All that was set aside.
    """

    def __init__(self, message: str, items: Sequence[Rejection]) -> None:
        super().__init__(message)
        self.items = items


def write_rejected(items: Iterable[Rejection], path: Path) -> None:
    """Writes a Parquet file, a row for each thing that was set aside, by table, column and row."""
    import pyarrow as pa
    from pyarrow import parquet

    ordered = sorted(items, key=lambda item: (item.table, item.column, item.row, item.value, item.reason))
    kinds = {"table": pa.string(), "row": pa.int64(), "column": pa.string(), "key": pa.string()}
    schema = pa.schema({**kinds, "value": pa.string(), "reason": pa.string()})
    sink = pa.BufferOutputStream()
    rows = {name: [_clean(getattr(item, name)) for item in ordered] for name in schema.names}
    parquet.write_table(pa.table(rows, schema=schema), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_rejected(path: Path) -> list[Rejection]:
    """Reads what :func:`write_rejected` wrote."""
    from pyarrow import parquet

    return [Rejection(**row) for row in parquet.read_table(path).to_pylist()]


def _clean(value: str | int) -> str | int:
    """Without the halves of characters that no file can hold."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
