"""Graphs as text and back; triples counted by hand, and by a slow loop that crosses off what it has used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional.triples import linearise, read_triples, triple_counts, triple_scores

NAMES = st.text("abc é'", min_size=1).filter(str.strip)
TRIPLES = st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=4)


@given(TRIPLES)
def test_what_is_written_is_read(triples):
    assert read_triples(linearise(triples)) == [tuple(" ".join(name.split()) for name in one) for one in triples]


@given(st.text(max_size=40))
def test_any_text_can_be_read(text):
    assert all(any(part) for part in read_triples(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | r | b", [("a", "r", "b")]),
        ("a|r|b ;; ; c | r |  d  e ", [("a", "r", "b"), ("c", "r", "d e")]),
        ("a | r", [("a", "r")]),
        ("a | r | b | c", [("a", "r", "b", "c")]),
        ("a | | b", [("a", "", "b")]),
        ("no graph", [("no graph",)]),
        (" ; | ; ", []),
    ],
)
def test_what_is_no_triple_is_kept_as_it_is(text, expected):
    assert read_triples(text) == expected


@pytest.mark.parametrize("triple", [("a", "r"), ("a", " ", "b"), ("a", "r|s", "b"), ("a", "r", "b;c")])
def test_names_that_could_not_be_read_again_are_not_written(triple):
    with pytest.raises(ValueError, match=r"three names that are not empty and without '\|' and ';', got \('a'"):
        linearise([("x", "y", "z"), triple])


def crossed_off(found, truth):
    left, right = list(truth), 0
    for one in found:
        if one in left:
            left.remove(one)
            right += 1
    return right, len(found), len(truth)


FEW = st.lists(st.tuples(*[st.sampled_from("ab")] * 3) | st.tuples(st.sampled_from("ab")), max_size=6)


@given(FEW, FEW)
def test_a_triple_counts_as_often_as_it_is_in_both(found, truth):
    assert triple_counts(found, truth) == crossed_off(found, truth)


@given(FEW, FEW)
def test_finding_and_truth_change_places_with_precision_and_recall(found, truth):
    there, back = (triple_scores([triple_counts(*pair)]) for pair in ((found, truth), (truth, found)))
    assert there["triple_precision"] == back["triple_recall"]
    assert there["triple_f1"] == back["triple_f1"]


def test_scores_of_a_worked_example():
    truth = [[("a", "r", "b"), ("b", "r", "c")], [("c", "s", "d")]]
    found = [[("b", "r", "c"), ("b", "r", "c"), ("a", "s", "b")], []]
    counts = [triple_counts(*pair) for pair in zip(found, truth, strict=True)]
    assert counts == [(1, 3, 2), (0, 0, 1)]
    assert triple_scores(counts) == {"triple_precision": 1 / 3, "triple_recall": 1 / 3, "triple_f1": 1 / 3}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], (1, 1, 1)),
        ([(0, 0, 0)], (1, 1, 1)),
        ([(0, 0, 3)], (0, 0, 0)),
        ([(0, 2, 0)], (0, 0, 0)),
        ([(2, 2, 4)], (1, 0.5, 2 / 3)),
    ],
)
def test_where_there_is_nothing_to_find(counts, expected):
    assert tuple(triple_scores(counts)[f"triple_{name}"] for name in ("precision", "recall", "f1")) == expected
