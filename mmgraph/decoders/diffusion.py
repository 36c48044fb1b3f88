"""Pictures made from noise, a little less noise at a time, towards what the sources say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from mmgraph.decoders.generative import Generative
from mmgraph.decoders.regression import fitting
from mmgraph.decoders.unet import UNet
from mmgraph.errors import ConfigError
from mmgraph.functional.diffusion import cosine_schedule, ddim_step, denoised, diffuse, guided, linear_schedule
from mmgraph.typing import Sources

SCHEDULES: dict[str, Callable[[int], Tensor]] = {"cosine": cosine_schedule, "linear": linear_schedule}


class Diffusion(Generative):
    r"""Diffusion with classifier-free guidance: a network tells the noise in a picture, which is then taken out.

    .. math:: L = \mathbb{E}_{t, \epsilon} \lVert \epsilon - \epsilon_\theta(\sqrt{\bar\alpha_t}\, x
        + \sqrt{1 - \bar\alpha_t}\, \epsilon, t, c) \rVert^2

    (Ho, Jain & Abbeel 2020, arXiv:2006.11239.) In training the sources :math:`c` of some rows are hidden, so that the
    network also knows pictures as such; what is made follows :math:`\epsilon_\emptyset + s (\epsilon_c -
    \epsilon_\emptyset)` (Ho & Salimans 2022, arXiv:2207.12598; Nichol et al. 2021, GLIDE, arXiv:2112.10741): with
    guidance 0 the sources are not read, with 1 they are taken at their word, above it more than that, and what is made
    for the same sources differs less. It is drawn in a few steps by DDIM (Song et al. 2021, arXiv:2010.02502), in
    which the first noise is all the chance there is.

    In evaluation the loss of a row is its mean over the same few times and noises, whatever the row: it is no
    likelihood, but epochs can be compared. Values of the payload that are not finite do not count.

    Args:
        channels: Width of the sources' states.
        shape: Of the payload: ``(colours, height, width)``, or ``(height, width)``.
        attribute: The tensor of the target's nodes that is made.
        centre: What is 0 in scaled values, which must lie within -1 and 1.
        scale: What is 1 from there.
        dtype: Of the payload; whole numbers are rounded.
        widths: Channels of the network's levels, multiples of 8; each level has half the side of the one before.
        patch: Side of the squares of pixels that the network takes as one.
        steps: Times that training knows.
        schedule: How much of the picture is kept at each: ``cosine`` or ``linear``.
        rounds: Steps in which a picture is made.
        guidance: :math:`s`.
        drop: Share of the rows whose sources are hidden in training.
        looks: Times at which evaluation looks.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> decoder = Diffusion(4, (1, 8, 8), widths=(8, 16), rounds=2)
        >>> sources = Sources(torch.ones(3, 2, 4), torch.ones(3, 2, dtype=torch.bool))
        >>> made = decoder.generate(sources, generator=torch.Generator().manual_seed(0))
        >>> made.shape, made.dtype
        (torch.Size([3, 1, 8, 8]), torch.uint8)
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        *,
        attribute: str = "pixels",
        centre: float = 127.5,
        scale: float = 127.5,
        dtype: torch.dtype = torch.uint8,
        widths: Sequence[int] = (48, 96),
        patch: int = 2,
        steps: int = 1000,
        schedule: Literal["cosine", "linear"] = "cosine",
        rounds: int = 25,
        guidance: float = 1.0,
        drop: float = 0.1,
        looks: int = 8,
    ) -> None:
        super().__init__()
        if len(shape) not in (2, 3) or min(channels, *shape) < 1:
            raise ConfigError(
                "Diffusion needs channels and a shape (height, width) or (colours, height, width) of at least 1, "
                f"got {channels} and {list(shape)}"
            )
        if not widths or min(widths) < 8 or any(width % 8 for width in widths) or patch < 1:
            raise ConfigError(f"widths must be multiples of 8 and patch at least 1, got {list(widths)} and {patch}")
        if schedule not in SCHEDULES:
            raise ConfigError(f"schedule must be one of {list(SCHEDULES)}, got {schedule!r}")
        if steps < 2 or not 1 <= rounds <= steps or looks < 1:
            raise ConfigError(
                f"steps must be at least 2, rounds from 1 to them and looks at least 1, got {steps}, {rounds}, {looks}"
            )
        if not scale > 0 or guidance < 0 or not 0 <= drop <= 1:
            raise ConfigError(
                f"scale must be above 0, guidance at least 0 and drop from 0 to 1, got {scale}, {guidance} and {drop}"
            )
        self.channels, self.shape, self.attribute = channels, tuple(shape), attribute
        self.centre, self.scale, self.dtype = centre, scale, dtype
        self.steps, self.rounds, self.guidance, self.drop, self.looks = steps, rounds, guidance, drop, looks
        self.colours = shape[0] if len(shape) == 3 else 1
        self.network = UNet(self.colours, channels, widths=widths, patch=patch)
        self.register_buffer("kept", SCHEDULES[schedule](steps), persistent=False)

    def forward(self, x: Tensor, time: Tensor, sources: Sources) -> Tensor:
        """Tells the noise in scaled pictures ``[rows, colours, height, width]`` at times ``[rows]``."""
        said: Tensor = self.network(x, time.to(x) / (self.steps - 1), sources)
        return said

    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """``total``: the squared error of the noise over the values of each row, ``[rows]``."""
        clean = (payload.float() - self.centre) / self.scale
        clean = clean.reshape(-1, self.colours, *self.shape[-2:])  # [rows, colours, height, width]
        known = clean.isfinite()
        clean = clean.where(known, 0)
        if self.training:
            rows = len(clean)
            place = (torch.randperm(rows, device=clean.device) + torch.rand(rows, device=clean.device)) / max(rows, 1)
            hidden = torch.rand(rows, device=clean.device) < self.drop
            seen = Sources(sources.states * ~hidden[:, None, None], sources.present & ~hidden[:, None])
            return {"total": self._error(clean, known, place, torch.randn_like(clean), seen)}
        noises = torch.randn(self.looks, *clean.shape[1:], generator=Generator().manual_seed(0)).to(clean)
        total = clean.new_zeros(len(clean))
        for number, noise in enumerate(noises):
            place = clean.new_full((len(clean),), (number + 0.5) / self.looks)
            total = total + self._error(clean, known, place, noise.expand_as(clean), sources) / self.looks
        return {"total": total}

    def counts(self, payload: Tensor) -> Tensor:
        """How many values of each row are finite, ``[rows]``."""
        return payload.isfinite().flatten(1).sum(dim=1)

    @torch.no_grad()
    def generate(
        self, sources: Sources, *, generator: Generator | None = None, guidance: float | None = None
    ) -> Tensor:
        """Makes a picture a row, ``[rows, *shape]``, in the payload's own unit and type; ``guidance`` as given."""
        rows, strength = len(sources.states), self.guidance if guidance is None else guidance
        x = torch.randn(rows, self.colours, *self.shape[-2:], generator=generator).to(sources.states)
        times = torch.linspace(self.steps - 1, 0, self.rounds).round().long().tolist()
        for number, time in enumerate(times if rows else []):
            kept = self.kept[time]
            before = self.kept[times[number + 1]] if number + 1 < len(times) else torch.ones_like(kept)
            noise = self._guided(x, x.new_full((rows,), time), sources, strength)
            x = ddim_step(x, denoised(x, noise, kept).clamp(-1, 1), kept, before)
        return fitting(x.reshape(rows, *self.shape) * self.scale + self.centre, self.dtype)

    def _error(self, clean: Tensor, known: Tensor, place: Tensor, noise: Tensor, sources: Sources) -> Tensor:
        """The squared error of the noise at times from 0 to below 1, ``[rows]``."""
        time = (place * self.steps).long().clamp_max(self.steps - 1)
        said = self(diffuse(clean, noise, self.kept[time]), time, sources)
        return ((said - noise).square() * known).flatten(1).sum(dim=1)

    def _guided(self, x: Tensor, time: Tensor, sources: Sources, strength: float) -> Tensor:
        if strength == 1:
            return self(x, time, sources)
        nothing = sources.nothing()
        if strength == 0:
            return self(x, time, nothing)
        both = Sources(*(torch.cat([one, other]) for one, other in zip(nothing[:2], sources[:2], strict=True)))
        unconditional, conditional = self(torch.cat([x, x]), torch.cat([time, time]), both).chunk(2)
        return guided(unconditional, conditional, strength)
