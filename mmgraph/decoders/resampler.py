"""A fixed number of vectors from any number of nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError


class CrossAttention(nn.Module):
    r"""Attention of some vectors to others: :math:`W_O \sum_u \mathrm{softmax}_u(q_v \cdot k_u / \sqrt d)\, v_u`.

    One that sees nothing gets zeros.

    Args:
        channels: Width of those that attend, and of the result.
        sources: Width of those that are attended to.
        heads: They divide ``channels``.

    Raises:
        ConfigError: A width or ``heads`` below 1, or heads that do not divide.
    """

    def __init__(self, channels: int, sources: int, *, heads: int) -> None:
        super().__init__()
        if min(channels, sources, heads) < 1 or channels % heads:
            raise ConfigError(
                f"Attention needs widths and heads of at least 1, and heads that divide {channels} channels, "
                f"got {sources} channels of sources and {heads} heads"
            )
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(sources, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)

    def forward(self, states: Tensor, sources: Tensor, seen: Tensor) -> Tensor:
        """Gives ``[rows, states, channels]``.

        Args:
            states: ``[rows, states, channels]``.
            sources: ``[rows, nodes, channels of the sources]``.
            seen: Which see which, ``[rows, states or 1, nodes]`` of bool.
        """
        if sources.shape[1] == 0:
            return torch.zeros_like(states)
        split = (self.heads, -1)
        query = self.query(states).unflatten(2, split).transpose(1, 2)  # [rows, heads, states, channels / heads]
        key, value = (one.unflatten(2, split).transpose(1, 2) for one in self.key_value(sources).chunk(2, dim=2))
        some = seen.any(dim=2, keepdim=True)  # [rows, states or 1, 1]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=(seen | ~some)[:, None])
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2)) * some.to(states.dtype)
        return result


class Resampler(Recorded):
    r"""Learned vectors that attend to the nodes and to themselves: any number of nodes becomes ``latents`` vectors.

    .. math:: z \leftarrow z + \mathrm{attention}(\mathrm{LN}\,z;\; [\mathrm{LN}\,x; \mathrm{LN}\,z]), \qquad
              z \leftarrow z + \mathrm{FFW}(z)

    The order of the nodes does not matter; say where a node stands in its state. Without any node there is what the
    learned vectors alone become.

    Source: Alayrac et al. 2022, Flamingo: a visual language model for few-shot learning, section 2.1 and listing 1;
    arXiv:2204.14198; after Jaegle et al. 2021, Perceiver, arXiv:2103.03206.

    Args:
        channels: Width of the nodes, and of the result.
        latents: How many vectors come out.
        depth: How often they attend.
        heads: Of attention; they divide ``channels``.

    Raises:
        ConfigError: A count below 1, or heads that do not divide.

    Example:
        >>> resampler = Resampler(8, latents=3)
        >>> nodes = torch.randn(2, 5, 8)
        >>> resampler(nodes, torch.ones(2, 5).bool()).shape
        torch.Size([2, 3, 8])
    """

    def __init__(self, channels: int, *, latents: int, depth: int = 1, heads: int = 4) -> None:
        super().__init__()
        if min(latents, depth) < 1:
            raise ConfigError(f"Resampler needs latents and depth of at least 1, got {latents} and {depth}")
        self.latents = nn.Parameter(torch.randn(latents, channels))
        self.blocks = nn.ModuleList(_Block(channels, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(channels)

    def forward(self, states: Tensor, present: Tensor) -> Tensor:
        """Gives ``[rows, latents, channels]`` from ``[rows, nodes, channels]`` and which nodes are there."""
        latents = self.latents.expand(len(states), -1, -1)
        for block in self.blocks:
            latents = block(latents, states, present)
        normed: Tensor = self.norm(latents)
        return normed


class _Block(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.of_nodes, self.of_latents = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = CrossAttention(channels, channels, heads=heads)
        self.feed = feed_forward(channels)

    def forward(self, latents: Tensor, states: Tensor, present: Tensor) -> Tensor:
        asking = self.of_latents(latents)
        sources = torch.cat([self.of_nodes(states), asking], dim=1)  # [rows, nodes + latents, channels]
        seen = torch.cat([present, present.new_ones(asking.shape[:2])], dim=1)[:, None]
        latents = latents + self.attention(asking, sources, seen)
        result: Tensor = latents + self.feed(latents)
        return result


def feed_forward(channels: int) -> nn.Sequential:
    """The dense half of a block: norm, four times the width, GELU, and back."""
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, 4 * channels, bias=False),
        nn.GELU(),
        nn.Linear(4 * channels, channels, bias=False),
    )
