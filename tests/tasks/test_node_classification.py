import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import NodeSpec, Schema, TargetSpec
from mmgraph.tasks import NodeClassification
from mmgraph.tasks.metrics import HIGHER_IS_BETTER
from mmgraph.tasks.node_classification import METRICS
from mmgraph.testing import fake_graph
from mmgraph.testing.expect import difference

PARTS = ("train", "val", "test")


def case(classes, rows=200, seed=0, known=None):
    """A task whose test part is all rows but one; probabilities; labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows) if known is None else np.asarray(known)
    graph = HeteroData()
    graph["paper"].x = torch.empty(len(y), 0)
    graph["paper"].y = torch.from_numpy(y).long()
    graph["paper"].test_mask = torch.ones(len(y), dtype=torch.bool)
    graph["paper"].train_mask = graph["paper"].val_mask = ~graph["paper"].test_mask
    p = rng.dirichlet(np.ones(classes), len(y))
    p = 0.6 * p + 0.4 * np.eye(classes)[np.maximum(y, 0)] * rng.random((len(y), 1))
    p /= p.sum(axis=1, keepdims=True)
    kind = "binary" if classes == 2 else "multiclass"
    target = TargetSpec(node="paper", kind=kind, classes=tuple("abcdefgh"[:classes]))
    schema = Schema(nodes={"paper": NodeSpec(channels=0)}, targets={"label": target}, anchor="paper")
    return NodeClassification(schema), graph, p, y


def slow_ece(p, y, bins=15):
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for b in range(bins):
        inside = [i for i in range(len(y)) if b / bins < confidence[i] <= (b + 1) / bins]
        if inside:
            gap = abs(np.mean([confidence[i] for i in inside]) - np.mean([right[i] for i in inside]))
            total += len(inside) / len(y) * gap
    return total


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(classes, seed):
    task, graph, p, y = case(classes, seed=seed)
    found = task.evaluate(torch.from_numpy(p), graph)
    chosen = p.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(y, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen),
        "f1_macro": sk.f1_score(y, chosen, average="macro"),
        "f1_weighted": sk.f1_score(y, chosen, average="weighted"),
        "auroc": sk.roc_auc_score(y, p[:, 1] if classes == 2 else p, multi_class="ovr", average="macro"),
        "log_loss": sk.log_loss(y, p),
        "brier": float(((p - np.eye(classes)[y]) ** 2).sum(axis=1).mean()),
        "ece": slow_ece(p, y),
    }
    if classes == 2:
        expected["f1"] = sk.f1_score(y, chosen)
        expected["mae"] = sk.mean_absolute_error(y, p[:, 1])
        expected["correlation"] = np.corrcoef(p[:, 1], y)[0, 1]
        assert found["brier"] == pytest.approx(2 * sk.brier_score_loss(y, p[:, 1]), abs=1e-6)  # sums both classes
    assert found == pytest.approx(expected, abs=1e-6)
    assert tuple(found) == task.metrics


def test_metrics_of_a_class_that_nobody_has():
    task, graph, p, y = case(4, known=np.arange(60) % 3)
    found = task.evaluate(torch.from_numpy(p), graph)
    each = [sk.roc_auc_score(y == c, p[:, c]) for c in range(3)]
    assert found["auroc"] == pytest.approx(np.mean(each), abs=1e-6)
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, p.argmax(axis=1), average="macro"), abs=1e-6)
    recalls = [np.mean(p.argmax(axis=1)[y == c] == c) for c in range(3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-6)
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p, labels=range(4)), abs=1e-6)


def test_a_constant_answer_and_a_part_of_one_class_have_no_correlation():
    task, graph, p, y = case(2)
    same = torch.full((len(y), 2), 0.5, dtype=torch.float64)
    assert task.evaluate(same, graph, metrics=["correlation", "mae"]) == {"correlation": 0.0, "mae": 0.5}
    task, graph, p, y = case(2, known=np.ones(60, dtype=int))
    assert task.evaluate(torch.from_numpy(p), graph, metrics=["correlation"]) == {"correlation": 0.0}


def test_ties_of_the_auroc_count_half():
    task, graph, _, y = case(2, known=[0, 1, 0, 1, 1])
    p = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.8, 0.2], [0.2, 0.8], [0.8, 0.2]])
    assert task.evaluate(p, graph, metrics=["auroc"])["auroc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))


def test_rows_without_a_label_are_not_judged():
    y = np.arange(40) % 3
    task, graph, p, _ = case(3, known=np.where(np.arange(40) % 4 == 0, -1, y))
    known = y[np.arange(40) % 4 != 0]
    found = task.evaluate(torch.from_numpy(p), graph, metrics=["accuracy", "log_loss"])
    kept = p[np.arange(40) % 4 != 0]
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(known, kept.argmax(axis=1)))
    assert found["log_loss"] == pytest.approx(sk.log_loss(known, kept, labels=range(3)), abs=1e-6)


def test_certainty_that_is_wrong_has_a_finite_log_loss():
    task, graph, _, _ = case(2, known=[0, 1])
    loss = task.evaluate(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), graph, metrics=["log_loss"])["log_loss"]
    assert loss == pytest.approx(0.5 * -np.log(1e-12), rel=1e-5)


def test_every_metric_has_a_direction():
    assert set(METRICS) <= set(HIGHER_IS_BETTER)


@pytest.mark.parametrize("part", PARTS)
def test_the_transductive_view_holds_all_nodes_and_the_labels_of_training(part):
    graph, schema = fake_graph()
    seen = NodeClassification(schema).view(graph, part)
    store = graph["subject"]
    assert torch.equal(seen["subject"].y, store.y.where(store.train_mask, -1))
    assert torch.equal(seen["scan"].x, graph["scan"].x)
    near = ("subject", "near", "subject")
    assert torch.equal(seen[near].edge_index, graph[near].edge_index)


@pytest.mark.parametrize("regime", ["cohort_hidden", "single_query"])
@pytest.mark.parametrize(("part", "hidden"), [("train", ("val", "test")), ("val", ("test",)), ("test", ("val",))])
def test_the_view_of_a_hidden_regime_holds_no_other_part(regime, part, hidden):
    graph, schema = fake_graph(60, regime=regime)
    seen = NodeClassification(schema).view(graph, part)
    gone = torch.stack([graph["subject"][f"{name}_mask"] for name in hidden]).any(dim=0)
    assert torch.equal(seen["subject"].n_id, (~gone).nonzero().flatten())
    node, owner = graph["scan", "of", "subject"].edge_index
    assert torch.equal(seen["scan"].n_id, node[~gone[owner]])
    for relation in schema.edges:
        ends = [
            seen[relation[end]].n_id[row] for end, row in ((0, 0), (2, 1)) for row in [seen[relation].edge_index[row]]
        ]
        both = ~(gone if relation[0] == "subject" else gone[owner_of(graph, relation[0])])[
            graph[relation].edge_index[0]
        ]
        both &= ~(gone if relation[2] == "subject" else gone[owner_of(graph, relation[2])])[
            graph[relation].edge_index[1]
        ]
        assert torch.equal(torch.stack(ends), graph[relation].edge_index[:, both])
    assert (seen["subject"].y[~seen["subject"].train_mask] == -1).all()
    schema.check(seen)


def owner_of(graph, node):
    return graph[node, "of", "subject"].edge_index[1]  # a node's row is its edge's column here


@pytest.mark.parametrize("part", PARTS)
def test_answers_are_probabilities_of_the_rows_of_the_part(part):
    graph, schema = fake_graph(regime="cohort_hidden")
    task = NodeClassification(schema)
    seen = task.view(graph, part)
    logits = torch.arange(seen["subject"].num_nodes)[:, None] * torch.tensor([0.0, 0.1])
    answers = task.answers(logits.requires_grad_(), seen, part)
    rows = seen["subject"][f"{part}_mask"].nonzero().flatten()
    assert not answers.requires_grad
    torch.testing.assert_close(answers[:, 1], torch.sigmoid(0.1 * rows))
    assert len(answers) == graph["subject"][f"{part}_mask"].sum() == len(task.labels(graph, part))


def test_a_graph_is_left_as_it_is():
    graph, schema = fake_graph(regime="single_query")
    task, before = NodeClassification(schema), graph.clone()
    for part in PARTS:
        task.view(graph, part)
    assert difference(before, graph) is None


@pytest.mark.parametrize(("rows", "columns"), [(9, 3), (10, 2)])
def test_predictions_of_another_shape_are_refused(rows, columns):
    task, graph, p, _ = case(3, rows=10)
    with pytest.raises(DataError, match=rf"for test must be \[10, 3\], got \[{rows}, {columns}\]"):
        task.evaluate(torch.from_numpy(p[:rows, :columns]), graph)


def test_the_auroc_of_one_class_is_refused():
    task, graph, p, _ = case(2, known=[1, 1, -1, 1])
    with pytest.raises(DataError, match=r"rows of at least 2 classes, got class \[1\] alone in 3 rows"):
        task.evaluate(torch.from_numpy(p), graph, metrics=["auroc"])
    assert task.evaluate(torch.from_numpy(p), graph, metrics=["accuracy"])["accuracy"] >= 0


def test_a_part_without_labels_is_refused():
    task, graph, p, _ = case(2, known=[-1, -1, -1])
    with pytest.raises(DataError, match="Part 'test' must have at least 1 labelled row to be judged on, got none"):
        task.evaluate(torch.from_numpy(p), graph)


def test_an_unknown_metric_is_refused():
    task, graph, p, _ = case(3)
    with pytest.raises(SchemaError, match=r"got \['recall'\]"):
        task.evaluate(torch.from_numpy(p), graph, metrics=["accuracy", "recall"])
    with pytest.raises(SchemaError, match=r"got \['f1'\]"):  # of which class?
        task.evaluate(torch.from_numpy(p), graph, metrics=["f1"])


def test_targets_that_can_not_be_classified_are_refused():
    _, schema = fake_graph()
    with pytest.raises(SchemaError, match=r"one of \['diagnosis'\], got 'age'"):
        NodeClassification(schema, "age")
    number = TargetSpec(node="subject", attribute="age", kind="regression")
    with pytest.raises(SchemaError, match="Target 'age' must have classes to classify into, got a regression"):
        NodeClassification(schema.model_copy(update={"targets": {"age": number}}))
    two = schema.model_copy(update={"targets": {**schema.targets, "age": number}})
    with pytest.raises(SchemaError, match=r"target must be named, one of \['age', 'diagnosis'\], got None"):
        NodeClassification(two)
    assert NodeClassification(two, "diagnosis").name == "diagnosis"


def test_one_target_is_chosen_of_several():
    graph, schema = fake_graph()
    graph["subject"].age = torch.zeros(40)
    number = TargetSpec(node="subject", attribute="age", kind="regression")
    task = NodeClassification(schema.model_copy(update={"targets": {**schema.targets, "age": number}}), "diagnosis")
    assert "age" not in task.view(graph, "train")["subject"]
