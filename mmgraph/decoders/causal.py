"""What the Transformers that write texts share: causal blocks that read the sources, and what they keep."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.decoders.decoding import Decoding
from mmgraph.decoders.text import TextDecoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources


class Said(NamedTuple):
    """What the sources say to one block: keys and values after each round of messages."""

    keys: tuple[Tensor, ...]  # [rows, heads, nodes, channels a head]
    values: tuple[Tensor, ...]
    mask: Tensor | None  # [rows, 1, 1, nodes]: which nodes are present; None: all
    alone: Tensor | None  # [rows, 1, 1]: which rows have no node; None: none of them

    def take(self, rows: Tensor) -> Said:
        """That of some rows."""
        pick = [x if x is None else x.index_select(0, rows) for x in (self.mask, self.alone)]
        keys, values = (tuple(x.index_select(0, rows) for x in told) for told in (self.keys, self.values))
        return Said(keys, values, *pick)


@dataclass(frozen=True)
class Chain:
    """A text so far: what each block has been told by the sources, and the keys and values of all pieces read."""

    said: tuple[Said, ...]
    owner: Tensor  # [rows]: whose sources each row reads
    cache: Tensor  # [length, depth, 2, rows, channels]: keys and values, of which the first `place` are filled
    spare: Tensor | None = None  # what a new order is written to
    place: int = 0


class CausalBlock(nn.Module):
    """Pre-norm: causal self-attention, cross-attention to the sources, feed-forward.

    Args:
        channels: Width.
        heads: How many; they divide the channels.
        hidden: Width of the feed-forward layer.
        dropout: Share zeroed while training.
        rounds: How many rounds of messages are read through gates; 0 reads the last alone, without one.
    """

    def __init__(self, channels: int, *, heads: int, hidden: int, dropout: float, rounds: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.mix, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.ask, self.tell = nn.Linear(channels, channels), nn.Linear(channels, 2 * channels)
        self.hear = nn.Linear(channels, channels)
        self.gates = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(rounds))
        self.linear1, self.linear2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)

    def say(self, states: Sequence[Tensor], present: Tensor) -> Said:
        """Keys and values of the sources; those of no node are never read."""
        told = [self.tell(x).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4) for x in states]
        alone = ~present.any(dim=1)
        some = bool(alone.any())
        mask = None if bool(present.all()) else (present | alone[:, None])[:, None, None]
        return Said(tuple(x[0] for x in told), tuple(x[1] for x in told), mask, alone[:, None, None] if some else None)

    def forward(self, x: Tensor, said: Said, past: Tensor | None = None, place: int = 0) -> Tensor:
        """Gives ``[rows, pieces, channels]``: of all pieces, or of the one at ``place``, whose past is cached."""
        mixed = self.mix(self.norm1(x))
        if past is None:
            q, k, v = mixed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [rows, heads, pieces, d]
        else:
            q = mixed[:, 0, : x.shape[2]].unflatten(1, (self.heads, 1, -1))
            past[place] = mixed[:, 0, x.shape[2] :].unflatten(1, (2, -1)).transpose(0, 1)
            k, v = past[: place + 1].unflatten(3, (self.heads, -1)).permute(1, 2, 3, 0, 4)
        x = x + self.dropout(self.out(_joined(self._attend(q, k, v, causal=past is None))))
        if said.keys and said.keys[0].shape[2]:
            x = x + self.dropout(self._read(self.norm2(x), said))
        return x + self.dropout(self.linear2(self.dropout(F.gelu(self.linear1(self.norm3(x))))))

    def _read(self, y: Tensor, said: Said) -> Tensor:
        """What the sources answer to ``y [rows, pieces, channels]``; several rows may read the sources of one."""
        shape, owners = y.shape, len(said.keys[0])
        y = y.reshape(owners, shape[0] * shape[1] // max(owners, 1), shape[2])
        q = self.ask(y).unflatten(2, (self.heads, -1)).transpose(1, 2)
        heard = [
            self.hear(_joined(self._attend(q, k, v, mask=said.mask)))
            for k, v in zip(said.keys, said.values, strict=True)
        ]  # [owners, pieces, channels] each
        if self.gates:
            gated = [gate(torch.cat([y, m], dim=2)).sigmoid() * m for gate, m in zip(self.gates, heard, strict=True)]
            heard = [torch.stack(gated).sum(dim=0) / len(gated) ** 0.5]
        message = heard[0] if said.alone is None else heard[0].masked_fill(said.alone, 0)
        return message.reshape(shape)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        share = self.dropout.p if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=share, is_causal=causal)


class CausalDecoder(TextDecoder):
    """A chain of causal blocks; a subclass says what of the sources they read.

    Args:
        channels: Width of the sources' states and of the blocks.
        vocabulary: How many numbers there are.
        length: Pieces of a text at most, the end among them.
        depth: How many blocks.
        heads: How many; they divide the channels.
        hidden: Width of the feed-forward layers; by default 4 times the channels.
        dropout: Share zeroed while training.
        tied: Whether pieces are read and written with one matrix (Press & Wolf 2017, arXiv:1608.05859).
        rounds: How many rounds of messages are read through gates; 0 reads the last alone.
        smoothing: As of :class:`~mmgraph.decoders.TextDecoder`.
        decoding: How texts are drawn.
        attribute: The tensor that holds the numbers.

    Raises:
        ConfigError: An option out of its range.
    """

    def __init__(
        self,
        channels: int,
        *,
        vocabulary: int,
        length: int,
        depth: int,
        heads: int,
        hidden: int | None,
        dropout: float,
        tied: bool,
        rounds: int,
        smoothing: float,
        decoding: Decoding | None,
        attribute: str,
    ) -> None:
        super().__init__(
            channels,
            vocabulary=vocabulary,
            length=length,
            smoothing=smoothing,
            decoding=decoding,
            attribute=attribute,
        )
        hidden = 4 * channels if hidden is None else hidden
        if depth < 1 or heads < 1 or channels % heads or hidden < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                "heads must divide the channels, depth, heads and hidden be at least 1, and dropout in [0, 1), got "
                f"{heads} heads of {channels} channels, depth {depth}, hidden {hidden} and dropout {dropout}"
            )
        self.pieces, self.places = nn.Embedding(vocabulary, channels), nn.Embedding(length, channels)
        self.blocks = nn.ModuleList(
            CausalBlock(channels, heads=heads, hidden=hidden, dropout=dropout, rounds=rounds) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels)
        self.write = None if tied else nn.Linear(channels, vocabulary, bias=False)
        self.dropout = nn.Dropout(dropout)
        for table in (self.pieces, self.places):
            nn.init.normal_(table.weight, std=channels**-0.5)

    def forward(self, sources: Sources, tokens: Tensor) -> Tensor:
        """The logits of every next piece, ``[rows, length, vocabulary]``.

        Raises:
            DataError: The texts are longer than those that the decoder was made for, or the sources don't fit it.
        """
        size = tokens.shape[1]
        if size > self.length:
            raise DataError(
                f"The decoder was made for texts of at most {self.length} pieces, got {size}; cut them, or make it "
                "with a greater length"
            )
        read = F.pad(tokens, (1, 0))[:, :size]  # the begin, and all pieces but the last
        x = self.dropout(self.pieces(read) + self.places.weight[:size])  # [rows, length, channels]
        for block, said in zip(self.blocks, self._said(sources), strict=True):
            x = block(x, said)
        return self._logits(x)

    @torch.no_grad()
    def begin(self, sources: Sources) -> Chain:
        """The keys and values of the sources, and room for those of the pieces."""
        rows, like = len(sources.states), self.places.weight
        cache = like.new_zeros(self.length, len(self.blocks), 2, rows, self.channels)
        return Chain(self._said(sources), torch.arange(rows, device=like.device), cache)

    @torch.no_grad()
    def step(self, state: Chain, tokens: Tensor) -> tuple[Tensor, Chain]:
        """Reads one piece a row, ``[rows]``, and gives the logits of the next; the old state is used up.

        Raises:
            DataError: The text is as long as the decoder was made for.
        """
        if state.place == self.length:
            raise DataError(f"The decoder was made for texts of at most {self.length} pieces, which were read")
        x = (self.pieces(tokens) + self.places.weight[state.place])[:, None]  # [rows, 1, channels]
        for number, block in enumerate(self.blocks):
            x = block(x, state.said[number], state.cache[:, number], state.place)
        return self._logits(x.squeeze(1)), replace(state, place=state.place + 1)

    @torch.no_grad()
    def reorder(self, state: Chain, rows: Tensor) -> Chain:
        """The state of some rows; what the sources say is copied where it must be. The old state is used up."""
        said, owner = state.said, state.owner.index_select(0, rows)
        each, owners = torch.arange(len(rows), device=rows.device), len(said[0].keys[0])
        width = len(rows) // max(1, owners)
        if len(rows) != width * owners or not torch.equal(owner, each // max(1, width)):
            said, owner = tuple(one.take(owner) for one in said), each
        shape = (*state.cache.shape[:3], len(rows), self.channels)
        cache = state.spare
        if cache is None or cache.shape != shape:
            cache = state.cache.new_empty(shape)
        torch.index_select(state.cache[: state.place], 3, rows, out=cache[: state.place])
        return Chain(said, owner, cache, state.cache, state.place)

    def _said(self, sources: Sources) -> tuple[Said, ...]:
        states, present = sources.states, sources.present
        if states.shape[2] != self.channels:
            raise DataError(
                f"The decoder reads sources of {self.channels} channels, got {states.shape[2]}; encode them to that "
                "width, or make the decoder for theirs"
            )
        read = self._read(sources)
        return tuple(block.say(read, present) for block in self.blocks)

    @abstractmethod
    def _read(self, sources: Sources) -> tuple[Tensor, ...]:
        """The states that the blocks attend to, ``[rows, nodes, channels]`` each."""

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.pieces.weight if self.write is None else self.write.weight)


def _joined(x: Tensor) -> Tensor:
    """The heads side by side: ``[rows, pieces, channels]`` of ``[rows, heads, pieces, channels a head]``."""
    return x.transpose(1, 2).flatten(2)
