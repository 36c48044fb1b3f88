"""Mel bands through a network that is trained with the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

HEARD = 7.0  # nats (30 dB) below its loudest step a recording counts as silent
FLOOR = 10.0  # nats (43 dB) below its loudest band nothing is told apart
EDGE, BEND = 0.22, 0.22  # of its length: how far ends and middle of a recording are moved
SCALE, SHIFT = 0.1, 2.0  # how much longer or shorter a voice is, and by how many bands it is higher
TILT = 1.5  # nats at the outer bands, of another microphone
NOISE = (4.0, 10.0)  # nats below the loudest band
BAND_MASKS, BANDS_MASKED = 2, 0.2  # how many, and at most how much of the bands
STEPS_MASKED = 0.2


class AudioConv(Encoder):
    r"""A small convolutional network over the mel bands of each node type.

    Reads ``graph[type].mel``, ``[rows, bands, frames]``; a frame with NaN is not there and has no influence. Of each
    recording the part from where it is first to where it is last louder than 30 dB below its peak is stretched to
    ``steps`` steps, so that fast and slow speech are alike. The network sees it twice: less its mean, and less the mean
    of each band, by which a microphone is told; a constant gain changes nothing. Blocks of convolution, group norm and
    ReLU halve bands and steps; what is left is averaged over ``parts`` stretches of time.

    While training each recording is changed at random, from torch's global generator: ends and course of time, the
    length of the voice (Jaitly & Hinton 2013, Vocal tract length perturbation, ICML workshop on deep learning for
    audio), spectral tilt, noise, and masks over bands and steps (Park et al. 2019, SpecAugment, arXiv:1904.08779).

    Args:
        nodes: Node types.
        channels: Width of the features.
        bands: Of the mel bands.
        steps: What each recording is stretched to.
        widths: Channels of the blocks.
        parts: Stretches of time that are told apart at the end.
        dropout: Share of the values that is zeroed before the last layer, while training.
        augment: How much recordings are changed while training, 1 being what speech needs; 0 for not at all.

    Raises:
        ConfigError: No node type, a size below 1, or an option out of range.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["word"].mel = torch.randn(2, 40, 98)
        >>> graph["word"].mel[1, :, 50:] = torch.nan
        >>> AudioConv(["word"], 16)(graph)["word"].shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        nodes: Iterable[str],
        channels: int,
        *,
        bands: int = 40,
        steps: int = 48,
        widths: Sequence[int] = (24, 48, 96),
        parts: int = 4,
        dropout: float = 0.3,
        augment: float = 1.0,
    ) -> None:
        super().__init__()
        self.nodes, self.bands, self.steps, self.augment = tuple(nodes), bands, steps, augment
        if not self.nodes or not widths or min(channels, bands, steps, parts, *widths) < 1 or not 0 <= augment <= 3:
            raise ConfigError(
                "AudioConv needs node types, sizes of at least 1 and augment from 0 to 3, got "
                f"{list(self.nodes)}, {[channels, bands, steps, parts, *widths]} and {augment}"
            )
        left = -(-bands // 2 ** len(widths)) * widths[-1]
        self.blocks = nn.ModuleDict({weight_key(node): _blocks(widths) for node in self.nodes})
        self.heads = nn.ModuleDict(
            {
                weight_key(node): nn.Sequential(
                    nn.AdaptiveAvgPool1d(parts), nn.Flatten(), nn.Dropout(dropout), nn.Linear(left * parts, channels)
                )
                for node in self.nodes
            }
        )
        self.channels = channels

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        return {node: self._encode(weight_key(node), graph[node].mel) for node in self.nodes}

    def _encode(self, key: str, mel: Tensor) -> Tensor:
        if not len(mel):
            return mel.new_zeros(0, self.channels, dtype=torch.float32)
        strength = self.augment if self.training else 0.0
        heard = _stretched(mel.float(), self.steps, strength)  # [rows, bands, steps]
        if strength:
            heard = _elsewhere(heard, strength)
        heard = torch.maximum(heard, heard.amax(dim=(1, 2), keepdim=True) - FLOOR)
        seen = torch.stack([_even(heard, (1, 2)), _even(heard, (2,))], dim=1)  # [rows, 2, bands, steps]
        if strength:
            seen = _masked(seen, strength)
        return self.heads[key](self.blocks[key](seen).flatten(1, 2))


def _stretched(mel: Tensor, steps: int, strength: float) -> Tensor:
    """The part of each recording that is heard, at ``steps`` even places; moved in time and over the bands."""
    rows, bands, frames = mel.shape
    there = ~mel.isnan().any(dim=1)  # [rows, frames]
    mel = mel.where(there[:, None], torch.zeros_like(mel))
    loud = mel.logsumexp(dim=1).masked_fill(~there, -torch.inf)
    heard = there & (loud >= loud.amax(dim=1, keepdim=True) - HEARD)
    place = torch.arange(frames, device=mel.device)
    first = place.masked_fill(~heard, frames).amin(dim=1, keepdim=True)
    length = place.masked_fill(~heard, -1).amax(dim=1, keepdim=True) + 1 - first
    time = (torch.arange(steps, device=mel.device) + 0.5).expand(rows, -1) / steps  # from 0 to 1
    band = (torch.arange(bands, device=mel.device) + 0.5).expand(rows, -1)
    if strength:
        start, end = _draw(mel, EDGE * strength), _draw(mel, EDGE * strength)
        time = start + time * (1 + end - start)
        turn = torch.pi * time.clamp(0, 1)
        time = time + _draw(mel, BEND * strength) * turn.sin() + _draw(mel, BEND * strength / 2) * (2 * turn).sin()
        band = band * _draw(mel, SCALE * strength).exp() + _draw(mel, SHIFT * strength)
    last = there.sum(dim=1, keepdim=True) - 0.5
    time = torch.minimum((first + time * length).clamp_min(0.5), last)  # in frames
    grid = torch.stack(
        [
            (2 * time / frames - 1)[:, None].expand(-1, bands, -1),
            (2 * band / bands - 1)[:, :, None].expand(-1, -1, steps),
        ],
        dim=3,
    )
    return F.grid_sample(mel[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def _elsewhere(heard: Tensor, strength: float) -> Tensor:
    """As if through another microphone, in another room."""
    rows, bands, _ = heard.shape
    ramp = torch.linspace(-1, 1, bands, device=heard.device)
    level = NOISE[0] + (NOISE[1] - NOISE[0]) * torch.rand(rows, 1, device=heard.device)
    noise = heard.amax(dim=(1, 2))[:, None] - level / strength + _draw(heard, 2 * strength) * ramp  # [rows, bands]
    heard = torch.logaddexp(heard, noise[:, :, None] + 0.7 * torch.randn_like(heard))
    tilt = _draw(heard, TILT * strength) * ramp + _draw(heard, TILT * strength) * (ramp.square() - 1 / 3)
    return heard + tilt[:, :, None]


def _masked(seen: Tensor, strength: float) -> Tensor:
    """Zeros over some bands and some steps."""
    rows, _, bands, steps = seen.shape
    share = min(1.0, BANDS_MASKED * strength)
    for _ in range(BAND_MASKS):
        seen = seen.masked_fill(_span(rows, bands, share, seen)[:, None, :, None], 0)
    return seen.masked_fill(_span(rows, steps, min(1.0, STEPS_MASKED * strength), seen)[:, None, None], 0)


def _span(rows: int, size: int, share: float, like: Tensor) -> Tensor:
    """A random stretch of at most some share in each row, mask ``[rows, size]``."""
    width = torch.rand(rows, 1, device=like.device) * share * size
    start = torch.rand(rows, 1, device=like.device) * (size - width)
    place = torch.arange(size, device=like.device) + 0.5
    return (place > start) & (place < start + width)


def _even(heard: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Less its mean over some dimensions, by its deviation in the whole recording."""
    centred = heard - heard.mean(dim=dims, keepdim=True)
    return centred / (centred.square().mean(dim=(1, 2), keepdim=True) + 0.01).sqrt()


def _draw(like: Tensor, most: float) -> Tensor:
    """A number between ``-most`` and ``most`` for each row, ``[rows, 1]``."""
    return (2 * torch.rand(len(like), 1, device=like.device) - 1) * most


def _blocks(widths: Sequence[int]) -> nn.Sequential:
    steps: list[nn.Module] = []
    before, kernel = 2, 5
    for width in widths:
        conv = nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2, bias=False)
        steps += [conv, nn.GroupNorm(1, width), nn.ReLU()]
        before, kernel = width, 3
    return nn.Sequential(*steps)
