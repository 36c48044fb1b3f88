"""The graph of a knowledge graph against sets of named facts; what comes back; what is refused."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mmgraph as mg
from mmgraph.builders import Mark
from mmgraph.data.triples import Triples
from mmgraph.errors import ArtifactError, ConfigError, DataError, SchemaError
from mmgraph.schema.facts import Numbering

NAMES = st.sampled_from(["ann", "bob", "cid", "dee", "eve"])
FACT = st.tuples(NAMES, st.sampled_from(["knows", "likes", "in"]), NAMES)
FACTS = st.lists(FACT, max_size=15)
SOME = st.lists(FACT, min_size=1, max_size=15).filter(lambda rows: len({e for h, _, t in rows for e in (h, t)}) > 1)


def triples(rows, literals=None):
    heads, relations, tails = zip(*rows, strict=True) if rows else ((), (), ())
    return Triples(list(heads), list(relations), list(tails), literals)


def fit(train, val=(), test=(), **options):
    return mg.KnowledgeGraph.fit({"train": triples(train), "val": triples(val), "test": triples(test)}, **options)


def named(knowledge, facts):
    entities, relations = knowledge.entities, knowledge.relations
    return [(entities[h], relations[r], entities[t]) for h, r, t in facts.tolist()]


def edges(knowledge, names):
    """The edges of a graph by the names of their ends; ``names`` are those of each node type."""
    found = {}
    for source, relation, target in knowledge.graph.edge_types:
        heads, tails = knowledge.graph[source, relation, target].edge_index.tolist()
        pairs = [(names[source][h], names[target][t]) for h, t in zip(heads, tails, strict=True)]
        found.setdefault(relation, []).extend(pairs)
    return found


def known(train, rows):
    entities, relations = {e for h, _, t in train for e in (h, t)}, {r for _, r, _ in train}
    return [(h, r, t) for h, r, t in dict.fromkeys(rows) if {h, t} <= entities and r in relations]


@settings(max_examples=40)
@given(SOME, FACTS, FACTS)
def test_training_facts_are_edges_and_all_facts_are_two_queries(train, val, test):
    knowledge = fit(train, val, test)
    assert knowledge.entities == tuple(sorted({e for h, _, t in train for e in (h, t)}))
    assert knowledge.relations == tuple(sorted({r for _, r, _ in train}))
    found = edges(knowledge, {"entity": knowledge.entities})
    for relation in knowledge.relations:
        expected = {(h, t) for h, r, t in train if r == relation}
        assert set(found[relation]) == expected
        assert len(found[relation]) == len(expected)
        assert [(t, h) for h, t in found[relation]] == found["^" + relation]
    parts = {"train": list(dict.fromkeys(train)), "val": known(train, val), "test": known(train, test)}
    query = knowledge.graph["query"]
    total, count = sum(map(len, parts.values())), len(knowledge.relations)
    assert query.num_nodes == 2 * total
    for part, rows in parts.items():
        assert sorted(named(knowledge, knowledge.facts[part])) == sorted(rows)
        mask = query[f"{part}_mask"]
        assert torch.equal(mask[:total], mask[total:])
        asked = torch.stack([query.source, query.relation, query.answer], dim=1)
        assert torch.equal(asked[:total][mask[:total]], knowledge.facts[part])
        turned = knowledge.facts[part].flip(1) + torch.tensor([0, count, 0])
        assert torch.equal(asked[total:][mask[total:]], turned)
    assert sum(query[f"{part}_mask"] for part in parts).tolist() == [1] * 2 * total


@settings(max_examples=40)
@given(SOME, FACTS, FACTS)
def test_triples_come_back_with_what_was_set_aside(train, val, test):
    back = fit(train, val, test).triples()
    for part, rows in (("train", train), ("val", val), ("test", test)):
        assert list(back[part]) == list(dict.fromkeys(rows))


@settings(max_examples=30)
@given(SOME, FACTS, st.randoms(use_true_random=False))
def test_the_order_of_the_facts_changes_only_their_order(train, test, random):
    knowledge, mixed = fit(train, test=test), fit(random.sample(train, len(train)), test=random.sample(test, len(test)))
    assert knowledge.schema == mixed.schema
    assert knowledge.report == mixed.report
    for part, facts in knowledge.facts.items():
        assert sorted(facts.tolist()) == sorted(mixed.facts[part].tolist())


@settings(max_examples=30)
@given(SOME)
def test_numbers_of_facts_are_those_of_the_schema(train):
    knowledge = fit(train)
    numbering = Numbering(knowledge.schema)
    assert torch.equal(numbering.facts(knowledge.graph), knowledge.facts["train"])
    assert numbering.entities == ("entity",)


def test_triples_alone_are_all_for_training():
    knowledge = mg.KnowledgeGraph.fit(triples([("b", "r", "a")]), inverse=False, entity="thing")
    assert knowledge.graph.edge_types == [("thing", "r", "thing")]
    assert knowledge.schema.anchor == "thing"
    assert knowledge.numbers == {"a": 0, "b": 1}
    assert knowledge.graph["query"].relation.tolist() == [0, 1]
    assert knowledge.schema.targets["answer"].classes == ("a", "b")
    assert "x" not in knowledge.graph["thing"]


def test_declared_relations_come_first_and_may_be_empty():
    knowledge = fit([("a", "r", "b")], test=[("a", "z", "b")], relations=["z", "q"])
    assert knowledge.relations == ("z", "q", "r")
    assert knowledge.graph["entity", "^z", "entity"].edge_index.shape == (2, 0)
    assert knowledge.facts["test"].tolist() == [[0, 0, 1]]
    assert knowledge.report.empty == ("z", "q")


def test_pairs_of_a_relation_and_of_its_inverse():
    knowledge = fit([("a", "r", "b"), ("b", "s", "c")], test=[("c", "r", "a")])
    assert {part: pairs.tolist() for part, pairs in knowledge.pairs("r").items()} == {
        "train": [[0, 1]],
        "val": [],
        "test": [[2, 0]],
    }
    assert knowledge.pairs("^r")["test"].tolist() == [[0, 2]]
    with pytest.raises(SchemaError, match="got 'x'"):
        knowledge.pairs("x")


def test_marks_are_written_and_taken_back():
    train = [
        ("a", "wed", "b"),
        ("a", "child", "b"),
        ("b", "parent", "a"),
        ("c", "parent", "a"),
        ("a", "in", "b"),
        ("b", "in", "c"),
    ]
    marks = {"wed": Mark(symmetric=True), "parent": Mark(inverse_of="child"), "in": Mark(transitive=True)}
    knowledge = fit(train, test=[("b", "wed", "a"), ("b", "parent", "a"), ("c", "in", "a")], marks=marks)
    assert knowledge.relations == ("child", "in", "wed")
    written = {("a", "wed", "b"), ("b", "wed", "a"), ("a", "child", "b"), ("a", "child", "c")}
    written |= {("a", "in", "b"), ("b", "in", "c"), ("a", "in", "c")}
    assert set(named(knowledge, knowledge.facts["train"])) == written
    assert len(knowledge.facts["train"]) == len(written)
    assert named(knowledge, knowledge.facts["test"]) == [("b", "wed", "a"), ("a", "child", "b"), ("c", "in", "a")]
    assert list(knowledge.triples()["train"]) == train
    report = knowledge.report
    assert report.restated == {"train": 1, "val": 0, "test": 0}
    assert report.derived == {"symmetric": 1, "transitive": 1}
    assert (report.in_train["test"], report.implied["test"]) == (1, 1)
    assert report.facts == {"train": 5, "val": 0, "test": 3}


def test_unknown_names_are_set_aside_or_refused():
    train, test = [("a", "r", "b")], [("a", "r", "new"), ("a", "other", "b"), ("b", "r", "a")]
    report = fit(train, test=test).report
    assert (report.unknown["test"], report.unknown_entities, report.unknown_relations) == (2, ("new",), ("other",))
    assert report.facts["test"] == 1
    with pytest.raises(DataError, match=r"\{'test': 2\} have not: entities \['new'\], relations \['other'\]"):
        fit(train, test=test, unknown="error")
    assert fit(train, test=test[2:], unknown="error").report.unknown["test"] == 0


def test_unknown_names_are_counted_and_five_are_named():
    train, test = [("a", "r", "b")], [("b", "r", "a"), *(("a", f"s{n}", f"e{n:02}") for n in range(9))]
    report = fit(train, test=test).report
    assert (report.unknown["test"], report.num_unknown_entities, report.num_unknown_relations) == (9, 9, 9)
    assert report.unknown_entities == ("e00", "e01", "e02", "e03", "e04")
    lines = report.describe().splitlines()
    assert "5 of 9 unknown entities: 'e00', 'e01', 'e02', 'e03', 'e04'" in lines
    text = "test: 9 of 10 facts (90.0%) set aside, in no metric: their entity or relation is in no training fact"
    assert text in lines
    message = r"5 of 9 entities \['e00', .*'e04'\], 5 of 9 relations \['s0', .*'s4'\]; give entities"
    with pytest.raises(DataError, match=message):
        fit(train, test=test, unknown="error")


def test_literals_come_back():
    table = {"entity": ["a"], "property": ["height"], "value": ["1.8"], "unit": ["m"]}
    knowledge = mg.KnowledgeGraph.fit(triples([("a", "r", "b")], literals=pa.table(table)))
    assert knowledge.triples()["train"].literals.column("unit").to_pylist() == ["m"]


@pytest.mark.parametrize("literals", [None, pa.table({"entity": ["a"], "property": ["p"], "value": ["1"]})])
def test_a_graph_is_saved_whole(tmp_path, literals):
    parts = {
        "train": triples([("a", "r", "b"), ("b", "r", "b"), ("a", "r", "b")], literals),
        "test": triples([("q", "r", "a")]),
    }
    knowledge = mg.KnowledgeGraph.fit(parts, types={"a": "letter"}, marks={"r": Mark(functional=True)})
    knowledge.save(tmp_path / "kg")
    loaded = mg.KnowledgeGraph.load(tmp_path / "kg")
    assert loaded.schema == knowledge.schema
    assert loaded.report == knowledge.report
    assert loaded.triples() == knowledge.triples()
    assert loaded.relations == knowledge.relations
    assert loaded.marks == knowledge.marks
    for part in ("train", "val", "test"):
        assert torch.equal(loaded.facts[part], knowledge.facts[part])
    for one, other in zip(loaded.graph.stores[1:], knowledge.graph.stores[1:], strict=True):
        assert one.to_dict().keys() == other.to_dict().keys()
    assert torch.equal(loaded.graph["query"].answer, knowledge.graph["query"].answer)


def test_a_damaged_or_foreign_folder_is_refused(tmp_path):
    knowledge = fit([("a", "r", "b")])
    knowledge.save(tmp_path / "kg")
    (tmp_path / "kg" / "knowledge.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"knowledge\.json' is damaged"):
        mg.KnowledgeGraph.load(tmp_path / "kg")
    from mmgraph.files import seal

    seal(tmp_path / "kg")
    with pytest.raises(ArtifactError, match=r"must have the format 'mmgraph\.knowledge/1', got None"):
        mg.KnowledgeGraph.load(tmp_path / "kg")


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (DataError, r"among \['train', 'val', 'test'\], got 'valid'", {"triples": {"train": None, "valid": None}}),
        (DataError, r"must have a part 'train', got \['test'\]", {"triples": {"test": triples([])}}),
        (DataError, "of 'train' must be Triples, got list", {"triples": {"train": []}}),
        (DataError, "at least 1 fact in training, got none", {"triples": triples([])}),
        (DataError, r"at least 2 entities, got \['a'\]", {"triples": triples([("a", "r", "a")])}),
        (ConfigError, "got 'of'; rename", {"triples": triples([("a", "of", "b")])}),
        (ConfigError, r"begin with '\^' or hold '\|', got '\^r'", {"triples": triples([("a", "^r", "b")])}),
        (ConfigError, r"got 'r\|s'", {"triples": triples([("a", "r|s", "b")])}),
        (ConfigError, "unknown must be 'aside' or 'error', got 'drop'", {"unknown": "drop"}),
        (ConfigError, "types_as must be 'edges' or 'nodes', got 'rows'", {"types_as": "rows"}),
        (ConfigError, r"of the training facts, \['r', 's'\], got 'x'", {"marks": {"x": Mark()}}),
        (ConfigError, "got 'y'", {"marks": {"r": Mark(opposite_of="y")}}),
        (ConfigError, "'r' must not be its own inverse", {"marks": {"r": Mark(inverse_of="r")}}),
    ],
)
def test_what_is_refused(error, message, options):
    options = {"triples": triples([("a", "r", "b"), ("b", "s", "a")]), **options}
    with pytest.raises(error, match=message):
        mg.KnowledgeGraph.fit(**options)


def test_a_view_for_training_has_no_answer_of_test():
    knowledge = fit([("a", "r", "b")], test=[("b", "r", "a")])
    seen = mg.view(knowledge.graph, knowledge.schema, labels={"answer": knowledge.graph["query"].train_mask})
    assert seen["query"].answer.tolist() == [1, -1, 0, -1]


def test_the_report_is_plain_and_says_what_there_is():
    train = [("a", "r", "b"), ("a", "r", "b"), ("b", "s", "b"), ("c", "t", "d"), ("d", "t", "c")]
    knowledge = fit(train, val=[("a", "r", "b")], test=[("x", "r", "b")], types={"zoe": "person"})
    values = json.loads(json.dumps(knowledge.report.to_dict()))
    assert type(knowledge.report).from_dict(values) == knowledge.report
    text = knowledge.report.describe()
    for line in (
        "4 entities, 3 relations; facts: 4 train, 1 val, 0 test",
        "train: 1 facts repeated and dropped",
        "test: 1 of 1 facts (100.0%) set aside, in no metric: their entity or relation is in no training fact",
        "val: 1 facts (100.0%) also in training",
        "1 unknown entities: 'x'",
        "symmetric in the data: 't', 100% of pairs; Mark(symmetric=True) says so",
        "1 types are of entities that are not there",
        "1 facts join an entity with itself",
        "relations with one training fact: r, s",
        "relations by category: 3 1-1",
    ):
        assert line in text.splitlines()


def test_numbers_are_whole_and_long():
    knowledge = fit([("a", "r", "b")])
    assert knowledge.facts["train"].dtype == torch.int64
    assert knowledge.stated.facts["train"].dtype == np.int64
    assert knowledge.graph["query"].source.dtype == torch.int64


def test_named_facts_have_the_numbers_of_the_graph():
    knowledge = fit([("bob", "knows", "ann"), ("cid", "likes", "bob")])
    asked = triples([("ann", "likes", "cid"), ("zoe", "knows", "bob"), ("bob", "^knows", "ann"), ("bob", "in", "yan")])
    facts, known = knowledge.facts_of(asked, unknown="aside")
    assert known.tolist() == [True, False, True, False]
    assert named(knowledge, facts[:1]) == [("ann", "likes", "cid")]
    assert facts[1].tolist() == [1, 2, 0]
    message = r"but 2 of 4 do not: 2 unknown entities \['zoe', 'yan'\], 1 relations \['in'\]; fit the graph with them"
    with pytest.raises(DataError, match=message):
        knowledge.facts_of(asked)
    with pytest.raises(ConfigError, match="unknown must be 'aside' or 'error', got 'skip'"):
        knowledge.facts_of(asked, unknown="skip")
    assert [part.shape for part in knowledge.facts_of(triples([]))] == [(0, 3), (0,)]


def test_named_facts_may_be_said_by_a_marked_inverse():
    given = triples([("ann", "parent", "bob"), ("bob", "child", "ann"), ("bob", "parent", "cid")])
    knowledge = mg.KnowledgeGraph.fit(given, marks={"child": Mark(inverse_of="parent")})
    said = triples(
        [("bob", "child", "ann"), ("bob", "^parent", "ann"), ("ann", "^child", "bob"), ("ann", "parent", "bob")]
    )
    assert knowledge.facts_of(said)[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]]


@given(train=SOME, asked=FACTS)
def test_named_facts_are_those_that_the_graph_can_name(train, asked):
    knowledge = fit(train)
    facts, known = knowledge.facts_of(triples(asked), unknown="aside")
    entities, relations = {e for h, _, t in train for e in (h, t)}, {r for _, r, _ in train}
    can = [h in entities and r in relations and t in entities for h, r, t in asked]
    assert known.tolist() == can
    assert named(knowledge, facts) == [row for row, there in zip(asked, can, strict=True) if there]
