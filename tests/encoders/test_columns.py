"""Against scikit-learn's scalers and encoders, and the calendar of Python's datetime."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from mmgraph.encoders import Columns
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.testing import check_frozen

KINDS = {"age": "numeric", "colour": "category", "born": "datetime"}
ROWS = [
    {"age": 30, "colour": "red", "born": "1990-03-01", "ignored": object()},
    {"age": 50.5, "colour": "blue", "born": datetime(1970, 7, 2, 12, tzinfo=UTC)},
    {"age": None, "colour": "red", "born": None},
    {"age": 41, "colour": None, "born": date(1980, 12, 31)},
]


@pytest.fixture(scope="module")
def columns():
    return Columns.fit(ROWS, columns=KINDS)


def numbers(values, **options):
    fitted = Columns.fit([(value,) for value in values], columns={"a": "numeric"}, **options)
    return lambda more: fitted([(value,) for value in more])


def test_names_stand_for_channels(columns):
    assert columns.names == (
        "age",
        "age unknown",
        "colour=red",
        "colour=blue",
        "colour other",
        "colour unknown",
        "born",
        "born sine of year",
        "born cosine of year",
        "born sine of week",
        "born cosine of week",
        "born sine of day",
        "born cosine of day",
        "born unknown",
    )
    assert columns.shape == (14,)
    assert columns.channels == 14


def test_tuples_are_mappings_in_the_order_of_the_columns(columns):
    as_tuples = [tuple(row[name] for name in KINDS) for row in ROWS]
    assert torch.equal(columns(as_tuples), columns(ROWS))
    assert Columns.fit(as_tuples, columns=KINDS).identity == columns.identity
    assert columns.content(as_tuples[1]) == columns.content(ROWS[1]) == columns.content(list(as_tuples[1]))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.lists(st.floats(-1e6, 1e6), max_size=5))
def test_standard_scaling_is_that_of_scikit_learn(values, more):
    found = numbers([*values, None, math.nan])([*values, *more])
    if np.ptp(values) < 1e-3:
        return
    scaler = StandardScaler().fit(np.array(values)[:, None])
    wanted = scaler.transform(np.array([*values, *more])[:, None]).clip(-1e6, 1e6)
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=1e-4, atol=1e-4)
    assert (found[:, 1] == 0).all()


@given(st.lists(st.integers(-400, 400).map(lambda number: number / 100), min_size=3, max_size=40))
def test_quantile_scaling_is_that_of_scikit_learn(values):
    more = [-20.0, -1.001, 0.001, 0.301, 20.0]
    found = numbers([*values, None], scaling="quantile")([*values, *more])
    inside = [
        row  # scikit-learn loses ties to rounding, and sends all at the ends to infinity
        for row, value in enumerate([*values, *more])
        if min(values) < value < max(values) and values.count(value) < 2
    ]
    peer = QuantileTransformer(n_quantiles=len(values), output_distribution="normal").fit(np.array(values)[:, None])
    wanted = peer.transform(np.array([*values, *more])[:, None])
    np.testing.assert_allclose(found[inside, 0], wanted[inside, 0], atol=2e-3)
    assert found[-1, 0] == pytest.approx(5.2, abs=1e-2)
    assert found[-5, 0] == pytest.approx(-5.2, abs=1e-2)


def test_equal_numbers_get_the_middle_of_their_shares_also_at_the_ends():
    found = numbers([0.0, 0.0, 0.0, 1.0], scaling="quantile")([0.0, 1.0, -1.0])[:, 0]
    np.testing.assert_allclose(found, [NormalDist().inv_cdf(1 / 3), 5.2, -5.2], atol=1e-2)
    assert numbers([2.0] * 3, scaling="quantile")([2.0])[0, 0] == 0


def test_quantiles_are_bounded_and_outliers_do_not_stretch_them():
    chance = np.random.default_rng(0)
    values = [*np.exp(3 * chance.standard_normal(5000)), 1e30]
    fitted = Columns.fit([(float(value),) for value in values], columns={"a": "numeric"}, scaling="quantile")
    assert fitted.state()["0.quantiles"].shape == (1001,)
    found = fitted([(1.0,), (math.exp(3),), (1e30,), (1e31,)])[:, 0]
    np.testing.assert_allclose(found, [0, 1, 5.2, 5.2], atol=0.05)


def test_a_column_that_never_changes_or_is_never_known_is_finite():
    for scaling in ("standard", "quantile"):
        same = numbers([0.1] * 7, scaling=scaling)([0.1, 0.2, None])
        assert same[0].tolist() == [0, 0]
        assert same[1].isfinite().all()
        assert same[2].tolist() == [0, 1]
        never = numbers([None, math.nan], scaling=scaling)([None, 3.0])
        assert never[0].tolist() == [0, 1]
        assert never[1].isfinite().all()
    assert numbers([None])([3.0])[0].tolist() == [3, 0]


def test_what_is_unknown_is_the_mean_and_says_so(columns):
    found = columns([{"age": value, "colour": None, "born": None} for value in (None, math.nan, np.float32("nan"))])
    assert torch.equal(found, found[:1].expand(3, -1))
    assert found[0].tolist() == [0, 1, 0, 0, 0, 1, *[0] * 7, 1]


def test_categories_are_counted_out():
    values = ["b", "a", "c", "a", "b", "a", "d", None]
    fitted = Columns.fit([(value,) for value in values], columns={"k": "category"}, levels=3)
    assert fitted.names == ("k=a", "k=b", "k=c", "k other", "k unknown")
    found = fitted([("c",), ("a",), ("d",), ("z",), (None,), ("",)])
    assert found.argmax(dim=1).tolist() == [2, 0, 3, 3, 4, 3]
    assert (found.sum(dim=1) == 1).all()
    rare = Columns.fit([(value,) for value in values], columns={"k": "category"}, least=2)
    assert rare.names == ("k=a", "k=b", "k other", "k unknown")
    known = ["a", "b", "c", "d"]
    peer = OneHotEncoder(categories=[known], sparse_output=False, handle_unknown="ignore")
    wanted = peer.fit([[one] for one in known]).transform([["d"], ["a"], ["z"]])
    every = Columns.fit([(value,) for value in values], columns={"k": "category"})
    order = [every.names.index(f"k={one}") for one in known]
    np.testing.assert_array_equal(every([("d",), ("a",), ("z",)])[:, order], wanted)


def test_whole_numbers_are_categories_and_never_seen_categories_have_no_channel():
    fitted = Columns.fit([(1,), (1.0,), (np.int64(2),), (True,)], columns={"k": "category"})
    assert fitted.names == ("k=1", "k=2", "k=True", "k other", "k unknown")
    assert Columns.fit([(None,)], columns={"k": "category"}).names == ("k other", "k unknown")


TIMES = [
    "2024-01-01T00:00:00Z",
    "2024-02-29",
    "1969-12-31T23:59:59.999999",
    "2023-12-31T23:59:59.999999",
    "2024-06-15T18:30:00+02:00",
    "1900-07-04T06:00:00",
    "0001-01-01",
    "9999-12-31T12:00:00",
]


def test_times_turn_with_the_year_the_week_and_the_day():
    fitted = Columns.fit([(time,) for time in TIMES[:2]], columns={"t": "datetime"})
    found = fitted([(time,) for time in TIMES]).double()
    for row, text in zip(found, TIMES, strict=True):
        time = datetime.fromisoformat(text)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        if time.year < 9999:
            begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (time.year, time.year + 1))
            share = (time - begin) / (end - begin)
            assert row[1] == pytest.approx(math.sin(2 * math.pi * share), abs=1e-5)
            assert row[2] == pytest.approx(math.cos(2 * math.pi * share), abs=1e-5)
        day = (time - time.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(days=1)
        for place, share in ((3, (time.weekday() + day) / 7), (5, day)):
            assert row[place] == pytest.approx(math.sin(2 * math.pi * share), abs=1e-5)
            assert row[place + 1] == pytest.approx(math.cos(2 * math.pi * share), abs=1e-5)
    assert found[0, 0].item() == pytest.approx(-1)
    assert found[1, 0].item() == pytest.approx(1)
    assert found.isfinite().all()


def test_one_moment_is_one_time_however_it_is_written():
    zone = timezone(timedelta(hours=5, minutes=30))
    ways = [
        "2024-06-15T18:30:00Z",
        "2024-06-15T18:30:00",
        "2024-06-15 18:30",
        datetime(2024, 6, 15, 18, 30),
        datetime(2024, 6, 16, 0, 0, tzinfo=zone),
        np.datetime64("2024-06-15T18:30:00"),
        np.datetime64("2024-06-15T18:30:00.000000000", "ns"),
        pa.scalar(datetime(2024, 6, 15, 18, 30), pa.timestamp("us", tz="UTC")),
    ]
    fitted = Columns.fit([(ways[0],), ("2000-01-01",)], columns={"t": "datetime"})
    assert len({fitted.content((way,)) for way in ways}) == 1
    assert fitted.content((date(2024, 6, 15),)) == fitted.content(("2024-06-15",))
    assert fitted([(np.datetime64("NaT"),), (None,)])[:, -1].tolist() == [1, 1]


def test_numbers_of_every_kind_are_numbers():
    fitted = Columns.fit([(0,), (4,)], columns={"a": "numeric"})
    kinds = (3, 3.0, np.float32(3), np.int8(3), Decimal(3), pa.scalar(3), pa.scalar(Decimal(3)))
    assert len({fitted.content((kind,)) for kind in kinds}) == 1
    assert fitted([(kind,) for kind in kinds])[:, 0].tolist() == [0.5] * len(kinds)
    assert fitted([(Decimal("NaN"),), (pa.scalar(None, pa.int8()),)])[:, 1].tolist() == [1, 1]


BAD = [
    ("age", "12", "column 'age' must be a number, got '12'"),
    ("age", "1,234", "column 'age' must be a number, got '1,234'"),
    ("age", True, "column 'age' must be a number, got True"),
    ("age", [1], r"column 'age' must be a number, got \[1\]"),
    ("age", math.inf, "column 'age' must be a finite number .*got inf"),
    ("age", -math.inf, "column 'age' must be a finite number .*got -inf"),
    ("age", 1e39, r"column 'age' must be a finite number of at most 3.4e\+38, got 1e\+39"),
    ("age", 10**400, "column 'age' must be a finite number"),
    ("age", 1 + 2j, "column 'age' must be a number"),
    ("colour", 1.5, "column 'colour' must be a category, .*got 1.5"),
    ("colour", b"red", "column 'colour' must be a category, .*got b'red'"),
    ("colour", "\ud800", "column 'colour' a text must be Unicode"),
    ("colour", math.inf, "column 'colour' must be a category, .*got inf"),
    ("born", "yesterday", "column 'born' must be a time in ISO 8601, .*got 'yesterday'"),
    ("born", "01/02/2024", "column 'born' must be a time in ISO 8601, .*got '01/02/2024'"),
    ("born", 1990, "column 'born' must be a datetime, .*got 1990"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_cell_that_its_column_can_not_have_sets_its_row_aside(columns, name, value, message):
    bad = {**ROWS[0], name: value}
    done = columns.attempt([ROWS[0], bad, ROWS[1]])
    assert done.rows.tolist() == [0, 2]
    assert torch.equal(done.features, columns([ROWS[0], ROWS[1]]))
    with pytest.raises(DataError, match=f"Payload 1 can't be encoded: {message}"):
        columns([ROWS[0], bad])
    with pytest.raises(DataError, match=f"Row 2 can't be fitted on: {message}"):
        Columns.fit([*ROWS[:2], bad], columns=KINDS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": 3, "born": None}, r"must have the columns .* got none of \['colour'\]; unknown is None"),
        ((3, "red"), "must have 3 cells, .*got 2"),
        ("abc", "must be a mapping, a tuple or a list, got str"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_row_is_refused(columns, row, message):
    with pytest.raises(DataError, match=f"Payload 0 can't be encoded: .*{message}"):
        columns([row])


def test_the_contract(columns):
    bad = [None, "abc", (1,), {}, *({**ROWS[0], name: value} for name, value, _ in BAD)]
    check_frozen(columns, ROWS, bad, options={"columns": KINDS})
    options = {"columns": KINDS, "scaling": "quantile", "levels": 1, "least": 2}
    check_frozen(Columns.fit(ROWS, **options), ROWS, options=options)


def test_far_values_are_cut_off():
    assert numbers([0.0, 2e-30])([3e38, -3e38])[:, 0].tolist() == [1e6, -1e6]


def test_one_column_moves_its_own_channels_alone(columns):
    other = columns([{**ROWS[0], "age": 31}])
    same = other == columns(ROWS[:1])
    assert same[0].tolist() == [False, *[True] * 13]


def test_the_identity_is_what_was_fitted_and_how(columns):
    swapped = {"born": "datetime", "colour": "category", "age": "numeric"}
    two = [{"a": 1, "b": 2}, {"a": 2, "b": 1}]
    others = [
        Columns.fit(ROWS[1:], columns=KINDS),
        Columns.fit(ROWS, columns=swapped),
        Columns.fit(ROWS, columns=KINDS, levels=3),
        Columns.fit(ROWS, columns=KINDS, least=2),
        Columns.fit(ROWS, columns=KINDS, scaling="quantile"),
        Columns.fit(two, columns={"a": "numeric", "b": "numeric"}),
        Columns.fit(two, columns={"b": "numeric", "a": "numeric"}),
    ]
    assert len({one.identity.digest for one in (columns, *others)}) == 8
    assert Columns.fit(iter(ROWS), columns=KINDS).identity == columns.identity


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {}, "at least 1 column"),
        ({"a": "number"}, {}, "Column 'a' must be one of .*got 'number'"),
        ({"a": "numeric"}, {"scaling": "minmax"}, "scaling must be one of .*got 'minmax'"),
        ({"a": "numeric"}, {"levels": 0}, "got 0 and 1"),
        ({"a": "numeric"}, {"least": 0}, "got 32 and 0"),
    ],
)
def test_bad_options_are_refused(columns, options, message):
    with pytest.raises(ConfigError, match=message):
        Columns.fit([(1,)], columns=columns, **options)


def test_no_row_and_another_state_are_refused(columns):
    with pytest.raises(DataError, match="at least 1 row, got 0"):
        Columns.fit([], columns=KINDS)
    state = columns.state()
    for key, value in (("1.levels", torch.zeros(2, dtype=torch.uint8)), ("2.scale", None)):
        broken = {name: tensor for name, tensor in {**state, key: value}.items() if tensor is not None}
        with pytest.raises(ArtifactError, match="The state must be one of columns .*fit it anew"):
            Columns.restore({"columns": KINDS}, broken)
