"""Graphs told as text: judged by their triples, in any order, against the nearest reference."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import TripleGeneration

PIECES = ("", "", "a", "b", "c", "r", "s", "|", ";")
NUMBER = {piece: number for number, piece in enumerate(PIECES)}
LENGTH = 12


def tokens(*texts):
    found = torch.zeros(len(texts), LENGTH, dtype=torch.long)
    for row, text in enumerate(texts):
        numbers = [*(NUMBER[piece] for piece in text), 1]
        found[row, : len(numbers)] = torch.tensor(numbers)
    return found


@pytest.fixture
def told():
    """Four anchors of the test, of which the last has no text, the first two; and one of training."""
    graph = HeteroData()
    graph["sample"].num_nodes = 5
    for part, rows in {"train": [4], "val": [], "test": [0, 1, 2, 3]}.items():
        graph["sample"][f"{part}_mask"] = torch.zeros(5, dtype=torch.bool).index_fill(
            0, torch.tensor(rows).long(), True
        )
    graph["graph"].tokens = tokens("a|r|b;b|r|c", "c|s|a", "a|r|a", "b|s|b", "c|r|c")
    graph["graph"].num_nodes = 5
    graph["graph", "of", "sample"].edge_index = torch.tensor([[0, 1, 2, 3, 4], [0, 0, 1, 2, 4]])
    graph["word"].x = torch.eye(5)
    graph["word", "of", "sample"].edge_index = torch.arange(5).repeat(2, 1)
    nodes = {
        "sample": NodeSpec(),
        "graph": NodeSpec(modality="text", attributes=("tokens",), vocabulary=PIECES),
        "word": NodeSpec(modality="tabular", channels=5),
    }
    edges = {(node, "of", "sample"): EdgeSpec() for node in ("graph", "word")}
    return graph, Schema(nodes=nodes, edges=edges, anchor="sample")


def test_perfect_answers_have_the_best_scores_in_any_order(told):
    graph, schema = told
    made = tokens("b|r|c;a|r|b", "a|r|a", "b|s|b", "a|s|c")
    scores = TripleGeneration(schema, "graph").evaluate(made, graph)
    assert [scores.pop(name) for name in ("triple_f1", "triple_precision", "triple_recall", "exact_match")] == [1] * 4
    assert scores == {}  # payloads that are there already have no likelihood


def test_a_row_is_judged_by_the_reference_that_it_is_nearest_to(told):
    graph, schema = told
    task = TripleGeneration(schema, "graph")
    made = tokens("c|s|a;a|r|b", "a|r", "b|s|b;b|s|b", "")  # of the first: 1 right of 2, of 1 true beats 1 of 2 of 2
    scores = task.evaluate(made, graph, metrics=["triple_precision", "triple_recall", "exact_match"])
    assert scores == {"triple_precision": 2 / 5, "triple_recall": 2 / 3, "exact_match": 0}


def test_the_order_of_the_metrics_is_the_one_asked_for(told):
    graph, schema = told
    task = TripleGeneration(schema, "graph")
    assert list(task.evaluate(tokens("", "", "", ""), graph, metrics=["exact_match", "triple_f1"])) == [
        "exact_match",
        "triple_f1",
    ]


def test_what_cannot_be_judged_is_refused(told):
    graph, schema = told
    task = TripleGeneration(schema, "graph")
    with pytest.raises(DataError, match=r"Predictions for test must have 4 rows, got 3"):
        task.evaluate(tokens("", "", ""), graph)
    with pytest.raises(DataError, match=r"Some rows of val must have a text to be judged by, got none"):
        task.evaluate(tokens(), graph, "val", metrics=["triple_f1"])
    with pytest.raises(SchemaError, match=r"got \['bleu'\]"):
        task.evaluate(tokens("", "", "", ""), graph, metrics=["bleu"])
    bare = schema.model_copy(update={"nodes": {**schema.nodes, "graph": NodeSpec(attributes=("tokens",))}})
    with pytest.raises(SchemaError, match=r"'graph' must have a vocabulary to be read, got none; encode it"):
        TripleGeneration(bare, "graph")


def test_the_sheet_shows_what_was_made_under_what_was_asked_for(told, tmp_path):
    graph, schema = told
    (path,) = TripleGeneration(schema, "graph").sheet(tokens("a", "b", "c", ""), graph, "test", tmp_path)
    assert path.read_text().splitlines()[:5] == ["asked: a|r|b;b|r|c", "made:  a", "", "asked: c|s|a", "made:  a"]


def test_the_texts_outside_training_are_in_no_view(told):
    graph, schema = told
    seen = TripleGeneration(schema, "graph").view(graph, "test")
    assert seen["graph"].tokens.tolist() == tokens("c|r|c").tolist()
