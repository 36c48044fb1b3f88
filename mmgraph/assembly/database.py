"""A database as what a graph is built from: rows are nodes, foreign keys are edges, and both have their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.assembly.built import Built
from mmgraph.assembly.cells import filled, key_of
from mmgraph.assembly.config import TABULAR, GraphConfig, Kind
from mmgraph.assembly.source import Source
from mmgraph.errors import ConfigError, DataError
from mmgraph.interop.database import ALWAYS, NEVER, Database, DatabaseTable, TaskTable, Times, read_times
from mmgraph.interop.relbench import from_relbench, from_relbench_task, read_relbench, read_task
from mmgraph.interop.sqlite import read_sqlite

if TYPE_CHECKING:
    import pyarrow as pa

INVERSE = "^"
ASKED = "asked"  # the relation from a row to the questions about it
PART, ROW = "part", "row"
_MOST = 100  # values of a category
_LOOKED_AT = 10_000  # cells by which a column is judged


@dataclass(frozen=True)
class DatabaseSource(Source):
    """What the graph of a database is built from, with the columns that say when rows came to be.

    Args:
        times: Node type → the column with the times of its rows.

    Example:
        >>> from mmgraph.assembly import build_graph
        >>> rows = {"id": [1, 2], "reply": [None, 1], "at": ["2024-01-02", "2024-01-05"], "likes": [3, 4]}
        >>> posts = DatabaseTable(rows, key="id", foreign={"reply": "posts"}, time="at")
        >>> graph = build_graph(database_source(Database({"posts": posts}))).graph
        >>> graph["posts", "reply", "posts"].edge_index.tolist(), graph["posts"].time.tolist()
        ([[1], [0]], [1704153600000000, 1704412800000000])
        >>> graph["posts", "reply", "posts"].time.tolist()
        [1704412800000000]
    """

    times: Mapping[str, str] = field(default_factory=dict)

    def finish(self, built: Built) -> Built:
        """Gives nodes and edges the times at which they came to be: what a sampler needs to hide what came later.

        A node is as old as its row, a payload as old as what it hangs on, an edge as old as the younger of its ends.
        All edge types have ``time``, whole numbers: microseconds since 1970, or the numbers of the database. Rows of
        tables without times always were; those whose time is not known never come to be. Node types with a table with
        times, and those of their payloads, have ``time`` too. Where no table has times, nothing has.

        Raises:
            DataError: Times of one table are moments, and those of another numbers; or they are neither.
        """
        if not self.times:
            return built
        read = {name: _times(built, self, name) for name in self.times}
        if len({one.moments for one in read.values() if len(one.values)}) > 1:
            moments = {self.times[name]: one.moments for name, one in read.items()}
            raise DataError(f"All times must be moments, or all whole numbers, got {moments} (which are moments)")
        graph = copy(built.graph)  # stores of its own, with the same tensors
        time = {name: torch.full((graph[name].num_nodes,), ALWAYS) for name in graph.node_types}
        time |= {name: torch.from_numpy(one.values) for name, one in read.items()}
        for name, (owner, _) in self.config.modality_nodes.items():
            rows, owners = graph[name, "of", owner].edge_index
            time[name] = time[name].scatter(0, rows, time[owner][owners])
            if owner in read:
                graph[name].time = time[name]
        for name in read:
            graph[name].time = time[name]
        for edge in graph.edge_types:
            graph[edge].time = _younger(graph[edge].edge_index, time[edge[0]], time[edge[2]])
        return replace(built, graph=graph)


def database_source(
    database: Any,
    *,
    anchor: str | None = None,
    target: str | None = None,
    task: Any = None,
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    hidden: Sequence[tuple[str, str]] = (),
    times: Mapping[str, str] | None = None,
    asked: str = "question",
    limits: Mapping[str, Any] | None = None,
) -> DatabaseSource:
    """What a graph of a database is built from.

    Each row is a node, each foreign key an edge type ``(table, column, other table)`` with its inverse
    ``(other table, "^column", table)``. The other columns are payloads, by what they hold: numbers, truth values and
    words that come back (categories) and dates share one node a row, ``<table>_table``; texts and series are nodes
    ``<table>_<column>``. Columns of bytes are left out, unless ``columns`` says what they are.

    What is asked is either a column of the anchor (``target``), or a ``task``: then each question is a node of its own,
    the anchor, with an edge ``(table, "asked", "question")`` from the row that it is about. Nothing leads back, so that
    questions don't see each other.

    Anchors are split by the parts of the task; by the times up to which the database may be seen; by time, where the
    anchor has times; at random. :meth:`~Source.with_split` and :meth:`~Source.with_encoders` change what is chosen.

    The edges of the graph have times, by which ``NeighbourSampler(graph, …, time="time")`` hides what came later than a
    question: without them, a model would see it.

    Args:
        database: A :class:`~mmgraph.interop.Database`, a folder of RelBench, a file of SQLite, or a database, dataset
            or task of RelBench.
        anchor: The table that ``target`` is about; by default the only one.
        target: The column of the anchor with the answers.
        task: A :class:`~mmgraph.interop.TaskTable`, a task of RelBench, or the name of one in the folder.
        columns: Table → column → what it holds, in place of what is seen in it: a kind (``"text"``), the settings of a
            :class:`~mmgraph.assembly.config.ColumnConfig`, or ``None`` to leave it out.
        hidden: (table, column) that must not be seen, besides the target and what the task names.
        times: Table → the column that says when a row came to be, for a file of SQLite, which does not know.
        asked: The node type of a task's questions.
        limits: How much may be wrong, as in ``[limits]``; a key that leads nowhere is.

    Raises:
        DataError: A table, a column or a file is not there.
        ConfigError: Both a target and a task, or neither an anchor nor a task, where there are several tables.

    Example:
        >>> clubs = DatabaseTable({"id": [7, 8], "motto": ["Think before you move.", "All together now!"]}, key="id")
        >>> people = DatabaseTable({"id": [1, 2], "club": [8, 7], "age": [31, 44]}, key="id", foreign={"club": "clubs"})
        >>> source = database_source(Database({"clubs": clubs, "people": people}), anchor="people")
        >>> source.config.modality_nodes
        {'clubs_motto': ('clubs', ('motto',)), 'people_table': ('people', ('age',))}
        >>> [edge.types for edge in source.config.edges]
        [(('people', 'club', 'clubs'), ('clubs', '^club', 'people'))]
    """
    found, question = _opened(database, times), _task(database, task)
    if question is not None and (target is not None or anchor is not None):
        raise ConfigError("A task says what is asked of which table, so anchor and target must be None")
    if question is not None:
        anchor = asked
    elif anchor is None and len(found.tables) == 1:
        anchor = next(iter(found.tables))
    if anchor is None or (question is None and anchor not in found.tables):
        raise ConfigError(f"anchor must be one of the tables {list(found.tables)}, got {anchor!r}")
    unseen = {*hidden, *(question.hidden if question is not None else ())}
    if target is not None:
        unseen.add((anchor, target))
    tables = {name: one.rows for name, one in found.tables.items()}
    nodes = {name: _node(name, one, unseen, (columns or {}).get(name, {})) for name, one in found.tables.items()}
    edges = [_edge(name, column, other) for name, one in found.tables.items() for column, other in one.foreign.items()]
    kinds = {name: one.time for name, one in found.tables.items() if one.time is not None}
    targets: dict[str, Any] = {}
    if question is not None:
        if asked in tables or question.table not in tables:
            raise ConfigError(f"A task must be about one of the tables {list(tables)}, and asked a new name: {asked!r}")
        tables[asked], nodes[asked] = _numbered(question), {"table": asked, "key": ROW}
        pairs = {"table": asked, "source": question.entity, "target": ROW}
        edges.append({"type": (question.table, ASKED, asked), **pairs})
        targets[question.target] = {"column": question.target, "kind": question.kind}
        kinds |= {asked: question.time} if question.time is not None else {}
        split: dict[str, Any] | None = {"by": "column", "column": PART}
    else:
        split = None
        if target is not None:
            targets[target] = {"column": target}
            tables[anchor], split = _split(found, anchor)
    config = GraphConfig(
        anchor=anchor, nodes=nodes, edges=edges, targets=targets, split=split, limits=dict(limits or {})
    )
    return DatabaseSource(config, tables, times=kinds)


def _younger(index: Tensor, source: Tensor, target: Tensor) -> Tensor:
    return torch.maximum(source[index[0]], target[index[1]])


def _times(built: Built, source: DatabaseSource, name: str) -> Times:
    """The times of the nodes of a type, which may be fewer than the rows of its table."""
    table: pa.Table = source.tables[source.config.nodes[name].table]
    question = any(edge.type[1:] == (ASKED, name) for edge in source.config.edges)
    times = read_times(table.column(source.times[name]), f"{source.times[name]!r} of {name!r}", early=question)
    key = source.config.nodes[name].key
    if key is None:
        rows = np.array([int(one) for one in built.keys[name]], dtype=np.int64)
    else:
        places: dict[str, int] = {}
        for row, cell in enumerate(table.column(key).to_pylist()):
            if filled(cell) is not None:
                places.setdefault(key_of(cell), row)  # the first of those that share a key is the node
        rows = np.array([places[one] for one in built.keys[name]], dtype=np.int64)
    return Times(times.values[rows], times.moments)


def _opened(database: Any, times: Mapping[str, str] | None) -> Database:
    if isinstance(database, str | Path):
        path = Path(database)
        found = read_relbench(path) if path.is_dir() else read_sqlite(path)
    else:
        found = database if isinstance(database, Database) else from_relbench(database)
    for name, column in (times or {}).items():
        if name not in found.tables:
            raise DataError(f"times must be of tables, {list(found.tables)}, got {name!r}")
        found = replace(found, tables={**found.tables, name: replace(found.tables[name], time=column)})
    return found


def _task(database: Any, task: Any) -> TaskTable | None:
    if isinstance(task, str):
        if not isinstance(database, str | Path) or not Path(database).is_dir():
            raise ConfigError(f"A task is named in a folder of RelBench; got {task!r} for a {type(database).__name__}")
        return read_task(database, task)
    return task if task is None or isinstance(task, TaskTable) else from_relbench_task(task)


def _numbered(task: TaskTable) -> pa.Table:
    import pyarrow as pa

    rows = task.rows
    if taken := {ROW, PART} & {task.entity, task.target, task.time}:
        raise DataError(f"A task must not have a column {taken.pop()!r}; rename it")
    if task.time is not None:
        unknown = np.flatnonzero(read_times(rows.column(task.time), f"{task.time!r} of the task").values == NEVER)
        if len(unknown):  # it would see all that ever was
            raise DataError(f"Each question must have a time in {task.time!r}, got none in row {unknown[0]}")
    return rows.append_column(ROW, pa.array(np.arange(rows.num_rows)))


def _split(database: Database, anchor: str) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of the anchor, and how they are split: by the times of the database, its own, or at random."""
    import pyarrow as pa

    table = database.tables[anchor]
    if table.time is None:
        return table.rows, {"by": "random"}
    if database.val_time is None or database.test_time is None or PART in table.rows.column_names:
        return table.rows, {"by": "time", "column": table.time}
    times = read_times(table.rows.column(table.time), f"{table.time!r} of {anchor!r}")
    limits = read_times([database.val_time, database.test_time], "val_time and test_time", early=True)
    if not times.moments:
        return table.rows, {"by": "time", "column": table.time}
    place = np.searchsorted(limits.values, times.values)
    parts = [
        None if time == NEVER else ("train", "val", "test")[one] for time, one in zip(times.values, place, strict=True)
    ]
    return table.rows.append_column(PART, pa.array(parts, pa.string())), {"by": "column", "column": PART}


def _edge(name: str, column: str, other: str) -> dict[str, Any]:
    return {"type": (name, column, other), "column": column, "inverse": f"{INVERSE}{column}"}


def _node(name: str, table: DatabaseTable, hidden: set[tuple[str, str]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The declaration of a node type: its columns by what they hold, but for keys and what is hidden."""
    if unknown := [column for column in given if column not in table.rows.column_names]:
        raise DataError(f"columns of {name!r} must be among {table.rows.column_names}, got {unknown[0]!r}")
    columns: dict[str, Any] = {}
    for column in table.rows.column_names:
        if (name, column) in hidden or (column in (table.key, *table.foreign) and column not in given):
            continue
        found = given[column] if column in given else column_kind(table.rows.column(column))
        if found is None:
            continue
        one = {"modality": found} if isinstance(found, str) else dict(found)
        if one.get("modality") != "keep":
            one.setdefault("node", f"{name}_{'table' if one.get('modality') in TABULAR else column}")
        columns[column] = one
    return {"table": name, "key": table.key, "columns": columns}


def column_kind(column: pa.ChunkedArray) -> Kind | None:
    """What a column holds, by its type and its first cells; ``None`` if nothing that is known.

    Strings are dates if all are of ISO 8601, categories if they come back (at most 100, each twice or more on
    average), and texts otherwise.

    Example:
        >>> import pyarrow as pa
        >>> kinds = [[1.5, None], ["a", "b", "a", "b"], ["2024-02-29"], ["A dog runs.", "A cat."], [[0.5, 1.0]], [None]]
        >>> [column_kind(pa.chunked_array([one])) for one in kinds]
        ['numeric', 'category', 'datetime', 'text', 'series', None]
    """
    import pyarrow as pa

    kind, types = column.type, pa.types
    if types.is_dictionary(kind) or types.is_boolean(kind):
        return "category"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "datetime"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "numeric" if column.null_count < len(column) else None
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        if types.is_integer(inner) or types.is_floating(inner):
            return "series"
        return "symbol" if types.is_string(inner) or types.is_large_string(inner) else None
    if not types.is_string(kind) and not types.is_large_string(kind):
        return None
    cells = [cell for cell in column.slice(0, _LOOKED_AT).to_pylist() if filled(cell) is not None]
    if not cells:
        return None
    if _are_dates(cells):
        return "datetime"
    values = len(set(cells))
    return "category" if values <= _MOST and 2 * values <= len(cells) else "text"


def _are_dates(cells: Sequence[str]) -> bool:
    if any("-" not in cell for cell in cells):  # Python takes 20240229 for a date; in data it is a number
        return False
    try:
        read_times(cells, "cells")
    except DataError:
        return False
    return True
