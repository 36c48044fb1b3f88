import copy

import torch

from mmgraph.schema import TargetSpec
from mmgraph.testing import fake_graph
from mmgraph.testing.expect import difference
from mmgraph.testing.perturb import with_new_labels, with_new_payload, with_new_rows


def test_nothing_given_is_changed():
    graph, schema = fake_graph()
    before, generator = copy.deepcopy(graph), torch.Generator()
    rows = torch.arange(40) < 5
    with_new_payload(graph, "scan", generator)
    with_new_labels(graph, schema.target("diagnosis"), rows)
    with_new_rows(graph, schema, "subject", rows, generator)
    assert difference(before, graph) is None


def test_codes_change_places_and_rows_without_payload_stay():
    graph, _ = fake_graph()
    graph["scan"].x = torch.arange(graph["scan"].num_nodes)[:, None]
    changed = with_new_payload(graph, "scan", torch.Generator())
    assert changed["scan"].x.dtype == torch.int64
    assert (changed["scan"].x != graph["scan"].x).all()
    assert changed["scan"].x.sum() == graph["scan"].x.sum()


def test_every_label_of_the_rows_changes_and_no_other():
    graph, schema = fake_graph(classes=("a", "b", "c"))
    rows = ~graph["subject"].train_mask
    changed = with_new_labels(graph, schema.target("diagnosis"), rows)["subject"].y
    assert torch.equal(changed != graph["subject"].y, rows)
    assert changed.min() >= -1
    assert changed.max() <= 2


def test_regression_labels_change_too():
    graph, _ = fake_graph()
    graph["subject"].y = torch.tensor([1.0, float("nan")] * 20)
    target = TargetSpec(node="subject", kind="regression")
    changed = with_new_labels(graph, target, torch.ones(40, dtype=torch.bool))["subject"].y
    assert changed.tolist() == [-2.0, 0.0] * 20


def test_rows_take_their_modality_nodes_and_edges_with_them():
    graph, schema = fake_graph()
    rows = torch.arange(40) < 20
    changed = with_new_rows(graph, schema, "subject", rows, torch.Generator())
    node, owner = graph["scan", "of", "subject"].edge_index
    moved = (changed["scan"].x != graph["scan"].x).any(dim=1)
    assert torch.equal(moved[node], rows[owner])
    near = changed["subject", "near", "subject"]
    assert (near.edge_index >= 20).all()
    assert len(near.edge_weight) == near.edge_index.shape[1] > 0
