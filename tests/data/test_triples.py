"""Triples: checked once, compared by value, and kept in one form."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.data import BrokenLine, Triples
from mmgraph.errors import DataError

FACTS = st.lists(st.tuples(*[st.sampled_from("abc")] * 3), max_size=12)


def triples(facts, literals=None):
    return Triples(*([fact[place] for fact in facts] for place in range(3)), literals)


def statement(**cells):
    return {name: [value] for name, value in {"entity": "a", "property": "p", "value": "v", **cells}.items()}


def test_columns_are_names_that_cannot_be_changed():
    one = triples([("a", "r", "b"), ("b", "r", "a\0")])
    assert one.heads.dtype == object
    assert one.tails.tolist() == ["b", "a\0"]  # an array of fixed width would cut the null character
    with pytest.raises(ValueError, match="read-only"):
        one.heads[0] = "c"
    given = np.array(["a", "b"])
    other = Triples(given, given, given)
    given[0] = "z"
    assert other.heads.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((["a", ""], ["r", "r"], ["b", "b"]), r"heads\[1\] must be a name \(a string that is not empty\), got ''"),
        ((["a"], [None], ["b"]), r"relations\[0\] must be a name .*, got None"),
        ((["a"], ["r"], [7]), r"tails\[0\] must be a name .*, got 7"),
        ((["a", "b"], ["r"], ["b"]), r"one name a fact each, got \{'heads': 2, 'relations': 1, 'tails': 1\}"),
    ],
)
def test_what_is_no_fact_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        Triples(*columns)


@pytest.mark.parametrize(
    ("literals", "message"),
    [
        ([("a", "p", "v")], "must be a pyarrow table or a mapping of columns, got list"),
        ({"entity": ["a"], "value": ["v"]}, r"must have the columns \['entity', .*\], .* got \['entity', 'value'\]"),
        (statement(kind="x"), r"got \['entity', 'property', 'value', 'kind'\]"),
        (statement(entity=""), r"literals\['entity'\]\[0\] must not be empty, got ''"),
        (statement(value=None), r"literals\['value'\]\[0\] must not be empty, got None"),
        (statement(value=[1, 2]), "must be a table of strings, but"),
        (statement(value="\ud800"), "must be a table of strings, but"),
        ({**statement(), "unit": ["m", "m"]}, "must be a table of strings, but"),
    ],
)
def test_what_is_no_literal_is_refused(literals, message):
    with pytest.raises(DataError, match=message):
        triples([], literals)


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        ({"datatype": "http://www.w3.org/2001/XMLSchema#date"}, ("xsd:date", None, None)),
        ({"datatype": "http://www.w3.org/2001/XMLSchema#string"}, (None, None, None)),
        ({"datatype": "", "language": "", "unit": ""}, (None, None, None)),
        (
            {"datatype": "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString", "language": "en"},
            (None, "en", None),
        ),
        ({"datatype": "http://dbpedia.org/datatype/kilometre"}, (None, None, "kilometre")),
        (
            {"datatype": "http://dbpedia.org/datatype/kilometre", "unit": "m"},
            ("http://dbpedia.org/datatype/kilometre", None, "m"),
        ),
        ({"value": 2.5}, (None, None, None)),
    ],
)
def test_literals_have_one_form(cells, kept):
    (row,) = triples([], statement(**cells)).literals.to_pylist()
    assert (row["datatype"], row["language"], row["unit"]) == kept
    assert row["value"] == str(cells.get("value", "v"))


def test_no_literals_are_none():
    none = pa.table({name: pa.array([], pa.string()) for name in ("entity", "property", "value")})
    assert triples([], none).literals is None
    assert triples([], none) == triples([])


def test_names_come_by_appearance_those_of_literals_last():
    one = triples([("c", "s", "b"), ("a", "r", "c")], statement(entity="z"))
    assert one.entities == ("c", "b", "a", "z")
    assert one.relation_names == ("s", "r")


@given(FACTS, FACTS)
def test_equality_is_that_of_facts_in_order(first, second):
    assert (triples(first) == triples(second)) == (first == second)
    assert triples(first) != first


def test_equality_sees_literals_and_no_broken_lines():
    one = triples([("a", "r", "b")], statement())
    assert one == triples([("a", "r", "b")], statement())
    assert one != triples([("a", "r", "b")], statement(value="w"))
    assert one != triples([("a", "r", "b")])
    assert one == Triples(["a"], ["r"], ["b"], statement(), (BrokenLine("f", 1, "", ""),))


@given(FACTS)
def test_unique_keeps_the_first(facts):
    once, dropped = triples(facts).unique()
    assert list(once) == list(dict.fromkeys(facts))
    assert dropped == len(facts) - len(set(facts))


@given(FACTS, FACTS)
def test_concat_is_one_after_the_other(first, second):
    a, b = triples(first, statement(entity="a")), triples(second, statement(entity="b", unit="m"))
    both = a.concat(b, triples([]))
    assert list(both) == first + second
    assert both.literals.column("entity").to_pylist() == ["a", "b"]
    assert triples(first).concat() == triples(first)


def test_take_and_concat_keep_what_was_set_aside():
    line = BrokenLine("f", 3, "x", "y")
    one = Triples(["a", "b"], ["r", "s"], ["b", "c"], statement(), (line,))
    assert list(one.take([1, 0, 1])) == [("b", "s", "c"), ("a", "r", "b"), ("b", "s", "c")]
    assert list(one.take(np.array([False, True]))) == [("b", "s", "c")]
    assert list(one.take([])) == []
    assert one.take([1]).literals == one.literals
    assert one.take([1]).broken == (line,)
    assert one.concat(one).broken == (line, line)
