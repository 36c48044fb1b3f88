"""What a report finds."""

import json

import mmgraph as mg
from mmgraph.builders import KnowledgeReport, Mark
from mmgraph.builders.knowledge_report import Contradiction
from mmgraph.data.triples import Triples


def triples(rows):
    return Triples(*([*column] for column in zip(*rows, strict=True)))


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


def test_an_asymmetric_relation_has_one_direction_and_no_self_loop():
    train = [
        ("a", "parent", "b"),
        ("b", "child", "c"),
        ("b", "parent", "a"),
        ("d", "parent", "d"),
        ("c", "parent", "a"),
    ]
    marks = {"parent": Mark(asymmetric=True), "child": Mark(inverse_of="parent")}
    report = mg.KnowledgeGraph.fit(
        {"train": triples(train), "test": triples([("b", "parent", "c")])}, marks=marks
    ).report
    one = Contradiction(relation="parent", other="^parent", count=3, example=("a", "b"))  # a and b, b and c, d
    assert report.contradictions == (one,)
    assert "3 pairs have 'parent', which is asymmetric, both ways: ('a', 'b')" in report.describe().splitlines()
    assert KnowledgeReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert mg.KnowledgeGraph.fit(triples(train[-1:]), marks={"parent": marks["parent"]}).report.contradictions == ()


def test_what_can_be_done_about_a_leak_is_said():
    train = [
        fact for n in range(9) for fact in ((f"a{n}", "r", f"b{n}"), (f"a{n}", "s", f"b{n}"), (f"b{n}", "t", f"a{n}"))
    ]
    lines = mg.KnowledgeGraph.fit(triples(train)).report.describe().splitlines()
    for line in (
        "same in the data: 'r' and 's', 100% of pairs; call both 's' in the triples, or leave one out",
        "inverse in the data: 'r' and 't', 100% of pairs; Mark(inverse_of='t') of 'r' says so",
    ):
        assert line in lines


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
