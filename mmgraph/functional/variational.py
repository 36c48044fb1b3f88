"""Latent Gaussians: how far one is from the standard one."""

from __future__ import annotations

from torch import Tensor


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""The divergence of each row's Gaussian from the standard one, in nats.

    .. math:: \mathrm{KL}\big(\mathcal N(\mu, \mathrm{diag}\,\sigma^2) \,\|\, \mathcal N(0, 1)\big)
        = \tfrac12 \sum_c \big(\mu_c^2 + \sigma_c^2 - \log \sigma_c^2 - 1\big)

    (Kingma & Welling 2014, Auto-encoding variational Bayes, arXiv:1312.6114, appendix B.)

    Args:
        mean: :math:`\mu`, ``[rows, channels]``.
        log_variance: :math:`\log \sigma^2`, ``[rows, channels]``.

    Returns:
        ``[rows]``.

    Example:
        >>> import torch
        >>> gaussian_kl(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.zeros(2, 2))
        tensor([0.0000, 2.5000])
    """
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1) / 2
