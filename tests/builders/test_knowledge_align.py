"""Two graphs as one: links that are facts, payloads that move along, entities that become one."""

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.builders import align, match_names, merge
from mmgraph.data.triples import Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec


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
            "of 'test' must join .* got 'zoe', which the second has not",
            lambda a, b: align(a, b, {"test": [("a", "zoe")]}),
        ),
        (DataError, r"among \['train', 'val', 'test'\], got 'dev'", lambda a, b: align(a, b, {"dev": []})),
        (DataError, "got 'D', which the first has not", lambda a, b: merge(a, b, [("D", "a")])),
        (DataError, "got 'a' 2 times", lambda a, b: merge(a, b, [("a", "a"), ("a", "B")])),
        (DataError, "got 'B' 2 times", lambda a, b: merge(a, b, [("a", "B"), ("b", "B")])),
        (DataError, "got 'a' in both graphs; link or rename it", lambda a, b: merge(a, b, [("b", "B")])),
    ],
)
def test_what_is_refused(first, second, error, message, call):
    with pytest.raises(error, match=message):
        call(first, second)


def test_payloads_of_one_type_are_of_one_kind(first):
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), payloads=graph_of(["x", "y"], [0], channels=2))
    with pytest.raises(DataError, match="Nodes 'text' of two graphs must have features of one kind"):
        align(first, other, [])


def test_graphs_of_several_types_are_not_merged(first):
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), types={"x": "t"})
    with pytest.raises(ConfigError, match=r"one type of entities, got \('entity', 'class'\)"):
        merge(first, other, [])


def test_names_are_matched_where_they_say_one_thing():
    first = {"Q1": "Straße", "Q2": "New_York", "Q3": "Rome", "Q4": "rome", "Q5": "", "Q6": "http://x.org/a#Ｐaris"}
    second = ["strasse", " new  YORK", "Rome", "paris"]
    assert match_names(first, second) == [("Q1", "strasse"), ("Q2", " new  YORK"), ("Q6", "paris")]
