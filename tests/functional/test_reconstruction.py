import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional.reconstruction import reconstruction


@settings(max_examples=50)
@given(st.integers(0, 6), st.integers(1, 4), st.integers(0, 2**31))
def test_equals_a_slow_loop_over_edges_and_values(rows, anchors, seed):
    generator = torch.Generator().manual_seed(seed)
    decoded = torch.randn(anchors, 2, 3, generator=generator, dtype=torch.float64)
    payload = torch.randn(rows, 2, 3, generator=generator, dtype=torch.float64)
    payload[torch.rand(payload.shape, generator=generator) < 0.3] = math.nan
    of = torch.randint(anchors, (rows,), generator=generator)
    gaps = [
        (decoded[of[row], i, j] - payload[row, i, j]).item() ** 2
        for row in range(rows)
        for i in range(2)
        for j in range(3)
        if not math.isnan(payload[row, i, j])
    ]
    expected = sum(gaps) / max(len(gaps), 1)
    found = reconstruction(decoded, payload, torch.stack([torch.arange(rows), of]))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_without_a_value_it_is_zero_with_a_gradient_of_zero():
    decoded = torch.ones(2, 3, requires_grad=True)
    for payload, index in [
        (torch.empty(0, 3), torch.empty(2, 0, dtype=torch.long)),
        (torch.full((1, 3), torch.nan), torch.zeros(2, 1, dtype=torch.long)),
    ]:
        error = reconstruction(decoded, payload, index)
        (gradient,) = torch.autograd.grad(error, decoded)
        assert error == 0
        assert torch.equal(gradient, torch.zeros(2, 3))


def test_what_is_not_there_sends_no_gradient():
    decoded = torch.ones(2, 2, requires_grad=True)
    payload = torch.tensor([[torch.nan, 0.0]])
    (gradient,) = torch.autograd.grad(reconstruction(decoded, payload, torch.tensor([[0], [1]])), decoded)
    assert gradient.tolist() == [[0, 0], [0, 2]]
