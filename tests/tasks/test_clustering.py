from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torchmetrics.functional import clustering as tm

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import TargetSpec
from mmgraph.tasks import Clustering
from mmgraph.tasks.clustering import METRICS
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.testing import fake_graph

LETTERS = ("a", "b", "c")


@pytest.fixture
def case():
    graph, schema = fake_graph(60, classes=LETTERS)
    graph["subject"].y[graph["subject"].test_mask.nonzero()[-1]] = -1
    return graph, schema


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 40), st.integers(0, 999))
@settings(max_examples=50)
def test_metrics_equal_brute_force(clusters, classes, rows, seed):
    rng = np.random.default_rng(seed)
    k, y = rng.integers(0, clusters, rows), rng.integers(0, classes, rows)
    wide = max(clusters, classes)
    best = max(
        np.mean([order[one] == other for one, other in zip(k, y, strict=True)]) for order in permutations(range(wide))
    )
    assert METRICS["cluster_accuracy"](k, y) == pytest.approx(best)
    inside = [
        sum(1 for j in range(rows) if k[j] == one and y[j] == other) for one in range(wide) for other in range(wide)
    ]
    assert METRICS["purity"](k, y) == pytest.approx(np.reshape(inside, (wide, wide)).max(1).sum() / rows)


@pytest.mark.parametrize("wide", [6, 7])
def test_matching_is_brute_force_for_up_to_seven_clusters(wide):
    rng = np.random.default_rng(wide)
    y = rng.integers(0, wide, 300)
    k = np.where(rng.random(300) < 0.5, (3 * y + 2) % wide, rng.integers(0, wide, 300))
    counts = np.zeros((wide, wide))
    for one, other in zip(k, y, strict=True):
        counts[one, other] += 1
    best = max(sum(counts[one, other] for one, other in enumerate(order)) for order in permutations(range(wide)))
    assert METRICS["cluster_accuracy"](k, y) == pytest.approx(best / 300)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("seed", range(3))
def test_information_and_rand_index_equal_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, 100)
    k = np.where(rng.random(100) < 0.6, 3 - y, rng.integers(0, 4, 100))
    pair = torch.from_numpy(k), torch.from_numpy(y)
    assert METRICS["nmi"](k, y) == pytest.approx(float(tm.normalized_mutual_info_score(*pair)), abs=1e-5)
    assert METRICS["ari"](k, y) == pytest.approx(float(tm.adjusted_rand_score(*pair)), abs=1e-5)


def test_rows_without_class_or_view_are_left_out(case):
    graph, schema = case
    y = graph["subject"].y[graph["subject"].test_mask]
    assert y[-1] < 0
    views = torch.stack([torch.eye(3)[y.clamp_min(0)], draw(len(y), 3)], dim=1)
    task = Clustering(schema, views=["scan", "text"])
    first = int((y >= 0).nonzero()[0])
    expected = task.evaluate(views, graph)
    assert expected["nmi scan"] == 1
    assert expected["nmi"] == pytest.approx((expected["nmi scan"] + expected["nmi text"]) / 2)
    assert list(expected) == list(task.metrics)
    wrong = views.clone()
    wrong[first, 0] = torch.tensor([0.0, 2.0, 0.0]) if y[first] != 1 else torch.tensor([2.0, 0, 0])
    assert task.evaluate(wrong, graph)["cluster_accuracy scan"] < 1
    wrong[first, 0] = torch.nan
    assert task.evaluate(wrong, graph)["cluster_accuracy scan"] == 1
    wrong[y < 0] = 7
    assert task.evaluate(wrong, graph)["cluster_accuracy scan"] == 1
    with pytest.raises(DataError, match="At least 1 row seen by 'text' must have a known class"):
        task.evaluate(views.index_fill(1, torch.tensor([1]), torch.nan), graph)


def test_no_label_is_in_a_view_and_all_metrics_have_a_direction(case):
    graph, schema = case
    task = Clustering(schema, views=["scan", "text"])
    for part in ("train", "val", "test"):
        seen = task.view(graph, part)["subject"]
        assert "y" not in seen or (seen.y < 0).all()
        beside = Clustering(schema, beside=["diagnosis"]).view(graph, part)["subject"]
        assert torch.equal(beside.y >= 0, graph["subject"].train_mask & (graph["subject"].y >= 0))
    assert all(higher_is_better(name) for name in task.metrics)
    assert task.controls == ("no_graph", "shuffled_edges", "noise")


def test_logits_are_those_of_the_first_head(case):
    graph, schema = case
    task, logits = Clustering(schema), draw(60, 9)
    rows = graph["subject"].val_mask
    assert torch.equal(task.answers(logits, graph, "val"), logits[rows, :3])
    several = Clustering(schema, views=["text", "scan"]).answers({"scan": logits, "text": -logits}, graph, "val")
    assert torch.equal(several, torch.stack([-logits[rows, :3], logits[rows, :3]], dim=1))
    with pytest.raises(DataError, match="at least 4 logits, got 3"):
        Clustering(schema, clusters=4).answers(logits[:, :3], graph, "val")


def test_kmeans_is_fitted_to_training_alone(case):
    graph, schema = case
    store = graph["subject"]
    x = 5 * torch.eye(4)[torch.arange(60) % 3] + 0.1 * draw(60, 4)
    task = Clustering(schema, by="kmeans")
    found = task.answers(x, graph, "test")
    expected = (
        KMeans(3, n_init=10, random_state=0).fit(x[store.train_mask].numpy()).transform(x[store.test_mask].numpy())
    )
    np.testing.assert_allclose(-found, expected, atol=1e-4)
    other = x.clone()
    other[store.test_mask] *= 9
    other[0 if store.val_mask[0] else int(store.val_mask.nonzero()[0])] = torch.nan
    torch.testing.assert_close(task.answers(other, graph, "val")[1:], task.answers(x, graph, "val")[1:])
    assert task.answers(other, graph, "val")[0].isnan().all()
    with pytest.raises(DataError, match="k-means needs at least 3 rows of training .*got 0; predict without batches"):
        task.answers(x * torch.nan, graph, "test")


def test_what_can_not_be_judged_is_refused(case):
    graph, schema = case
    rows = int(graph["subject"].test_mask.sum())
    with pytest.raises(DataError, match=rf"for test must be \[{rows}, clusters\], got \[3, 3\]"):
        Clustering(schema).evaluate(torch.zeros(3, 3), graph)
    with pytest.raises(DataError, match=rf"must be \[{rows}, 2, clusters\], got \[{rows}, 3\]"):
        Clustering(schema, views=["scan", "text"]).evaluate(torch.zeros(rows, 3), graph)
    with pytest.raises(SchemaError, match=r"got \['nmi scan'\]"):
        Clustering(schema).evaluate(torch.zeros(rows, 3), graph, metrics=["nmi scan"])
    with pytest.raises(SchemaError, match="got 1 and 'logits'"):
        Clustering(schema, clusters=1)
    with pytest.raises(SchemaError, match="got 3 and 'means'"):
        Clustering(schema, by="means")
    number = TargetSpec(node="subject", kind="regression")
    with pytest.raises(SchemaError, match="must have classes to judge clusters by, got a regression"):
        Clustering(schema.model_copy(update={"targets": {"age": number}}))
    with pytest.raises(SchemaError, match=r"target must be named, one of \['age', 'diagnosis'\]"):
        Clustering(schema.model_copy(update={"targets": {"age": number, **schema.targets}}))
