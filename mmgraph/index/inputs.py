"""What an index is given, checked and copied."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mmgraph.errors import ConfigError, DataError


def as_floats(values: Any, what: str) -> np.ndarray:
    """Copies real numbers, from an array, a tensor or lists, to contiguous float32 of the same shape.

    Raises:
        DataError: The values are not an array of real numbers.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what} must be an array of real numbers, but {error}; stack equal rows") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what} must hold real numbers, got dtype {array.dtype}; convert them to float32")
    with np.errstate(over="ignore"):  # becomes infinite, which `check_finite` reports
        return np.array(array, dtype=np.float32, order="C")


def check_finite(rows: np.ndarray, what: str) -> None:
    """Checks float32 ``[rows, channels]``.

    Raises:
        DataError: A number is NaN or infinite; the message names the first row that holds one.
    """
    finite = np.isfinite(rows)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        value = rows[row][~finite[row]][0]
        raise DataError(f"{what} must be finite in float32: row {row} holds {value}; leave it out or mend its encoder")


def as_vectors(values: Any) -> np.ndarray:
    """Copies vectors ``[items, channels]`` to read-only float32.

    Raises:
        DataError: There is no channel, or a number is not finite.
    """
    vectors = as_floats(values, "Vectors")
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise DataError(
            f"Vectors must have shape [items, channels], channels at least 1, got {list(vectors.shape)}; "
            "give one row an item, np.empty((0, channels)) for none"
        )
    check_finite(vectors, "Vectors")
    vectors.flags.writeable = False
    return vectors


def as_ids(ids: Iterable[str], items: int, what: str = "vectors") -> tuple[str, ...]:
    """Copies ids, one an item.

    Raises:
        DataError: There are more or fewer ids than items, one is no Unicode text, or one stands twice.
    """
    found = tuple(ids)
    if len(found) != items:
        raise DataError(f"Ids must be as many as {what}: got {len(found)} ids for {items} {what}; pair them")
    first: dict[str, int] = {}
    for position, name in enumerate(found):
        if not isinstance(name, str):
            raise DataError(f"Ids must be strings, got {name!r} at position {position}; write str(id)")
        if any("\ud800" <= sign <= "\udfff" for sign in name):
            raise DataError(f"Ids must be Unicode text, got {name!r} at position {position}; decode it as UTF-8")
        if first.setdefault(name, position) != position:
            raise DataError(
                f"Ids must be unique: {name!r} stands at positions {first[name]} and {position}; rename one"
            )
    return found


def as_metadata(
    metadata: Mapping[str, Sequence[Any]] | None, items: int, what: str = "vectors"
) -> dict[str, list[Any]]:
    """Copies columns of JSON values, one value an item.

    Raises:
        DataError: A column has another length, or holds what JSON can't.
    """
    columns = {}
    for name, values in (metadata or {}).items():
        column = list(values)
        if len(column) != items:
            raise DataError(
                f"Metadata column {name!r} must hold one value each: got {len(column)} for {items} {what}; "
                "use None where there is none"
            )
        try:
            text = json.dumps(column, allow_nan=False, ensure_ascii=False).encode()
            columns[str(name)] = json.loads(text)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"Metadata column {name!r} must hold JSON values, but {error}; "
                "convert arrays with .tolist() and NaN to None"
            ) from None
    return columns


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Checks that an option is one of its choices.

    Raises:
        ConfigError: It is not.
    """
    if value not in choices:
        raise ConfigError(f"Option {name!r} must be one of {list(choices)}, got {value!r}; choose one of them")


def check_count(name: str, value: object, *, least: int = 1, most: int | None = None) -> None:
    """Checks that an option is a whole number in its range.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(value, (int, np.integer)) or value < least or (most is not None and value > most):
        span = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"Option {name!r} must be a whole number {span}, got {value!r}; give such a number")
