import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.fusion import MLP


def test_equals_a_slow_loop(parts, widths):
    torch.manual_seed(0)
    fusion = MLP(widths, 5, hidden=[7]).double()
    values, present = parts
    out, (first, _, _, last) = fusion(*parts), fusion.network
    for anchor in range(15):
        here = {name: bool(present[name][anchor]) for name in widths}
        x = torch.cat([values[name][anchor] * here[name] for name in sorted(widths)])
        row = last.weight @ (first.weight @ x + first.bias).clamp_min(0) + last.bias
        torch.testing.assert_close(out[anchor], row * any(here.values()), rtol=1e-12, atol=1e-12)


def test_without_hidden_layers_it_is_concat(parts, widths):
    from mmgraph.fusion import Concat

    torch.manual_seed(0)
    fusion, concat = MLP(widths, 5, hidden=()).double(), Concat(widths, 5).double()
    fusion.network[0].load_state_dict(concat.linear.state_dict())
    assert torch.equal(fusion(*parts), concat(*parts))


def test_dropout_is_of_training_alone(parts, widths):
    fusion = MLP(widths, 5, dropout=0.5).double()
    assert not torch.equal(fusion(*parts), fusion(*parts))
    assert torch.equal(fusion.eval()(*parts), fusion(*parts))


def test_layers_must_be_at_least_one_wide(widths):
    with pytest.raises(ConfigError, match=r"at least 1 wide, got \[8, 0, 4\]"):
        MLP(widths, 4, hidden=[8, 0])
