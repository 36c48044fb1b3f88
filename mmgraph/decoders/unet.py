"""The network that tells the noise in a picture: it narrows the picture, looks around, and widens it again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.typing import Sources

HEAD = 32  # channels of a head of attention, about


class UNet(nn.Module):
    """A small U-Net that reads a time and what there is around a hidden node.

    Squares of ``patch`` by ``patch`` pixels become channels, so that no convolution runs at the full size. Each level
    has a block on the way down and one on the way up; between levels the side is halved. At the narrowest, positions
    attend to each other and to the sources, whose mean also scales and shifts the channels of every block, as time
    does. Without any source positions attend to each other alone.

    Source: Ronneberger, Fischer & Brox 2015, U-Net, arXiv:1505.04597; the blocks of Dhariwal & Nichol 2021,
    arXiv:2105.05233; keys of the condition beside those of the picture as in Nichol et al. 2021, arXiv:2112.10741.

    Args:
        colours: Layers of a picture.
        channels: Width of the sources' states.
        widths: Channels of each level, multiples of 8.
        patch: Side of the squares.
    """

    def __init__(self, colours: int, channels: int, *, widths: Sequence[int], patch: int) -> None:
        super().__init__()
        self.patch, self.across = patch, patch * 2 ** (len(widths) - 1)
        told = 4 * widths[0]
        self.waves = widths[0]
        self.time = nn.Sequential(nn.Linear(self.waves, told), nn.SiLU(), nn.Linear(told, told))
        self.level = nn.LayerNorm(channels)  # whatever the encoder's scale, time does not drown the condition
        self.condition = nn.Linear(channels, told)
        self.first = nn.Conv2d(colours * patch**2, widths[0], 3, padding=1)
        befores = [widths[0], *widths[:-1]]
        self.down = nn.ModuleList(Block(a, b, told) for a, b in zip(befores, widths, strict=True))
        self.around = Attention(widths[-1], channels)
        self.middle = Block(widths[-1], widths[-1], told)
        self.up = nn.ModuleList(Block(2 * b, a, told) for a, b in zip(befores, widths, strict=True))
        self.last = nn.Sequential(
            nn.GroupNorm(8, widths[0]), nn.SiLU(), _still(nn.Conv2d(widths[0], colours * patch**2, 3, padding=1))
        )

    def forward(self, x: Tensor, time: Tensor, sources: Sources) -> Tensor:
        """Gives the noise in pictures ``[rows, colours, height, width]`` at times ``[rows]`` from 0 to 1."""
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.across, 0, -height % self.across))
        sources = Sources(self.level(sources.states), sources.present)
        told = F.silu(self.time(waves(time, self.waves)) + self.condition(sources.mean()))  # [rows, told]
        x = self.first(F.pixel_unshuffle(x, self.patch))
        seen = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else F.avg_pool2d(x, 2), told)
            seen.append(x)
        x = self.middle(self.around(x, sources), told)
        for number in reversed(range(len(seen))):
            x = self.up[number](torch.cat([x, seen[number]], dim=1), told)
            if number:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.pixel_shuffle(self.last(x), self.patch)[:, :, :height, :width]


class Block(nn.Module):
    """Two convolutions around a detour; in between, each channel is scaled and shifted by what is told."""

    def __init__(self, before: int, after: int, told: int) -> None:
        super().__init__()
        self.ahead = nn.Sequential(nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.norm = nn.GroupNorm(8, after)
        self.told = nn.Linear(told, 2 * after)
        self.behind = _still(nn.Conv2d(after, after, 3, padding=1))
        self.detour = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Gives ``[rows, after, height, width]``."""
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        inner = self.norm(self.ahead(x)) * (1 + scale) + shift
        return self.detour(x) + self.behind(F.silu(inner))


class Attention(nn.Module):
    """Positions of a picture attend to each other, and to the sources that are present."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(width, max(1, width // HEAD))
        self.norm = nn.GroupNorm(8, width)
        self.ask = nn.Linear(width, 3 * width)
        self.around = nn.Linear(channels, 2 * width)
        self.give = _still(nn.Linear(width, width))

    def forward(self, x: Tensor, sources: Sources) -> Tensor:
        """Gives ``[rows, width, height, width of the picture]``."""
        rows, width, *sides = x.shape
        places = self.norm(x).flatten(2).transpose(1, 2)  # [rows, positions, width]
        query, key, value = self.ask(places).chunk(3, dim=2)
        more_key, more_value = self.around(sources.states).chunk(2, dim=2)
        keys, values = (
            self._heads(torch.cat([key, more_key], dim=1)),
            self._heads(torch.cat([value, more_value], dim=1)),
        )
        seen = F.pad(sources.present, (places.shape[1], 0), value=True)[:, None, None, :]
        heard = F.scaled_dot_product_attention(self._heads(query), keys, values, attn_mask=seen)
        return x + self.give(heard.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(rows, width, *sides)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def waves(time: Tensor, channels: int) -> Tensor:
    """Times from 0 to 1 as sines and cosines of falling frequency, ``[rows, channels]`` (Vaswani et al. 2017).

    Example:
        >>> waves(torch.tensor([0.0, 1.0]), 4).shape
        torch.Size([2, 4])
    """
    half = channels // 2
    pace = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    turns = 1000 * time[:, None] * pace
    return torch.cat([turns.sin(), turns.cos()], dim=1)


def _still(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """A layer that gives nothing before it is trained."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
