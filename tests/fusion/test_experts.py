import math

import torch

from mmgraph.fusion import Experts
from mmgraph.keys import weight_key


def test_equals_a_slow_loop(parts, widths):
    torch.manual_seed(0)
    fusion = Experts(widths, 5, hidden=[6]).double()
    values, present = parts
    out = fusion(*parts)
    for anchor in range(15):
        here = [name for name in sorted(widths) if present[name][anchor]]
        said = torch.cat([values[name][anchor] * (name in here) for name in sorted(widths)])
        scores = dict(zip(sorted(widths), (fusion.gate.weight @ said + fusion.gate.bias).tolist(), strict=True))
        row, total = torch.zeros(5, dtype=torch.float64), sum(math.exp(scores[name]) for name in here)
        for name in here:
            first, _, _, last = fusion.expert[weight_key(name)]
            answer = last.weight @ (first.weight @ values[name][anchor] + first.bias).clamp_min(0) + last.bias
            row = row + math.exp(scores[name]) / total * answer
        torch.testing.assert_close(out[anchor], row, rtol=1e-10, atol=1e-12)


def test_a_closed_gate_leaves_one_expert(parts, widths):
    values, present = parts
    fusion = Experts(widths, 5).double()
    fusion.gate.weight.data.zero_()
    fusion.gate.bias.data = torch.tensor([0.0, 0.0, 1000.0]).double()  # audio, image, text
    out, here = fusion(values, present), present["text"]
    torch.testing.assert_close(out[here], fusion.expert[weight_key("text")](values["text"])[here])


def test_the_expert_of_a_part_nobody_has_gets_no_gradient(parts, widths):
    values, present = parts
    fusion = Experts(widths, 5).double()
    fusion(values, {**present, "text": torch.zeros(15, dtype=torch.bool)}).square().sum().backward()
    text, image = (fusion.expert[weight_key(name)][0] for name in ("text", "image"))
    assert not text.weight.grad.any()
    assert not text.bias.grad.any()
    assert image.weight.grad.all()
