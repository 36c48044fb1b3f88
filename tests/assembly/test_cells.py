"""What a cell says, whichever type it came as."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.assembly.cells import (
    filled,
    key_of,
    keys_of,
    label_of,
    moment_of,
    number_of,
    payload_of,
    payloads_in,
    ranks_of,
    shown,
)
from mmgraph.assembly.config import LimitConfig
from mmgraph.errors import DataError
from mmgraph.schema import Modality

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("cell", [None, "", " \t\n", b"", b" ", NAN, [], [None], {}, {"bytes": None, "path": None}])
def test_empty(cell):
    assert filled(cell) is None


@pytest.mark.parametrize("cell", ["a", " a", b"\0", 0, 0.0, False, [0], [NAN, 1.0], {"a": 0}, INF])
def test_not_empty(cell):
    assert filled(cell) is cell


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("a7", "a7"),
        (" a7 ", "a7"),
        (7, "7"),
        (7.0, "7"),
        (Decimal("7.00"), "7"),
        (-3, "-3"),
        (10**30, "1" + "0" * 30),
        (date(2024, 2, 29), "2024-02-29"),
    ],
)
def test_keys(cell, key):
    assert key_of(cell) == key


@pytest.mark.parametrize(
    "cell", [True, 1.5, NAN, INF, 2.0**53, b"a", [1], {}, Decimal("1.5"), Decimal("NaN"), "\ud800"]
)
def test_no_keys(cell):
    with pytest.raises(DataError, match="a key must be"):
        key_of(cell)


@given(st.integers())
def test_whole_numbers_have_one_key(number):
    assert key_of(number) == key_of(str(number)) == key_of(Decimal(number))
    if abs(number) < 2**53:
        assert key_of(float(number)) == str(number)


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        (True, "True"),
        (False, "False"),
        (1.0, "1"),
        (1.5, "1.5"),
        (1234567.0, "1234567"),
        (1234568.25, "1234568.25"),
        (Decimal("0.1"), "0.1"),
        ("a b ", "a b"),
        (3, "3"),
    ],
)
def test_labels(cell, label):
    assert label_of(cell) == label


@pytest.mark.parametrize("cell", [INF, NAN, [1], b"a", Decimal("Infinity")])
def test_no_labels(cell):
    with pytest.raises(DataError, match="a class must be a string"):
        label_of(cell)


@pytest.mark.parametrize(
    ("cell", "separator", "keys"),
    [
        (["a", None, 3, " ", NAN], None, ["a", "3"]),
        ("a| b||c ", "|", ["a", "b", "c"]),
        ("a|b", None, ["a|b"]),
        (5, "|", ["5"]),
        ("|", "|", []),
    ],
)
def test_several_keys(cell, separator, keys):
    assert keys_of(cell, separator) == keys


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1.5", 1.5), (" -2e3 ", -2000.0), (True, 1.0), (Decimal("0.25"), 0.25), (7, 7.0), (NAN, None), ("NaN", None)],
)
def test_numbers(cell, number):
    assert number_of(cell) == number


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("n/a", "a number is wanted, got 'n/a'"),
        ("1_000", "a number is wanted, got '1_000'"),
        ("1,5", "got '1,5'"),
        ([1.0], r"got \[1.0\]"),
        (timedelta(1), "a number is wanted"),
        (10**400, "a number is wanted"),
        (-INF, "a finite number of at most 3.4e.38 is wanted, got -inf"),
        ("inf", "a finite number of at most 3.4e.38 is wanted, got inf"),
        (1e39, "at most 3.4e.38 is wanted, got 1e.39"),
    ],
)
def test_no_numbers(cell, message):
    with pytest.raises(DataError, match=message):
        number_of(cell)


def test_moments():
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    east = timezone(timedelta(hours=2))
    for cell in ("2024-02-29T12:00Z", "2024-02-29 12:00", "2024-02-29T14:00+02:00", noon, noon.astimezone(east)):
        assert moment_of(cell) == noon
    assert moment_of(date(2024, 2, 29)) == moment_of("2024-02-29") == datetime(2024, 2, 29, tzinfo=UTC)
    for cell in ("yesterday", 5, "2024-02-30", b"2024-02-29"):
        with pytest.raises(DataError, match="a date is wanted"):
            moment_of(cell)


def test_the_order_of_a_column_is_that_of_numbers_or_of_moments():
    assert ranks_of(["10", None, 9]) == [10.0, None, 9.0]
    assert ranks_of([]) == []
    one, two, bad, none = ranks_of(["2024-01-02", date(2024, 1, 1), "7", None])
    assert one - two == 86400
    assert str(bad).endswith("got '7'")
    assert none is None
    assert ranks_of([3, 4, NAN])[2] is None
    assert "a number is wanted, got '2024-01-01'" in str(ranks_of([3, 4, "2024-01-01"])[2])


@pytest.mark.parametrize(
    ("cell", "modality", "separator", "payloads"),
    [
        (["a.png", None, "", {"bytes": None}, b"x", NAN], Modality.IMAGE, None, ["a.png", b"x"]),
        ("a.png; b.png;", Modality.IMAGE, ";", ["a.png", "b.png"]),
        ("a; b", Modality.TEXT, None, ["a; b"]),
        (["a", "b"], Modality.SYMBOL, None, ["a", "b"]),
        ("a|b", Modality.SYMBOL, "|", ["a", "b"]),
        ([1.0, NAN, 2.0], Modality.SERIES, None, [[1.0, NAN, 2.0]]),
        ([[0, 0, 1]], Modality.POINTS, None, [[[0, 0, 1]]]),
    ],
)
def test_payloads_in_a_cell(cell, modality, separator, payloads):
    assert str(list(payloads_in(cell, modality, separator))) == str(payloads)


def test_payloads(tmp_path):
    limits = LimitConfig(characters=4, bytes=3)
    (tmp_path / "a.png").write_bytes(b"abc")
    (tmp_path / "b.png").write_bytes(b"abcd")
    for cell in ("a.png", " a.png ", b"abc", {"bytes": b"abc", "path": "z"}, {"bytes": None, "path": "a.png"}):
        assert payload_of(cell, Modality.IMAGE, tmp_path, limits) == b"abc"
    assert payload_of("word", Modality.TEXT, None, limits) == "word"
    assert payload_of(b"w\xc3\xb6rd", Modality.TEXT, None, limits) == "wörd"
    assert payload_of(12.5, Modality.TEXT, None, limits) == "12.5"
    assert payload_of(True, Modality.SYMBOL, None, limits) == "True"
    assert payload_of("[1, 2]", Modality.SERIES, None, limits) == [1, 2]
    assert payload_of([1, 2], Modality.SERIES, None, limits) == [1, 2]


@pytest.mark.parametrize(
    ("cell", "modality", "message"),
    [
        ("words", Modality.TEXT, "at most 4 characters, got 5"),
        (b"\xff", Modality.TEXT, "must be UTF-8"),
        (b"abcd", Modality.IMAGE, "image must have at most 3 bytes, got 4"),
        ("b.png", Modality.IMAGE, "must have 1 to 3 bytes, got 4"),
        ("none.png", Modality.AUDIO, "must be there and readable"),
        ("../a.png", Modality.IMAGE, "without '..', got '../a.png'"),
        ("/etc/passwd", Modality.IMAGE, "without '..', got '/etc/passwd'"),
        ("link.png", Modality.IMAGE, "must stay below"),
        (7, Modality.IMAGE, "image must be the path of a file or its bytes, got 7"),
        ({"array": [1]}, Modality.AUDIO, "audio must be the path of a file or its bytes"),
        ("1, 2", Modality.SERIES, "series must be a list of numbers, or one in JSON, got '1, 2'"),
        ([1], Modality.SYMBOL, "a class must be"),
    ],
)
def test_bad_payloads(tmp_path, cell, modality, message):
    root = tmp_path / "root"
    root.mkdir()
    (root / "b.png").write_bytes(b"abcd")
    (root / "link.png").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=message):
        payload_of(cell, modality, root, LimitConfig(characters=4, bytes=3))


def test_reasons_are_the_same_wherever_the_root_lies(tmp_path):
    with pytest.raises(DataError, match="File 'none.png' must be there and readable"):
        payload_of("none.png", Modality.IMAGE, tmp_path, LimitConfig())


def test_a_path_needs_a_root():
    with pytest.raises(DataError, match="image must be bytes where there is no root to find files in, got 'a.png'"):
        payload_of("a.png", Modality.IMAGE, None, LimitConfig())


def test_a_cell_is_shown_short():
    assert shown("a" * 100) == "'" + "a" * 56 + "…"
    assert math.isclose(len(shown(list(range(1000)))), 58)
