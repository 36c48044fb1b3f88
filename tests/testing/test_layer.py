import pytest
import torch
from torch import nn

from mmgraph.functional import Adjacency, aggregate
from mmgraph.layers import Layer, Mean
from mmgraph.testing import check_layer, fake_states

RELATIONS = [("subject", "near", "subject"), ("scan", "of", "subject")]


class Good(Layer):
    def __init__(self):
        super().__init__()
        self.mean = Mean(4, 4, relations=RELATIONS)

    def forward(self, features, edges):
        return self.mean(features, edges)


class CountsRows(Good):
    def forward(self, features, edges):
        out = super().forward(features, edges)
        return {node: state + torch.arange(len(state))[:, None] for node, state in out.items()}


class DividesByDegree(Good):
    def forward(self, features, edges):
        index = edges[RELATIONS[0]].index
        count = torch.bincount(index[1], minlength=len(features["subject"]))[:, None]
        return {**features, "subject": aggregate(features["subject"], Adjacency(index, len(count), len(count))) / count}


class NeedsEdges(Good):
    def forward(self, features, edges):
        scale = 1 / edges[RELATIONS[1]].index.shape[1]
        return {node: state * (torch.tensor(scale)) for node, state in super().forward(features, edges).items()}


class FollowsAll(Good):
    def forward(self, features, edges):
        out = super().forward(features, edges)
        for (source, _, target), (index, _) in edges.items():
            rows = len(features[source]), len(features[target])
            out[target] = out[target] + aggregate(features[source], Adjacency(index, *rows))
        return out


class Overwrites(Good):
    def forward(self, features, edges):
        features["subject"] = features["subject"] * 2
        return super().forward(features, edges)


class Forgets(Good):
    def forward(self, features, edges):
        return {"subject": super().forward(features, edges)["subject"]}


class NeedsNodes(Good):
    def forward(self, features, edges):
        out = super().forward(features, edges)
        return {node: state - features["scan"].mean() for node, state in out.items()}


class Listed(Good):
    def __init__(self):
        super().__init__()
        self.steps = [nn.Linear(4, 4, bias=False)]

    def forward(self, features, edges):
        return {node: self.steps[0](state) for node, state in super().forward(features, edges).items()}


BROKEN = {
    CountsRows: "CountsRows must permute its states as the nodes are permuted, got others for 'subject'",
    DividesByDegree: "DividesByDegree must give finite states, got others for 'subject'",
    FollowsAll: r"must leave relations aside that it was not made for, got \('subject', 'unknown to the layer'",
    Overwrites: "Overwrites must leave the states that it is given as they are, got others",
    Forgets: r"Forgets must give states of 'scan' too, got \['subject'\]",
    NeedsNodes: r"NeedsNodes without rows of \['scan'\] must give finite states, got others for 'subject'",
    Listed: r"Listed learns a tensor \[4, 4\] that is not in parameters",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_layer(broken(), *fake_states(4))


def test_an_error_of_the_layer_itself_passes_through():
    with pytest.raises(ZeroDivisionError):
        check_layer(NeedsEdges(), *fake_states(4))


def test_a_good_layer_passes():
    layer = Good()
    check_layer(layer, *fake_states(4))
    assert layer.training
