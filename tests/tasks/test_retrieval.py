import math

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.tasks import Retrieval, baseline
from mmgraph.testing import fake_graph
from mmgraph.testing.expect import difference

METRICS = ("recall@1", "recall@5", "recall@10", "median_rank", "mrr", "class_map", "class_precision@1")


def case(y, parts=None):
    """Anchors with a picture and a text each, all of them of the test."""
    graph, rows = HeteroData(), len(y)
    graph["thing"].y = torch.tensor(y)
    graph["thing"].num_nodes = rows
    for part in ("train", "val", "test"):
        graph["thing"][f"{part}_mask"] = torch.tensor([p == part for p in (parts or ["test"] * rows)])
    for node in ("image", "text"):
        graph[node].x = torch.zeros(rows, 2)
        graph[node, "of", "thing"].edge_index = torch.arange(rows).expand(2, -1)
    schema = Schema(
        nodes={"thing": NodeSpec(), "image": NodeSpec(channels=2), "text": NodeSpec(channels=2)},
        edges=dict.fromkeys([("image", "of", "thing"), ("text", "of", "thing")], EdgeSpec()),
        targets={"kind": TargetSpec(node="thing", kind="multiclass", classes=("a", "b", "c"))},
        anchor="thing",
    )
    return graph, schema


def angles(*degrees):
    radians = torch.tensor(degrees) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_a_worked_example():
    graph, schema = case([0, 0, 1])
    image, text = angles(0, 20, 90), angles(1, 85, 30)
    found = Retrieval(schema, target="kind").evaluate(torch.stack([image, text], dim=1), graph)
    # image 0 ranks text 0, 2, 1; image 20: 2, 0, 1; image 90: 1, 2, 0
    assert found["recall@1 image>text"] == pytest.approx(1 / 3)
    assert found["recall@5 image>text"] == 1.0
    assert found["mrr image>text"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    assert found["median_rank image>text"] == 2.0
    assert found["class_precision@1 image>text"] == pytest.approx(1 / 3)
    assert found["class_precision@10 image>text"] == pytest.approx((2 + 2 + 1) / 9)
    # of class 0, 0, 1: places of the relevant ones are 1 and 3; 2 and 3; 2
    assert found["class_map image>text"] == pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2 + 1 / 2) / 3)
    for name in METRICS:
        both = found[f"{name} image>text"], found[f"{name} text>image"]
        assert found[name] == pytest.approx(sum(both) / 2)


def test_rows_without_a_view_neither_ask_nor_answer():
    graph, schema = case([0, 0, 1, 1])
    image, text = angles(0, 30, 60, 90), angles(0, 30, 60, 90)
    image[1], text[2] = float("nan"), float("nan")
    found = Retrieval(schema, target="kind").evaluate(torch.stack([image, text], dim=1), graph)
    assert found["recall@1 image>text"] == found["recall@1 text>image"] == 1.0
    alone = Retrieval(schema, [("image", "text")], target="kind")
    assert alone.evaluate(torch.stack([image, text], dim=1), graph)["class_precision@10"] == pytest.approx(
        (2 / 3 + 1 / 3 + 1 / 3) / 3
    )


def test_from_a_view_to_itself_the_query_is_left_out():
    graph, schema = case([0, 0, 1])
    task = Retrieval(schema, [("text", "text")], target="kind")
    assert task.metrics == ("class_map", "class_precision@1", "class_precision@10")
    found = task.evaluate(angles(0, 10, 90)[:, None], graph)
    assert found == {
        "class_map": 1.0,
        "class_precision@1": pytest.approx(2 / 3),
        "class_precision@10": pytest.approx(1 / 3),
    }


def test_equal_vectors_are_at_chance():
    graph, schema = case([0, 0, 1, 1])
    found = Retrieval(schema, target="kind").evaluate(torch.ones(4, 2, 3), graph)
    assert found["recall@1"] == 0.0
    assert found["median_rank"] == 2.5
    assert found["class_precision@1"] == found["class_map"] == 0.5


def test_rows_of_an_unknown_class_are_left_out_of_the_class_level():
    graph, schema = case([0, 0, -1])
    found = Retrieval(schema, target="kind").evaluate(torch.randn(3, 2, 4), graph)
    assert found["class_map"] == found["class_precision@1"] == 1.0


def test_one_metric_is_what_it_is_among_all():
    graph, schema = fake_graph()
    task = Retrieval(schema, target="diagnosis")
    vectors = torch.randn(int(graph["subject"].val_mask.sum()), 2, 4)
    every = task.evaluate(vectors, graph, "val")
    assert tuple(every) == task.metrics
    for name, score in every.items():
        assert task.evaluate(vectors, graph, "val", metrics=[name]) == {name: score}


def test_the_view_holds_training_labels_alone():
    graph, schema = case([0, 1, 2], ["train", "val", "test"])
    seen = Retrieval(schema, target="kind").view(graph, "test")
    assert seen["thing"].y.tolist() == [0, -1, -1]
    assert "y" not in Retrieval(schema).view(graph, "test")["thing"]


def test_answers_are_the_vectors_of_the_part_in_the_order_of_the_views():
    graph, schema = case([0, 1, 2], ["train", "val", "test"])
    task = Retrieval(schema, [("text", "image")])
    outputs = {"image": torch.arange(3.0)[:, None], "text": -torch.arange(3.0)[:, None]}
    assert task.views == ("text", "image")
    assert task.answers(outputs, task.view(graph, "test"), "test").tolist() == [[[-2.0], [2.0]]]


def test_controls():
    _, schema = case([0])
    assert Retrieval(schema).controls == ("noise", "cca", "chance")
    assert Retrieval(schema, [("text", "text")], target="kind").controls == ("noise", "chance")
    assert Retrieval(fake_graph()[1]).controls[:3] == ("no_graph", "shuffled_edges", "noise")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": []}, "needs at least 1 pair of views, got none"),
        ({"pairs": [("text", "text")]}, "from a view to itself, .* needs a target with classes, got none"),
        ({"target": "size"}, r"Target must be one of \['kind'\], got 'size'"),
    ],
)
def test_odd_questions_are_refused(options, message):
    with pytest.raises(SchemaError, match=message):
        Retrieval(case([0])[1], **options)


def test_a_target_of_other_nodes_is_refused():
    _, schema = case([0])
    other = TargetSpec(node="text", kind="multiclass", classes=("a", "b"))
    with pytest.raises(SchemaError, match="Target 'topic' must have classes and be of the anchor 'thing'"):
        Retrieval(schema.model_copy(update={"targets": {"topic": other}}), target="topic")


def test_no_anchor_is_refused():
    with pytest.raises(SchemaError, match="needs a schema with an anchor, got none"):
        Retrieval(Schema(nodes={"text": NodeSpec()}))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.zeros(2, 2, 4), r"Predictions for test must be \[3, 2, channels\], got \[2, 2, 4\]"),
        (torch.zeros(3, 4), r"must be \[3, 2, channels\], got \[3, 4\]"),
        (
            torch.full((3, 2, 4), float("nan")),
            "At least 1 row must be both 'image' and 'text' to be asked about, got none",
        ),
    ],
)
def test_odd_vectors_are_refused(vectors, message):
    graph, schema = case([0, 1, 2])
    with pytest.raises(DataError, match=message):
        Retrieval(schema).evaluate(vectors, graph)


def test_an_unknown_metric_is_named():
    graph, schema = case([0, 1, 2])
    with pytest.raises(SchemaError, match=r"Metrics must be among \['recall@1', .* got \['recall@3'\]"):
        Retrieval(schema).evaluate(torch.zeros(3, 2, 4), graph, metrics=["recall@3"])


def test_classes_that_no_one_shares_are_refused():
    graph, schema = case([0, 1, 2])
    task = Retrieval(schema, [("text", "text")], target="kind")
    with pytest.raises(DataError, match="Some rows must be 'text' of the same class as another, got 3 of none"):
        task.evaluate(angles(0, 1, 2)[:, None], graph, metrics=["class_map"])


def described(vectors):
    """Vectors of classes as answers: the pictures of classes are not there."""
    return torch.stack([torch.full_like(vectors, torch.nan), vectors], dim=1)


def test_zero_shot_asks_which_description_is_nearest_to_a_picture():
    graph, schema = case([0, 0, 1, -1, 1])
    task = Retrieval(schema, target="kind", classes={"text": torch.eye(3, 2)})
    image = angles(5, 80, 70, 0, 20)
    image[4] = torch.nan  # is not asked about
    answers = torch.cat([torch.stack([image, angles(0, 1, 2, 3, 4)], dim=1), described(angles(0, 90, 180))])
    found = task.evaluate(answers, graph)
    assert found["zero_shot_accuracy"] == pytest.approx(2 / 3)  # of 5, 80 and 70 degrees
    assert found["zero_shot_class_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["zero_shot_accuracy image>text"] == found["zero_shot_accuracy"]
    assert "zero_shot_accuracy text>image" not in found
    before = Retrieval(schema, target="kind").evaluate(answers[:5], graph)
    assert {name: found[name] for name in before} == before


def test_descriptions_that_are_alike_share_the_right_answers():
    graph, schema = case([0, 1, 2])
    task = Retrieval(schema, target="kind", classes={"text": torch.eye(3, 2)})
    answers = torch.cat([torch.ones(3, 2, 2), described(torch.ones(3, 2))])
    assert task.evaluate(answers, graph)["zero_shot_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("part", ["val", "test"])
def test_classes_are_asked_about_after_the_rows_of_the_part(part):
    graph, schema = case([0, 1, 2, 0], ["train", "val", "test", part])
    task = Retrieval(schema, target="kind", classes={"text": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    before = graph.clone()
    seen = task.view(graph, part)
    assert difference(graph, before) is None
    assert seen["thing"].num_nodes == 7
    assert seen["thing"].y[-3:].tolist() == [-1] * 3
    assert seen["text"].x[-3:].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert seen["text", "of", "thing"].edge_index[:, -3:].tolist() == [[4, 5, 6]] * 2
    assert seen["image"].num_nodes == 4
    outputs = {"image": torch.arange(14.0).view(7, 2), "text": torch.arange(14.0).view(7, 2)}
    assert task.answers(outputs, seen, part)[:, 0, 0].tolist() == [2 if part == "val" else 4, 6, 8, 10, 12]
    assert task.view(graph, "train")["thing"].num_nodes == 4


def test_training_is_judged_without_classes():
    graph, schema = case([0, 1], ["train", "train"])
    task = Retrieval(schema, target="kind", classes={"text": torch.eye(3, 2)})
    found = task.evaluate(torch.eye(2)[:, None].expand(-1, 2, -1), graph, "train", metrics=None)
    assert "zero_shot_accuracy" not in found
    with pytest.raises(SchemaError, match="Metrics must be among .* got .'zero_shot_accuracy'."):
        task.evaluate(torch.eye(2)[:, None].expand(-1, 2, -1), graph, "train", metrics=["zero_shot_accuracy"])


def test_controls_answer_for_classes_too():
    graph, schema = fake_graph(120)
    task = Retrieval(schema, target="diagnosis", classes={"text": torch.eye(2, 5)})
    for name in ("cca", "chance"):
        found = task.evaluate(baseline(name, [graph], task), graph)
        assert 0 <= found["zero_shot_accuracy"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": {"text": torch.eye(3, 2)}}, "classes need a target whose classes they are, got none"),
        ({"target": "kind", "classes": {"sound": torch.eye(3, 2)}}, r"nodes of the anchor, .*, got 'sound'"),
        ({"target": "kind", "classes": {"text": torch.eye(2, 2)}}, r"must be \[3, 2\] of 'text'.*got \[2, 2\]"),
        (
            {"target": "kind", "pairs": [("text", "image")], "classes": {"text": torch.eye(3, 2)}},
            "seen by a view that answers another, got .'text'.",
        ),
    ],
)
def test_says_what_is_wrong_with_classes(options, message):
    with pytest.raises(SchemaError, match=message):
        Retrieval(case([0, 1])[1], **options)
