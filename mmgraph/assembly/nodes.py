"""The nodes of a table: their keys, which rows they are, and the columns that are not payloads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmgraph.assembly.cells import Cell, key_of
from mmgraph.assembly.config import GraphConfig
from mmgraph.assembly.formats import Complain, Table
from mmgraph.assembly.rejected import Rejected
from mmgraph.assembly.source import Source
from mmgraph.assembly.tables import open_table
from mmgraph.errors import DataError

_WHOLE = re.compile(r"-?\d+\.0+")


@dataclass(frozen=True)
class Nodes:
    """The nodes of one type.

    Args:
        keys: Key of each node.
        columns: Column → the cell of each node, of the columns that the structure of the graph needs.
        table: Where they come from; ``None`` for nodes that are values of a column.
        rows: Row of each node in its table, ``[nodes]``.
    """

    keys: list[str]
    columns: Mapping[str, list[Cell]] = field(default_factory=dict)
    table: Table | None = None
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    place: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", {key: row for row, key in enumerate(self.keys)})

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, key: str) -> int | None:
        """The node of a key, if there is one; a table of numbers with gaps writes the key 7 as 7.0."""
        found = self.place.get(key)
        if found is None and _WHOLE.fullmatch(key):
            return self.place.get(key.partition(".")[0])
        return found

    def cells(self, columns: Sequence[str], complain: Complain) -> Iterator[tuple[int, tuple[Cell, ...]]]:
        """Reads columns of the table again: (node, its cells), node by node.

        Raises:
            DataError: The table has fewer rows than before.
        """
        assert self.table is not None
        node, rows = 0, self.rows.tolist()
        for first, cells in self.table.blocks(columns, complain):
            values = list(zip(*(cells[column] for column in columns), strict=True))
            while node < len(rows) and rows[node] < first + len(values):
                yield node, values[rows[node] - first]
                node += 1
        if node < len(rows):
            raise DataError(
                f"Table {self.table.name!r} must not change while it is read, but row {rows[node]} is gone; build again"
            )


def read_nodes(source: Source, name: str, rejected: Rejected) -> Nodes:
    """Reads the nodes of a type off its table; rows without a key, or with one that is taken, are set aside.

    Raises:
        DataError: There is no such table or column.
    """
    config = source.config.nodes[name]
    table = open_table(source, config.table)
    if missing := [column for column in config.columns if column not in table.columns]:
        raise DataError(f"Table {config.table!r} must have the column {missing[0]!r}, got {list(table.columns)}")
    wanted = structure_columns(source.config, name)
    read = [*dict.fromkeys([*([config.key] if config.key else []), *wanted])] or list(table.columns[:1])
    broken: set[int] = set()

    def complain(row: int, reason: str) -> None:
        broken.add(row)
        rejected.add(config.table, row, "", None, reason)

    keys: list[str] = []
    rows: list[int] = []
    columns: dict[str, list[Cell]] = {column: [] for column in wanted}
    taken: dict[str, int] = {}
    for first, cells in table.blocks(read, complain):
        count = len(cells[read[0]])
        rejected.count(config.table, "", count)
        for offset in range(count):
            row = first + offset
            if row in broken:
                continue
            key = _key(cells[config.key][offset] if config.key else None, config.key, row, taken)
            if isinstance(key, DataError):
                rejected.add(config.table, row, "", None, str(key))
                continue
            taken[key] = row
            keys.append(key)
            rows.append(row)
            for column in wanted:
                columns[column].append(cells[column][offset])
    if not keys:
        raise DataError(f"Table {config.table!r} must have at least one row that can be used, got none")
    return Nodes(keys, columns, table, np.array(rows, dtype=np.int64))


def _key(cell: Cell, column: str | None, row: int, taken: Mapping[str, int]) -> str | DataError:
    if column is None:
        return str(row)
    if cell is None:
        return DataError(f"the key, column {column!r}, must not be empty")
    try:
        key = key_of(cell)
    except DataError as error:
        return error
    if key in taken:
        return DataError(f"a key must be unique, got {key!r} in rows {taken[key]} and {row}")
    return key


def structure_columns(config: GraphConfig, name: str) -> list[str]:
    """The columns of a node type that edges, targets, splits and searches need, read into memory once."""
    wanted: dict[str, None] = {
        column: None for column, one in config.nodes[name].columns.items() if one.modality == "keep"
    }
    for edge in config.edges:
        if edge.type[0] == name:
            wanted.update(dict.fromkeys(column for column in (edge.column, edge.order, edge.by) if column))
    for target in config.targets.values():
        if (target.node or config.anchor) == name:
            wanted[target.column] = None
    if config.split is not None and config.split.by != "stratified" and config.split.column and name == config.anchor:
        wanted[config.split.column] = None
    return list(wanted)
