"""How far one cloud of vectors lies from another, both taken as Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet(x: Tensor, y: Tensor) -> Tensor:
    r"""The Fréchet distance of the Gaussians fitted to two sets of vectors, squared, as the FID has it.

    .. math:: d^2 = \lVert \mu_x - \mu_y \rVert^2
        + \mathrm{tr}\left(\Sigma_x + \Sigma_y - 2 (\Sigma_x \Sigma_y)^{1/2}\right)

    (Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter 2017, GANs trained by a two time-scale update rule converge to
    a local Nash equilibrium, arXiv:1706.08500; Dowson & Landau 1982 for the formula.) The trace of the root is the sum
    of the roots of the eigenvalues of :math:`\Sigma_x^{1/2} \Sigma_y \Sigma_x^{1/2}`, which is symmetric, so singular
    covariances are no trouble. With few vectors a set is told from another of its own kind: compare numbers from sets
    of equal size alone.

    Args:
        x: ``[rows, channels]``, 2 rows or more.
        y: ``[other rows, channels]``, likewise.

    Returns:
        A scalar of double precision: 0 if mean and covariance are the same.

    Example:
        >>> x = torch.tensor([[0.0], [2.0]])  # mean 1, variance 2
        >>> frechet(x, x + 3), frechet(x, 2 * x)
        (tensor(9., dtype=torch.float64), tensor(3., dtype=torch.float64))
    """
    (at, spread), (other, wide) = _gaussian(x), _gaussian(y)
    values, vectors = torch.linalg.eigh(spread)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    product = root @ wide @ root
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    return ((at - other).square().sum() + spread.trace() + wide.trace() - 2 * cross).clamp_min(0)


def _gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[channels]`` and covariance ``[channels, channels]``."""
    rows = x.double()
    middle = rows.mean(dim=0)
    gaps = rows - middle
    return middle, gaps.T @ gaps / (len(rows) - 1)
