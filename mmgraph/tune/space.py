"""What may be tried: a range of a number, or some values, for fields of a recipe's ``Config`` by their dotted names."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from mmgraph.errors import ConfigError

JUDGES = ("runs", "fit.seed", "fit.monitor")  # what a score is made by; a better one by other seeds is no better model

Value: TypeAlias = "bool | int | float | str | None"


@dataclass(frozen=True)
class Range:
    """A number between two others, both of them included.

    Args:
        low: The least.
        high: The most.
        log: Whether it is drawn evenly by its logarithm.

    Raises:
        ConfigError: The least is not below the most, or not above 0 where logarithms are taken.

    Example:
        >>> Range(0.1, 0.01)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: A range must go from a number to a larger one, got 0.1..0.01
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not -float("inf") < self.low < self.high < float("inf"):
            raise ConfigError(f"A range must go from a number to a larger one, got {self.low}..{self.high}")
        if self.log and self.low <= 0:
            raise ConfigError(f"A range on a log scale must begin above 0, got {self.low}..{self.high}")

    @classmethod
    def parse(cls, text: str) -> Range:
        """Reads ``LOW..HIGH`` or ``LOW..HIGH:log``.

        Raises:
            ConfigError: The text is something else.

        Example:
            >>> Range.parse("1e-4..1e-1:log")
            Range(low=0.0001, high=0.1, log=True)
        """
        ends, _, scale = text.partition(":")
        low, dots, high = ends.partition("..")
        try:
            if not dots or scale not in ("", "log"):
                raise ValueError
            numbers = [int(end) if end.strip().lstrip("+-").isdigit() else float(end) for end in (low, high)]
        except ValueError:
            raise ConfigError(
                f"A range must read LOW..HIGH or LOW..HIGH:log, e.g. 1e-4..1e-1:log, got {text!r}"
            ) from None
        return cls(numbers[0], numbers[1], log=bool(scale))


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Args:
        values: Numbers, words, truth values or ``None``.

    Raises:
        ConfigError: There is none, one is given twice, or one is something else.

    Example:
        >>> Choice([16, 32]).values
        (16, 32)
    """

    values: Sequence[Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ConfigError("A choice must have at least 1 value, got none")
        for place, value in enumerate(self.values):
            if not isinstance(value, (bool, int, float, str, type(None))):
                raise ConfigError(f"A choice must be of numbers, words, truth values or None, got {value!r}")
            if any(value == other and type(value) is type(other) for other in self.values[:place]):
                raise ConfigError(f"A choice must have each value once, got {value!r} twice")


Space: TypeAlias = Mapping[str, "Range | Choice"]


def checked(config: Any, space: Space) -> dict[str, Range | Choice]:
    """The space with values of the fields' own types, each of which was tried on the settings.

    Args:
        config: The settings that are changed.
        space: Dotted name of a field → what is tried for it.

    Raises:
        ConfigError: No field, one that there is not or that may not be tuned, or values that it can't have.

    Example:
        >>> from mmgraph.train import FitConfig
        >>> checked(FitConfig(), {"epochs": Range(5.0, 50.0)})
        {'epochs': Range(low=5, high=50, log=False)}
    """
    if not space:
        raise ConfigError("There must be at least 1 field to tune, got none; name it by a Range or a Choice")
    found: dict[str, Range | Choice] = {}
    for name, what in space.items():
        if name in JUDGES:
            raise ConfigError(
                f"{name} can't be tuned: it says how a score is made; tune what the model is or learns by"
            )
        wanted = field_type(config, name)
        ends: Sequence[Value]
        if isinstance(what, Choice):
            ends = [_valid(name, wanted, value) for value in what.values]
            found[name] = Choice(ends)
        else:
            found[name] = numbers = _numbers(name, wanted, what)
            ends = (numbers.low, numbers.high)
        for value in ends:
            changed(config, {name: value})
    return found


def parse_choice(config: Any, name: str, text: str) -> Choice:
    """Reads ``VALUE,VALUE,…`` for a field, by its type; ``none`` is ``None`` where the field may be that.

    Raises:
        ConfigError: There is no such field, or a value that it can't have.

    Example:
        >>> from mmgraph.train import FitConfig
        >>> parse_choice(FitConfig(), "batch_size", "none,32")
        Choice(values=(None, 32))
    """
    wanted = field_type(config, name)
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    values: list[Value] = []
    for word in words:
        if word.lower() == "none" and type(None) in _options(wanted):
            values.append(None)
            continue
        try:
            values.append(TypeAdapter(wanted).validate_strings(word, strict=False))
        except ValidationError as error:
            raise _wrong(name, wanted, word, error) from None
    return Choice(values)


def changed(config: Any, values: Mapping[str, Value]) -> Any:
    """The settings with some fields changed, by dotted names.

    Raises:
        ConfigError: The settings refuse a value, or the values together.

    Example:
        >>> from mmgraph.train import FitConfig
        >>> changed(FitConfig(), {"epochs": 5}).epochs
        5
    """
    own: dict[str, Any] = {}
    nested: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if rest:
            nested.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    return replace(config, **own, **{head: changed(getattr(config, head), inner) for head, inner in nested.items()})


def field_type(config: Any, name: str) -> Any:
    """The type of a field, by its dotted name.

    Raises:
        ConfigError: There is no such field, or it holds fields itself.
    """
    head, _, rest = name.partition(".")
    if not is_dataclass(config) or head not in {one.name for one in fields(config)}:
        raise ConfigError(f"A field to tune must be one of {names(config)}, got {name!r}")
    value = getattr(config, head)
    if rest:
        try:
            return field_type(value, rest)
        except ConfigError:
            raise ConfigError(f"A field to tune must be one of {names(config)}, got {name!r}") from None
    if is_dataclass(value):
        raise ConfigError(f"A field to tune must be one of {names(config)}, got {name!r}, which holds several")
    return get_type_hints(type(config))[head]


def names(config: Any, prefix: str = "") -> list[str]:
    """The dotted names of all fields."""
    if not is_dataclass(config):
        return []
    found: list[str] = []
    for one in fields(config):
        value = getattr(config, one.name)
        found += names(value, f"{prefix}{one.name}.") if is_dataclass(value) else [f"{prefix}{one.name}"]
    return found


def _options(wanted: Any) -> tuple[Any, ...]:
    """The types that a field may have."""
    return get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)


def _numbers(name: str, wanted: Any, what: Range) -> Range:
    options = _options(wanted)
    if float in options:
        return what
    if int not in options:
        raise ConfigError(
            f"A range needs a field of numbers, but {name} is {_name(wanted)}; give a choice of its values"
        )
    if what.low != int(what.low) or what.high != int(what.high):
        raise ConfigError(f"{name} takes whole numbers: its range must go between two, got {what.low}..{what.high}")
    return Range(int(what.low), int(what.high), log=what.log)


def _valid(name: str, wanted: Any, value: Value) -> Value:
    if isinstance(value, bool) and bool not in _options(wanted):
        raise ConfigError(f"{name} must be {_name(wanted)}, got {value!r}")
    try:
        found: Value = TypeAdapter(wanted).validate_python(value)
    except ValidationError as error:
        raise _wrong(name, wanted, value, error) from None
    return found


def _wrong(name: str, wanted: Any, value: Value, error: ValidationError) -> ConfigError:
    return ConfigError(f"{name} must be {_name(wanted)}, got {value!r}: {error.errors()[0]['msg']}")


def _name(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"one of {list(get_args(wanted))}"
    return wanted.__name__ if isinstance(wanted, type) else str(wanted)
