import pytest
import torch

from mmgraph.encoders import Encoder, Table
from mmgraph.testing import check_encoder, fake_graph
from mmgraph.testing.expect import difference


class Good(Encoder):
    def __init__(self):
        super().__init__()
        self.table = Table({"scan": 3, "text": 5}, 4)

    def forward(self, graph):
        return self.table(graph)


class DropsARow(Good):
    def forward(self, graph):
        return {node: state[1:] for node, state in super().forward(graph).items()}


class GivesNothing(Good):
    def forward(self, graph):
        return {}


class Infinite(Good):
    def forward(self, graph):
        return {node: state.log() for node, state in super().forward(graph).items()}


class LooksAside(Good):
    def forward(self, graph):
        features = super().forward(graph)
        return {**features, "text": features["text"] + graph["scan"].x.sum()}


class ReadsLabels(Good):
    def forward(self, graph):
        y = graph["subject"].get("y")
        return {node: state + (0 if y is None else y.sum()) for node, state in super().forward(graph).items()}


class Overwrites(Good):
    def forward(self, graph):
        graph["scan"].x -= graph["scan"].x.mean(dim=0)
        return super().forward(graph)


class IsBlind(Good):
    def forward(self, graph):
        return {node: torch.ones(len(state), 4) for node, state in super().forward(graph).items()}


class WidthOfZeroRows(Good):
    def forward(self, graph):
        return {node: state if len(state) else state.new_empty(0, 9) for node, state in super().forward(graph).items()}


class Listed(Good):
    def __init__(self):
        super().__init__()
        self.tables = [self.table]
        del self.table

    def forward(self, graph):
        return self.tables[0](graph)


BROKEN = {
    DropsARow: r"DropsARow must give 'scan' a row a node, \[\d+, channels\]",
    GivesNothing: "GivesNothing must encode at least 1 node type, got none",
    Infinite: "Infinite must give finite features, got NaN or infinity for 'scan'",
    LooksAside: "LooksAside must encode 'text' by itself, got other features where 'scan' changed",
    ReadsLabels: "ReadsLabels must encode a view like the graph, got other features of 'scan'",
    Overwrites: "Overwrites must leave the graph as it is, got another 'x' of 'scan'",
    IsBlind: "IsBlind must read the payload of 'scan'",
    WidthOfZeroRows: r"WidthOfZeroRows must give \[0, 4\] for no 'scan'",
    Listed: r"Listed learns a tensor \[4(, \d)?\] that is not in parameters",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken):
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_encoder(broken(), *fake_graph())


def test_a_good_encoder_passes_and_nothing_given_changes():
    graph, schema = fake_graph()
    encoder = Good().train()
    check_encoder(encoder, graph, schema)
    assert encoder.training
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert difference(graph, fake_graph()[0]) is None
