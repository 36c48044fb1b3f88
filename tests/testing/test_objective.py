import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmgraph.encoders import Table
from mmgraph.fusion import Sum
from mmgraph.model import Model
from mmgraph.objectives import Objective
from mmgraph.schema import view
from mmgraph.testing import check_objective, fake_graph


class Good(Objective):
    def forward(self, model, graph):
        y = graph["subject"].y
        loss = F.cross_entropy(model(graph), y, ignore_index=-1, reduction="sum") / (y >= 0).sum().clamp_min(1)
        return {"total": loss, "cross_entropy": loss}


class Nan(Good):
    def forward(self, model, graph):
        loss = F.cross_entropy(model(graph), graph["subject"].y, ignore_index=-1)
        return {"total": loss, "cross_entropy": loss}


class NoGradient(Good):
    def forward(self, model, graph):
        if (graph["subject"].y < 0).all():
            return {"total": torch.zeros(()), "cross_entropy": torch.zeros(())}
        return super().forward(model, graph)


class Alone(Good):
    def forward(self, model, graph):
        return {"total": super().forward(model, graph)["total"]}


class NoTotal(Good):
    def forward(self, model, graph):
        return {"loss": super().forward(model, graph)["total"], "other": torch.zeros(())}


class EachRow(Good):
    def forward(self, model, graph):
        return {**super().forward(model, graph), "each": model(graph).sum(dim=1)}


class Penalty(Good):
    def forward(self, model, graph):
        return {key: term + 1 for key, term in super().forward(model, graph).items()}


class Constant(Good):
    def forward(self, model, graph):
        return {key: term * 0 for key, term in super().forward(model, graph).items()}


class BadGradient(Good):
    def forward(self, model, graph):
        terms = super().forward(model, graph)
        return {**terms, "total": terms["total"] + (model(graph) * 0).sqrt().sum()}


class Overwrites(Good):
    def forward(self, model, graph):
        terms = super().forward(model, graph)
        graph["subject"].y.clamp_(min=0)
        return terms


BROKEN = {
    Nan: "Nan must give finite terms, got 'total' = nan",
    NoGradient: "NoGradient must give a total with a gradient, got one without",
    Alone: "Alone must name the parts of its total, got 'total' alone",
    NoTotal: r"NoTotal must give a term 'total', got \['loss', 'other'\]",
    EachRow: r"EachRow must give scalars, got 'each' of \[40\]",
    Penalty: "Penalty must be 0 where there is nothing to learn from, got 1.0",
    Constant: "Constant must move the model, got a gradient of 0 everywhere",
    BadGradient: "BadGradient must give finite gradients, got others",
    Overwrites: "Overwrites must leave the graph as it is, got another 'y' of 'subject'",
}


def inputs():
    graph, schema = fake_graph()
    model = Model(schema=schema, encoder=Table({"scan": 3, "text": 5}, 2), fusion=Sum(), head=nn.Identity())
    return model, graph, view(graph, schema, labels={"diagnosis": torch.zeros(40, dtype=torch.bool)})


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken):
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_objective(broken(), *inputs())


def test_a_good_objective_passes_and_trains_nothing():
    model, graph, nothing = inputs()
    check_objective(Good(), model, graph, nothing)
    assert all(parameter.grad is None for parameter in model.parameters())
