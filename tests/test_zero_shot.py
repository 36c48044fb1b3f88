"""New classes by their descriptions, by their attributes and by a few examples; and how that is judged."""

import math

import pyarrow as pa
import pytest
import torch
from torch import nn

from mmgraph.aligner import Aligner
from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache, Frozen, Raw
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.schema import Identity, Modality
from mmgraph.testing import fake_graph
from mmgraph.zero_shot import class_graph, class_metrics, class_scores, prototypes

LETTERS = "abcdef"


class Letters(Frozen):
    """Which of the first letters a text has."""

    identity = Identity(name="letters", revision="1")
    modality = Modality.TEXT
    shape = (len(LETTERS),)

    def content(self, payload):
        if not isinstance(payload, str):
            raise DataError(f"Payload must be a text, got {payload!r}")
        return payload.encode()

    def encode(self, prepared):
        return torch.tensor([[float(letter in text) for letter in LETTERS] for text in prepared])


class Codes(Letters):
    attribute = "codes"


def build(tmp_path, encoder=None):
    """Animals with a note and a sound, both written in letters; the last has no sound."""
    animals = {
        "id": ["horse", "tiger", "zebra", "fish"],
        "note": ["ab", "cd", "ad", "f"],
        "sound": ["ab", "cd", "ad", None],
        "kind": ["calm", "wild", "calm", "calm"],
    }
    config = GraphConfig(
        nodes={"animal": {"table": "animals", "key": "id", "columns": {"note": "text", "sound": "text"}}},
        edges=[{"type": ("animal", "near", "animal"), "nearest": "note", "k": 1}],
        targets={"kind": {"column": "kind", "kind": "binary"}},
    )
    given = {"note": encoder or Letters(), "sound": Letters()}
    return build_graph(Source(config, {"animals": pa.table(animals)}), encoders=given, cache=FeatureCache(tmp_path))


def same_space(built, **options):
    """A model that says what the letters say."""
    spaces = {"joint": {name: nn.Identity() for name in ("note", "sound")}}
    return Aligner(schema=built.schema, encoder=Raw(["note", "sound"]), spaces=spaces, **options)


def test_a_class_is_an_anchor_with_described_nodes_and_nothing_else(tmp_path):
    built = build(tmp_path)
    graph = class_graph(built, {"striped": "d", "striped horse": ["ab", "d"], "horse": ("ab", "ab")}, node="note")
    built.schema.check(graph)
    assert graph["animal"].num_nodes == 3
    assert graph["note"].x.tolist() == Letters()(["d", "ab"]).tolist()  # a node is shared
    assert graph["note", "of", "animal"].edge_index.tolist() == [[0, 1, 0, 1], [0, 1, 1, 2]]
    assert graph["sound"].x.shape == (0, 6)
    assert graph["animal", "near", "animal"].edge_index.shape == (2, 0)
    assert sorted(graph["animal"].keys()) == ["num_nodes", "x"]  # no label, no part of a split
    assert built.graph["animal"].num_nodes == 4


def test_features_that_are_not_x_are_put_where_the_encoder_says(tmp_path):
    built = build(tmp_path, encoder=Codes())
    graph = class_graph(built, {"striped": "d"}, node="note")
    built.schema.check(graph)
    assert graph["note"].codes.tolist() == [[0, 0, 0, 1, 0, 0]]
    assert graph["note"].num_nodes == 1


def test_a_zebra_is_a_horse_with_stripes(tmp_path):
    """No zebra and no class was ever trained: attributes are nodes, and their mean is the class."""
    built = build(tmp_path)
    classes = class_graph(built, {"horse": "ab", "striped horse": ["ab", "d"], "cat": "c"}, node="note")
    scores = class_scores(same_space(built), built.graph, classes, view="sound", class_view="note")
    mean = torch.tensor([0.5, 0.5, 0, 0.5, 0, 0])
    zebra = torch.tensor([1.0, 0, 0, 1, 0, 0])
    assert scores.shape == (4, 3)
    assert scores[2, 1].item() == pytest.approx(float(mean @ zebra / (mean.norm() * zebra.norm())))
    assert scores[:3].argmax(dim=1).tolist() == [0, 2, 1]
    assert scores[3].isnan().all()  # the fish says nothing
    found = class_scores(same_space(built), built.graph, classes, view="sound", class_view="note", temperature=0.5)
    torch.testing.assert_close(found[:3], (scores[:3] / 0.5).softmax(dim=1))


def test_vectors_are_classes_too_and_their_length_is_nothing(tmp_path):
    built = build(tmp_path)
    model = same_space(built)
    vectors = Letters()(["ab", "cd"])
    scores = class_scores(model, built.graph, vectors, view="note")
    torch.testing.assert_close(scores, class_scores(model, built.graph, 9 * vectors, view="note"))
    graph = class_graph(built, {"one": "ab", "other": "cd"}, node="note")
    torch.testing.assert_close(scores, class_scores(model, built.graph, graph, view="note", class_view="note"))


def test_labels_and_the_other_modalities_are_not_seen():
    graph, schema = fake_graph()
    spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
    model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
    before = class_scores(model, graph, torch.eye(4), view="scan")
    assert not before.requires_grad
    assert not model.training
    other = graph.clone()
    other["text"].x, other["subject"].y = torch.randn_like(graph["text"].x), 1 - graph["subject"].y
    assert torch.equal(class_scores(model, other, torch.eye(4), view="scan").nan_to_num(9), before.nan_to_num(9))


def test_a_prototype_is_the_mean_of_its_unit_examples():
    graph, schema = fake_graph(60, classes=("a", "b", "c"))
    model = Aligner(schema=schema, encoder=Raw(["text"]), spaces={"joint": {"text": nn.Identity()}})
    labels = graph["subject"].y.where(graph["subject"].train_mask, -1)
    states = model(graph)["text"]
    few = prototypes(model, graph, labels, view="text", shots=2, seed=3)
    assert few.examples.sum() == 6
    assert (labels[few.examples].bincount() == 2).all()
    for number in range(3):
        rows = (few.examples & (labels == number)).nonzero().flatten().tolist()
        torch.testing.assert_close(few.vectors[number], (states[rows[0]] + states[rows[1]]) / 2)
    again = prototypes(model, graph, labels, view="text", shots=2, seed=3)
    assert torch.equal(again.examples, few.examples)
    assert not torch.equal(prototypes(model, graph, labels, view="text", shots=2).examples, few.examples)
    every = prototypes(model, graph, labels, view="text")
    assert torch.equal(every.examples, (labels >= 0) & states.isfinite().all(dim=1))
    known = graph["subject"].y.where(~every.examples, -1)
    assert class_metrics(class_scores(model, graph, every.vectors, view="text"), known)["accuracy"] > 0.5


def test_accuracy_by_hand():
    scores = torch.tensor([[3.0, 1, 2], [3, 1, 2], [1, 1, 2], [2, 2, 1], [9, 0, 0], [math.nan] * 3])
    labels = torch.tensor([0, 1, 2, 1, -1, 2])
    found = class_metrics(scores, labels)
    assert found["accuracy"] == pytest.approx((1 + 0 + 1 + 0.5 + 0) / 5)
    assert found["class_accuracy"] == pytest.approx((1 + 0.25 + 0.5) / 3)
    both = class_metrics(scores, labels, seen=torch.tensor([True, True, False]))
    assert both["seen"] == pytest.approx(0.625)
    assert both["unseen"] == pytest.approx(0.5)
    assert both["harmonic"] == pytest.approx(2 * 0.625 * 0.5 / 1.125)


def test_classes_that_nobody_is_of_do_not_count_and_zero_has_a_harmonic_mean():
    scores = torch.eye(4)[[0, 0]]
    assert class_metrics(scores, torch.tensor([0, 1]))["class_accuracy"] == 0.5
    some = class_metrics(scores, torch.tensor([0, 2]), seen=torch.tensor([True, True, False, False]))
    assert (some["seen"], some["unseen"]) == (1.0, 0.0)
    found = class_metrics(scores, torch.tensor([1, 2]), seen=torch.tensor([True, True, False, False]))
    assert found == {"accuracy": 0.0, "class_accuracy": 0.0, "seen": 0.0, "unseen": 0.0, "harmonic": 0.0}


def test_equal_scores_are_at_chance():
    labels = torch.arange(40) % 4
    assert class_metrics(torch.zeros(40, 4), labels)["accuracy"] == 0.25


@pytest.mark.parametrize(
    ("classes", "node", "error", "message"),
    [
        ({}, "note", ConfigError, "at least 1 class, got none"),
        ({"a": "a"}, "animal", ConfigError, r"hangs on 'animal', \['note', 'sound'\], got 'animal'"),
        ({"a": []}, "note", DataError, "at least 1 payload, got none of 'a'"),
        ({"a": "a", "b": 3}, "note", DataError, "Class 'b' can't be encoded: Payload must be a text, got 3"),
        ({"a": ["a", None]}, "note", DataError, "Class 'a' can't be encoded: Payload must be a text, got None"),
    ],
)
def test_classes_that_can_not_be_made_are_refused(tmp_path, classes, node, error, message):
    with pytest.raises(error, match=message):
        class_graph(build(tmp_path), classes, node=node)


def test_an_anchor_with_features_and_an_encoder_that_is_gone_are_refused(tmp_path):
    built = build(tmp_path)
    built.write(tmp_path / "animals")
    with pytest.raises(ArtifactError, match="given as an object"):
        class_graph(type(built).open(tmp_path / "animals"), {"a": "a"}, node="note")
    nodes = {**built.schema.nodes, "animal": built.schema.nodes["animal"].model_copy(update={"channels": 2})}
    object.__setattr__(built, "schema", built.schema.model_copy(update={"nodes": nodes}))
    with pytest.raises(ConfigError, match="got an anchor, 'animal', with features of its own"):
        class_graph(built, {"a": "a"}, node="note")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"view": "smell"}, ConfigError, r"one of the model's, \['note', 'sound'\], got 'smell'"),
        ({"class_view": "smell"}, ConfigError, "got 'smell'"),
        ({"class_view": None}, ConfigError, "given for a graph of classes, and not for vectors, got None"),
        ({"classes": torch.eye(6)}, ConfigError, "not for vectors, got 'note'"),
        ({"classes": torch.eye(5), "class_view": None}, DataError, r"\[classes, 6\], got \[5, 5\]"),
        ({"class_view": "sound"}, DataError, "something that view 'sound' sees, got class 0 without"),
        ({"temperature": 0.0}, ConfigError, "above 0, or None for the cosines, got 0.0"),
    ],
)
def test_what_can_not_be_scored_is_refused(tmp_path, options, error, message):
    built = build(tmp_path)
    classes = class_graph(built, {"a": "a", "b": "b"}, node="note")
    with pytest.raises(error, match=message):
        class_scores(
            same_space(built), built.graph, **{"classes": classes, "view": "sound", "class_view": "note", **options}
        )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shots": 0}, ConfigError, "at least 1, or None for all, got 0"),
        ({"shots": 4}, DataError, "4 examples that 'sound' sees, got 2 of 0"),
        ({"labels": torch.tensor([0, 0, 2, -1])}, DataError, "1 examples that 'sound' sees, got 0 of 1"),
        (
            {"labels": torch.tensor([-1, -1, -1, 0])},
            DataError,
            "at least 1 labelled anchor that 'sound' sees, got none",
        ),
        ({"labels": torch.tensor([0])}, DataError, r"one an anchor, \[4\], got \[1\]"),
        ({"view": "smell"}, ConfigError, "got 'smell'"),
    ],
)
def test_examples_that_are_not_there_are_refused(tmp_path, options, error, message):
    built = build(tmp_path)
    labels = torch.tensor([0, 0, 1, 1])
    with pytest.raises(error, match=message):
        prototypes(same_space(built), built.graph, **{"labels": labels, "view": "sound", **options})


@pytest.mark.parametrize(
    ("scores", "labels", "seen", "message"),
    [
        (torch.zeros(2, 3), torch.tensor([0]), None, r"got \[2, 3\], \[1\]"),
        (torch.zeros(2, 3), torch.tensor([-1, -1]), None, "must have a label to be judged on, got none"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), None, "below the number of classes, 3, got 3"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([True]), r"a mask \[3\], got \[1\] of torch.bool"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(3), r"got \[3\] of torch.float32"),
        (
            torch.zeros(2, 3),
            torch.tensor([0, 1]),
            torch.tensor([True, True, False]),
            "a class that is unseen, got none",
        ),
        (torch.zeros(2, 3), torch.tensor([2, 2]), torch.tensor([True, True, False]), "a class that is seen, got none"),
    ],
)
def test_what_can_not_be_judged_is_refused(scores, labels, seen, message):
    with pytest.raises(DataError, match=message):
        class_metrics(scores, labels, seen=seen)
