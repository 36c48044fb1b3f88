import pytest
import torch
from torch import nn

from mmgraph.encoders import Table
from mmgraph.fusion import Sum
from mmgraph.layers import Mean
from mmgraph.model import Model
from mmgraph.schema import view
from mmgraph.tasks import NodeClassification
from mmgraph.testing import check_no_leak, fake_graph

NEAR = [("subject", "near", "subject")]


class ShowsAll(NodeClassification):
    def view(self, graph, part):
        return graph


class ShowsStrangers(NodeClassification):
    def view(self, graph, part):
        return view(graph, self.schema, labels={self.name: graph["subject"].train_mask})


class ReadsLabels(Model):
    def forward(self, graph):
        return super().forward(graph) + graph["subject"].y[:, None].float()


def make(schema, cls=Model):
    encoder, between = Table({"scan": 3, "text": 5}, 4), Mean(4, 4, relations=NEAR)
    return cls(schema=schema, encoder=encoder, fusion=Sum(), between=between, head=nn.Linear(4, 2))


@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden", "single_query"])
def test_a_model_on_the_views_of_a_task_leaks_nothing(regime):
    torch.manual_seed(0)
    graph, schema = fake_graph(60, regime=regime)
    check_no_leak(make(schema), NodeClassification(schema), graph, schema)
    check_no_leak(make(schema, ReadsLabels), NodeClassification(schema), graph, schema)  # those of training: allowed


def test_labels_outside_training_are_found():
    graph, schema = fake_graph()
    with pytest.raises(
        AssertionError, match="ReadsLabels must not depend on labels outside training in the view of 't"
    ):
        check_no_leak(make(schema, ReadsLabels), ShowsAll(schema), graph, schema)


@pytest.mark.parametrize("regime", ["cohort_hidden", "single_query"])
def test_subjects_that_should_be_hidden_are_found(regime):
    graph, schema = fake_graph(regime=regime)
    with pytest.raises(AssertionError, match="subjects that are neither training nor asked for in the view of 'train'"):
        check_no_leak(make(schema), ShowsStrangers(schema), graph, schema)
