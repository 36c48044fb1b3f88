"""Prediction of edges: what is seen, what is judged, and what needs no learning."""

import networkx as nx
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn import functional as F

from mmgraph.builders import hold_out
from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import EdgePrediction, baseline, control_graph
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")
PARTS = ("train", "val", "test")


@pytest.fixture(scope="module")
def held():
    return hold_out(*fake_graph(200), NEAR, train=0.1, val=0.2, test=0.2)


@pytest.fixture(scope="module")
def task(held):
    return EdgePrediction(held[1], NEAR)


def test_a_view_shows_no_pair_of_another_part_and_no_label_outside_training(held, task):
    graph, _ = held
    held_out = {
        frozenset(pair) for pair in zip(graph["pair"].source.tolist(), graph["pair"].target.tolist(), strict=True)
    }
    for part in PARTS:
        seen = task.view(graph, part)
        rows = graph["pair"].train_mask | graph["pair"][f"{part}_mask"]
        assert torch.equal(seen["pair"].source, graph["pair"].source[rows])
        assert torch.equal(seen["pair"].joined >= 0, seen["pair"].train_mask)
        assert not {frozenset(pair) for pair in seen[NEAR].edge_index.T.tolist()} & held_out


def test_scores_are_dot_products_or_cosines(held, task):
    graph, schema = held
    z = torch.randn(200, 5)
    seen, store = task.view(graph, "val"), graph["pair"]
    rows = store.val_mask
    expected = torch.stack([z[s] @ z[t] for s, t in zip(store.source[rows], store.target[rows], strict=True)])
    torch.testing.assert_close(task.answers(z, seen, "val"), expected)
    near = F.cosine_similarity(z[store.source[rows]], z[store.target[rows]])
    torch.testing.assert_close(EdgePrediction(schema, NEAR, by="cosine").answers(z, seen, "val"), near)
    torch.testing.assert_close(task.answers({"subject": z, "scan": z[:1]}, seen, "val"), expected)
    own = torch.arange(float(seen["pair"].num_nodes))
    assert torch.equal(task.answers(own, seen, "val"), own[seen["pair"].val_mask])


@pytest.mark.parametrize("scale", [0.1, 50.0])
def test_metrics_are_those_of_scikit_learn_and_ogb(held, task, scale):
    graph, _ = held
    generator = torch.Generator().manual_seed(0)
    labels = graph["pair"].joined[graph["pair"].test_mask]
    scores = ((torch.randn(len(labels), generator=generator) + labels) * 4).round() * scale  # with ties
    found = task.evaluate(scores, graph)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
    for k in (20, 50, 100):
        others = scores[labels == 0].sort(descending=True).values
        expected = (scores[labels == 1] > others[k - 1]).float().mean()  # ogb: linkproppred.Evaluator._eval_hits
        assert found[f"hits@{k}"] == pytest.approx(float(expected))
    assert task.evaluate(scores, graph, metrics=["hits@20"]) == {"hits@20": found["hits@20"]}


def test_with_fewer_others_than_k_all_are_hits():
    graph, schema = hold_out(*fake_graph(), NEAR, val=0.1, test=0.1)
    scores = torch.zeros(int(graph["pair"].test_mask.sum()))
    assert EdgePrediction(schema, NEAR).evaluate(scores, graph, metrics=["hits@20"]) == {"hits@20": 1.0}


def test_baselines_read_the_edges_that_are_left(held, task):
    graph, _ = held
    near = nx.Graph(graph[NEAR].edge_index.T.tolist())
    near.add_nodes_from(range(200))
    store = graph["pair"]
    pairs = torch.stack([store.source, store.target])[:, store.test_mask].T.tolist()
    found = {name: baseline(name, [graph], task) for name in ("degree", "common_neighbours", "adamic_adar")}
    assert found["common_neighbours"].tolist() == [len(list(nx.common_neighbors(near, *pair))) for pair in pairs]
    adamic = torch.tensor([score for *_, score in nx.adamic_adar_index(near, pairs)])
    torch.testing.assert_close(found["adamic_adar"], adamic)
    out, into = (torch.bincount(ends, minlength=200) for ends in graph[NEAR].edge_index)
    assert found["degree"].tolist() == [float(out[s] * into[t]) for s, t in pairs]
    assert "cosine" not in task.controls


def test_features_are_compared_where_there_are_some():
    graph, schema = fake_graph()
    graph["subject"].x = torch.randn(40, 3)
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "subject": NodeSpec(channels=3)}})
    graph, schema = hold_out(graph, schema, NEAR, val=0.1, test=0.2)
    task = EdgePrediction(schema, NEAR)
    assert task.controls[-1] == "cosine"
    store, x = graph["pair"], F.normalize(graph["subject"].x, dim=1)
    expected = (x[store.source] * x[store.target]).sum(dim=1)[store.test_mask]
    torch.testing.assert_close(baseline("cosine", [graph], task), expected)


def test_shuffled_edges_leave_the_questions_as_they_are(held, task):
    graph, schema = held
    shuffled = control_graph("shuffled_edges", graph, schema, seed=1)
    assert torch.equal(shuffled["pair"].source, graph["pair"].source)
    assert shuffled[NEAR].edge_index.shape == graph[NEAR].edge_index.shape
    assert not torch.equal(shuffled[NEAR].edge_index, graph[NEAR].edge_index)


def test_two_types_need_vectors_of_both():
    graph, schema = fake_graph()
    of = ("scan", "of", "subject")
    graph, schema = hold_out(graph, schema, of, val=0.2, test=0.2)
    task = EdgePrediction(schema, of)
    assert task.controls == ("no_graph", "shuffled_edges", "degree")
    seen = task.view(graph, "test")
    x, y = torch.randn(graph["scan"].num_nodes, 2), torch.randn(40, 2)
    rows = graph["pair"].test_mask
    expected = (x[graph["pair"].source[rows]] * y[graph["pair"].target[rows]]).sum(dim=1)
    torch.testing.assert_close(task.answers({"scan": x, "subject": y}, seen, "test"), expected)
    with pytest.raises(DataError, match=r"of both 'scan' and 'subject'.* got \[40, 2\]"):
        task.answers(y, seen, "test")
    with pytest.raises(DataError, match=r"a vector for each of the 'subject'.*got 3; predict without batches"):
        task.answers({"scan": x, "subject": y[:3]}, seen, "test")


def test_scores_that_are_refused(held, task):
    graph, _ = held
    rows = int(graph["pair"].test_mask.sum())
    with pytest.raises(DataError, match=rf"must be \[{rows}\], got \[3\]"):
        task.evaluate(torch.zeros(3), graph)
    with pytest.raises(DataError, match=f"NaN for 1 of {rows} pairs"):
        task.evaluate(torch.zeros(rows).index_fill(0, torch.tensor([2]), float("nan")), graph)
    with pytest.raises(SchemaError, match="got \\['accuracy'\\]"):
        task.evaluate(torch.zeros(rows), graph, metrics=["accuracy"])
    one = graph.clone()
    one["pair"].joined = torch.ones_like(one["pair"].joined)
    with pytest.raises(DataError, match=f"got {rows} and 0"):
        task.evaluate(torch.zeros(rows), one)


@pytest.mark.parametrize(
    ("relation", "options", "message"),
    [
        (("subject", "far", "subject"), {}, r"got \('subject', 'far', 'subject'\)"),
        (NEAR, {"target": "diagnosis"}, "got a binary one on 'subject' with \\[\\]"),
        (NEAR, {"by": "distance"}, "got 'transductive' and 'distance'"),
    ],
)
def test_tasks_that_are_refused(held, relation, options, message):
    with pytest.raises(SchemaError, match=message):
        EdgePrediction(held[1], relation, **options)


def test_all_nodes_must_be_seen():
    graph, schema = fake_graph(regime="cohort_hidden")
    _, schema = hold_out(graph, schema, NEAR, val=0.2, test=0.2)
    with pytest.raises(SchemaError, match="got 'cohort_hidden' and 'dot'"):
        EdgePrediction(schema, NEAR)


def test_schemas_without_features_have_no_cosine():
    schema = Schema(nodes={"a": NodeSpec()}, edges={("a", "to", "a"): EdgeSpec()}, anchor="a")
    graph = fake_graph()[0].__class__()
    graph["a"].num_nodes = 30
    graph["a", "to", "a"].edge_index = torch.stack([torch.arange(30), torch.arange(30).roll(1)])
    _, schema = hold_out(graph, schema, ("a", "to", "a"), val=0.1, test=0.1)
    assert "cosine" not in EdgePrediction(schema, ("a", "to", "a")).controls
