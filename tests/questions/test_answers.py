import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError, SchemaError
from mmgraph.questions import Answers, ask
from mmgraph.schema import NodeSpec, Schema, TargetSpec, view
from mmgraph.tasks import baseline, control_graph

NAMES = list("abcd")
GIVEN = {"about": [[0], [1, 1], [], [3]], "answers": [[1], [2, 3], [0, 2], []], "names": NAMES}


def asked(**changes):
    graph = HeteroData()
    graph["question"].num_nodes, graph["entity"].num_nodes = 4, 4
    for part, rows in {"train": [0], "val": [3], "test": [1, 2]}.items():
        graph["question"][f"{part}_mask"] = torch.zeros(4, dtype=torch.bool).index_fill(
            0, torch.tensor(rows), value=True
        )
    schema = Schema(nodes={"question": NodeSpec(), "entity": NodeSpec()}, anchor="question")
    return ask(graph, schema, **{**GIVEN, **changes})


def test_a_question_is_joined_to_what_it_is_about():
    graph, schema = asked(reads=[torch.tensor([0, 1])] * 4)
    schema.check(graph)
    assert graph["question", "about", "entity"].edge_index.T.tolist() == [[0, 0], [1, 1], [3, 3]]
    assert graph["question", "reads", "entity"].edge_index.shape == (2, 8)
    assert graph["question"].answer.tolist() == [1, 2, 0, -1]
    assert schema.targets["answer"].classes == tuple(NAMES)


def test_no_view_has_an_answer_outside_training():
    graph, schema = asked()
    assert Answers(schema).view(graph, "test")["question"].answer.tolist() == [1, -1, -1, -1]
    assert "answers" not in Answers(schema).view(graph, "test")["question"]
    assert "answer" not in view(graph, schema)["question"]


def test_any_answer_will_do():
    graph, schema = asked()
    scores = torch.tensor([[0.0, 0.3, 0.1, 0.9], [0.5, 0.6, 0.4, 0.1]])
    found = Answers(schema).evaluate(scores, graph)
    shares = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    loss = -(shares[0, [2, 3]].sum().log() + shares[1, [0, 2]].sum().log()) / 2
    assert found == pytest.approx(
        {"accuracy": 0.5, "mrr": (1 + 1 / 2) / 2, "hits@10": 1.0, "log_loss": float(loss)}, abs=1e-6
    )


def test_equal_scores_share_their_places():
    graph, schema = asked()
    found = Answers(schema).evaluate(torch.zeros(2, 4), graph)
    assert found["accuracy"] == pytest.approx(0.5)  # two of four are answers
    assert found["mrr"] == pytest.approx(1 / 2)  # one place above two rivals: mean of 1, 2 and 3


def test_most_frequent_answers_are_a_control():
    graph, schema = asked()
    assert baseline("majority", [graph], Answers(schema))[0].tolist() == [0, 1, 0, 0]
    assert control_graph("no_graph", graph, schema)["question", "about", "entity"].edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"about": [[0]]}, "about must have .* each of 4 'question', got 1 entries"),
        ({"about": [[0], [4], [], []]}, "0 to 3, .* among them 4"),
        ({"answers": [[-1], [], [], []]}, "answers must .* among them -1"),
        ({"reads": [torch.tensor([9])] * 4}, "reads must .* among them 9"),
        ({"names": ["a"]}, "a name for each of the 4 'entity', got 1"),
    ],
)
def test_wrong_rows_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        asked(**changes)


def test_wrong_scores_are_named():
    graph, schema = asked()
    task = Answers(schema)
    with pytest.raises(DataError, match=r"Scores for test must be \[2, 4\], got \[2, 3\]"):
        task.evaluate(torch.zeros(2, 3), graph)
    with pytest.raises(DataError, match="Part 'val' must have at least 1 question with an answer"):
        task.evaluate(torch.zeros(1, 4), graph, "val")
    with pytest.raises(SchemaError, match=r"got \['f1'\]"):
        task.evaluate(torch.zeros(2, 4), graph, metrics=["f1"])
    number = TargetSpec(node="question", attribute="age", kind="regression")
    with pytest.raises(SchemaError, match="Target 'age' must have the entities as classes, got a regression"):
        Answers(schema.model_copy(update={"targets": {"age": number}}), "age")
