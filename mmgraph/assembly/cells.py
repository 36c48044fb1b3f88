"""What a cell of a table says: a key, a number, a moment, one payload or several."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mmgraph.assembly.config import LimitConfig
from mmgraph.errors import DataError
from mmgraph.media.files import read_payload
from mmgraph.media.text import decode_text
from mmgraph.schema import Modality

Cell: TypeAlias = Any
"""A string, bytes, a number, a list, a mapping, a date; ``None`` where the cell is empty."""

_FILES = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
MANY = (*_FILES, Modality.TEXT, Modality.SYMBOL)
"""A list of these is several payloads; a list of numbers is one series, or one cloud of points."""

_LARGEST = float(np.finfo(np.float32).max)
_EXACT = 1 << 53  # from here on floats leave whole numbers out


def filled(cell: Cell) -> Cell:
    """``None`` for what is empty: a blank string, NaN, a list of nothing, a mapping to nothing; else the cell.

    Example:
        >>> filled(" "), filled(float("nan")), filled({"bytes": None}), filled([]), filled(0)
        (None, None, None, None, 0)
    """
    if isinstance(cell, str | bytes):
        return cell if cell.strip() else None
    if isinstance(cell, float) and math.isnan(cell):
        return None
    if isinstance(cell, list):
        return cell if any(one is not None for one in cell) else None
    if isinstance(cell, dict):
        return cell if any(one is not None for one in cell.values()) else None
    return cell


def key_of(cell: Cell) -> str:
    """A cell as the key of a node; whole numbers are equal whatever their type.

    Raises:
        DataError: The cell is no key.

    Example:
        >>> key_of("a7"), key_of("7"), key_of(7), key_of(7.0)
        ('a7', '7', '7', '7')
    """
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise DataError(f"a key must be Unicode, got {shown(cell)}") from None
        return cell.strip()
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return str(int(cell))
    if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
        return str(int(cell))
    if isinstance(cell, date):
        return cell.isoformat()
    raise DataError(f"a key must be a string, a whole number or a date, got {shown(cell)}")


def label_of(cell: Cell) -> str:
    """A cell as the name of a class: as a key, or any number, or a truth value.

    Raises:
        DataError: The cell is no name.

    Example:
        >>> label_of(True), label_of(1.0), label_of(1.5), label_of("a")
        ('True', '1', '1.5', 'a')
    """
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float | Decimal) and math.isfinite(cell) and cell != int(cell):
        return str(float(cell))
    try:
        return key_of(cell)
    except DataError as error:
        raise DataError(str(error).replace("a key", "a class", 1)) from None


def keys_of(cell: Cell, separator: str | None) -> list[str]:
    """The keys in a cell: a list's, or those between separators."""
    if isinstance(cell, list):
        return [key_of(one) for one in cell if filled(one) is not None]
    if separator is not None and isinstance(cell, str):
        return [key_of(part) for part in cell.split(separator) if part.strip()]
    return [key_of(cell)]


def number_of(cell: Cell) -> float | None:
    """A cell as a finite number; ``None`` where it says that there is none (NaN).

    Raises:
        DataError: The cell is no number, or an infinite one.

    Example:
        >>> number_of("1.5"), number_of("nan"), number_of(True)
        (1.5, None, 1.0)
    """
    try:
        if isinstance(cell, str) and "_" in cell:
            raise ValueError  # Python takes 1_000 for a thousand; in data it is a name
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"a number is wanted, got {shown(cell)}") from None
    if abs(value) > _LARGEST:
        raise DataError(f"a finite number of at most {_LARGEST:.1e} is wanted, got {value}")
    return None if math.isnan(value) else value


def moment_of(cell: Cell) -> datetime:
    """A cell as a moment: a date or time of Arrow, or ISO 8601; without a zone it is taken for UTC.

    Raises:
        DataError: The cell is no moment.

    Example:
        >>> moment_of("2024-02-29").isoformat()
        '2024-02-29T00:00:00+00:00'
    """
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, str):
        try:
            cell = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise DataError(f"a date is wanted, like 2024-02-29 or 2024-02-29T12:30, got {shown(cell)}") from None
    if not isinstance(cell, datetime):
        raise DataError(f"a date is wanted, got {shown(cell)}")
    return cell if cell.tzinfo else cell.replace(tzinfo=UTC)


def ranks_of(cells: Sequence[Cell]) -> list[float | DataError | None]:
    """The cells of a column as places in one order: numbers, or moments if most cells are none.

    Returns:
        A place for each cell; ``None`` where it is empty, and an error where it is neither.

    Example:
        >>> ranks_of(["2", None, "10"]), ranks_of(["1970-01-01", "1970-01-02"])
        ([2.0, None, 10.0], [0.0, 86400.0])
    """
    numbers = [_rank(cell, number_of) for cell in cells]
    known = [one for one in numbers if one is not None]
    if 2 * sum(isinstance(one, DataError) for one in known) <= len(known):
        return numbers
    return [_rank(cell, lambda cell: moment_of(cell).timestamp()) for cell in cells]


def _rank(cell: Cell, read: Callable[[Cell], float | None]) -> float | DataError | None:
    try:
        return None if cell is None else read(cell)
    except DataError as error:
        return error


def payloads_in(cell: Cell, modality: Modality, separator: str | None) -> Iterator[Cell]:
    """The payloads in a cell, in order; empty ones left out."""
    if modality in MANY and isinstance(cell, list):
        yield from (one for one in cell if filled(one) is not None)
    elif modality in MANY and separator is not None and isinstance(cell, str):
        yield from (part.strip() for part in cell.split(separator) if part.strip())
    else:
        yield cell


def payload_of(cell: Cell, modality: Modality, root: Path | None, limits: LimitConfig) -> Any:
    """One payload, as its encoder takes it: text as a string, files as their bytes, the rest as it stands.

    Raises:
        DataError: The cell is no such payload, its file is missing or too large, or it leads out of the root.
    """
    if modality is Modality.TEXT:
        return decode_text(cell if isinstance(cell, str | bytes) else str(cell), max_chars=limits.characters)
    if modality in _FILES:
        return file_of(cell, modality, root, limits)
    if modality is Modality.SYMBOL:
        return label_of(cell)
    if isinstance(cell, str | bytes):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            raise DataError(f"{modality} must be a list of numbers, or one in JSON, got {shown(cell)}") from None
    return cell


def file_of(cell: Cell, modality: Modality, root: Path | None, limits: LimitConfig) -> bytes:
    """The bytes of the file that a cell names, or holds.

    Raises:
        DataError: The file is missing or too large, or leads out of the root; or the cell names none.
    """
    if isinstance(cell, dict):  # {"bytes": …, "path": …}, as pictures stand in Parquet files of the hub
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        if len(cell) > limits.bytes:
            raise DataError(f"{modality} must have at most {limits.bytes} bytes, got {len(cell)}")
        return cell
    if not isinstance(cell, str):
        raise DataError(f"{modality} must be the path of a file or its bytes, got {shown(cell)}")
    if root is None:
        raise DataError(f"{modality} must be bytes where there is no root to find files in, got {shown(cell)}")
    try:
        return read_payload(root, cell.strip(), max_bytes=limits.bytes)
    except DataError as error:  # the same wherever the root lies
        raise DataError(str(error).replace(f"{root.resolve()}{os.sep}", "")) from None


def shown(cell: Cell) -> str:
    """A cell for a message, cut short."""
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}…"
