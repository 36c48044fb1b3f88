"""Payloads of a fixed shape, drawn: the sources say what they have in common, and a hidden code what they differ in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mmgraph.decoders.dense import Dense
from mmgraph.decoders.generative import Generative
from mmgraph.decoders.regression import Pool, fitting
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.variational import gaussian_kl
from mmgraph.typing import Sources

Likelihood: TypeAlias = Literal["bernoulli", "gaussian"]
_WIDEST = 20.0  # log variances are kept within this, on both sides


class Variational(Generative):
    r"""A conditional variational autoencoder: a payload is made from the mean of the sources and a code that is drawn.

    With :math:`c` the mean of the row's sources, :math:`p(z) = \mathcal N(0, 1)` and a diagonal Gaussian
    :math:`q(z \mid x, c)`, of which a network says mean and variance,

    .. math::
        L(x, c) = -\mathbb E_{q(z \mid x, c)} \log p(x \mid z, c) + \mathrm{KL}\big(q(z \mid x, c) \,\|\, p(z)\big)
        \;\ge\; -\log p(x \mid c)

    in nats: ``total``, with its parts ``nll`` and ``kl``. The divergence is exact. The mean over q is of one draw in
    training; otherwise of ``samples`` draws, the same for all rows and at each call. What is made is the mean of
    :math:`p(x \mid z, c)` at a :math:`z` that is drawn from :math:`p(z)`.

    Likelihoods, each value by itself:

    - ``bernoulli``: for bytes (255 is 1) and what lies in [0, 1]; values in between count as probabilities, for which
      ``nll`` is the cross entropy.
    - ``gaussian``: for any number, in the payload's own unit; one deviation for all values, which is learned (Rybkin,
      Daniilidis & Levine 2021, Simple and effective VAE training with calibrated decoders, arXiv:2006.13202).

    Values that are not finite are not known and don't count.

    Source: Kingma & Welling 2014, Auto-encoding variational Bayes, arXiv:1312.6114; conditional: Sohn, Lee & Yan 2015,
    Learning structured output representation using deep conditional generative models, NeurIPS, with a prior that does
    not look at the sources.

    When to take it: one pass makes a payload, and the code is small, to be moved about in. Its pictures are blurred
    beside those of codes (:class:`~mmgraph.encoders.Codes`) or of diffusion.

    Args:
        channels: Width of the sources' states.
        shape: Shape of the payload of one node.
        attribute: The tensor that is made.
        latent: Width of the code.
        hidden: Widths of the hidden layers of both networks.
        likelihood: ``bernoulli`` or ``gaussian``.
        centre: What is 0 inside the networks, of ``gaussian``.
        scale: What is 1 from there, of ``gaussian``; with ``centre``, in the payload's own unit.
        dtype: Of the payload; values are rounded for whole numbers, and kept within what the type can hold.
        samples: Draws of the code for each row outside training.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> decoder = Variational(4, (1, 2, 2), latent=3).eval()
        >>> sources = Sources(torch.ones(3, 2, 4), torch.ones(3, 2, dtype=torch.bool))
        >>> made = decoder.generate(sources, generator=Generator().manual_seed(0))
        >>> made.shape, made.dtype
        (torch.Size([3, 1, 2, 2]), torch.uint8)
        >>> losses = decoder.losses(sources, made)
        >>> bool(torch.equal(losses["total"], losses["nll"] + losses["kl"]))
        True
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        *,
        attribute: str = "pixels",
        latent: int = 16,
        hidden: Sequence[int] = (256,),
        likelihood: Likelihood = "bernoulli",
        centre: float = 0.0,
        scale: float = 1.0,
        dtype: torch.dtype = torch.uint8,
        samples: int = 8,
    ) -> None:
        super().__init__()
        if likelihood not in get_args(Likelihood):
            raise ConfigError(f"likelihood must be one of {list(get_args(Likelihood))}, got {likelihood!r}")
        if min(channels, latent, samples) < 1:
            raise ConfigError(
                f"channels, latent and samples must be at least 1, got {channels}, {latent} and {samples}"
            )
        self.channels, self.attribute, self.dtype = channels, attribute, dtype
        self.latent, self.likelihood, self.samples = latent, likelihood, samples
        if likelihood == "bernoulli":
            scale = (255.0 if dtype == torch.uint8 else 1.0) / 2
            centre = scale  # from -1 to 1 inside
        self.pool = Pool(channels)
        self.decoder = Dense(latent + channels, shape, attribute=attribute, hidden=hidden, centre=centre, scale=scale)
        width = math.prod(self.decoder.shape) + channels
        steps: list[nn.Module] = []
        for wide in hidden:
            steps += [nn.Linear(width, wide), nn.ReLU()]
            width = wide
        self.posterior = nn.Sequential(*steps, nn.Linear(width, 2 * latent))
        self.log_deviation = nn.Parameter(torch.zeros(())) if likelihood == "gaussian" else None

    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """``total``, the bound on the negative log likelihood in nats, and its parts ``nll`` and ``kl``, ``[rows]``.

        Raises:
            DataError: A payload of another shape, or values that no Bernoulli variable has.
        """
        self._check(payload)
        known = payload.isfinite()  # [rows, *shape]
        scaled = self.decoder.scaled(payload).where(known, 0.0)
        code = self.pool(sources)  # [rows, channels]
        mean, log_variance = self.posterior(torch.cat([scaled.flatten(1), code], dim=1)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-_WIDEST, _WIDEST)
        kl = gaussian_kl(mean, log_variance)
        draws = self._noise(mean)
        nll = torch.zeros_like(kl)
        for noise in draws:
            said = self.decoder(torch.cat([mean + (log_variance / 2).exp() * noise, code], dim=1))
            nll = nll + (self._surprise(said, scaled) * known).flatten(1).sum(dim=1) / len(draws)
        return {"total": nll + kl, "nll": nll, "kl": kl}

    def counts(self, payload: Tensor) -> Tensor:
        """How many values of each row are finite, ``[rows]``."""
        return payload.isfinite().flatten(1).sum(dim=1)

    @torch.no_grad()
    def generate(self, sources: Sources, *, generator: Generator | None = None) -> Tensor:
        """Draws a code a row, and gives the mean of what it says: ``[rows, *shape]`` in the payload's unit and type."""
        code = self.pool(sources)
        device = code.device if generator is None else generator.device
        drawn = torch.randn(len(code), self.latent, generator=generator, device=device).to(code)
        return self._made(torch.cat([drawn, code], dim=1))

    def _made(self, codes: Tensor) -> Tensor:
        """The payloads of codes and pooled sources side by side, ``[rows, latent + channels]``."""
        said = self.decoder(codes)
        if self.likelihood == "bernoulli":
            said = 2 * said.sigmoid() - 1
        return fitting(said * self.decoder.scale + self.decoder.centre, self.dtype)

    def _noise(self, mean: Tensor) -> Sequence[Tensor]:
        """In training a draw a row; else draws that all rows share, so that a row is judged by itself."""
        if self.training:
            return [torch.randn_like(mean)]
        fixed = torch.randn(self.samples, 1, self.latent, generator=Generator().manual_seed(0))
        return [*fixed.to(mean)]

    def _surprise(self, said: Tensor, scaled: Tensor) -> Tensor:
        """The negative log likelihood of each value, in nats."""
        if self.log_deviation is None:
            return F.binary_cross_entropy_with_logits(said, (scaled + 1) / 2, reduction="none")
        gaps = (scaled - said) * (-self.log_deviation).exp()
        unit = self.log_deviation + math.log(self.decoder.scale) + math.log(2 * math.pi) / 2
        return gaps.square() / 2 + unit

    def _check(self, payload: Tensor) -> None:
        if payload.shape[1:] != self.decoder.shape:
            raise DataError(
                f"{self.attribute} must be [rows, {', '.join(map(str, self.decoder.shape))}], "
                f"got {list(payload.shape)}; make the decoder for that shape"
            )
        if self.likelihood == "bernoulli" and payload.numel():
            known = payload.float().where(payload.isfinite(), 0.0)
            low, high, top = float(known.min()), float(known.max()), 2 * self.decoder.scale
            if low < 0 or high > top:
                raise DataError(
                    f"{self.attribute} must be from 0 to {top:g} for a Bernoulli likelihood, got {low:g} to {high:g}; "
                    "take likelihood='gaussian', or name the payload's dtype"
                )
