import math

import pytest
import torch

from mmgraph.fusion import Product


def test_equals_a_slow_loop(shared):
    parts, present = shared
    out = Product()(parts, present)
    for anchor in range(15):
        said = [parts[name][anchor].tolist() for name in parts if present[name][anchor]]
        row = [math.prod(values) for values in zip(*said, strict=True)] if said else [0.0] * 3
        torch.testing.assert_close(out[anchor], torch.tensor(row, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_a_zero_has_a_gradient():
    parts = {"a": torch.tensor([[0.0]], requires_grad=True), "b": torch.tensor([[3.0]], requires_grad=True)}
    Product()(parts, dict.fromkeys(parts, torch.tensor([True]))).sum().backward()
    assert (parts["a"].grad.item(), parts["b"].grad.item()) == (3.0, 0.0)


def test_parts_of_different_widths_are_named():
    from mmgraph.errors import SchemaError
    from mmgraph.fusion import Product

    parts = {"a": torch.ones(2, 3), "b": torch.ones(2, 4)}
    with pytest.raises(SchemaError, match=r"one width, got \{'a': 3, 'b': 4\}"):
        Product()(parts, {name: torch.ones(2, dtype=torch.bool) for name in parts})
