import numpy as np
import pytest
import torch

from mmgraph import Population, PopulationConfig, stratified_split
from mmgraph.testing import fake_graph, fake_parts, fake_records, fake_states
from mmgraph.testing.expect import difference

REGIMES = ("transductive", "cohort_hidden", "single_query")


def test_records_are_always_the_same():
    assert fake_records(seed=3).sha256 == fake_records(seed=3).sha256 != fake_records(seed=4).sha256


def test_records_lack_what_they_are_asked_to_lack():
    records = fake_records(50, widths={"a": 2, "b": 3}, missing=0.3)
    assert [int(records.present(name).sum()) for name in ("a", "b")] == [35, 35]
    assert not np.array_equal(records.present("a"), records.present("b"))
    assert sorted(records.phenotypes) == ["age", "site"]


def test_records_make_a_population():
    records = fake_records(30, classes=("a", "b", "c"))
    population = Population.fit(records, stratified_split(records.labels), PopulationConfig(k=3))
    population.schema.check(population.graph)


def test_signal_is_what_separates_the_classes():
    def gap(signal):
        records = fake_records(400, widths={"a": 4}, missing=0.0, signal=signal)
        x = records.modalities["a"]
        return np.linalg.norm(x[::2].mean(axis=0) - x[1::2].mean(axis=0))

    assert gap(0.0) < 0.5 < 2 < gap(3.0)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d")])
def test_graphs_keep_to_their_schema_and_are_always_the_same(regime, classes):
    graph, schema = fake_graph(classes=classes, regime=regime, seed=5)
    schema.check(graph)
    assert schema.regime == regime
    assert difference(graph, fake_graph(classes=classes, regime=regime, seed=5)[0]) is None
    assert difference(graph, fake_graph(classes=classes, regime=regime, seed=6)[0]) is not None
    for part in ("train", "val", "test"):
        labels = graph["subject"].y[graph["subject"][f"{part}_mask"]]
        assert set(labels[labels >= 0].tolist()) == set(range(len(classes)))


def test_graphs_are_ragged_and_full_of_holes():
    graph, _ = fake_graph()
    counts = torch.bincount(graph["scan", "of", "subject"].edge_index[1], minlength=40)
    assert counts[0] == 0
    assert set(counts.tolist()) == {0, 1, 2, 3}
    assert not (graph["subject", "near", "subject"].edge_index == 39).any()
    assert (graph["subject"].y == -1).sum() == 3


@pytest.mark.parametrize("regime", REGIMES[1:])
def test_edges_of_hidden_regimes_come_from_training_or_the_own_part(regime):
    graph, _ = fake_graph(60, regime=regime)
    store = graph["subject"]
    part = store.val_mask.long() + 2 * store.test_mask.long()
    source, target = part[graph["subject", "near", "subject"].edge_index]
    assert ((source == 0) | (source == target)).all()
    assert ((source == 0) & (target == 2)).any()


def test_parts_and_states_hold_what_they_say():
    parts, present = fake_parts(20, widths={"a": 2, "b": 4})
    assert {name: tuple(part.shape) for name, part in parts.items()} == {"a": (20, 2), "b": (20, 4)}
    assert all(mask[0] and not mask[1] for mask in present.values())
    assert all((part[~present[name]] == 0).all() for name, part in parts.items())
    features, edges = fake_states(3, weighted=False)
    assert all(edge_set.weight is None for edge_set in edges.values())
    assert all((edges[edge].index[1] < len(features[edge[2]]) - 1).all() for edge in edges)
