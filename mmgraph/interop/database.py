"""Databases: tables that speak of each other's rows by keys, and when each row came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmgraph.errors import DataError
from mmgraph.interop.tables import ENDS, Tables, from_tables, to_tables
from mmgraph.schema import Schema
from mmgraph.schema.spec import TargetKind

if TYPE_CHECKING:
    import pyarrow as pa
    from torch_geometric.data import HeteroData

KEY = "id"  # of the tables that a graph becomes
NEVER = np.iinfo(np.int64).max
ALWAYS = np.iinfo(np.int64).min
_A_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, eq=False)
class DatabaseTable:
    """A table of a database.

    Args:
        rows: A table of Arrow, or what becomes one (a mapping of lists).
        key: The column by which others speak of its rows; ``None`` if none do.
        foreign: Column → the table whose keys it holds.
        time: The column that says when each row came to be; ``None`` for rows that always were.

    Raises:
        DataError: The rows are no table, or a column is not there.
    """

    rows: pa.Table
    key: str | None = None
    foreign: Mapping[str, str] = field(default_factory=dict)
    time: str | None = None

    def __post_init__(self) -> None:
        import pyarrow as pa

        try:
            rows = self.rows if isinstance(self.rows, pa.Table) else pa.table(self.rows)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise DataError(f"Rows must be a table of Arrow, or what becomes one, but {error}") from None
        object.__setattr__(self, "rows", rows)
        for column in [self.key, *self.foreign, self.time]:
            if column is not None and rows.column_names.count(column) != 1:
                raise DataError(f"A table must have the column {column!r} once, got {rows.column_names}")


@dataclass(frozen=True, eq=False)
class Database:
    """Tables, joined by keys.

    Args:
        tables: Name → table.
        val_time: Up to when rows may be seen to answer for validation; ``None`` if that is not said.
        test_time: Up to when rows may be seen to answer for the test.

    Raises:
        DataError: A foreign key leads to a table that is not there, or has no key.

    Example:
        >>> clubs = DatabaseTable({"id": [7, 8], "name": ["chess", "rowing"]}, key="id")
        >>> people = DatabaseTable({"id": ["a", "b"], "club": [8, None]}, key="id", foreign={"club": "clubs"})
        >>> Database({"clubs": clubs, "people": people}).for_relbench().tables["people"].rows.to_pydict()
        {'id': [0, 1], 'club': [1, None], 'id_name': ['a', 'b']}
    """

    tables: Mapping[str, DatabaseTable]
    val_time: datetime | None = None
    test_time: datetime | None = None

    def __post_init__(self) -> None:
        for name, table in self.tables.items():
            for column, other in table.foreign.items():
                if other not in self.tables or self.tables[other].key is None:
                    there = "has no key" if other in self.tables else f"is none of {list(self.tables)}"
                    raise DataError(f"{column!r} of {name!r} must lead to a table with a key, but {other!r} {there}")

    def upto(self, time: datetime | int | str) -> Database:
        """The database as it was: the rows up to a time, and those of tables without times.

        Rows whose time is not known are left out, and keys of rows that are gone are nothing.

        Raises:
            DataError: The time is not known, or of another kind than those of a table.

        Example:
            >>> posts = DatabaseTable({"id": [0, 1], "at": ["2024-01-01", "2024-03-01"]}, key="id", time="at")
            >>> Database({"posts": posts}).upto("2024-02-01").tables["posts"].rows.num_rows
            1
        """
        limit = read_times([time], "The time", early=True)
        if limit.values[0] == NEVER:
            raise DataError(f"The time must be known, got {time!r}")
        kept: dict[str, np.ndarray] = {}
        for name, table in self.tables.items():
            kept[name] = np.ones(table.rows.num_rows, dtype=bool)
            if table.time is not None:
                times = read_times(table.rows.column(table.time), f"{table.time!r} of {name!r}")
                if times.moments != limit.moments and len(times.values):
                    raise DataError(f"The time must be {_kind(times)}, as {table.time!r} of {name!r} is, got {time!r}")
                kept[name] = times.values <= limit.values[0]
        return replace(self, tables={name: self._cut(name, kept) for name in self.tables})

    def _cut(self, name: str, kept: Mapping[str, np.ndarray]) -> DatabaseTable:
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.tables[name]
        rows = table.rows.filter(pa.array(kept[name]))
        for column, other in table.foreign.items():
            keys, place, values = self.tables[other].key, rows.column_names.index(column), rows.column(column)
            gone = {_key(value) for value in self.tables[other].rows.column(keys).filter(pa.array(~kept[other]))}
            lost = pa.array([_key(value) in gone for value in values], pa.bool_())
            nothing = pa.scalar(None, values.type)
            rows = rows.set_column(place, rows.schema.field(column), pc.if_else(lost, nothing, values))
        return replace(table, rows=rows)

    def for_relbench(self) -> Database:
        """The same as RelBench wants it: rows in order of their times, in nanoseconds, and their numbers for keys.

        Keys that were others are kept as ``<key>_name``. A foreign key that leads nowhere is nothing.

        Raises:
            DataError: A key is there twice, or a column of that name; or a time is beyond what nanoseconds can say.
        """
        import pyarrow as pa

        ordered = {name: replace(table, rows=_in_order(name, table)) for name, table in self.tables.items()}
        places = {name: _places(name, table) for name, table in ordered.items() if table.key is not None}
        tables = {}
        for name, table in ordered.items():
            rows = table.rows
            for column, other in table.foreign.items():
                numbers = [places[other].get(_key(value)) for value in rows.column(column)]
                rows = rows.set_column(rows.column_names.index(column), column, pa.array(numbers, pa.int64()))
            if table.key is not None and table.key not in table.foreign:
                numbers, before = list(range(rows.num_rows)), rows.column(table.key)
                if before.to_pylist() != numbers:
                    if f"{table.key}_name" in rows.column_names:
                        raise DataError(f"Table {name!r} must have no column '{table.key}_name'; rename it")
                    rows = rows.append_column(f"{table.key}_name", before)
                rows = rows.set_column(rows.column_names.index(table.key), table.key, pa.array(numbers, pa.int64()))
            tables[name] = replace(table, rows=rows)
        return replace(self, tables=tables)


@dataclass(frozen=True, eq=False)
class TaskTable:
    """What is asked of the rows of a table at some times, and the answers where they are known.

    Args:
        parts: ``train``, ``val`` and ``test`` → a table of Arrow, or what becomes one; a row a question.
        table: The table that is asked about.
        entity: The column with the key of the row that is asked about.
        target: The column with the answer; a part may lack it.
        time: The column that says when it is asked: what came later must not be seen. ``None`` if nothing is hidden.
        kind: ``binary``, ``multiclass`` or ``regression``; by default what the answers are.
        hidden: (table, column) that the answers are made of, and that must not be seen.

    Raises:
        DataError: A part is missing, or a column.

    Example:
        >>> part = {"user": [0, 1], "at": ["2024-01-01", "2024-01-01"], "left": [True, False]}
        >>> task = TaskTable(dict.fromkeys(("train", "val", "test"), part), "users", "user", "left", time="at")
        >>> task.rows.num_rows, task.rows.column_names
        (6, ['user', 'at', 'left', 'part'])
    """

    parts: Mapping[str, pa.Table]
    table: str
    entity: str
    target: str
    time: str | None = None
    kind: TargetKind | None = None
    hidden: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        if set(self.parts) != {"train", "val", "test"}:
            raise DataError(f"parts of a task must be train, val and test, got {list(self.parts)}")
        read = {}
        for part, one in self.parts.items():
            foreign = {self.entity: self.table}
            read[part] = DatabaseTable(one, foreign=foreign, time=self.time).rows
            if part == "train" and self.target not in read[part].column_names:
                raise DataError(f"Training must have the answers, {self.target!r}, got {read[part].column_names}")
        object.__setattr__(self, "parts", read)

    @property
    def rows(self) -> pa.Table:
        """All parts, one below the other: entity, time, target and ``part``."""
        import pyarrow as pa

        columns = [self.entity, *([self.time] if self.time is not None else []), self.target]
        found = []
        for part in ("train", "val", "test"):
            rows = self.parts[part]
            if self.target not in rows.column_names:
                kind = self.parts["train"].schema.field(self.target).type
                rows = rows.append_column(self.target, pa.nulls(rows.num_rows, kind))
            found.append(rows.select(columns).append_column("part", pa.array([part] * rows.num_rows, pa.string())))
        return pa.concat_tables([one.replace_schema_metadata(None) for one in found], promote_options="permissive")


class Times(NamedTuple):
    """Times as whole numbers, ``[rows]``: microseconds since 1970, or the numbers that were given."""

    values: np.ndarray
    moments: bool


def read_times(column: Any, where: str, *, early: bool = False) -> Times:
    """A column of times as whole numbers; :data:`NEVER` where there is none.

    Moments are in microseconds: finer ones are taken for the next one, so that what is later never looks earlier.
    Without a zone they are taken for UTC.

    Args:
        column: Dates, times, whole numbers, or strings of ISO 8601.
        where: What it is, for messages.
        early: Take finer moments for the last microsecond instead; for the time up to when something may be seen.

    Raises:
        DataError: It holds something else.

    Example:
        >>> read_times(["1970-01-02", None], "'at' of 'posts'").values[0], read_times([2020, 2021], "'year'").moments
        (np.int64(86400000000), False)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        array = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([pa.array(column)])
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"{where} must be times of one kind, but {error}") from None
    kind = array.type
    known = np.array(pc.is_valid(array).to_pylist(), dtype=bool)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Times(_parsed(array.to_pylist(), where), moments=True)
    if pa.types.is_floating(kind):  # whole numbers, some of them not known
        known &= np.isfinite(array.fill_null(float("nan")).to_numpy())
        numbers = np.where(known, array.fill_null(0).to_numpy(), 0)
        if (numbers != np.floor(numbers)).any():
            raise DataError(f"{where} must be whole numbers, got {numbers[numbers != np.floor(numbers)][0]}; round it")
        values = numbers.astype(np.int64)
    elif pa.types.is_integer(kind):
        values = array.fill_null(0).cast(pa.int64()).to_numpy()
    elif pa.types.is_date(kind):
        values = array.cast(pa.date32()).cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64) * _A_DAY
    elif pa.types.is_timestamp(kind):
        values = array.cast(pa.int64()).fill_null(0).to_numpy()
        if kind.unit == "ns":
            values = values // 1000 if early else -(-values // 1000)
        else:
            values = values * {"s": 1_000_000, "ms": 1000, "us": 1}[kind.unit]
    elif pa.types.is_null(kind):
        values = np.zeros(len(array), dtype=np.int64)
    else:
        raise DataError(f"{where} must be dates, times, whole numbers or strings of ISO 8601, got {kind}")
    return Times(np.where(known, values, NEVER), moments=pa.types.is_temporal(kind))


def to_database(
    graph: HeteroData, schema: Schema, payloads: Mapping[str, Sequence[str | bytes | None]] | None = None
) -> Database:
    """A graph as a database: a table a node type, with keys; a table an edge type, of foreign keys.

    The key is ``id``, the number of the row. The tables of edges have ``source`` and ``target``, and are called
    ``source__relation__target``. Tensors are columns, as in :func:`~mmgraph.interop.to_tables`; :func:`from_database`
    makes the same graph again, to the bit.

    Args:
        graph: The graph.
        schema: What its types mean.
        payloads: Node type → what each node stands for: texts, bytes of files, paths.

    Raises:
        DataError: Something would be lost, see :func:`~mmgraph.interop.to_tables`; or a name is taken.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> database = to_database(graph, schema)
        >>> database.tables["scan__of__subject"].foreign
        {'source': 'scan', 'target': 'subject'}
        >>> bool((from_database(database, schema)[0]["scan"].x == graph["scan"].x).all())
        True
    """
    import pyarrow as pa

    tables, found = to_tables(graph, schema, payloads), {}
    for node, rows in tables.nodes.items():
        if KEY in rows.column_names:
            raise DataError(f"Nodes of a database must not have a tensor {KEY!r}, got one on {node!r}; rename it")
        keys = pa.array(np.arange(rows.num_rows))
        found[node] = DatabaseTable(rows.add_column(0, KEY, keys), key=KEY)
    for edge, rows in tables.edges.items():
        if (name := "__".join(edge)) in found:
            raise DataError(f"Tables must have names of their own, got {name!r} for {edge} too; rename a type")
        found[name] = DatabaseTable(rows, foreign=dict(zip(ENDS, (edge[0], edge[2]), strict=True)))
    return Database(found)


def from_database(database: Database, schema: Schema) -> tuple[HeteroData, dict[str, list[Any]]]:
    """The graph that :func:`to_database` gave, and what its nodes stand for.

    Raises:
        DataError: A table is missing, or keys are not the numbers of the rows.
        SchemaError: The graph is not what the schema says.
    """
    joins = {"__".join(edge): edge for edge in schema.edges}
    if missing := [name for name in (*schema.nodes, *joins) if name not in database.tables]:
        raise DataError(f"There must be a table for each type of the schema, got none for {missing[0]!r}")
    nodes = {}
    for node in (name for name in database.tables if name in schema.nodes):
        rows = database.tables[node].rows
        if KEY not in rows.column_names or rows.column(KEY).to_pylist() != list(range(rows.num_rows)):
            raise DataError(f"{KEY!r} of {node!r} must be the numbers of its rows, 0 to {rows.num_rows - 1}")
        nodes[node] = rows.drop_columns([KEY])
    edges = {joins[name]: one.rows for name, one in database.tables.items() if name in joins}
    return from_tables(Tables(schema, nodes, edges))


def _parsed(cells: Sequence[str | None], where: str) -> np.ndarray:
    values = np.full(len(cells), NEVER)
    for row, cell in enumerate(cells):
        if cell is None or not cell.strip():
            continue
        try:
            moment = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise DataError(f"{where} must be ISO 8601, like 2024-02-29T12:30, got {cell!r} in row {row}") from None
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        values[row] = since.days * _A_DAY + since.seconds * 1_000_000 + since.microseconds
    return values


def _kind(times: Times) -> str:
    return "a moment" if times.moments else "a whole number"


def _in_order(name: str, table: DatabaseTable) -> pa.Table:
    """The rows by their times, those without last; moments in nanoseconds."""
    import pyarrow as pa

    if table.time is None:
        return table.rows
    column, place = table.rows.column(table.time), table.rows.column_names.index(table.time)
    times = read_times(column, f"{table.time!r} of {name!r}")
    rows, order = table.rows, np.argsort(times.values, kind="stable")
    if times.moments and column.type != pa.timestamp("ns"):
        exact = pa.types.is_timestamp(column.type) and column.type.unit == "ns"  # and of a time zone
        moments = column.cast(pa.int64()) if exact else pa.array(times.values, mask=times.values == NEVER)
        try:
            moments = moments.cast(pa.timestamp("ns" if exact else "us")).cast(pa.timestamp("ns"))
        except pa.ArrowInvalid as error:
            raise DataError(f"{table.time!r} of {name!r} must be within 1677 and 2262 for RelBench: {error}") from None
        rows = rows.set_column(place, table.time, moments)
    return rows.take(order)


def _key(value: pa.Scalar) -> str | None:
    """A key; whole numbers are equal whatever their type."""
    found = value.as_py()
    if found is None:
        return None
    return str(int(found)) if isinstance(found, float) and found.is_integer() else str(found).strip()


def _places(name: str, table: DatabaseTable) -> dict[str | None, int]:
    keys = [_key(value) for value in table.rows.column(table.key)]
    places: dict[str | None, int] = {key: row for row, key in enumerate(keys) if key is not None}
    if len(places) < len(keys):
        raise DataError(f"Keys of {name!r} must be there, each once, got {len(keys) - len(places)} empty or again")
    return places
