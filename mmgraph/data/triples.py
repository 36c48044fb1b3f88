"""Triples: facts of a knowledge graph by name, checked once, when they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgraph.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

LITERAL_COLUMNS = ("entity", "property", "value", "datatype", "language", "unit")
XSD = "http://www.w3.org/2001/XMLSchema#"
_DBPEDIA = "http://dbpedia.org/datatype/"
_LANG_STRING = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"
_NEEDED = 3  # of the columns of literals; the others may be unknown


@dataclass(frozen=True)
class BrokenLine:
    """A line that was set aside when a file was read.

    Args:
        file: The file.
        line: Number of the line, from 1; of the row in a Parquet file.
        text: The line, cut short.
        reason: What must hold, and what was got.
    """

    file: str
    line: int
    text: str
    reason: str


@dataclass(frozen=True, eq=False)
class Triples:
    """Facts ``(head, relation, tail)`` by name, and what is said of entities in numbers and words.

    A fact may be there several times, and a relation may join an entity with itself: see :meth:`unique`.

    Args:
        heads: Name of each fact's first entity, ``[facts]``.
        relations: Name of each fact's relation, ``[facts]``.
        tails: Name of each fact's second entity, ``[facts]``.
        literals: A table (or a mapping of columns) with a row a statement: ``entity``, ``property``, ``value`` (as it
            is written, a string) and, where known, ``datatype``, ``language`` and ``unit``. ``None`` if there are none.
            Each is kept in one form: datatypes of XML Schema are ``"xsd:…"``, ``xsd:string`` (and ``rdf:langString``
            beside a language) is no datatype, and the datatypes of DBpedia that are units are units.
        broken: Lines of the file that were set aside; they don't count when two are compared.

    Raises:
        DataError: The columns differ in length, a name is empty or no string, or the literals are no such table.

    Example:
        >>> triples = Triples(["ann", "bob"], ["knows", "knows"], ["bob", "cid"])
        >>> len(triples), triples.entities, triples.relation_names
        (2, ('ann', 'bob', 'cid'), ('knows',))
        >>> list(triples)[0]
        ('ann', 'knows', 'bob')
    """

    heads: np.ndarray
    relations: np.ndarray
    tails: np.ndarray
    literals: pa.Table | None = None
    broken: tuple[BrokenLine, ...] = ()

    def __post_init__(self) -> None:
        columns = {name: _names(name, getattr(self, name)) for name in ("heads", "relations", "tails")}
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"heads, relations and tails must be one name a fact each, got {sizes} names")
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        object.__setattr__(self, "literals", _literals(self.literals))
        object.__setattr__(self, "broken", tuple(self.broken))

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return zip(self.heads.tolist(), self.relations.tolist(), self.tails.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        """Equal facts in the same order, and equal literals."""
        if not isinstance(other, Triples):
            return NotImplemented
        if (self.literals is None) != (other.literals is None) or len(self) != len(other):
            return False
        same = all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("heads", "relations", "tails")
        )
        return same and (self.literals is None or self.literals.equals(other.literals))

    __hash__ = None  # type: ignore[assignment]

    @property
    def entities(self) -> tuple[str, ...]:
        """Names of the entities by first appearance, a head before its tail; those of literals alone come last."""
        named = np.stack([self.heads, self.tails], axis=1).ravel().tolist()
        if self.literals is not None:
            named += self.literals.column("entity").to_pylist()
        return tuple(dict.fromkeys(named))

    @property
    def relation_names(self) -> tuple[str, ...]:
        """Names of the relations by first appearance."""
        return tuple(dict.fromkeys(self.relations.tolist()))

    def take(self, rows: Sequence[int] | np.ndarray) -> Triples:
        """Some of the facts, in the order given, with all literals.

        Example:
            >>> list(Triples(["a", "b"], ["r", "s"], ["b", "c"]).take([1]))
            [('b', 's', 'c')]
        """
        index = np.asarray(rows)
        index = index if index.dtype == bool else index.astype(np.int64)
        return Triples(self.heads[index], self.relations[index], self.tails[index], self.literals, self.broken)

    def concat(self, *others: Triples) -> Triples:
        """The facts and literals of several, one after the other.

        Example:
            >>> len(Triples(["a"], ["r"], ["b"]).concat(Triples(["b"], ["r"], ["c"])))
            2
        """
        import pyarrow as pa

        parts = (self, *others)
        tables = [part.literals for part in parts if part.literals is not None]
        return Triples(
            np.concatenate([part.heads for part in parts]),
            np.concatenate([part.relations for part in parts]),
            np.concatenate([part.tails for part in parts]),
            pa.concat_tables(tables) if tables else None,
            tuple(line for part in parts for line in part.broken),
        )

    def unique(self) -> tuple[Triples, int]:
        """Each fact once, where it stood first, and how many repetitions were dropped; literals stay as they are.

        Example:
            >>> once, dropped = Triples(["a", "b", "a"], ["r", "r", "r"], ["b", "c", "b"]).unique()
            >>> list(once), dropped
            ([('a', 'r', 'b'), ('b', 'r', 'c')], 1)
        """
        first: dict[tuple[str, str, str], int] = {}
        for row, fact in enumerate(self):
            first.setdefault(fact, row)
        return self.take(np.fromiter(first.values(), np.int64, len(first))), len(self) - len(first)


def _names(column: str, values: Any) -> np.ndarray:
    """A read-only column of names, ``[facts]``; none of them is empty."""
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for row, name in enumerate(listed):
        if not isinstance(name, str) or not name:
            raise DataError(f"{column}[{row}] must be a name (a string that is not empty), got {name!r}")
    names = np.empty(len(listed), dtype=object)  # a list of strings would become an array of fixed width
    names[:] = listed
    names.setflags(write=False)
    return names


def _literals(value: Any) -> pa.Table | None:
    """The table of literals with all its columns, as strings in one form; ``None`` if it has no rows."""
    import pyarrow as pa

    if value is None:
        return None
    if not isinstance(value, pa.Table | Mapping):
        raise DataError(f"literals must be a pyarrow table or a mapping of columns, got {type(value).__name__}")
    try:
        table = value if isinstance(value, pa.Table) else pa.table(dict(value))
        given = table.column_names
        if set(given) - set(LITERAL_COLUMNS) or not set(LITERAL_COLUMNS[:_NEEDED]) <= set(given):
            raise DataError(
                f"literals must have the columns {list(LITERAL_COLUMNS)}, the last 3 where known, got {given}"
            )
        columns = {
            name: table.column(name).cast(pa.string()).to_pylist() if name in given else [None] * len(table)
            for name in LITERAL_COLUMNS
        }
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise DataError(f"literals must be a table of strings, but {error}") from None
    for name in LITERAL_COLUMNS[:_NEEDED]:
        for row, one in enumerate(columns[name]):
            if one is None or (name != "value" and not one):
                raise DataError(f"literals[{name!r}][{row}] must not be empty, got {one!r}")
    described = [_described(*row) for row in zip(*(columns[name] for name in LITERAL_COLUMNS[_NEEDED:]), strict=True)]
    columns |= dict(zip(LITERAL_COLUMNS[_NEEDED:], zip(*described, strict=True), strict=True)) if described else {}
    return pa.table(columns, schema=pa.schema(dict.fromkeys(LITERAL_COLUMNS, pa.string()))) if described else None


def _described(datatype: str | None, language: str | None, unit: str | None) -> tuple[str | None, ...]:
    """Datatype, language and unit of a literal, each in its one form."""
    if datatype and datatype.startswith(XSD):
        datatype = "xsd:" + datatype[len(XSD) :]
    if datatype and datatype.startswith(_DBPEDIA) and not unit:
        unit = datatype[len(_DBPEDIA) :]
        datatype = None
    if datatype == "xsd:string" or (datatype == _LANG_STRING and language):
        datatype = None
    return datatype or None, language or None, unit or None
