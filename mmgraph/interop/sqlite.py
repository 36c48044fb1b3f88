"""SQLite: a file of tables with their keys."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmgraph.errors import DataError
from mmgraph.interop.database import Database, DatabaseTable

if TYPE_CHECKING:
    import pyarrow as pa


def read_sqlite(path: str | Path, *, times: Mapping[str, str] | None = None) -> Database:
    """Reads a database from a file of SQLite: all tables, with the keys that they declare.

    A key of several columns names no row for others: such a table has none. A column with cells of several types is a
    column of strings.

    Args:
        path: The file; it is opened to be read alone, and runs nothing.
        times: Table → the column that says when each row came to be; SQLite does not know.

    Raises:
        DataError: It is no such file, or a foreign key is of several columns, or leads to a column that is no key.

    Example:
        >>> path = getfixture("tmp_path") / "sport.db"
        >>> with closing(sqlite3.connect(path)) as made:
        ...     _ = made.execute("CREATE TABLE clubs (id INTEGER PRIMARY KEY, name TEXT)")
        ...     _ = made.execute("CREATE TABLE people (name TEXT, club INTEGER REFERENCES clubs)")
        >>> read_sqlite(path).tables["people"].foreign
        {'club': 'clubs'}
    """
    path, times = Path(path), dict(times or {})
    if not path.is_file():
        raise DataError(f"{str(path)!r} must be a file of SQLite; there is none")
    with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as database:
        database.text_factory = lambda data: data.decode(errors="replace")
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            names = _cells(database, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            tables = {name: _table(database, name, times.pop(name, None)) for (name,) in names}
        except sqlite3.DatabaseError as error:
            raise DataError(f"{str(path)!r} must be a file of SQLite, but {error}") from None
    if times:
        raise DataError(f"times must be of tables, {list(tables)}, got {next(iter(times))!r}")
    return Database(tables)


def _table(database: sqlite3.Connection, name: str, time: str | None) -> DatabaseTable:
    columns = _cells(database, f"PRAGMA table_info({_quoted(name)})")  # number, name, type, not null, default, key
    rows = _cells(database, f"SELECT * FROM {_quoted(name)}")
    names = [column[1] for column in columns]
    found = {column: _column([row[place] for row in rows]) for place, column in enumerate(names)}
    return DatabaseTable(found, _key(columns), _foreign(database, name), time)


def _key(columns: list[Any]) -> str | None:
    keys = [column[1] for column in columns if column[5]]
    return keys[0] if len(keys) == 1 else None


def _foreign(database: sqlite3.Connection, name: str) -> dict[str, str]:
    joins: dict[int, list[Any]] = defaultdict(list)
    for join in _cells(database, f"PRAGMA foreign_key_list({_quoted(name)})"):  # number, place, table, from, to, …
        joins[join[0]].append(join)
    found = {}
    for join in joins.values():
        if len(join) > 1:
            columns = [one[3] for one in join]
            raise DataError(f"A foreign key must be of one column, got {columns} of {name!r}; join the tables by hand")
        _, _, other, column, to = join[0][:5]
        key = _key(_cells(database, f"PRAGMA table_info({_quoted(other)})"))
        if to not in (None, key):
            raise DataError(f"{column!r} of {name!r} must hold the key of {other!r}, {key!r}, got one to {to!r}")
        found[column] = other
    return found


def _column(values: list[Any]) -> pa.Array:
    """Cells of any type, which SQLite allows; strings if they are of several."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _cells(database: sqlite3.Connection, query: str) -> list[Any]:
    return database.execute(query).fetchall()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
