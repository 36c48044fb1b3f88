import copy
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import NodeClassification, Retrieval, baseline, control_graph, default_controls
from mmgraph.tasks.columns import anchor_columns
from mmgraph.tasks.controls import STRENGTHS
from mmgraph.testing import fake_graph
from mmgraph.testing.expect import difference

NEAR = ("subject", "near_scan", "subject")
GRAPHS = ("no_graph", "shuffled_edges", "without:scan", "without:text")


def part_of(graph):
    store = graph["subject"]
    return store.val_mask.long() + 2 * store.test_mask.long()


def test_the_controls_that_apply(built):
    assert default_controls(built.schema) == (*GRAPHS, "flat_linear", "late_linear", "majority")
    one = Schema(nodes={"a": NodeSpec(channels=2)}, edges={("a", "near", "a"): {}}, anchor="a")
    assert default_controls(one) == ("no_graph", "shuffled_edges", "flat_linear", "majority")


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden", "single_query"])
def test_the_graph_is_left_as_it_is(make_population, name, regime):
    for graph, schema in (
        fake_graph(regime=regime),
        (make_population(regime).graph, make_population(regime).schema),
    ):
        before = copy.deepcopy(graph)
        changed = control_graph(name, graph, schema, seed=1)
        assert difference(before, graph) is None
        assert difference(before, changed) is not None
        schema.check(changed)


def test_no_graph_empties_relations_and_nothing_else():
    graph, schema = fake_graph()
    changed = control_graph("no_graph", graph, schema)
    for edge in graph.edge_types:
        if edge[1] == "of":
            assert torch.equal(changed[edge].edge_index, graph[edge].edge_index)
        else:
            assert changed[edge].edge_index.shape == (2, 0)
    assert changed["subject", "near", "subject"].edge_weight.shape == (0,)
    for node in graph.node_types:
        assert torch.equal(changed[node].x, graph[node].x)


def shape_of(index, weight, rows):
    """What relabelling leaves: in- and out-degrees, weights in and out, of each node, as a multiset."""
    each = [[] for _ in range(rows)]
    for e, (source, target) in enumerate(index.T.tolist()):
        w = 1.0 if weight is None else round(float(weight[e]), 6)
        each[source].append(("out", w))
        each[target].append(("in", w))
    return Counter(tuple(sorted(one)) for one in each)


@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden", "single_query"])
def test_shuffled_edges_are_the_same_graph_about_other_nodes(make_population, regime):
    built = make_population(regime)
    changed = control_graph("shuffled_edges", built.graph, built.schema, seed=3)
    for edge in built.schema.relations("subject"):
        before, after = built.graph[edge], changed[edge]
        rows = built.graph["subject"].num_nodes
        assert not torch.equal(before.edge_index, after.edge_index)
        assert torch.equal(before.edge_weight, after.edge_weight)
        assert shape_of(*(before[k] for k in ("edge_index", "edge_weight")), rows) == shape_of(
            *(after[k] for k in ("edge_index", "edge_weight")), rows
        )
        place = dict(zip(before.edge_index.flatten().tolist(), after.edge_index.flatten().tolist(), strict=True))
        assert len(set(place.values())) == len(place)  # one node, one place: an isomorphism
        moved = [[place[end] for end in pair] for pair in before.edge_index.T.tolist()]
        assert moved == after.edge_index.T.tolist()
    for edge in (("scan", "of", "subject"), ("text", "of", "subject")):
        assert torch.equal(built.graph[edge].edge_index, changed[edge].edge_index)


def test_all_relations_see_one_shuffle():
    graph = HeteroData()
    graph["step"].x = torch.randn(9, 2)
    chain = torch.stack([torch.arange(8), torch.arange(1, 9)])
    graph["step", "next", "step"].edge_index, graph["step", "previous", "step"].edge_index = chain, chain.flip(0)
    changed = control_graph("shuffled_edges", graph, Schema.infer(graph, anchor="step"), seed=1)
    moved = changed["step", "next", "step"].edge_index
    assert not torch.equal(moved, chain)
    assert torch.equal(changed["step", "previous", "step"].edge_index, moved.flip(0))
    assert torch.equal(moved[1, :-1], moved[0, 1:])  # still one chain


def joined_parts(parts, index):
    return Counter(zip(parts[index[0]].tolist(), parts[index[1]].tolist(), strict=True))


@pytest.mark.parametrize("regime", ["cohort_hidden", "single_query"])
@pytest.mark.parametrize("level", ["anchor", "modality"])
def test_shuffling_joins_no_parts_that_were_not_joined(make_population, regime, level):
    built = make_population(regime, level=level)
    changed = control_graph("shuffled_edges", built.graph, built.schema, seed=3)
    parts = {"subject": part_of(built.graph)}
    for name in ("scan", "text"):
        node, owner = built.graph[name, "of", "subject"].edge_index
        parts[name] = torch.zeros_like(node)
        parts[name][node] = parts["subject"][owner]
    relations = [edge for edge in built.schema.edges if edge[1] != "of"]
    assert relations
    for edge in relations:
        before, after = (joined_parts(parts[edge[0]], g[edge].edge_index) for g in (built.graph, changed))
        assert before == after
        assert len(before) > 1


def test_in_the_open_regime_parts_mix(make_population):
    built = make_population("transductive")
    changed = control_graph("shuffled_edges", built.graph, built.schema, seed=3)
    counts = [joined_parts(part_of(built.graph), graph[NEAR].edge_index) for graph in (built.graph, changed)]
    assert counts[0] != counts[1]


def test_a_seed_is_a_shuffle(built):
    one, same, other = (control_graph("shuffled_edges", built.graph, built.schema, seed=seed) for seed in (1, 1, 2))
    assert difference(one, same) is None
    assert not torch.equal(one[NEAR].edge_index, other[NEAR].edge_index)


def test_without_a_modality_its_nodes_and_relations_are_gone(built):
    changed = control_graph("without:scan", built.graph, built.schema)
    assert changed["scan"].num_nodes == 0
    assert changed["scan"].x.shape == (0, 3)
    assert changed["scan", "of", "subject"].edge_index.shape == (2, 0)
    assert changed[NEAR].edge_index.shape == (2, 0)
    assert changed[NEAR].edge_weight.shape == (0,)
    assert torch.equal(changed["text"].x, built.graph["text"].x)
    kept = ("subject", "near_text", "subject")
    assert torch.equal(changed[kept].edge_index, built.graph[kept].edge_index)
    assert torch.equal(changed["subject"].y, built.graph["subject"].y)


@pytest.mark.parametrize("name", ["full", "flat_linear", "without:video"])
def test_a_control_that_makes_no_graph_is_refused(built, name):
    expected = rf"one of \['no_graph', 'shuffled_edges', 'noise', 'without:scan', .*, 'zeroed:text'\], got '{name}'"
    with pytest.raises(ConfigError, match=expected):
        control_graph(name, built.graph, built.schema)


def test_a_baseline_that_is_not_there_is_refused(built):
    expected = r"one of \['flat_linear', 'late_linear', 'majority'\], got 'no_graph'"
    with pytest.raises(ConfigError, match=expected):
        baseline("no_graph", [built.graph], NodeClassification(built.schema))


def columns(graph):
    """The features of the subjects, subject by subject: 0 where one lacks the modality."""
    found = {}
    for name in ("scan", "text"):
        index, x = graph[name, "of", "subject"].edge_index, graph[name].x.numpy()
        found[name] = np.zeros((graph["subject"].num_nodes, x.shape[1]), dtype=np.float32)
        for node, owner in index.T.tolist():
            found[name][owner] = x[node]
    return found


def chosen_by_hand(graph, matrices):
    """The regression of the strength that is best on validation: its probabilities on test."""
    y = graph["subject"].y.numpy()
    train, val, test = (graph["subject"][f"{part}_mask"].numpy() for part in ("train", "val", "test"))
    best = (np.inf, None)
    for strength in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0):
        models = [LogisticRegression(C=strength, max_iter=5000).fit(x[train], y[train]) for x in matrices]
        each = [np.mean([m.predict_proba(x[p]) for m, x in zip(models, matrices, strict=True)], 0) for p in (val, test)]
        loss = log_loss(y[val], each[0])
        if loss < best[0]:
            best = (loss, each[1])
    return best[1]


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
@pytest.mark.parametrize("name", ["flat_linear", "late_linear"])
def test_linear_controls_equal_scikit_learn_chosen_by_hand(make_population, name, classes):
    built = make_population(classes=classes)
    x = columns(built.graph)
    matrices = [np.concatenate(list(x.values()), axis=1)] if name == "flat_linear" else list(x.values())
    found = baseline(name, [built.graph], NodeClassification(built.schema))
    np.testing.assert_allclose(found.numpy(), chosen_by_hand(built.graph, matrices), atol=1e-5)


def test_strengths_are_those_that_are_tried_by_hand():
    assert STRENGTHS == (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


def test_folds_are_averaged(built):
    graph, task = built.graph, NodeClassification(built.schema)
    store, other = graph["subject"], copy.copy(graph)
    other["subject"].train_mask, other["subject"].val_mask = store.val_mask.clone(), store.train_mask.clone()
    both = baseline("majority", [graph, other], task)
    labels = torch.cat([store.y[store.train_mask], store.y[store.val_mask]])
    assert both[0].tolist() == pytest.approx((torch.bincount(labels) / len(labels)).tolist())
    two = baseline("flat_linear", [graph, graph], task)
    torch.testing.assert_close(two, baseline("flat_linear", [graph], task))
    assert len(baseline("flat_linear", [graph, other], task, "val")) == store.val_mask.sum()


def test_majority_is_the_shares_of_training(built):
    store = built.graph["subject"]
    found = baseline("majority", [built.graph], NodeClassification(built.schema))
    counts = Counter(store.y[store.train_mask].tolist())
    assert found.shape == (int(store.test_mask.sum()), 2)
    assert found[3].tolist() == pytest.approx([counts[c] / sum(counts.values()) for c in (0, 1)])


def test_unknown_labels_are_not_learned():
    graph, schema = fake_graph(60)
    task = NodeClassification(schema)
    labels = task.labels(graph, "train")
    assert (labels == -1).any()
    found = baseline("majority", [graph], task)[0, 1].item()
    assert found == pytest.approx((labels == 1).sum().item() / (labels >= 0).sum().item())
    assert baseline("flat_linear", [graph], task).isfinite().all()


@pytest.mark.parametrize("name", ["flat_linear", "late_linear", "majority"])
def test_no_baseline_reads_a_label_of_the_test(built, with_other_labels, name):
    task = NodeClassification(built.schema)
    before = baseline(name, [built.graph], task)
    after = baseline(name, [with_other_labels(built.graph, "test")], task)
    assert torch.equal(before, after)


def test_a_class_that_training_lacks_gets_no_probability(make_population):
    built = make_population(classes=("a", "b", "c"))
    graph = copy.copy(built.graph)
    store = graph["subject"]
    store.train_mask = store.train_mask & (store.y != 1)
    found = baseline("late_linear", [graph], NodeClassification(built.schema))
    assert (found[:, 1] == 0).all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(found)))


def test_an_anchor_with_a_payload_is_read_too(built):
    graph, schema = copy.copy(built.graph), built.schema
    graph["subject"].x = (2.0 * graph["subject"].y[:, None]) - 1  # the answer itself
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "subject": NodeSpec(channels=1)}})
    task = NodeClassification(schema)
    found = task.evaluate(baseline("flat_linear", [graph], task), graph, metrics=["accuracy"])
    assert found["accuracy"] == 1


def test_linear_controls_read_the_tensors_that_a_model_is_trained_on():
    """Pixels by the scale of their dtype; spectrograms around their own mean, which stands where they hold nothing."""
    graph = HeteroData()
    graph["a"].num_nodes = 3
    graph["photo"].pixels = torch.tensor([[[0, 51]], [[255, 102]]], dtype=torch.uint8)
    graph["sound"].mel = torch.tensor([[[1.0, 3.0, float("nan")]]])
    graph["photo"].num_nodes, graph["sound"].num_nodes = 2, 1
    graph["photo", "of", "a"].edge_index = torch.tensor([[0, 1], [2, 0]])
    graph["sound", "of", "a"].edge_index = torch.tensor([[0], [1]])
    schema = Schema(
        nodes={
            "a": NodeSpec(),
            "photo": NodeSpec(modality="image", attributes=("pixels",)),
            "sound": NodeSpec(modality="audio", attributes=("mel",)),
        },
        edges={("photo", "of", "a"): EdgeSpec(), ("sound", "of", "a"): EdgeSpec()},
        anchor="a",
    )
    photo, sound = (x.nan_to_num(0.0) for x in anchor_columns(graph, schema).values())
    torch.testing.assert_close(photo, torch.tensor([[1.0, 0.4], [0.0, 0.0], [0.0, 0.2]]))
    torch.testing.assert_close(sound, torch.tensor([[0.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


def test_a_modality_that_comes_over_a_relation_is_read_and_left_out():
    graph = HeteroData()
    graph["question"].x, graph["picture"].x = torch.empty(3, 0), torch.empty(2, 0)
    graph["text"].x, graph["image"].x = torch.arange(3.0)[:, None], torch.tensor([[10.0], [20.0]])
    graph["text", "of", "question"].edge_index = torch.arange(3).expand(2, -1)
    graph["image", "of", "picture"].edge_index = torch.tensor([[0, 1], [1, 0]])
    graph["picture", "asked_by", "question"].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
    schema = Schema.infer(graph, anchor="question")
    without = ("without:text", "without:image")
    controls = ("no_graph", "shuffled_edges", *without, "flat_linear", "late_linear", "majority")
    assert default_controls(schema) == controls
    text, image = anchor_columns(graph, schema).values()
    assert text.flatten().tolist() == [0.0, 1.0, 2.0]
    assert image.flatten().tolist() == [20.0, 20.0, 10.0]
    graph["image"].num_nodes = 2
    bare = control_graph("without:image", graph, schema)
    assert bare["image"].num_nodes == 0
    assert bare["picture", "asked_by", "question"].edge_index.shape == (2, 3)
    assert anchor_columns(bare, schema)["image"].isnan().all()


def test_noise_replaces_all_features_and_nothing_else():
    graph, schema = fake_graph()
    graph["scan"].pixels = torch.randint(3, 9, (graph["scan"].num_nodes, 2, 2), dtype=torch.uint8)
    nodes = {**schema.nodes, "scan": schema.nodes["scan"].model_copy(update={"attributes": ("pixels",)})}
    schema = schema.model_copy(update={"nodes": nodes})
    noise, again, other = (control_graph("noise", graph, schema, seed=seed) for seed in (0, 0, 1))
    for node in ("scan", "text"):
        assert not torch.equal(noise[node].x, graph[node].x)
        assert torch.equal(noise[node].x, again[node].x)
        assert not torch.equal(noise[node].x, other[node].x)
    assert noise["scan"].pixels.dtype == torch.uint8
    assert 3 <= int(noise["scan"].pixels.min()) <= int(noise["scan"].pixels.max()) <= 8
    for edge in graph.edge_types:
        assert torch.equal(noise[edge].edge_index, graph[edge].edge_index)


def paired(rows=300, noise=0.1):
    """Anchors of which a picture and a text are two noisy linear maps of the same 3 numbers; one lacks a text."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, 3, generator=generator)
    graph = HeteroData()
    graph["a"].num_nodes = rows
    for number, part in enumerate(("train", "val", "test")):
        graph["a"][f"{part}_mask"] = torch.arange(rows) % 3 == number
    for node, width in (("image", 5), ("text", 7)):
        x = hidden @ torch.randn(3, width, generator=generator)
        graph[node].x = x + noise * torch.randn(x.shape, generator=generator)
        graph[node, "of", "a"].edge_index = torch.arange(rows).expand(2, -1)
    graph["text", "of", "a"].edge_index = graph["text", "of", "a"].edge_index[:, 3:]
    return graph, Schema.infer(graph, anchor="a")


def test_canonical_correlation_finds_what_belongs_together_and_chance_does_not():
    graph, schema = paired()
    task = Retrieval(schema)
    scores = {name: task.evaluate(baseline(name, [graph], task), graph) for name in ("cca", "chance")}
    assert scores["cca"]["recall@10"] > 0.9
    assert scores["chance"]["recall@10"] == pytest.approx(0.1, abs=0.08)
    vectors = baseline("cca", [graph], task)
    assert vectors.shape[:2] == (100, 2)
    rows = graph["a"].test_mask.nonzero().flatten()
    assert vectors[:, task.views.index("text"), 0].isnan().tolist() == (rows < 3).tolist()
    assert baseline("chance", [graph], task)[:, 1, 0].isnan().tolist() == (rows < 3).tolist()


def test_canonical_correlation_never_reads_the_test_part():
    graph, schema = paired()
    task = Retrieval(schema)
    before = baseline("cca", [graph], task, "val")
    test = graph["a"].test_mask
    graph["image"].x[test] = torch.randn(int(test.sum()), 5)
    assert torch.equal(baseline("cca", [graph], task, "val").nan_to_num(9), before.nan_to_num(9))


def test_wide_features_are_brought_to_their_principal_components_first():
    graph, schema = paired()
    graph["image"].x = graph["image"].x @ torch.randn(5, 300)
    schema = Schema.infer(graph, anchor="a")
    task = Retrieval(schema)
    assert task.evaluate(baseline("cca", [graph], task), graph)["recall@10"] > 0.9


def test_a_view_of_several_modalities_is_read_side_by_side():
    graph, schema = paired()
    graph["sound"].x = torch.randn(200, 2)
    graph["sound", "of", "a"].edge_index = torch.arange(200).expand(2, -1)
    schema = Schema.infer(graph, anchor="a")
    pairs = [("image", "both"), ("both", "image")]
    task = Retrieval(schema, pairs, views={"both": ("text", "sound")})
    assert "cca" in task.controls
    assert "cca" not in Retrieval(schema, pairs).controls
    vectors = baseline("cca", [graph], task)
    rows = graph["a"].test_mask.nonzero().flatten()
    assert not vectors[:, task.views.index("both")].isnan().any()  # who lacks a text has a sound
    assert task.evaluate(vectors, graph)["recall@10"] > 0.8
    graph["sound", "of", "a"].edge_index = torch.arange(3, 200).expand(2, -1)
    vectors = baseline("cca", [graph], task)
    assert vectors[:, task.views.index("both"), 0].isnan().tolist() == (rows < 3).tolist()
    assert baseline("chance", [graph], task)[:, 1, 0].isnan().tolist() == (rows < 3).tolist()
