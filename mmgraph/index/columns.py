"""Metadata columns, compared by value."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmgraph.errors import ConfigError


class Columns:
    """Finds the rows of metadata that hold wanted values.

    The values of a column are numbered when it is first asked for: then a search compares numbers.

    Args:
        columns: ``{column: values}``, one JSON value a row; kept, not copied.
        rows: How many rows there are.

    Example:
        >>> Columns({"year": [1, 2, 2]}, 3).allowed({"year": 2}, [2]).tolist()
        [1]
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._numbered: dict[str, tuple[dict[Any, int], np.ndarray] | None] = {}

    def allowed(self, where: Mapping[str, Any] | None, left_out: Sequence[int]) -> np.ndarray | None:
        """Returns the rows that a filter allows, ascending int64 ``[allowed]``; None where it allows all.

        Raises:
            ConfigError: There is no such column.
        """
        return allowed(self._rows, where, left_out, self.matches)

    def matches(self, column: str, value: Any) -> np.ndarray:
        """Says which rows hold a value, or one of a set, list or tuple of values; ``[rows]``.

        Raises:
            ConfigError: There is no such column.
        """
        check_column(column, self._columns)
        wanted = value if isinstance(value, (set, frozenset, list, tuple)) else (value,)
        numbered = self._number(column)
        try:
            if numbered is None:
                raise TypeError
            numbers, rows = numbered
            chosen = np.zeros(len(numbers), dtype=bool)
            chosen[[numbers[one] for one in wanted if one in numbers]] = True
            return chosen[rows]
        except TypeError:  # lists and dicts can't be hashed: compare one by one
            return np.array([one in list(wanted) for one in self._columns[column]], dtype=bool)

    def _number(self, column: str) -> tuple[dict[Any, int], np.ndarray] | None:
        if column not in self._numbered:
            numbers: dict[Any, int] = {}
            try:
                rows = [numbers.setdefault(one, len(numbers)) for one in self._columns[column]]
                self._numbered[column] = (numbers, np.array(rows, dtype=np.int64))
            except TypeError:
                self._numbered[column] = None
        return self._numbered[column]


def allowed(
    rows: int,
    where: Mapping[str, Any] | None,
    left_out: Sequence[int],
    matches: Callable[[str, Any], np.ndarray],
) -> np.ndarray | None:
    """Returns the rows that match in all columns and are not left out; None where nothing was asked."""
    if not where and not left_out:
        return None
    keep = np.ones(rows, dtype=bool)
    keep[left_out] = False
    for column, value in (where or {}).items():
        keep &= matches(column, value)
    return np.flatnonzero(keep)


def check_column(column: str, columns: Mapping[str, Any] | Sequence[str]) -> None:
    """Checks that a filter names a column that is there.

    Raises:
        ConfigError: It does not.
    """
    if column not in columns:
        raise ConfigError(
            f"Option 'where' must name metadata columns {list(columns)}, got {column!r}; "
            "give the column to the index when it is built"
        )
