"""Literals as a table."""

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.data import Triples, tabulate, untabulate
from mmgraph.data.literals import years
from mmgraph.data.triples import LITERAL_COLUMNS
from mmgraph.errors import ConfigError, DataError


def literals(*rows):
    """Rows (entity, property, value, datatype, language, unit), short ones filled with nothing."""
    full = [(*row, *[None] * (6 - len(row))) for row in rows]
    table = {name: [row[place] for row in full] for place, name in enumerate(LITERAL_COLUMNS)}
    return Triples([], [], [], table).literals


def said(table, name):
    return {key.decode(): value.decode() for key, value in table.schema.field(name).metadata.items()}


def test_a_row_an_entity_a_column_a_property():
    table = tabulate(
        literals(
            ("b", "size", "2.5", "xsd:decimal"),
            ("a", "born", "2000-07-02", "xsd:date"),
            ("b", "alive", "true", "xsd:boolean"),
            ("a", "label", "Ann", None, "en"),
            ("a", "size", "1e3", "xsd:double"),
            ("b", "born", "-0044", "xsd:gYear"),
        )
    )
    assert table.schema.names == ["entity", "size", "born", "alive", "label"]
    assert table.schema.types == [pa.string(), pa.float64(), pa.float64(), pa.bool_(), pa.string()]
    assert table.to_pylist() == [
        {"entity": "b", "size": 2.5, "born": -44.0, "alive": True, "label": None},
        {"entity": "a", "size": 1000.0, "born": pytest.approx(2000 + 183 / 366), "alive": None, "label": "Ann"},
    ]
    assert said(table, "size") == {"kind": "number", "several": "0", "set_aside": "0"}
    assert [said(table, name)["kind"] for name in table.schema.names[1:]] == ["number", "date", "boolean", "text"]


def test_several_values():
    table = tabulate(
        literals(
            ("a", "size", "1", "xsd:integer"),
            ("a", "size", "4", "xsd:integer"),
            ("a", "born", "1990", "xsd:gYear"),
            ("a", "born", "1991", "xsd:gYear"),
            ("a", "alive", "1", "xsd:boolean"),
            ("a", "alive", "false", "xsd:boolean"),
            ("b", "alive", "0", "xsd:boolean"),
            ("b", "alive", "false", "xsd:boolean"),
            ("a", "label", "Ann", None, "en"),
            ("a", "label", "Anne", None, "fr"),
            ("a", "label", "Ann", None, "de"),
            ("b", "label", "Bob", None, "en"),
        )
    )
    first, second = table.to_pylist()
    assert first == {"entity": "a", "size": 2.5, "born": 1990.5, "alive": None, "label": ["Ann", "Anne"]}
    assert second == {"entity": "b", "size": None, "born": None, "alive": False, "label": ["Bob"]}
    assert table.schema.field("label").type == pa.list_(pa.string())
    assert {name: said(table, name)["several"] for name in first if name != "entity"} == {
        "size": "1",
        "born": "1",
        "alive": "2",
        "label": "1",
    }


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([("1", None), ("-.5e3", None)], "number"),
        ([("1999", None), ("1999-01-02", None)], "date"),
        ([("1", None), ("one", None)], "text"),
        ([("1_0", None)], "text"),
        ([("nan", None)], "text"),
        ([("true", None)], "text"),
        ([("1", "xsd:string")], "number"),
        ([("1", "xsd:unsignedByte"), ("2", None)], "number"),
        ([("1", "my kind")], "text"),
        ([("1", "xsd:anyURI")], "text"),
        ([("1", "xsd:integer"), ("x", "my kind")], "text"),
        ([("1", "xsd:integer"), ("2", "xsd:float"), ("3", "my kind")], "number"),
        ([("1", "http://www.w3.org/2001/XMLSchema#gYear")], "date"),
    ],
)
def test_the_kind_of_a_property(values, kind):
    rows = [(f"e{number}", "p", value, datatype) for number, (value, datatype) in enumerate(values)]
    assert said(tabulate(literals(*rows), rejected=1), "p")["kind"] == kind


@pytest.mark.parametrize("wrong", ["tall", "INF", "NaN", "1e999", "1,5", "0x1"])
def test_a_value_of_another_kind_is_set_aside(wrong):
    rows = [(f"e{number}", "size", "1", "xsd:double") for number in range(19)] + [("e", "size", wrong, "xsd:double")]
    table = tabulate(literals(*rows))
    assert table.column("size").to_pylist() == [1.0] * 19 + [None]
    assert said(table, "size")["set_aside"] == "1"
    message = rf"At most 4.0% of the values of property 'size' may be no number, got 1 of 20, first '{wrong}' of 'e'; "
    with pytest.raises(DataError, match=message):
        tabulate(literals(*rows), rejected=0.04)


def test_units_are_joined():
    rows = [("a", "size", "1.5", None, None, "km"), ("b", "size", "1", None, None, "mile")]
    rows += [("c", "size", "10", "xsd:integer", None, "km"), ("a", "size", "500", None, None, "m")]
    table = tabulate(literals(*rows))
    assert table.column("size").to_pylist() == pytest.approx([1.0, 1.609344, 10.0])
    assert said(table, "size") == {"kind": "number", "unit": "km", "several": "1", "set_aside": "0"}
    table = tabulate(literals(*rows), units={"size": "m"})
    assert table.column("size").to_pylist() == pytest.approx([1000.0, 1609.344, 10000.0])
    assert said(table, "size")["unit"] == "m"


def test_one_unit_needs_no_conversion():
    table = tabulate(literals(("a", "price", "3", None, None, "usDollar")), units={"price": "usDollar"})
    assert table.column("price").to_pylist() == [3.0]


@pytest.mark.parametrize(
    ("other", "units", "message"),
    [
        (
            "kg",
            None,
            r"property 'size' must have units that can be joined, got 'm' \(of 'a', 'b'\) and 'kg' \(of 'c'\)",
        ),
        ("cubit", None, r"got 'm' \(of 'a', 'b'\) and 'cubit' \(of 'c'\); convert them"),
        (None, None, r"got 'm' \(of 'a', 'b'\) and no unit \(of 'c'\)"),
        ("m", {"size": "kg"}, r"got 'kg' \(asked for\) and 'm' \(of 'a', 'b', 'c'\)"),
        ("m", {"size": "cubit"}, r"got 'cubit' \(asked for\) and 'm' "),
    ],
)
def test_units_that_cannot_be_joined(other, units, message):
    rows = [
        ("a", "size", "1", None, None, "m"),
        ("b", "size", "1", None, None, "m"),
        ("c", "size", "2", None, None, other),
    ]
    with pytest.raises(DataError, match=message):
        tabulate(literals(*rows), units=units)


def test_units_of_what_has_none():
    found = literals(("a", "label", "Ann"), ("a", "size", "1"))
    for name in ("label", "width"):
        with pytest.raises(ConfigError, match=rf"units must be of properties with numbers, \['size'\], got '{name}'"):
            tabulate(found, units={name: "m"})


def test_a_property_is_not_called_entity():
    with pytest.raises(DataError, match="A property must not be called 'entity'"):
        tabulate(literals(("a", "entity", "b")))


def test_rows_may_be_given():
    table = tabulate(literals(("a", "size", "1"), ("b", "size", "2"), ("b", "size", "4")), entities=["z", "b"])
    assert table.to_pylist() == [{"entity": "z", "size": None}, {"entity": "b", "size": 3.0}]
    assert tabulate(None, entities=["z"]).to_pylist() == [{"entity": "z"}]
    assert tabulate(None).to_pylist() == []


@given(st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9998, 12, 31)))
def test_years_are_those_of_the_calendar(moment):
    first, next_ = datetime.datetime(moment.year, 1, 1), datetime.datetime(moment.year + 1, 1, 1)
    expected = moment.year + (moment - first) / (next_ - first)
    assert years(moment.isoformat()) == pytest.approx(expected, abs=1e-9)
    days = (moment.replace(hour=0, minute=0, second=0, microsecond=0) - first) / (next_ - first)
    assert years(moment.date().isoformat()) == pytest.approx(moment.year + days, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1969", 1969),
        ("1969-07", 1969 + 181 / 365),
        (" 1969-01-02Z ", 1969 + 1 / 365),
        ("2000-01-01T12:00:00+12:00", 2000),
        ("2000-01-01T00:00:00-12:00", 2000 + 0.5 / 366),
        ("2000-01-01T24:00:00", 2000 + 1 / 366),
        ("-0004-12-31", -4 + 365 / 366),
        ("12000", 12000),
    ],
)
def test_dates_of_xml_schema(text, year):
    assert years(text) == pytest.approx(year, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "69",
        "1969-13",
        "1969-00",
        "1969-02-29",
        "1969-01-00",
        "1969-1-1",
        "1969-01-01T25:00:00",
        "1969-01-01T00:61:00",
        "1969-01-01T24:00:01",
    ],
)
def test_what_is_no_date(text):
    assert years(text) is None


def test_cells_of_a_table_become_literals():
    table = pa.table(
        {
            "id": [1, 2, 3],
            "height": ["1.71 m", "183 cm", ""],
            "note": ["3 days", "tall", None],
            "born": [datetime.date(1984, 7, 2), None, datetime.date(1990, 1, 1)],
            "seen": pa.array([datetime.datetime(2024, 1, 1, 12), None, None], pa.timestamp("us", "UTC")),
            "tall": [False, True, None],
            "score": [0.5, float("nan"), None],
            "known_as": [["A", "Ann"], [], None],
        }
    )
    found = [tuple(row.values()) for row in untabulate(table, key="id").to_pylist()]
    assert found == [
        ("1", "height", "1.71", None, None, "m"),
        ("2", "height", "183", None, None, "cm"),
        ("1", "note", "3 days", None, None, None),
        ("2", "note", "tall", None, None, None),
        ("1", "born", "1984-07-02", "xsd:date", None, None),
        ("3", "born", "1990-01-01", "xsd:date", None, None),
        ("1", "seen", "2024-01-01T12:00:00+00:00", "xsd:dateTime", None, None),
        ("1", "tall", "false", "xsd:boolean", None, None),
        ("2", "tall", "true", "xsd:boolean", None, None),
        ("1", "score", "0.5", "xsd:double", None, None),
        ("1", "known_as", "A", None, None, None),
        ("1", "known_as", "Ann", None, None, None),
    ]
    back = tabulate(untabulate(table, key="id"), units={"height": "cm"}, entities=["1", "2", "3", "4"])
    assert back.column("height").to_pylist() == [171.0, 183.0, None, None]
    assert back.column("born").to_pylist() == [1984.5, None, 1990.0, None]
    assert back.column("tall").to_pylist() == [False, True, None, None]
    assert back.column("known_as").to_pylist() == [["A", "Ann"], None, None, None]


NUMBERS = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=3, max_size=3)
WORDS = st.lists(st.none() | st.sampled_from(["a", "b c", "3 m", "no"]), min_size=3, max_size=3)


@given(NUMBERS, WORDS.filter(lambda words: words.count("3 m") <= len([word for word in words if word]) / 2))
def test_a_table_of_literals_comes_back(numbers, words):
    given = {"entity": ["x", "y", "z"], "number": numbers, "word": words}
    table = pa.table({**given, "number": pa.array(numbers, pa.float64()), "word": pa.array(words, pa.string())})
    expected = {name: column for name, column in given.items() if any(one is not None for one in column)}
    assert tabulate(untabulate(table, key="entity"), entities=given["entity"]).to_pydict() == expected


def test_numbers_without_a_unit_among_those_with_one_are_said():
    table = pa.table({"id": ["a", "b", "c"], "height": ["1.7 m", "1.8 m", "180"]})
    with pytest.raises(DataError, match=r"'height' must have units that can be joined, got 'm' .* no unit \(of 'c'\)"):
        tabulate(untabulate(table, key="id"))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"id": ["a"], "p": ["b"]}, {"key": "name"}, r"must have a column 'name', got \['id', 'p'\]"),
        ({"id": ["a"], "p": ["b"]}, {"key": "id", "columns": ["q"]}, "must have a column 'q'"),
        ({"id": ["a", None], "p": ["b", "c"]}, {"key": "id"}, "name its entity in column 'id', got none in row 1"),
        ({"id": ["a"], "p": [b"b"]}, {"key": "id"}, "got bytes of 'a' in column 'p'; leave it out of columns"),
    ],
)
def test_a_table_that_is_not_one_of_entities_is_refused(table, options, message):
    with pytest.raises(DataError, match=message):
        untabulate(pa.table(table), **options)
