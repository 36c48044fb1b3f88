"""What may be tried: ranges and choices by the fields' own types, and each mistake by its value."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ConfigError
from mmgraph.recipe import load_recipe
from mmgraph.tune import Choice, Range
from mmgraph.tune.space import changed, checked, field_type, names, parse_choice


@pytest.fixture(scope="module")
def config():
    return load_recipe("population_wdbc").module.Config()


@dataclass(frozen=True)
class Inner:
    width: int = 4
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width > 100:
            raise ConfigError(f"width must be at most 100, got {self.width}")


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    on: bool = False
    inner: Inner = field(default_factory=Inner)


def test_fields_are_found_by_their_dotted_names(config) -> None:
    assert names(Outer()) == ["name", "on", "inner.width", "inner.rates"]
    assert {"runs", "channels", "population.k", "fit.learning_rate"} <= set(names(config))
    assert field_type(config, "channels") is int
    assert field_type(config, "fit.batch_size") == int | None


def test_changed_settings_differ_in_what_was_changed_alone(config) -> None:
    new = changed(config, {"channels": 7, "fit.epochs": 3, "fit.learning_rate": 0.5, "population.k": 2})
    assert (new.channels, new.fit.epochs, new.fit.learning_rate, new.population.k) == (7, 3, 0.5, 2)
    assert changed(new, {"channels": 16, "fit.epochs": 200, "fit.learning_rate": 0.01, "population.k": 10}) == config


def test_ranges_take_the_type_of_their_field(config) -> None:
    space = checked(
        config, {"channels": Range(4.0, 64.0, log=True), "dropout": Range(0, 1), "population.k": Range(1, 9)}
    )
    assert space == {"channels": Range(4, 64, log=True), "dropout": Range(0, 1), "population.k": Range(1, 9)}
    assert isinstance(space["channels"].low, int)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1e-4..1e-1:log", Range(1e-4, 1e-1, log=True)),
        ("4..64", Range(4, 64)),
        ("-1..0.5", Range(-1, 0.5)),
        (" 2 .. 3 ", Range(2, 3)),
    ],
)
def test_ranges_are_read(text, found) -> None:
    assert Range.parse(text) == found
    assert type(Range.parse("4..64").low) is int


@given(st.floats(1e-9, 1e9), st.floats(1.001, 1e6), st.booleans())
def test_ranges_are_read_as_they_are_written(low, times, log) -> None:
    assert Range.parse(f"{low}..{low * times}{':log' if log else ''}") == Range(low, low * times, log=log)


@pytest.mark.parametrize("text", ["", "4", "4..", "..4", "a..b", "1..2:ln", "1..2:", "1...2.5..", "4-64"])
def test_what_is_no_range_is_named(text) -> None:
    if text == "1..2:":
        assert Range.parse(text) == Range(1, 2)
        return
    with pytest.raises(ConfigError, match=r"A range must read LOW..HIGH or LOW..HIGH:log, .*got '"):
        Range.parse(text)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("channels", "16,32, 64", (16, 32, 64)),
        ("fit.learning_rate", "1e-3,0.1", (0.001, 0.1)),
        ("fit.batch_size", "none,32", (None, 32)),
        ("population.metric", "cosine,euclidean", ("cosine", "euclidean")),
        ("population.kernel", "true,false", (True, False)),
        ("fit.monitor", "none", ("none",)),
    ],
)
def test_choices_are_read_by_the_type_of_their_field(config, name, text, found) -> None:
    values = parse_choice(config, name, text).values
    assert values == found
    assert [type(value) for value in values] == [type(value) for value in found]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("channels", "", "A choice must have at least 1 value, got none"),
        ("channels", "16,many", "channels must be int, got 'many': Input should be a valid integer"),
        ("channels", "16,none", "channels must be int, got 'none'"),
        ("channels", "16,16", "A choice must have each value once, got 16 twice"),
        ("population.metric", "taxi", r"population.metric must be one of \['euclidean', .*, got 'taxi'"),
        ("depth", "1", r"A field to tune must be one of \['runs', 'channels', .*, got 'depth'"),
        ("fit.depth", "1", r"A field to tune must be one of \['runs', 'channels', .*, got 'fit.depth'"),
        ("channels.depth", "1", r"A field to tune must be one of .*, got 'channels.depth'"),
        ("fit", "1", r"A field to tune must be one of .*, got 'fit', which holds several"),
    ],
)
def test_wrong_choices_are_named(config, name, text, message) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_choice(config, name, text)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "There must be at least 1 field to tune, got none"),
        ({"runs": Range(1, 5)}, "runs can't be tuned: it says how a score is made"),
        ({"fit.seed": Choice([1, 2])}, "fit.seed can't be tuned"),
        ({"depth": Range(1, 5)}, "A field to tune must be one of .*, got 'depth'"),
        (
            {"population.metric": Range(1, 5)},
            r"population.metric is one of \['euclidean', .*give a choice of its values",
        ),
        ({"population.kernel": Range(0, 1)}, "A range needs a field of numbers, but population.kernel is bool"),
        ({"channels": Range(1.5, 8)}, r"channels takes whole numbers: .*, got 1.5..8"),
        ({"channels": Choice([1.5])}, "channels must be int, got 1.5"),
        ({"channels": Choice([True])}, "channels must be int, got True"),
        ({"fit.learning_rate": Range(-1, 1)}, "learning_rate must be above 0"),
        ({"population.k": Choice([0, 3])}, "k must be at least 1"),
    ],
)
def test_wrong_spaces_are_named_before_anything_is_tried(config, space, message) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(config, space)


def test_values_that_the_settings_refuse_are_named() -> None:
    with pytest.raises(ConfigError, match="width must be at most 100, got 101"):
        checked(Outer(), {"inner.width": Range(1, 101)})
    with pytest.raises(ConfigError, match=r"inner.rates must be tuple\[float, ...\], got 'a'"):
        checked(Outer(), {"inner.rates": Choice(["a"])})
    assert checked(Outer(), {"name": Choice(["a", "b"]), "on": Choice([True])}) == {
        "name": Choice(["a", "b"]),
        "on": Choice([True]),
    }


def test_wrong_ranges_and_choices_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"from a number to a larger one, got 3..3"):
        Range(3, 3)
    with pytest.raises(ConfigError, match=r"got nan..3"):
        Range(float("nan"), 3)
    with pytest.raises(ConfigError, match=r"on a log scale must begin above 0, got 0..3"):
        Range(0, 3, log=True)
    with pytest.raises(ConfigError, match=r"numbers, words, truth values or None, got \[1\]"):
        Choice([[1]])
    assert Choice([1, True, 1.0]).values == (1, True, 1.0)
