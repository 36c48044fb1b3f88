"""Against scipy's square root of a matrix, and against Gaussians whose distance is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from mmgraph.functional.frechet import frechet


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_equals_the_formula_with_the_root_of_the_product(channels, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(40, channels, generator=generator, dtype=torch.float64) for _ in range(2))
    y = 2 * y @ torch.randn(channels, channels, generator=generator, dtype=torch.float64) + 1
    one, other = (np.atleast_2d(np.cov(side.numpy(), rowvar=False)) for side in (x, y))
    gap = np.square(x.mean(dim=0).numpy() - y.mean(dim=0).numpy()).sum()
    expected = gap + np.trace(one + other - 2 * np.real(sqrtm(one @ other)))
    assert frechet(x, y).item() == pytest.approx(expected, rel=1e-6)


def test_is_zero_for_the_same_and_grows_by_the_square_of_a_move():
    x = torch.randn(50, 3)
    assert frechet(x, x).item() == pytest.approx(0, abs=1e-9)
    assert frechet(x, x.flip(0)).item() == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + torch.tensor([3.0, 0.0, 4.0])).item() == pytest.approx(25, rel=1e-5)


def test_of_diagonal_gaussians_it_is_the_gap_of_their_deviations():
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * (3 / 4) ** 0.5  # covariance: the identity
    y = x * torch.tensor([3.0, 0.5])
    assert frechet(x, y).item() == pytest.approx(2**2 + 0.5**2)


def test_singular_covariances_are_no_trouble():
    x = torch.randn(5, 1).expand(5, 20)
    y = torch.randn(4, 20)
    assert frechet(x, y).isfinite()
    assert frechet(x, y) > 0
    assert frechet(x, x).item() == pytest.approx(0, abs=1e-6)
    assert frechet(x, y).item() == pytest.approx(frechet(y, x).item())
