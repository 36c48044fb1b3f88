import itertools

import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.fusion import Bilinear, base


@pytest.mark.parametrize("normalise", [False, True])
def test_equals_a_slow_loop(parts, widths, normalise):
    torch.manual_seed(0)
    fusion = Bilinear(widths, 5, normalise=normalise).double()
    values, present = parts
    out = fusion(*parts)
    for anchor in range(15):
        products = []
        for one, other in itertools.combinations(sorted(widths), 2):
            both = bool(present[one][anchor] and present[other][anchor])
            products += [
                float(a * b) if both else 0.0
                for a, b in itertools.product(values[one][anchor].tolist(), values[other][anchor].tolist())
            ]
        if normalise:
            products = [(1 if product > 0 else -1) * abs(product) ** 0.5 for product in products]
            length = sum(product**2 for product in products) ** 0.5
            products = [product / (length or 1) for product in products]
        row = fusion.linear(torch.tensor(products, dtype=torch.float64))
        some = any(bool(mask[anchor]) for mask in present.values())
        torch.testing.assert_close(out[anchor], row * some, rtol=1e-10, atol=1e-12)


def test_one_part_alone_gets_the_bias(widths):
    fusion, mask = Bilinear(widths, 5), torch.tensor([True])
    parts = {name: torch.randn(1, width) for name, width in widths.items()}
    alone = fusion(parts, {name: mask if name == "text" else ~mask for name in widths})
    assert torch.equal(alone[0], fusion.linear.bias)


def test_constant_features_have_finite_gradients(widths):
    parts = {name: torch.zeros(4, width, requires_grad=True) for name, width in widths.items()}
    fusion = Bilinear(widths, 5, normalise=True)
    fusion(parts, dict.fromkeys(parts, torch.ones(4, dtype=torch.bool))).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in (*parts.values(), *fusion.parameters()))


def test_one_part_is_refused():
    with pytest.raises(ConfigError, match=r"at least 2 parts, got \{'text': 3\}; use Concat"):
        Bilinear({"text": 3}, 4)


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch, widths):
    with pytest.raises(ConfigError, match=r"needs 16,000,000 × 64 weights \(4.1 GB\), .*; use LowRank"):
        Bilinear({"a": 4000, "b": 4000}, 64)
    fusion = Bilinear(widths, 5)  # 2 × 3 + 2 × 4 + 3 × 4 = 26 products
    monkeypatch.setattr(base, "MOST_BYTES", 10 * 26 * 4)
    parts = {name: torch.ones(11, width) for name, width in widths.items()}
    with pytest.raises(ConfigError, match=r"11 anchors makes 11 × 26 products .*; use smaller batches, or LowRank"):
        fusion(parts, dict.fromkeys(parts, torch.ones(11, dtype=torch.bool)))
