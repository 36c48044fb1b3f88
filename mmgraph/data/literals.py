"""Literals as a table: an entity a row, a property a column."""

from __future__ import annotations

import calendar
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgraph.data.triples import LITERAL_COLUMNS
from mmgraph.data.units import convert, unit_of
from mmgraph.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS = ("integer", "int", "long", "short", "byte", "positiveInteger", "nonNegativeInteger", "negativeInteger")
_UNSIGNED = ("nonPositiveInteger", "unsignedLong", "unsignedInt", "unsignedShort", "unsignedByte")
_KINDS = dict.fromkeys(("decimal", "float", "double", *_INTEGERS, *_UNSIGNED), "number")
_KINDS |= dict.fromkeys(("date", "dateTime", "dateTimeStamp", "gYear", "gYearMonth"), "date") | {"boolean": "boolean"}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_ZONE = r"(?:Z|([+-])(\d\d):(\d\d))?"
_DATE = re.compile(rf"(-?\d{{4,}})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d(?:\.\d+)?))?)?)?{_ZONE}", re.ASCII)
_DATATYPES = {  # the first that a value is of: a truth value is an int, a time a date
    bool: "xsd:boolean",
    int: "xsd:integer",
    float: "xsd:double",
    Decimal: "xsd:decimal",
    datetime: "xsd:dateTime",
    date: "xsd:date",
    str: None,
}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS = {leap: (0, *accumulate(days + (leap and days == 28) for days in _MONTHS)) for leap in (False, True)}


def tabulate(
    literals: pa.Table | None,
    *,
    units: Mapping[str, str] | None = None,
    entities: Sequence[str] | None = None,
    rejected: float = 0.05,
) -> pa.Table:
    """Makes a table of entities of the literals of triples.

    A property is of the kind that most of its datatypes have; without any, it is of numbers or dates if all its values
    look so, else text. Several values of one entity become their mean (numbers, dates), one list (text: then all cells
    of the column are lists), or nothing where they contradict each other (booleans).

    =========== ======================================= =================================================
    kind        datatypes                               column
    =========== ======================================= =================================================
    ``number``  ``xsd:integer``, ``decimal``, …;        float, in one unit
                any with a unit
    ``date``    ``xsd:date``, ``dateTime``, ``gYear``,  float, years: 1 July 2023 is 2023 + 181/365;
                ``gYearMonth``                          a bare year is its beginning
    ``boolean`` ``xsd:boolean``                         boolean
    ``text``    all others                              strings, or lists of strings
    =========== ======================================= =================================================

    The metadata of a column's field say its ``kind``, ``unit``, for how many entities there were ``several`` values,
    and how many values were ``set_aside``.

    Args:
        literals: Of :class:`Triples`; ``None`` gives a table without properties.
        units: Property → the unit that its column shall have; by default the commonest of its units.
        entities: The rows, in this order; by default those that the literals speak of, by first appearance.
        rejected: Share of a property's values that may be set aside because they are not of its kind.

    Returns:
        A table with the column ``entity`` and one for each property, by first appearance; null where nothing is known.

    Raises:
        DataError: Units that can't be joined (the message names property, units and entities), more than ``rejected``
            of a property's values are not of its kind, or a property is called ``entity``.
        ConfigError: ``units`` names a property that is not there or has no numbers.

    Example:
        >>> from mmgraph.data import Triples
        >>> height = {"property": ["height"] * 2, "value": ["1.8", "160"], "unit": ["m", "cm"]}
        >>> triples = Triples([], [], [], {"entity": ["ann", "bob"], **height})
        >>> tabulate(triples.literals, units={"height": "cm"}).to_pylist()
        [{'entity': 'ann', 'height': 180.0}, {'entity': 'bob', 'height': 160.0}]
    """
    import pyarrow as pa

    groups = _properties([] if literals is None else literals.to_pylist())
    for name in units or {}:
        if name not in groups or groups[name].kind != "number":
            raise ConfigError(
                f"units must be of properties with numbers, {[one for one in groups if groups[one].kind == 'number']}, "
                f"got {name!r}"
            )
    if "entity" in groups:
        raise DataError("A property must not be called 'entity', as the first column is; rename it")
    named = literals.column("entity").to_pylist() if entities is None and literals is not None else entities or ()
    rows = {entity: row for row, entity in enumerate(dict.fromkeys(named))}
    fields, columns = [pa.field("entity", pa.string())], [pa.array(list(rows), pa.string())]
    for name, group in groups.items():
        values, kind, said = group.column(rows, (units or {}).get(name), rejected)
        fields.append(pa.field(name, kind, metadata=said))
        columns.append(pa.array(values, kind))
    return pa.table(columns, schema=pa.schema(fields))


def untabulate(table: pa.Table, *, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Makes literals of a table of entities, so that :func:`tabulate` can read its numbers with units and its dates.

    A cell is a literal, each item of a list is one, and what is empty is none. Where most cells of a column of strings
    are numbers with a known unit (``1.71 m``), those are parted in value and unit.

    Args:
        table: A row an entity.
        key: The column of their names.
        columns: The properties; by default all other columns.

    Returns:
        Literals, as those of :class:`Triples`.

    Raises:
        DataError: A column is not there, an entity has no name, or a cell is no text, number, date or truth value.

    Example:
        >>> import pyarrow as pa
        >>> people = pa.table({"id": ["ann", "bob"], "height": ["1.71 m", "183 cm"], "born": ["1984-07-02", "1990"]})
        >>> tabulate(untabulate(people, key="id"), units={"height": "cm"}).to_pylist()
        [{'entity': 'ann', 'height': 171.0, 'born': 1984.5}, {'entity': 'bob', 'height': 183.0, 'born': 1990.0}]
    """
    import pyarrow as pa

    wanted = [name for name in table.column_names if name != key] if columns is None else list(columns)
    if missing := [name for name in (key, *wanted) if name not in table.column_names]:
        raise DataError(f"The table must have a column {missing[0]!r}, got {table.column_names}")
    named = table.column(key).to_pylist()
    if None in named or "" in named:
        raise DataError(f"Each row must name its entity in column {key!r}, got none in row {_nameless(named)}")
    rows: list[tuple[str | None, ...]] = []
    for name in wanted:
        cells = table.column(name).to_pylist()
        items = [
            (str(entity), one)
            for entity, cell in zip(named, cells, strict=True)
            for one in (cell if isinstance(cell, list) else [cell])
        ]
        written = [(entity, *_written(one, name, entity)) for entity, one in items if not _empty(one)]
        parted = [_part(value) if datatype is None else None for _, value, datatype in written]
        units = 2 * sum(one is not None for one in parted) > len(parted)
        for (entity, value, datatype), found in zip(written, parted, strict=True):
            number, unit = found if units and found else (value, None)
            rows.append((entity, name, number, datatype, None, unit))
    columns_of = zip(*rows, strict=True) if rows else ((),) * len(LITERAL_COLUMNS)
    return pa.table([pa.array(one, pa.string()) for one in columns_of], names=list(LITERAL_COLUMNS))


def _nameless(names: Sequence[Any]) -> int:
    return next(row for row, name in enumerate(names) if name is None or name == "")


def _empty(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN


def _written(value: Any, column: str, entity: str) -> tuple[str, str | None]:
    """A cell as text, and its datatype."""
    for kind, datatype in _DATATYPES.items():
        if isinstance(value, kind):
            text = value.isoformat() if isinstance(value, date) else str(value)
            return (text.lower() if isinstance(value, bool) else text), datatype
    raise DataError(
        f"Cells must be text, numbers, dates or truth values, got {type(value).__name__} of {entity!r} in column "
        f"{column!r}; leave it out of columns"
    )


def _part(text: str) -> tuple[str, str] | None:
    """Number and unit of a text that is just that."""
    found = _NUMBER.match(text := text.strip())
    unit = text[found.end() :].strip() if found else ""
    return (text[: found.end()], unit) if found and unit_of(unit) else None


@dataclass
class _Property:
    """The literals of one property."""

    name: str
    entities: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    units: list[str | None] = field(default_factory=list)
    kinds: list[str | None] = field(default_factory=list)  # None where no datatype says it

    @property
    def kind(self) -> str:
        """Of the column."""
        if said := Counter(kind for kind in self.kinds if kind is not None):
            return max(sorted(said, reverse=True), key=said.__getitem__)
        for kind, form in (("number", _NUMBER), ("date", _DATE)):
            if all(form.fullmatch(value.strip()) for value in self.values):
                return kind
        return "text"

    def column(self, rows: Mapping[str, int], unit: str | None, most: float) -> tuple[list[Any], Any, dict[str, str]]:
        """Values, Arrow type and what is to be said of them."""
        import pyarrow as pa

        kind = self.kind
        read = [_READ[kind](value) for value in self.values]
        wrong = [number for number, value in enumerate(read) if value is None]
        if len(wrong) > most * len(read):
            raise DataError(
                f"At most {most:.1%} of the values of property {self.name!r} may be no {kind}, got {len(wrong)} of "
                f"{len(read)}, first {self.values[wrong[0]]!r} of {self.entities[wrong[0]]!r}; mend them, or raise "
                "rejected"
            )
        if kind == "number":
            unit, read = self._in_one_unit(read, unit)
        cells: list[list[Any]] = [[] for _ in rows]
        for entity, value in zip(self.entities, read, strict=True):
            if entity in rows and value is not None and (kind != "text" or value not in cells[rows[entity]]):
                cells[rows[entity]].append(value)
        several = sum(len(cell) > 1 for cell in cells)
        said = {"kind": kind, "several": str(several), "set_aside": str(len(wrong))} | ({"unit": unit} if unit else {})
        if kind == "text" and several:
            return [cell or None for cell in cells], pa.list_(pa.string()), said
        arrow = {"number": pa.float64(), "date": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}[kind]
        return [_one(cell) for cell in cells], arrow, said

    def _in_one_unit(self, read: list[Any], unit: str | None) -> tuple[str | None, list[Any]]:
        """The numbers in the unit asked for, or in the commonest."""
        counts = Counter(self.units)
        target = unit if unit is not None else counts.most_common(1)[0][0]
        if set(counts) == {target}:
            return target, read
        forms = {name: None if name is None else unit_of(name) for name in (target, *counts)}
        goal = forms[target]
        values = []
        for value, name in zip(read, self.units, strict=True):
            form = forms[name]
            if name == target or value is None:
                values.append(value)
            elif form is None or goal is None or form.dimension != goal.dimension:
                raise DataError(
                    f"The values of property {self.name!r} must have units that can be joined, got "
                    f"{self._shown(target)} and {self._shown(name)}; convert them, or part the property in two"
                )
            else:
                values.append(float(convert(np.array(value), form, goal)))
        return target, values

    def _shown(self, unit: str | None) -> str:
        """A unit and the first entities whose values have it."""
        having = [entity for entity, one in zip(self.entities, self.units, strict=True) if one == unit]
        called = "no unit" if unit is None else repr(unit)
        return f"{called} (of {', '.join(map(repr, having[:3]))})" if having else f"{called} (asked for)"


def _properties(literals: list[dict[str, Any]]) -> dict[str, _Property]:
    found: dict[str, _Property] = {}
    for row in literals:
        one = found.setdefault(row["property"], _Property(row["property"]))
        one.entities.append(row["entity"])
        one.values.append(row["value"])
        one.units.append(row["unit"])
        one.kinds.append(_kind(row["datatype"], row["language"], row["unit"]))
    return found


def _kind(datatype: str | None, language: str | None, unit: str | None) -> str | None:
    if unit is not None:
        return "number"
    if datatype is None:
        return None if language is None else "text"
    return _KINDS.get(datatype.removeprefix("xsd:"), "text") if datatype.startswith("xsd:") else "text"


def _one(cell: list[Any]) -> Any:
    """The one value of several: their mean, or nothing where truth values contradict each other."""
    if not cell:
        return None
    if isinstance(cell[0], bool):
        return cell[0] if len(set(cell)) == 1 else None
    return cell[0] if len(cell) == 1 else sum(cell) / len(cell)


def _number(value: str) -> float | None:
    text = value.strip()
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def years(value: str) -> float | None:
    """A date of XML Schema as a year and its part that is past; ``None`` if it is no date.

    Example:
        >>> years("2024-07-01"), years("-0044"), years("1999-02-30")
        (2024.4972677595629, -44.0, None)
    """
    found = _DATE.fullmatch(value.strip())
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
    hour, minute, second = int(found[4] or 0), int(found[5] or 0), float(found[6] or 0)
    leap = calendar.isleap(year)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[leap][month] - _DAYS[leap][month - 1]:
        return None
    if minute > 59 or second >= 60 or hour * 3600 + minute * 60 + second > 86400:
        return None
    zone = (int(found[8]) * 60 + int(found[9])) * (-1 if found[7] == "-" else 1) if found[7] else 0
    days = _DAYS[leap][month - 1] + day - 1 + (hour * 60 + minute - zone + second / 60) / 1440
    return year + days / (365 + leap)


_READ: dict[str, Callable[[str], Any]] = {
    "number": _number,
    "date": years,
    "boolean": lambda value: _BOOLEANS.get(value.strip()),
    "text": str,
}
