import pytest
import torch

from mmgraph.decoders import Probe
from mmgraph.errors import ConfigError


def test_it_learns_and_the_states_do_not():
    states, probe = torch.randn(4, 3, requires_grad=True), Probe(3, 2)
    (probe(states).sum() + states.sum()).backward()
    assert torch.equal(states.grad, torch.ones(4, 3))
    torch.testing.assert_close(probe.linear.weight.grad, states.detach().sum(dim=0).expand(2, -1))


def test_a_width_below_1_is_refused():
    with pytest.raises(ConfigError, match="at least 1, got 3 to 0"):
        Probe(3, 0)
