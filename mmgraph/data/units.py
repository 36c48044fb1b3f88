"""Units of length, area, mass, time and temperature: what joins them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Unit:
    """``base = (value + offset) · factor``, in metres, square metres, kilograms, seconds or kelvins."""

    dimension: str
    factor: float
    offset: float = 0.0


_PREFIXES = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "c": 1e-2, "d": 0.1, "h": 100.0, "k": 1e3, "M": 1e6}
_SPOKEN = {"nano": 1e-9, "micro": 1e-6, "milli": 1e-3, "centi": 1e-2, "deci": 0.1, "hecto": 100.0, "kilo": 1e3}
_YEAR = 365.25 * 86400  # Julian
_WORDS = {
    ("length", 1.0): ("metre", "meter"),
    ("length", 0.0254): ("inch", "in"),
    ("length", 0.3048): ("foot", "feet", "ft"),
    ("length", 0.9144): ("yard", "yd"),
    ("length", 1609.344): ("mile", "mi"),
    ("length", 1852.0): ("nauticalmile", "nmi"),
    ("mass", 1e-3): ("gram",),
    ("mass", 0.45359237): ("pound", "lb"),
    ("mass", 0.45359237 / 16): ("ounce", "oz"),
    ("mass", 6.35029318): ("stone",),
    ("mass", 1e3): ("tonne", "t"),
    ("time", 1.0): ("second", "sec"),
    ("time", 60.0): ("minute", "min"),
    ("time", 3600.0): ("hour", "h"),
    ("time", 86400.0): ("day", "d"),
    ("time", 7 * 86400.0): ("week",),
    ("time", _YEAR): ("year", "yr", "a"),
    ("area", 1e4): ("hectare", "ha"),
    ("area", 4046.8564224): ("acre",),
    ("temperature", 1.0): ("kelvin", "K"),
}
_UNITS = {word: Unit(dimension, factor) for (dimension, factor), words in _WORDS.items() for word in words}
_UNITS |= dict.fromkeys(("celsius", "degreecelsius", "°C", "degC"), Unit("temperature", 1.0, 273.15))
_UNITS |= dict.fromkeys(("fahrenheit", "degreefahrenheit", "°F", "degF"), Unit("temperature", 5 / 9, 459.67))
for _symbol, _dimension, _factor in (("m", "length", 1.0), ("g", "mass", 1e-3), ("s", "time", 1.0)):
    _UNITS |= {prefix + _symbol: Unit(_dimension, size * _factor) for prefix, size in {"": 1.0, **_PREFIXES}.items()}
for _word in ("metre", "meter", "gram", "second"):
    _UNITS |= {
        prefix + _word: Unit(_UNITS[_word].dimension, size * _UNITS[_word].factor) for prefix, size in _SPOKEN.items()
    }
_LENGTHS = {name: unit for name, unit in _UNITS.items() if unit.dimension == "length"}
for _name, _unit in _LENGTHS.items():
    _names = (f"square{_name}", f"sq{_name}", f"{_name}2", f"{_name}²", f"{_name}^2")
    _UNITS |= dict.fromkeys(_names, Unit("area", _unit.factor**2))


def unit_of(name: str) -> Unit | None:
    """The unit of a symbol (``km``, ``°C``, ``km2``) or a word (``kilometre``, ``feet``, ``square miles``).

    Example:
        >>> unit_of("km"), unit_of("furlong")
        (Unit(dimension='length', factor=1000.0, offset=0.0), None)
    """
    word = "".join(name.split()).lower()
    exact = _UNITS.get(name.strip())
    return exact or (_UNITS.get(word) or _UNITS.get(word.removesuffix("s")) if len(word) > 3 else None)


def convert(values: np.ndarray, source: Unit, target: Unit) -> np.ndarray:
    """Numbers of one unit in another of its dimension.

    Example:
        >>> convert(np.array([32.0, 212.0]), unit_of("°F"), unit_of("°C")).round(9).tolist()
        [0.0, 100.0]
    """
    return (values + source.offset) * source.factor / target.factor - target.offset
