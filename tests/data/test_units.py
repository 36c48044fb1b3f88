"""Units against their definitions."""

import numpy as np
import pytest

from mmgraph.data.units import convert, unit_of


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (1, "mile", "m", 1609.344),
        (3, "feet", "in", 36),
        (1, "kilometre", "yd", 1093.6132983377079),
        (2.5, "km", "cm", 250000),
        (7, "µm", "nm", 7000),
        (1, "lb", "g", 453.59237),
        (16, "ounces", "pound", 1),
        (1, "stone", "lb", 14),
        (1, "t", "kilograms", 1000),
        (1, "week", "h", 168),
        (1, "year", "days", 365.25),
        (90, "min", "hours", 1.5),
        (5, "ms", "µs", 5000),
        (1, "km²", "ha", 100),
        (1, "square mile", "acres", 640),
        (1, "squareKilometre", "m2", 1e6),
        (1, "sq ft", "in^2", 144),
        (37, "°C", "°F", 98.6),
        (0, "K", "celsius", -273.15),
        (-40, "degF", "degC", -40),
    ],
)
def test_conversions(value, source, target, result):
    first, second = unit_of(source), unit_of(target)
    assert first.dimension == second.dimension
    assert convert(np.array([value, value]), first, second) == pytest.approx([result] * 2, rel=1e-12)
    assert convert(convert(np.array([value]), first, second), second, first) == pytest.approx([value], abs=1e-9)


def test_case_tells_symbols_apart():
    assert (unit_of("Mm").factor, unit_of("mm").factor) == (1e6, 1e-3)
    assert unit_of("KM") is None
    assert unit_of("Kilometre") == unit_of("km")


@pytest.mark.parametrize("name", ["", "usDollar", "metress", "square", "C"])
def test_what_is_no_unit(name):
    assert unit_of(name) is None
