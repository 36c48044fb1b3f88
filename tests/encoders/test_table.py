import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.encoders import Encoder, Table
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key


@pytest.fixture
def graph():
    torch.manual_seed(0)
    graph = HeteroData()
    graph["blood"].x = torch.randn(7, 3, dtype=torch.float64)
    graph["scan"].x = torch.randn(4, 5, dtype=torch.float64)
    return graph


def test_equals_a_slow_loop(graph):
    encoder = Table({"blood": 3, "scan": 5}, 2, hidden=[6, 4]).double()
    out = encoder(graph)
    for node in ("blood", "scan"):
        linears = [step for step in encoder.networks[weight_key(node)] if isinstance(step, torch.nn.Linear)]
        assert [(step.in_features, step.out_features) for step in linears[1:]] == [(6, 4), (4, 2)]
        for row, state in enumerate(graph[node].x):
            for number, linear in enumerate(linears):
                state = linear.weight @ (state.clamp_min(0) if number else state) + linear.bias
            torch.testing.assert_close(out[node][row], state, rtol=1e-12, atol=1e-12)


def test_without_hidden_layers_it_is_linear(graph):
    encoder = Table({"blood": 3}, 2).double()
    double = graph.clone()
    double["blood"].x = 2 * graph["blood"].x
    zero = encoder.networks[weight_key("blood")][-1].bias
    torch.testing.assert_close(encoder(double)["blood"] - zero, 2 * (encoder(graph)["blood"] - zero))


def test_types_share_no_weights():
    encoder = Table({"blood": 3, "scan": 3}, 2)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 2 * (3 * 2 + 2)


def test_dropout_acts_while_training_alone(graph):
    encoder = Table({"blood": 3}, 2, hidden=[8], dropout=0.5).double()
    assert not torch.equal(encoder(graph)["blood"], encoder(graph)["blood"])
    encoder.eval()
    assert torch.equal(encoder(graph)["blood"], encoder(graph)["blood"])


@pytest.mark.parametrize(
    ("widths", "channels", "hidden", "message"),
    [
        ({}, 4, (), r"got {} to 4 by \[\]"),
        ({"blood": 0}, 4, (), r"got {'blood': 0} to 4 by \[\]"),
        ({"blood": 3}, 0, (), r"got {'blood': 3} to 0 by \[\]"),
        ({"blood": 3}, 4, (8, 0), r"got {'blood': 3} to 4 by \[8, 0\]"),
    ],
)
def test_widths_below_one_are_refused(widths, channels, hidden, message):
    with pytest.raises(ConfigError, match=message):
        Table(widths, channels, hidden=hidden)


def test_an_encoder_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Encoder()
