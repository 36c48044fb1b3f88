"""Rows of a table to numbers: scaled, counted out and unrolled by what the training rows hold."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.encoders.text import text_bytes
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.schema import Identity, Modality

ColumnKind = Literal["numeric", "category", "datetime"]
Scaling = Literal["standard", "quantile"]
Row = Mapping[str, Any] | Sequence[Any]

_QUANTILES = 1001
_RARE = 1e-7  # of the shares of a normal score, which is so between -5.2 and 5.2
_FAR = 1e6  # standard deviations
_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY = np.datetime64("1970-01-05", "us")


class Columns(Frozen[Row, tuple[Any, ...]]):
    """Rows of a table to vectors, column by column, with what was learnt from the training rows alone.

    | column | becomes |
    |---|---|
    | numeric | its value, scaled, and whether it is unknown (then the value is 0, the mean of the training rows) |
    | category | one channel for each of the most frequent values, one for all others, one for unknown |
    | datetime | the time, scaled, sine and cosine of the part of the year, the week and the day, and whether unknown |

    ``standard`` scaling subtracts the mean and divides by the standard deviation; ``quantile`` scaling gives the
    normal score of the share of the training rows that are below: it survives outliers and long tails (an unknown
    value is then their median). A row must have every column; ``None`` and NaN are unknown. A number that is written
    as a string is refused (``"1,234"`` means two things), and so are infinities. A time is a ``datetime``, a ``date``
    or an ISO 8601 string; without a time zone it is UTC, and parts of the day are those of UTC.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        columns: Name → kind, in the order of the channels.
        scaling: Of numeric columns: ``"standard"`` or ``"quantile"``.
        levels: Values of a category that have a channel, at most.
        least: How often a value must occur in the training rows to have a channel.

    Attributes:
        names: Names of the channels.

    Raises:
        ConfigError: A column or an option that can't be.
        ArtifactError: The state is not one of these columns.

    Example:
        >>> rows = [{"age": 30, "colour": "red"}, {"age": 50, "colour": "blue"}, {"age": None, "colour": "red"}]
        >>> columns = Columns.fit(rows, columns={"age": "numeric", "colour": "category"})
        >>> columns.names
        ('age', 'age unknown', 'colour=red', 'colour=blue', 'colour other', 'colour unknown')
        >>> columns([{"age": 60, "colour": "green"}, {"age": None, "colour": None}])
        tensor([[2., 0., 0., 0., 1., 0.],
                [0., 1., 0., 0., 0., 1.]])
    """

    modality = Modality.TABULAR
    chunk = 65536

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        columns: Mapping[str, ColumnKind],
        scaling: Scaling = "standard",
        levels: int = 32,
        least: int = 1,
    ) -> None:
        _check_options(columns, scaling, levels, least)
        self._kinds = dict(columns)
        self._state = dict(state)
        try:
            fitted = [_COLUMN[kind](name, _part(state, place)) for place, (name, kind) in enumerate(columns.items())]
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"The state must be one of columns {dict(columns)}, but {error!r}; fit it anew"
            ) from None
        self._columns = fitted
        self.names = tuple(chain.from_iterable(column.names() for column in fitted))
        self.shape = (len(self.names),)
        self.identity = Identity(
            name="columns",
            revision=digest_of_state(state),
            options={
                "columns": [[*pair] for pair in columns.items()],
                "scaling": scaling,
                "levels": levels,
                "least": least,
            },
        )

    @classmethod
    def fit(
        cls,
        rows: Iterable[Row],
        *,
        columns: Mapping[str, ColumnKind],
        scaling: Scaling = "standard",
        levels: int = 32,
        least: int = 1,
    ) -> Self:
        """Fits scales and categories on rows: those of the training samples alone.

        Raises:
            DataError: There is no row, or a row has a value that its column can't have.
            ConfigError: A column or an option that can't be.
        """
        _check_options(columns, scaling, levels, least)
        cells: list[tuple[Any, ...]] = []
        for place, row in enumerate(rows):
            try:
                cells.append(_cells(row, columns))
            except DataError as error:
                raise DataError(f"Row {place} can't be fitted on: {error}") from None
        if not cells:
            raise DataError("Columns must be fitted on at least 1 row, got 0")
        state = {}
        for place, (kind, values) in enumerate(zip(columns.values(), zip(*cells, strict=True), strict=True)):
            for key, tensor in _COLUMN[kind].fit(values, scaling, levels, least).items():
                state[f"{place}.{key}"] = tensor
        return cls(state, columns=columns, scaling=scaling, levels=levels, least=least)

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options and of what was fitted with them."""
        return cls(state, **options)

    def state(self) -> dict[str, Tensor]:
        """Scales and categories, under the number of their column."""
        return dict(self._state)

    def content(self, payload: Row) -> bytes:
        """The row's cells as JSON: numbers to the bit, times in microseconds."""
        return json.dumps(_cells(payload, self._kinds), ensure_ascii=False).encode()

    def prepare(self, payload: Row) -> tuple[Any, ...]:
        """The row's cells, checked: numbers, strings, microseconds since 1970, and ``None`` for what is unknown."""
        return _cells(payload, self._kinds)

    def encode(self, prepared: list[tuple[Any, ...]]) -> Tensor:
        """Encodes rows that all differ: ``[rows, channels]``."""
        parts = [
            column.encode(values) for column, values in zip(self._columns, zip(*prepared, strict=True), strict=True)
        ]
        return torch.from_numpy(np.concatenate(parts, axis=1, dtype=np.float32))


class _Column(ABC):
    """One kind of column: which cells it may have, what is fitted, and what becomes of it."""

    def __init__(self, name: str, fitted: Mapping[str, Tensor]) -> None:
        self.name = name

    @staticmethod
    @abstractmethod
    def cell(value: Any) -> float | int | str:
        """What a known value is kept as.

        Raises:
            DataError: The column can't have it.
        """

    @classmethod
    @abstractmethod
    def fit(cls, values: Sequence[Any], scaling: Scaling, levels: int, least: int) -> dict[str, Tensor]:
        """What is learnt from the cells of the training rows."""

    @abstractmethod
    def names(self) -> list[str]:
        """Of its channels."""

    @abstractmethod
    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Cells to ``[rows, channels]``."""


class _Numeric(_Column):
    def __init__(self, name: str, fitted: Mapping[str, Tensor]) -> None:
        super().__init__(name, fitted)
        self.is_standard = "scale" in fitted
        self.fitted = fitted["scale" if self.is_standard else "quantiles"].numpy()

    @staticmethod
    def cell(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise DataError(f"must be a number, got {value!r}; turn it into one, or make the column a category")
        if not -_LARGEST <= value <= _LARGEST:
            raise DataError(f"must be a finite number of at most {_LARGEST:.1e}, got {value!r}")
        return float(value)

    @classmethod
    def fit(cls, values: Sequence[Any], scaling: Scaling, levels: int, least: int) -> dict[str, Tensor]:
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        if scaling == "standard":
            return {"scale": torch.from_numpy(_scale(known))}
        shares = np.linspace(0, 1, min(max(len(known), 2), _QUANTILES))
        known = known if len(known) else np.zeros(1)
        return {
            "quantiles": torch.from_numpy(np.quantile(known, shares, method="inverted_cdf"))
        }  # equal ones stay equal

    def names(self) -> list[str]:
        return [self.name, f"{self.name} unknown"]

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        number = np.array(values, dtype=np.float64)  # None becomes NaN
        unknown = np.isnan(number)
        scaled = (_scaled if self.is_standard else _normal_score)(number, self.fitted)
        return np.stack([np.where(unknown, 0, scaled), unknown], axis=1)


class _Category(_Column):
    def __init__(self, name: str, fitted: Mapping[str, Tensor]) -> None:
        super().__init__(name, fitted)
        self.levels = list(map(str, json.loads(fitted["levels"].numpy().tobytes())))
        self.channel = {level: channel for channel, level in enumerate(self.levels)}

    @staticmethod
    def cell(value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # whole numbers become floats where some are unknown
        if not isinstance(value, str | int):
            raise DataError(f"must be a category, a str or a whole number, got {value!r}")
        text_bytes(text := str(value))
        return text

    @classmethod
    def fit(cls, values: Sequence[Any], scaling: Scaling, levels: int, least: int) -> dict[str, Tensor]:
        counts = Counter(value for value in values if value is not None)
        often = [value for value, count in counts.most_common(levels) if count >= least]
        return {"levels": torch.frombuffer(bytearray(json.dumps(often).encode()), dtype=torch.uint8)}

    def names(self) -> list[str]:
        return [*(f"{self.name}={level}" for level in self.levels), f"{self.name} other", f"{self.name} unknown"]

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        other, unknown = len(self.levels), len(self.levels) + 1
        channel = np.array([unknown if value is None else self.channel.get(value, other) for value in values])
        return np.eye(unknown + 1, dtype=np.float32)[channel]


class _Datetime(_Column):
    def __init__(self, name: str, fitted: Mapping[str, Tensor]) -> None:
        super().__init__(name, fitted)
        self.scale = fitted["scale"].numpy()

    @staticmethod
    def cell(value: Any) -> int:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise DataError(f"must be a time in ISO 8601, such as '2024-01-31T12:00:00Z', got {value!r}") from None
        if not isinstance(value, date):
            raise DataError(f"must be a datetime, a date or a str in ISO 8601, got {value!r}")
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)

    @classmethod
    def fit(cls, values: Sequence[Any], scaling: Scaling, levels: int, least: int) -> dict[str, Tensor]:
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        return {"scale": torch.from_numpy(_scale(known))}

    def names(self) -> list[str]:
        parts = [f"{self.name} {wave} of {part}" for part in ("year", "week", "day") for wave in ("sine", "cosine")]
        return [self.name, *parts, f"{self.name} unknown"]

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        unknown = np.array([value is None for value in values])
        time = np.array([value or 0 for value in values], dtype="datetime64[us]")
        year = time.astype("datetime64[Y]")
        shares = [
            (time - year) / ((year + 1).astype("datetime64[us]") - year),
            (time - _MONDAY) / np.timedelta64(7, "D"),
            (time - _MONDAY) / np.timedelta64(1, "D"),
        ]
        turns = [2 * np.pi * (share % 1) for share in shares]
        waves = [wave(turn) for turn in turns for wave in (np.sin, np.cos)]
        known = np.stack([_scaled(time.astype(np.int64).astype(np.float64), self.scale), *waves], axis=1)
        return np.concatenate([np.where(unknown[:, None], 0, known), unknown[:, None]], axis=1)


_COLUMN: Mapping[str, type[_Column]] = {"numeric": _Numeric, "category": _Category, "datetime": _Datetime}


def _cells(row: Any, columns: Mapping[str, ColumnKind]) -> tuple[Any, ...]:
    """The cells of a row as they are kept: numbers, strings, microseconds since 1970; ``None`` for unknown."""
    if isinstance(row, Mapping):
        if lacking := [name for name in columns if name not in row]:
            raise DataError(f"a row must have the columns {list(columns)}, got none of {lacking}; unknown is None")
        values = [row[name] for name in columns]
    elif isinstance(row, list | tuple):
        if len(row) != len(columns):
            raise DataError(f"a row must have {len(columns)} cells, {list(columns)}, got {len(row)}; unknown is None")
        values = list(row)
    else:
        raise DataError(f"a row must be a mapping, a tuple or a list, got {type(row).__name__}")
    cells = []
    for (name, kind), value in zip(columns.items(), values, strict=True):
        try:
            plain = _plain(value)
            cells.append(None if plain is None else _COLUMN[kind].cell(plain))
        except DataError as error:
            raise DataError(f"column {name!r} {error}") from None
    return tuple(cells)


def _part(state: Mapping[str, Tensor], place: int) -> dict[str, Tensor]:
    """What was fitted of one column."""
    start = f"{place}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


def _plain(value: Any) -> Any:
    """A value as Python has it; ``None`` for NaN and for no time."""
    value = value.as_py() if hasattr(value, "as_py") else value  # of Arrow
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]")
    value = value.item() if isinstance(value, np.generic) else value
    is_nothing = isinstance(value, float | Decimal | date) and value != value
    return None if is_nothing else value


def _scale(known: np.ndarray) -> np.ndarray:
    """Mean and standard deviation, ``[2]``; the deviation of what never changes is 1."""
    if not len(known):
        return np.array([0.0, 1.0])
    if known.min() == known.max():
        return np.array([known[0], 1.0])
    return np.array([known.mean(), max(known.std(), _SMALLEST)])


def _scaled(number: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return ((number - scale[0]) / scale[1]).clip(-_FAR, _FAR)


def _normal_score(number: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The quantile of the normal distribution at the share of numbers below, ``[rows]``."""
    from scipy.special import ndtri

    shares = np.linspace(0, 1, len(quantiles))
    below = np.interp(number, quantiles, shares)
    above = np.interp(-number, -quantiles[::-1], shares)  # equal numbers get the middle of their shares
    return ndtri(((below + 1 - above) / 2).clip(_RARE, 1 - _RARE))


def _check_options(columns: Mapping[str, ColumnKind], scaling: Scaling, levels: int, least: int) -> None:
    if not columns:
        raise ConfigError("Columns needs at least 1 column, such as {'age': 'numeric'}, got none")
    for name, kind in columns.items():
        if kind not in _COLUMN:
            raise ConfigError(f"Column {name!r} must be one of {list(_COLUMN)}, got {kind!r}")
    if scaling not in get_args(Scaling):
        raise ConfigError(f"scaling must be one of {get_args(Scaling)}, got {scaling!r}")
    if min(levels, least) < 1:
        raise ConfigError(f"levels and least must be at least 1, got {levels} and {least}")
