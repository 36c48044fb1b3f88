"""What a report finds, against sets of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmgraph as mg
from mmgraph.builders import Mark
from mmgraph.builders.knowledge_report import Contradiction, Leak, count_leaked, find_leaks
from mmgraph.data.triples import Triples

ENTITY = st.integers(0, 3)
FACTS = st.lists(st.tuples(ENTITY, st.integers(0, 2), ENTITY), max_size=25)


def array(rows):
    return np.array(sorted(set(rows)), np.int64).reshape(-1, 3)


def triples(rows):
    return Triples(*([*column] for column in zip(*rows, strict=True)))


@given(FACTS, FACTS)
def test_leaks_are_those_of_sets_of_pairs(train, test):
    train, test = array(train), array(test)
    pairs = {r: {(h, t) for h, k, t in train.tolist() if k == r and h != t} for r in range(3)}
    expected, leaked = set(), set()
    for r, own in pairs.items():
        for s, other in pairs.items():
            for turned in (True, False):
                theirs = {(t, h) for h, t in other} if turned else other
                both = len(own & theirs)
                if both > 0.8 * max(len(own), len(other)) and (r != s or turned):
                    expected |= {(min(r, s), max(r, s), "symmetric" if r == s else "inverse" if turned else "same")}
                    leaked |= {(h, k, t) for h, k, t in test.tolist() if h != t and k == r and (h, t) in theirs}
    leaks, rows = find_leaks(train, 4, "012")
    assert {(int(one.relation), int(one.other), one.kind) for one in leaks} == expected
    assert len(leaks) == len(expected)
    assert count_leaked(test, train, rows, 4, 3) == len(leaked)


def test_a_share_of_four_fifths_is_not_more():
    heads = [(h, 0, h + 10) for h in range(5)]
    one = array(heads + [(h + 10, 1, h) for h in range(4)])
    assert find_leaks(one, 20, "ab")[0] == []
    six = array([(h, 0, h + 10) for h in range(6)] + [(h + 10, 1, h) for h in range(5)])
    assert find_leaks(six, 20, "ab")[0] == [Leak(relation="a", other="b", kind="inverse", share=pytest.approx(5 / 6))]


def test_leakage_through_an_inverse_is_counted():
    train = [(f"p{n}", "parent", f"c{n}") for n in range(10)] + [(f"c{n}", "child", f"p{n}") for n in range(9)]
    test = [("c9", "child", "p9"), ("c0", "child", "p1")]
    report = mg.KnowledgeGraph.fit({"train": triples(train), "test": triples(test)}).report
    assert report.leaks == (Leak(relation="child", other="parent", kind="inverse", share=0.9),)
    assert report.leaked == {"val": 0, "test": 1}
    assert "test: 1 facts (50.0%) said in training by a relation that gives them away" in report.describe()
    marked = {"child": Mark(inverse_of="parent")}
    report = mg.KnowledgeGraph.fit({"train": triples(train), "test": triples(test)}, marks=marked).report
    assert (report.leaks, report.leaked["test"], report.in_train["test"]) == ((), 0, 1)


def test_contradictions_are_found_over_all_parts():
    train = [("a", "likes", "b"), ("a", "likes", "c"), ("b", "likes", "c"), ("c", "hated_by", "b"), ("d", "hates", "a")]
    marks = {
        "hates": Mark(opposite_of="likes"),
        "likes": Mark(opposite_of="hates", functional=True),
        "hated_by": Mark(inverse_of="hates"),
    }
    test = [("a", "hates", "b")]
    report = mg.KnowledgeGraph.fit({"train": triples(train), "test": triples(test)}, marks=marks).report
    assert report.contradictions == (
        Contradiction(relation="hates", other="likes", count=2, example=("b", "c")),
        Contradiction(relation="likes", other="likes", count=1, example=("a", "b", "c")),
    )
    text = report.describe()
    assert "2 pairs have 'hates' and its opposite 'likes': ('b', 'c')" in text
    assert "1 heads of 'likes', which is functional, have several tails: ('a', 'b', 'c')" in text


def test_an_opposite_may_be_an_inverse():
    train = [("a", "r", "b"), ("b", "q", "a"), ("a", "s", "b")]
    marks = {"s": Mark(inverse_of="r"), "q": Mark(opposite_of="s")}
    report = mg.KnowledgeGraph.fit(triples(train), marks=marks).report
    assert report.contradictions == (Contradiction(relation="q", other="s", count=1, example=("b", "a")),)


def test_counts_of_what_is_odd():
    train = [("a", "r", "b"), ("b", "r", "b"), ("a", "s", "c"), ("a", "r", "b")]
    report = mg.KnowledgeGraph.fit(
        {"train": triples(train), "val": triples([("c", "r", "c"), ("a", "s", "c")])},
        relations=["never"],
        types={"a": ["letter", "vowel"], "b": "letter", "z": "letter"},
    ).report
    assert report.entities == 5  # of which two are types
    assert report.relations == 4
    assert report.duplicates == {"train": 1, "val": 0, "test": 0}
    assert (report.self_loops, report.empty, report.once) == (2, ("never",), ("s",))
    assert (report.types, report.unused_types, report.alone) == (3, 1, 0)
    assert report.in_train == {"val": 1, "test": 0}
    assert report.categories == {"r": "n-1", "s": "1-1", "type": "n-n"}
