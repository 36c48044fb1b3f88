import pytest
import torch
from torch import nn

from mmgraph.encoders import Labels
from mmgraph.errors import ConfigError
from mmgraph.layers import KernelRidge
from mmgraph.model import Model
from mmgraph.schema import TargetSpec, view
from mmgraph.tasks import NodeClassification
from mmgraph.testing import check_no_leak, fake_graph


def test_labels_of_the_view_alone():
    graph, schema = fake_graph(classes=("a", "b", "c"))
    seen = NodeClassification(schema).view(graph, "test")
    found = Labels(schema.target("diagnosis"))(seen)["subject"]
    y, train = graph["subject"].y, graph["subject"].train_mask
    for row in range(len(y)):
        expected = [float(train[row] and int(y[row]) == c) for c in range(3)]
        assert found[row].tolist() == expected


@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden", "single_query"])
def test_a_machine_on_labels_leaks_none(regime):
    graph, schema = fake_graph(60, regime=regime)
    target = schema.target("diagnosis")
    near = KernelRidge(relations=[("subject", "near", "subject")])
    model = Model(schema=schema, encoder=Labels(target), between=near, head=nn.Linear(2, 2))
    check_no_leak(model, NodeClassification(schema), graph, schema)


def test_a_target_without_classes_is_refused():
    with pytest.raises(ConfigError, match="a target with classes, got a regression"):
        Labels(TargetSpec(node="a", kind="regression"))


def test_no_nodes():
    graph, schema = fake_graph()
    graph["subject"].y = torch.empty(0, dtype=torch.long)
    assert Labels(schema.target("diagnosis"))(graph)["subject"].shape == (0, 2)


def test_in_a_view_without_labels_nobody_is_known():
    graph, schema = fake_graph()
    found = Labels(schema.target("diagnosis"))(view(graph, schema))["subject"]
    assert torch.equal(found, torch.zeros(40, 2))
