"""Two graphs as one: links that are facts, payloads that move along, entities that become one."""

import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.builders import Mark, align, match_names, merge
from mmgraph.data.triples import Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec

SIDES = ("first", "second")


def triples(*rows):
    return Triples(*([*column] for column in zip(*rows, strict=True)))


def named(knowledge, part):
    entities, relations = knowledge.entities, knowledge.relations
    return {(entities[h], relations[r], entities[t]) for h, r, t in knowledge.facts[part].tolist()}


def graph_of(names, owners, *, channels=1, target=False):
    """Entities, some with a text whose feature is its row plus a half; chained texts do not matter here."""
    graph = HeteroData()
    graph["entity"].num_nodes = len(names)
    graph["text"].x = torch.arange(len(owners), dtype=torch.float)[:, None].repeat(1, channels) + 0.5
    graph["text", "of", "entity"].edge_index = torch.stack([torch.arange(len(owners)), torch.tensor(owners)])
    targets = {}
    if target:
        graph["entity"].y = torch.arange(len(names)) % 2
        targets["kind"] = TargetSpec(node="entity", kind="binary", classes=("a", "b"))
    nodes = {"entity": NodeSpec(), "text": NodeSpec(modality="text", channels=channels)}
    return (
        graph,
        Schema(nodes=nodes, edges={("text", "of", "entity"): EdgeSpec()}, targets=targets, anchor="entity"),
        names,
    )


@pytest.fixture
def first():
    given = {"train": triples(("a", "r", "b"), ("b", "r", "c")), "test": triples(("c", "r", "a"))}
    return mg.KnowledgeGraph.fit(given, payloads=graph_of(["a", "b", "c"], [1, 2], target=True))


@pytest.fixture
def second():
    given = {"train": triples(("a", "s", "B"), ("B", "r", "D"))}
    return mg.KnowledgeGraph.fit(given, payloads=graph_of(["D", "B", "a"], [0]))


def test_graphs_side_by_side(first, second):
    links = {"train": [("b", "B")], "val": [("a", "a")], "test": [("c", "D")]}
    both = align(first, second, links, names=("left", "right"))
    assert both.entities == ("left:a", "left:b", "left:c", "right:D", "right:B", "right:a")
    assert both.relations == ("r", "s", "same")
    assert both.graph.node_types == ["left", "text", "right", "query"]
    assert both.graph["text"].x.flatten().tolist() == [0.5, 1.5, 0.5]
    assert both.graph["text", "of", "left"].edge_index.tolist() == [[0, 1], [1, 2]]
    assert both.graph["text", "of", "right"].edge_index.tolist() == [[2], [0]]
    assert both.graph["right", "r", "right"].edge_index.tolist() == [[1], [0]]
    assert both.graph["left", "same", "right"].edge_index.tolist() == [[1], [1]]
    assert both.graph["right", "^same", "left"].edge_index.tolist() == [[1], [1]]
    pairs = {part: own.tolist() for part, own in both.pairs("same").items()}
    assert pairs == {"train": [[1, 4]], "val": [[0, 5]], "test": [[2, 3]]}
    assert ("left:c", "r", "left:a") in named(both, "test")
    assert both.schema.targets["left kind"].node == "left"
    assert both.graph["left"].y.tolist() == [0, 1, 0]
    assert "right kind" not in both.schema.targets
    assert first.graph.node_types == ["entity", "text", "query"]


def test_types_move_along(first):
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), types={"x": "t"})
    both = align(first, other, [("a", "x")])
    assert both.entities[3:] == ("second:x", "second:y", "second:t")
    assert both.graph["second entity", "type", "second class"].edge_index.tolist() == [[0], [0]]
    assert named(both, "train") >= {("second:x", "type", "second:t"), ("first:a", "same", "second:x")}


def test_linked_entities_become_one(first, second):
    merged = merge(first, second, [("b", "B"), ("a", "a")])
    assert merged.entities == ("a", "b", "c", "D")
    assert merged.graph["text"].x.flatten().tolist() == [0.5, 1.5, 0.5]
    assert merged.graph["text", "of", "entity"].edge_index.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert named(merged, "train") == {("a", "r", "b"), ("b", "r", "c"), ("a", "s", "b"), ("b", "r", "D")}
    assert named(merged, "test") == {("c", "r", "a")}
    assert merged.graph["entity"].y.tolist() == [0, 1, 0, -1]
    assert merged.schema.targets["kind"].node == "entity"


def test_merged_facts_are_there_once():
    one, other = (mg.KnowledgeGraph.fit(triples(("a", "r", "b"))) for _ in range(2))
    merged = merge(one, other, [("a", "a"), ("b", "b")])
    assert merged.facts["train"].tolist() == [[0, 0, 1]]
    assert merged.report.duplicates["train"] == 1


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ConfigError, r"different names, got \('x', 'x'\)", lambda a, b: align(a, b, [], names=("x", "x"))),
        (ConfigError, "got 's', which is in 'second'", lambda a, b: align(a, b, [], relation="s")),
        (
            DataError,
            "Links of 'test' must join .* got 'zoe', which the second has not",
            lambda a, b: align(a, b, {"test": [("a", "zoe")]}),
        ),
        (DataError, r"among \['train', 'val', 'test'\], got 'dev'", lambda a, b: align(a, b, {"dev": []})),
        (DataError, "got 'D', which the first has not", lambda a, b: merge(a, b, [("D", "a")])),
        (DataError, "got 'a' of the first graph 2 times", lambda a, b: merge(a, b, [("a", "a"), ("a", "B")])),
        (DataError, "got 'B' of the second graph 2 times", lambda a, b: align(a, b, [("a", "B"), ("b", "B")])),
        (
            DataError,
            r"got 'a' of the first graph 2 times, in \['train', 'test'\]; keep one of its links",
            lambda a, b: align(a, b, {"test": [("a", "B")], "train": [("a", "B")]}),
        ),
        (DataError, "got 'a' in both graphs; link or rename it", lambda a, b: merge(a, b, [("b", "B")])),
    ],
)
def test_what_is_refused(first, second, error, message, call):
    with pytest.raises(error, match=message):
        call(first, second)


def test_payloads_of_one_type_are_of_one_kind(first):
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), payloads=graph_of(["x", "y"], [0], channels=2))
    said = (
        "Nodes 'text' of two graphs must have features of one kind, .* give build_graph of one the other's encoder, "
        r"encoders=\{'text': other.encoder\('text'\)\}, or name"
    )
    with pytest.raises(DataError, match=said):
        align(first, other, [])


def test_what_the_error_about_features_says_helps():
    """Encoders that are fitted differ from graph to graph, unless one is given to both."""
    pytest.importorskip("sklearn")
    columns = {"bio": "text", "born": "numeric"}
    config = mg.GraphConfig(nodes={"entity": {"table": "people", "key": "id", "columns": columns}})
    people = [
        pa.table({"id": ["a", "b"], "bio": ["Paints boats.", "Sings."], "born": [1984, 1990]}),
        pa.table({"id": ["x", "y"], "bio": ["Malt Boote.", "Paints boats."], "born": [1985, 1960]}),
    ]
    sources = [mg.Source(config, {"people": table}) for table in people]
    built = [mg.build_graph(source) for source in sources]
    facts = [triples(("a", "r", "b")), triples(("x", "r", "y"))]

    def both(*payloads):
        graphs = [mg.KnowledgeGraph.fit(given, payloads=one) for given, one in zip(facts, payloads, strict=True)]
        return align(*graphs, [("a", "x")])

    with pytest.raises(DataError, match="give build_graph of one the other's encoder"):
        both(*built)
    shared = {node: built[0].encoder(node) for node in ("bio", "table")}
    graph = both(built[0], mg.build_graph(sources[1], encoders=shared)).graph
    assert graph["bio"].num_nodes == graph["table"].num_nodes == 4
    assert torch.equal(graph["bio"].x[0], graph["bio"].x[3])


def typed(*rows, **types):
    return mg.KnowledgeGraph.fit(triples(*rows), types=types)


def test_graphs_with_types_are_merged():
    one = typed(("a", "in", "b"), a="city", b="land")
    other = typed(("B", "near", "c"), B="land", c="city")
    merged = merge(one, other, [("b", "B")])
    assert merged.graph.node_types == ["entity", "class", "query"]
    assert merged.entities == ("a", "b", "c", "city", "land")
    assert named(merged, "train") == {
        ("a", "in", "b"),
        ("b", "near", "c"),
        *((name, "type", kind) for name, kind in {"a": "city", "b": "land", "c": "city"}.items()),
    }
    assert [*merged.triples()["train"]] == [("a", "in", "b"), ("b", "near", "c")]


def test_types_that_are_node_types_are_merged_by_name():
    one = mg.KnowledgeGraph.fit(triples(("a", "in", "b")), types={"a": "city", "b": "land"}, types_as="nodes")
    other = mg.KnowledgeGraph.fit(
        triples(("C", "in", "B"), ("B", "has", "s")), types={"C": "city", "B": "land", "s": "sea"}, types_as="nodes"
    )
    merged = merge(one, other, [("b", "B")])
    assert merged.graph.node_types == ["city", "land", "sea", "query"]
    assert merged.entities == ("a", "C", "b", "s")
    assert merged.graph["city", "in", "land"].edge_index.tolist() == [[0, 1], [0, 0]]
    assert merged.graph["land", "has", "sea"].edge_index.tolist() == [[0], [0]]
    with pytest.raises(DataError, match="must be of one node type, got 'a' and 'B' of 'land'"):
        merge(one, other, [("a", "B")])


def test_entities_with_features_of_their_own_are_not_merged(first):
    graph = HeteroData()
    graph["entity"].x = torch.ones(2, 3)
    schema = Schema(nodes={"entity": NodeSpec(channels=3)}, anchor="entity")
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), payloads=(graph, schema, ["x", "y"]))
    with pytest.raises(DataError, match="need no features of their own, but 'entity' of the second graph has 'x'"):
        merge(first, other, [])


MARKS = {"child": Mark(inverse_of="parent"), "near": Mark(symmetric=True)}


@pytest.fixture
def said():
    """What two graphs are given: facts by inverse and symmetric relations, some that are set aside, literals."""
    born = {"entity": ["ann", "zoe"], "property": ["born", "born"], "value": ["1984", "1990"]}
    left = triples(("ann", "parent", "bob"), ("cid", "child", "bob"), ("ann", "near", "cid"))
    one = {
        "train": Triples(left.heads, left.relations, left.tails, born),
        "val": triples(("zoe", "near", "ann")),
        "test": triples(("cid", "near", "bob"), ("ann", "likes", "bob")),
    }
    note = {"entity": ["Ann"], "property": ["note"], "value": ["Malt."], "language": ["de"]}
    right = triples(("Bob", "child", "Ann"), ("Bob", "near", "Dee"))
    other = {"train": Triples(right.heads, right.relations, right.tails, note), "test": triples(("Dee", "near", "Yan"))}
    return one, other


def renamed(given, rename):
    literals = given.literals
    if literals is not None:
        columns = literals.to_pydict()
        literals = {**columns, "entity": [rename(name) for name in columns["entity"]]}
    columns = ([rename(name) for name in given.heads], given.relations, [rename(name) for name in given.tails])
    return Triples(*columns, literals)


def side_by_side(one, other, links):
    """What two graphs were given, and the links."""
    nothing = Triples([], [], [])
    return {
        part: renamed(one.get(part, nothing), "first:{}".format).concat(
            renamed(other.get(part, nothing), "second:{}".format),
            Triples(*zip(*((f"first:{a}", "same", f"second:{b}") for a, b in links[part]), strict=True))
            if links.get(part)
            else nothing,
        )
        for part in ("train", "val", "test")
    }


def test_graphs_side_by_side_give_back_what_either_was_given(said):
    one, other = said
    graphs = mg.KnowledgeGraph.fit(one, marks=MARKS), mg.KnowledgeGraph.fit(other, marks={"near": MARKS["near"]})
    links = {"train": [("ann", "Ann")], "test": [("bob", "Bob")]}
    both = align(*graphs, links)
    assert both.triples() == side_by_side(one, other, links)
    assert both.marks == MARKS
    assert both.relations == ("near", "parent", "same")
    assert ("second:Ann", "parent", "second:Bob") in named(both, "train")
    assert ("second:Dee", "near", "second:Bob") in named(both, "train")
    assert both.report.derived["symmetric"] == 2
    assert both.report.unknown == {"train": 0, "val": 1, "test": 2}


NAMES, KINDS = st.sampled_from("abcd"), st.sampled_from(["r", "s", "child", "parent"])
FACTS = st.lists(st.tuples(NAMES, KINDS, NAMES), min_size=1, max_size=6, unique=True)
PARTS = st.fixed_dictionaries({"train": FACTS, "test": FACTS})


@given(PARTS, PARTS)
def test_whatever_two_graphs_were_given_comes_back(one, other):
    parts, graphs, ends = [], [], []
    for rows in (one, other):
        ends.append(sorted({name for head, _, tail in rows["train"] for name in (head, tail)}))
        assume(len(ends[-1]) > 1)
        parts.append({part: triples(*own) for part, own in rows.items()})
        known = {"child", "parent"} <= {relation for _, relation, _ in rows["train"]}
        marks = {"child": Mark(inverse_of="parent")} if known else {}
        graphs.append(mg.KnowledgeGraph.fit(parts[-1], marks=marks))
    links = {"test": [(ends[0][0], ends[1][-1])]}
    both = align(*graphs, links)
    assert both.triples() == side_by_side(*parts, links)
    assert [*both.entities] == [f"{side}:{name}" for side, own in zip(SIDES, ends, strict=True) for name in own]


def test_merged_graphs_give_back_what_either_was_given(said, tmp_path):
    one, other = said
    graphs = mg.KnowledgeGraph.fit(one, marks=MARKS), mg.KnowledgeGraph.fit(other)
    called = {"Ann": "ann", "Bob": "bob"}
    merged = merge(*graphs, [(ours, theirs) for theirs, ours in called.items()])
    expected = dict(one)
    for part, own in other.items():
        expected[part] = expected[part].concat(renamed(own, lambda name: called.get(name, name)))
    assert merged.triples() == expected
    assert named(merged, "train") >= {("bob", "near", "Dee"), ("Dee", "near", "bob"), ("ann", "parent", "bob")}
    merged.save(tmp_path / "kg")
    again = mg.KnowledgeGraph.load(tmp_path / "kg")
    assert again.triples() == expected
    assert again.marks == MARKS


def test_what_is_unknown_to_one_graph_may_be_known_to_both():
    one = mg.KnowledgeGraph.fit({"train": triples(("a", "r", "b")), "test": triples(("b", "s", "a"))})
    both = align(one, mg.KnowledgeGraph.fit(triples(("x", "s", "y"))), [])
    assert named(both, "test") == {("first:b", "s", "first:a")}


def test_a_name_that_is_set_aside_in_one_graph_is_no_entity_of_the_other():
    one = mg.KnowledgeGraph.fit({"train": triples(("a", "r", "b")), "test": triples(("x", "r", "a"))})
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")))
    for pair in ((one, other), (other, one)):
        with pytest.raises(DataError, match="got 'x' in both graphs; link or rename it"):
            merge(*pair, [])


def test_a_relation_is_marked_in_one_way():
    one = mg.KnowledgeGraph.fit(triples(("a", "r", "b")), marks={"r": Mark(symmetric=True)})
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), marks={"r": Mark(functional=True)})
    with pytest.raises(ConfigError, match="one mark in both graphs, but 'r' has .*symmetric=True"):
        align(one, other, [])


def test_relations_of_payloads_are_no_facts_that_were_given():
    graph, schema, names = graph_of(["a", "b", "c"], [1])
    graph["entity", "by", "entity"].edge_index = torch.tensor([[0, 1], [1, 2]])
    schema = schema.model_copy(update={"edges": {**schema.edges, ("entity", "by", "entity"): EdgeSpec()}})
    one = mg.KnowledgeGraph.fit(triples(("a", "r", "c")), payloads=(graph, schema, names), inverse=False)
    both = align(one, mg.KnowledgeGraph.fit(triples(("x", "r", "y")), inverse=False), [("a", "x")])
    assert named(both, "train") >= {("first:a", "by", "first:b"), ("first:b", "by", "first:c")}
    assert len(both.triples()["train"]) == 3
    assert not any(name.startswith("^") for _, name, _ in both.schema.edges)


def test_names_are_matched_where_they_say_one_thing():
    first = {"Q1": "Straße", "Q2": "New_York", "Q3": "Rome", "Q4": "rome", "Q5": "", "Q6": "http://x.org/a#Ｐaris"}
    second = ["strasse", " new  YORK", "Rome", "paris"]
    assert match_names(first, second) == [("Q1", "strasse"), ("Q2", " new  YORK"), ("Q6", "paris")]
