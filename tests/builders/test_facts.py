"""Rows of three numbers against dictionaries, sets and networkx."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.builders import facts as module
from mmgraph.builders.facts import among, close, distinct, first_of_each, keys, meet, numbers, overlaps, reverse
from mmgraph.errors import DataError

FACTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 4)), max_size=25)
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20, unique=True)


def array(rows, width=3):
    return np.array(rows, np.int64).reshape(-1, width)


@given(FACTS)
def test_keys_tell_facts_apart(rows):
    assert len(set(keys(array(rows), 5, 3).tolist())) == len(set(rows))


def test_too_many_entities_for_the_keys_are_refused():
    with pytest.raises(DataError, match=r"below 2⁶³, got 100000000² times 10000 \(1\.0e\+20\)"):
        keys(array([(0, 0, 1)]), 10**8, 10**4)


@given(st.lists(st.integers(0, 5), max_size=20))
def test_first_of_each_is_the_order_of_a_dictionary(codes):
    rows = first_of_each(np.array(codes, np.int64))
    assert [codes[row] for row in rows] == list(dict.fromkeys(codes))


def test_numbers_of_names():
    assert numbers(["b", "c", "a"], {"a": 0, "b": 1}).tolist() == [1, -1, 0]
    assert numbers([], {}).dtype == np.int64


@given(PAIRS)
def test_closure_is_that_of_networkx(pairs):
    graph = nx.DiGraph(pairs)
    expected = set(nx.transitive_closure(graph, reflexive=None).edges) - set(pairs)
    got = close(array(pairs, 2), 7, "before")
    assert set(map(tuple, got.tolist())) == expected
    assert len(got) == len(expected)


def test_a_closure_that_explodes_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_PATHS", 5)
    pairs = array([(a, 3) for a in range(3)] + [(3, b) for b in range(4, 7)], 2)  # 9 paths through one entity
    with pytest.raises(DataError, match=r"closure of 'before' must need at most 5 paths a round, got 9 from 6 facts"):
        close(pairs, 7, "before")


@given(FACTS)
def test_overlaps_are_those_of_sets(rows):
    rows = array(sorted(set(rows)))
    pairs = {r: {(h, t) for h, k, t in rows.tolist() if k == r} for r in range(3)}
    turned = {r: {(t, h) for h, t in own} for r, own in pairs.items()}
    expected = [[len(pairs[r] & turned[s]) for s in range(3)] for r in range(3)]
    assert overlaps(rows, reverse(rows), 5, 3).toarray().tolist() == expected


@given(st.lists(st.integers(0, 9), max_size=10), st.lists(st.integers(0, 9), max_size=10))
def test_distinct_and_among_are_those_of_sets(codes, known):
    ordered = distinct(np.array(known, np.int64))
    assert ordered.tolist() == sorted(set(known))
    assert among(np.array(codes, np.int64), ordered).tolist() == [code in known for code in codes]


@given(FACTS, FACTS)
def test_rows_that_meet_are_those_of_two_loops(rows, others):
    expected = [
        (i, j)
        for i, one in enumerate(rows)
        for j, other in enumerate(others)
        if (one[0], one[2]) == (other[0], other[2])
    ]
    assert list(zip(*(found.tolist() for found in meet(array(rows), array(others), 5)), strict=True)) == expected
