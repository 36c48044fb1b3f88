import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.encoders import Raw


@pytest.fixture
def graph():
    graph = HeteroData()
    graph["paper"].x = torch.arange(12.0).view(4, 3) + 1
    graph["author"].x = torch.ones(2, 5)
    return graph


def test_features_are_the_payload(graph):
    features = Raw(["paper"])(graph)
    assert features.keys() == {"paper"}
    assert torch.equal(features["paper"], graph["paper"].x)


def test_nodes_may_come_from_an_iterator(graph):
    assert Raw(iter(["author", "paper"]))(graph).keys() == {"author", "paper"}


def test_dropout_acts_while_training_alone(graph):
    torch.manual_seed(0)
    encoder, before = Raw(["paper"], dropout=0.5), graph["paper"].x.clone()
    out = encoder(graph)["paper"]
    assert 0 < (out == 0).sum() < 12
    assert torch.equal(out[out != 0], 2 * before[out != 0])
    assert torch.equal(graph["paper"].x, before)
    assert torch.equal(encoder.eval()(graph)["paper"], before)
