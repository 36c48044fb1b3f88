"""What relations give away, against sets of pairs; and the splits at which it must be seen."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmgraph as mg
from mmgraph.builders import KnowledgeReport, Mark
from mmgraph.builders.knowledge_leaks import Exposure, Leak, find_exposed, find_leaks
from mmgraph.data.triples import Triples

ENTITY = st.integers(0, 4)
FACTS = st.lists(st.tuples(ENTITY, st.integers(0, 2), ENTITY), max_size=25)


def array(rows):
    return np.array(sorted(set(rows)), np.int64).reshape(-1, 3)


def triples(rows):
    return Triples(*([*column] for column in zip(*rows, strict=True)))


def fit(train, test, **options):
    return mg.KnowledgeGraph.fit({"train": triples(train), "test": triples(test)}, **options).report


@given(FACTS)
def test_leaks_are_those_of_sets_of_pairs(train):
    pairs = {r: {(h, t) for h, k, t in train if k == r and h != t} for r in range(3)}
    expected, rows = set(), set()
    for r, own in pairs.items():
        for s, other in pairs.items():
            for turned in (1, 0):
                both = len(own & ({(t, h) for h, t in other} if turned else other))
                if both > 0.8 * max(len(own), len(other)) and (r != s or turned):
                    expected |= {(min(r, s), max(r, s), "symmetric" if r == s else "inverse" if turned else "same")}
                    rows |= {(r, s, turned)}
    leaks, found = find_leaks(array(train), 5, "012")
    assert {(int(one.relation), int(one.other), one.kind) for one in leaks} == expected
    assert len(leaks) == len(expected)
    assert set(map(tuple, found.tolist())) == rows


def chance(facts, other, met):
    """How many of some facts ``(a, b)`` the pairs of a relation join by their degrees alone."""
    total = 0.0
    for a, b in facts:
        rest = other - {(a, b)} if (a, b) in met else other
        out, into = sum(one == a for one, _ in rest), sum(one == b for _, one in rest)
        total += min(1.0, out * into / max(len(rest), 1))
    return total / len(facts)


def exposed(held, known, train, leaks):
    """Exposures and leaked facts of a part, by loops over sets."""
    found, leaked = set(), set()
    apart = [fact for fact in held if fact[0] != fact[2]]
    for r in range(3):
        own = [(h, t) for h, k, t in apart if k == r]
        for s in range(3):
            for turned in (1, 0):
                if not own or (r == s and not turned):
                    continue
                other, trained = (
                    {((t, h) if turned else (h, t)) for h, k, t in some if k == s and h != t} for some in (known, train)
                )
                met, count = set(own) & other, len(set(own) & trained)
                by_chance, size = chance(own, other, met), len(own)
                spread = (max(by_chance * (1 - by_chance), 0) / size) ** 0.5
                high = len(met) / size >= by_chance + max((1 - by_chance) / 2, 2 * spread) - 1e-9
                if count and high:
                    found.add((r, s, turned, count, count / size))
                if high or (r, s, turned) in leaks:
                    leaked |= {(h, r, t) for h, t in own if (h, t) in trained}
    return found, leaked


@given(FACTS, FACTS, FACTS)
def test_what_is_exposed_is_that_of_sets_of_pairs(train, val, test):
    held = {"val": array(val), "test": array(test)}
    known = array(train + val + test)
    trained = np.array([tuple(fact) in set(train) for fact in known.tolist()], bool)
    leaks = find_leaks(array(train), 5, "012")[1]
    found, leaked = find_exposed(held, known, trained, leaks, 5, "012")
    assert [one.count for one in found] == sorted((one.count for one in found), reverse=True)
    rows = set(map(tuple, leaks.tolist()))
    for part, facts in (("val", val), ("test", test)):
        expected, said = exposed(set(facts), set(train + val + test), set(train), rows)
        assert leaked[part] == len(said)
        assert {one for one in found if one.part == part} == {
            Exposure(
                part=part,
                relation=str(r),
                other=str(s),
                kind="symmetric" if r == s else "inverse" if turned else "same",
                count=count,
                share=share,
            )
            for r, s, turned, count, share in expected
        }


@pytest.mark.parametrize("shares", [(0.8, 0.1), (0.7, 0.15), (0.6, 0.2), (0.3, 0.4)])
@pytest.mark.parametrize("seed", range(3))
def test_an_inverse_is_seen_however_its_facts_are_split(shares, seed):
    facts = [(f"p{n}", "parent", f"c{n}") for n in range(500)] + [(f"c{n}", "child", f"p{n}") for n in range(500)]
    order = np.random.default_rng(seed).permutation(len(facts))
    stops = np.cumsum(np.multiply(shares, len(facts)).astype(int))
    parts = dict(zip(("train", "val", "test"), np.split(order, stops), strict=True))
    named = {part: [facts[row] for row in rows] for part, rows in parts.items()}
    report = mg.KnowledgeGraph.fit({part: triples(rows) for part, rows in named.items()}).report
    train = set(named["train"])
    turned = [(t, {"parent": "child", "child": "parent"}[r], h) in train for h, r, t in named["test"]]
    assert report.leaks == ()  # training alone does not show it
    assert report.leaked["test"] == sum(turned) > 0.2 * len(turned)
    assert {(one.relation, one.other, one.kind) for one in report.exposed if one.part == "test"} == {
        ("parent", "child", "inverse"),
        ("child", "parent", "inverse"),
    }


def test_an_inverse_of_a_few_facts_is_seen():
    train = [(f"p{n}", "parent", f"c{n}") for n in range(100)] + [(f"c{n}", "child", f"p{n}") for n in range(10)]
    report = fit(train, [(f"c{n}", "child", f"p{n}") for n in range(10, 60)])
    assert report.leaks == ()
    assert report.exposed == (
        Exposure(part="test", relation="child", other="parent", kind="inverse", count=50, share=1.0),
    )
    assert report.leaked == {"val": 0, "test": 50}
    assert "test: 50 facts of 'child' (100%) stand in training from tail to head as 'parent'" in report.describe()


@pytest.mark.parametrize("pairs", [1, 2, 40])
def test_what_is_symmetric_and_said_one_way_is_seen(pairs):
    spouses = [(f"a{n}", "spouse", f"b{n}") for n in range(pairs)]
    report = fit(spouses, [(b, r, a) for a, r, b in spouses])
    one = Exposure(part="test", relation="spouse", other="spouse", kind="symmetric", count=pairs, share=1.0)
    assert (report.leaks, report.exposed, report.leaked["test"]) == ((), (one,), pairs)


def test_a_relation_that_is_part_of_another_is_seen():
    train = [(f"p{n}", "parent", f"c{n}") for n in range(30)] + [("p0", "mother", "c0")]
    report = fit(train, [(f"p{n}", "mother", f"c{n}") for n in range(1, 5)] + [("p0", "mother", "c9")])
    assert report.exposed == (
        Exposure(part="test", relation="mother", other="parent", kind="same", count=4, share=0.8),
    )
    assert "test: 4 facts of 'mother' (80%) stand in training as 'parent'" in report.describe().splitlines()


def test_degrees_alone_expose_nothing():
    generator = np.random.default_rng(0)
    names = [f"e{n}" for n in range(12)]
    drawn = [(a, r, b) for a in names for b in names for r in "rs" if a != b and generator.random() < 0.6]
    order = generator.permutation(len(drawn))
    train, test = ([drawn[row] for row in rows] for rows in np.split(order, [len(drawn) * 9 // 10]))
    report = fit(train, test)
    assert (report.exposed, report.leaked["test"]) == ((), 0)
    kinds = [(f"p{n}", "sex", "fm"[n % 2]) for n in range(80)] + [
        (f"p{n}", "hand", "fm"[n // 2 % 2]) for n in range(40)
    ]
    report = fit(kinds, [(f"p{n}", "hand", "fm"[n // 2 % 2]) for n in range(40, 80)])  # both have two tails: half agree
    assert (report.exposed, report.leaked["test"]) == ((), 0)


def test_few_relations_of_many_are_named():
    train = [(f"p{n}", f"r{n:02}", f"c{n}") for n in range(12)]
    text = fit(train, [(c, r, p) for p, r, c in train]).describe().splitlines()
    assert sum("stand in training from tail to head" in line for line in text) == 5
    assert "test: and so 7 more pairs of relations: see exposed" in text
    both = [fact for n in range(22) for fact in ((f"p{n}", f"r{n:02}", f"c{n}"), (f"c{n}", f"r{n:02}", f"p{n}"))]
    text = mg.KnowledgeGraph.fit(triples(both)).report.describe().splitlines()
    assert sum("symmetric in the data" in line for line in text) == 20
    assert "and so 2 more pairs of relations: see leaks" in text


def test_a_report_of_before_is_read():
    report = fit([("a", "r", "b")], [("b", "r", "a")])
    values = json.loads(json.dumps(report.to_dict()))
    assert KnowledgeReport.from_dict(values) == report
    for key in ("exposed", "num_unknown_entities", "num_unknown_relations"):
        del values[key]
    before = KnowledgeReport.from_dict(values)
    assert (before.exposed, before.num_unknown_entities, before.facts) == ((), 0, report.facts)


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
