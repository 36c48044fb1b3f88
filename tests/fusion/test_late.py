import math

import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.fusion import Late
from mmgraph.keys import weight_key


@pytest.mark.parametrize("weights", ["sum", "mean", "learned"])
def test_equals_a_slow_loop(parts, widths, weights):
    torch.manual_seed(0)
    fusion = Late(widths, 5, weights=weights).double()
    if weights == "learned":
        fusion.scores.data = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    values, present = parts
    out = fusion(*parts)
    for anchor in range(15):
        here = [name for name in sorted(widths) if present[name][anchor]]
        powers = dict.fromkeys(here, 1.0)
        if weights == "learned":
            powers = {name: math.exp([0.3, -1.0, 2.0][sorted(widths).index(name)]) for name in here}
        total = 1.0 if weights == "sum" else sum(powers.values())
        row = torch.zeros(5, dtype=torch.float64)
        for name in here:
            (head,) = fusion.heads[weight_key(name)]
            row = row + powers[name] / total * (head.weight @ values[name][anchor] + head.bias)
        torch.testing.assert_close(out[anchor], row, rtol=1e-10, atol=1e-12)


def test_hidden_layers_are_of_each_head(widths):
    assert len(Late(widths, 5, hidden=[8, 8]).heads[weight_key("text")]) == 7
    assert Late(widths, 5).scores is None


def test_the_head_of_a_part_nobody_has_gets_no_gradient(parts, widths):
    values, present = parts
    fusion = Late(widths, 5, weights="learned").double()
    fusion(values, {**present, "text": torch.zeros(15, dtype=torch.bool)}).square().sum().backward()
    (text,) = fusion.heads[weight_key("text")]
    assert not text.weight.grad.any()
    assert fusion.scores.grad[2] == 0
    assert fusion.scores.grad[:2].all()


def test_other_weights_are_refused(widths):
    with pytest.raises(ConfigError, match="must be 'sum', 'mean' or 'learned', got 'equal'"):
        Late(widths, 5, weights="equal")
