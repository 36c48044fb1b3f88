import math

import torch

from mmgraph.fusion import Attention
from mmgraph.keys import weight_key


def test_equals_a_slow_loop(parts, widths):
    torch.manual_seed(0)
    fusion = Attention(widths, 5).double()
    values, present = parts
    out = fusion(*parts)
    for anchor in range(15):
        projected, powers = [], []
        for name in widths:
            if present[name][anchor]:
                value = fusion.value[weight_key(name)]
                projected.append(value.weight @ values[name][anchor] + value.bias)
                key = torch.tanh(fusion.key.weight @ projected[-1] + fusion.key.bias)
                powers.append(math.exp((fusion.query @ key).item() / math.sqrt(5)))
        row = torch.zeros(5, dtype=torch.float64)
        for power, value in zip(powers, projected, strict=True):
            row = row + power / sum(powers) * value
        torch.testing.assert_close(out[anchor], row, rtol=1e-10, atol=1e-12)


def test_is_torchs_attention_of_one_query(widths):
    torch.manual_seed(0)
    fusion = Attention(widths, 6)
    parts = {name: torch.randn(9, width) for name, width in widths.items()}
    value = torch.stack([fusion.value[weight_key(name)](parts[name]) for name in widths], dim=1)  # [9, 3, 6]
    key = torch.tanh(fusion.key(value))
    query = fusion.query.expand(9, 1, 6)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)[:, 0]
    out = fusion(parts, dict.fromkeys(parts, torch.ones(9, dtype=torch.bool)))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_the_only_part_counts_whole(parts, widths):
    values, present = parts
    fusion = Attention(widths, 5).double()
    alone = {name: torch.full_like(mask, name == "text") for name, mask in present.items()}
    torch.testing.assert_close(fusion(values, alone), fusion.value[weight_key("text")](values["text"]))
