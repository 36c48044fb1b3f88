"""Pictures between the words: a frozen language model whose blocks look at the picture that precedes each word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmgraph.decoders.decoding import Decoding
from mmgraph.decoders.language_model import LanguageModel
from mmgraph.decoders.prefix import after_begin, check_room, of_text
from mmgraph.decoders.resampler import CrossAttention, Resampler, feed_forward
from mmgraph.decoders.text import END, TextDecoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources


class Pictures(NamedTuple):
    """What the blocks look at."""

    latents: Tensor  # [rows, pictures * latents, channels], in order; those that are there come first
    count: Tensor  # [rows]: pictures that are there


class Looking(NamedTuple):
    """What has been read so far."""

    first: Tensor | None  # [rows, vocabulary]: logits of the first piece, until they are asked for
    cache: Any  # keys and values of the language model
    seen: Tensor  # [rows, positions] of bool
    pictures: Pictures
    now: Tensor  # [rows]: number of the picture that the next piece looks at


class GatedCross(nn.Module):
    r"""Looks at vectors, through a gate that is closed at the start.

    .. math:: y \leftarrow y + \tanh(\alpha)\,\mathrm{attention}(\mathrm{LN}\,y; x), \qquad
              y \leftarrow y + \tanh(\alpha')\,\mathrm{FFW}(y), \qquad \alpha = \alpha' = 0 \text{ at the start}

    A position that sees nothing passes as it is.

    Source: Alayrac et al. 2022, Flamingo, section 2.2 and figure 4; arXiv:2204.14198.

    Args:
        channels: Width of the positions.
        sources: Width of what is looked at.
        heads: Of attention; they divide ``channels``.

    Example:
        >>> states = torch.randn(2, 3, 8)
        >>> block = GatedCross(8, 4, heads=2)
        >>> torch.equal(block(states, torch.randn(2, 5, 4), torch.ones(2, 3, 5).bool()), states)
        True
    """

    def __init__(self, channels: int, sources: int, *, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = CrossAttention(channels, sources, heads=heads)
        self.feed = feed_forward(channels)
        self.attention_gate, self.feed_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, states: Tensor, sources: Tensor, seen: Tensor) -> Tensor:
        """Gives ``[rows, positions, channels]``; ``seen``: which sees which, ``[rows, positions, sources]``."""
        some = seen.any(dim=2, keepdim=True).to(states.dtype)  # [rows, positions, 1]
        states = states + self.attention_gate.tanh() * self.attention(self.norm(states), sources, seen)
        result: Tensor = states + self.feed_gate.tanh() * self.feed(states) * some
        return result


class Flamingo(TextDecoder):
    r"""A language model between whose blocks gated ones look at pictures: each word at the picture that precedes it.

    A picture is turned into ``latents`` vectors by a :class:`~mmgraph.decoders.Resampler`; before every ``every``-th
    block of the language model the positions attend to those of one picture (:class:`GatedCross`). At the start the
    gates are closed, and the logits are exactly those of the language model; so they stay where a row has no picture.

    **Which picture precedes a word.** With ``nodes=None`` all nodes of a row are one picture, which stands before the
    text. With a number, every so many nodes of a row are one picture, in their order, and a text may go on from one
    picture to the next: the begin and what follows look at the first, and after each ``marker`` in the text the next
    picture is looked at, until the last. So the loss is that of interleaved pictures and texts,
    :math:`-\sum_l \log p(y_l \mid y_{<l}, x_{\le l})`.

    **Few shots.** With ``context`` the pictures before the last are examples, and come with what they are called: the
    last ``context`` channels of a state are not looked at, they say the picture's word (by a message, from a node of
    the word to that of the picture), and are mapped to one vector that the language model reads. It reads the begin,
    *picture, word* for each example, *picture* for the last, and then writes its text; *picture* is a vector that is
    learned, the paper's ``<image>``, and looks at the picture; the word does not. A row with one picture is asked
    without an example. Words as one vector are ours, not the paper's.

    Source: Alayrac et al. 2022, Flamingo: a visual language model for few-shot learning, arXiv:2204.14198.

    Args:
        channels: Width of the sources' states.
        model: The language model; frozen in the paper.
        length: Pieces of a generated text at most, its end among them.
        latents: Vectors of a picture.
        depth: Of the resampler.
        heads: Of attention; they divide both widths.
        every: Which blocks look: 1 is all, 2 the first, third, ….
        nodes: Nodes of a picture, side by side; ``None``: all of a row.
        context: How many channels of a state say its word, where pictures before the last come with theirs; 0 for none.
            As many as the language model's are read as they are at the start.
        marker: The number after which the next picture is looked at; by default the end of a text.
        decoding: How texts are drawn.

    Raises:
        ConfigError: An option out of its range, or a language model whose blocks are not found.

    Example:
        >>> from mmgraph.decoders import train_language_model
        >>> folder = train_language_model(["a cat", "a dog"], getfixture("tmp_path") / "lm", channels=8, epochs=1)
        >>> decoder = Flamingo(4, LanguageModel(folder), length=6, nodes=1)
        >>> two = Sources(torch.randn(1, 2, 4), torch.ones(1, 2).bool())
        >>> decoder(two, torch.tensor([[98, 1, 99, 1]])).shape[:2]  # two pictures, each with its text
        torch.Size([1, 4])
    """

    def __init__(
        self,
        channels: int,
        model: LanguageModel,
        *,
        length: int,
        latents: int = 8,
        depth: int = 1,
        heads: int = 4,
        every: int = 1,
        nodes: int | None = None,
        context: int = 0,
        marker: int = END,
        decoding: Decoding | None = None,
    ) -> None:
        super().__init__(channels, vocabulary=model.vocabulary, length=length, decoding=decoding)
        if every < 1 or (nodes is not None and nodes < 1):
            raise ConfigError(f"Flamingo needs every and nodes of at least 1, got {every} and {nodes}")
        if context and nodes is None:
            raise ConfigError("With context a row has several pictures: say how many nodes one has, e.g. nodes=1")
        if isinstance(context, bool) or not 0 <= context < channels:
            raise ConfigError(f"context must be at least 0 and leave some of {channels} channels to see, got {context}")
        check_room(model, 0, length)
        self.model, self.nodes, self.every, self.marker = model, nodes, every, marker
        self.shown = channels - context
        self.resampler = Resampler(self.shown, latents=latents, depth=depth, heads=heads)
        looking = range(0, len(model.blocks), every)
        self.crosses = nn.ModuleList(GatedCross(model.channels, self.shown, heads=heads) for _ in looking)
        self.word = nn.Linear(context, model.channels) if context else None
        if self.word is not None and context == model.channels:
            nn.init.eye_(self.word.weight)
            nn.init.zeros_(self.word.bias)
        self.picture = nn.Parameter(torch.randn(model.channels) * 0.02) if context else None

    def forward(self, sources: Sources, tokens: Tensor) -> Tensor:
        """Gives the logits of every next number, ``[rows, length, vocabulary]``."""
        pictures, vectors, there, which = self._before(sources)
        read, seen = after_begin(self.model, vectors, there, tokens[:, :-1])
        markers = (tokens[:, :-1] == self.marker).cumsum(dim=1)
        after = (self._first(pictures)[:, None] + markers).clamp(max=pictures.count[:, None] - 1)
        with self._looking(pictures, torch.cat([which, after], dim=1)):
            logits, _ = self.model(read, seen=seen)
        return of_text(logits, there)[:, : tokens.shape[1]]

    def begin(self, sources: Sources) -> Looking:
        """Reads the begin and the examples."""
        pictures, vectors, there, which = self._before(sources)
        read, seen = after_begin(self.model, vectors, there)
        with self._looking(pictures, which):
            logits, cache = self.model(read, seen=seen, keep=True)
        return Looking(of_text(logits, there)[:, 0], cache, seen, pictures, self._first(pictures))

    def step(self, state: Looking, tokens: Tensor) -> tuple[Tensor, Looking]:
        """Reads one number a row; the begin was read before."""
        if state.first is not None:
            return state.first, state._replace(first=None)
        now = (state.now + (tokens == self.marker)).clamp(max=state.pictures.count - 1)
        seen = torch.cat([state.seen, state.seen.new_ones(len(tokens), 1)], dim=1)
        with self._looking(state.pictures, now[:, None]):
            logits, cache = self.model(self.model.embed(tokens[:, None]), seen=seen, cache=state.cache, keep=True)
        return logits[:, 0], Looking(None, cache, seen, state.pictures, now)

    def reorder(self, state: Looking, rows: Tensor) -> Looking:
        """The state of some rows."""
        pictures = Pictures(state.pictures.latents[rows], state.pictures.count[rows])
        first = None if state.first is None else state.first[rows]
        return Looking(first, self.model.reorder(state.cache, rows), state.seen[rows], pictures, state.now[rows])

    def _before(self, sources: Sources) -> tuple[Pictures, Tensor, Tensor, Tensor]:
        """The pictures; what is between begin and text, and which of it is there; which picture begin and that see."""
        states, present = self._split(sources)  # [rows, pictures, nodes, channels]
        rows, pictures = present.shape[:2]
        shown = states[..., : self.shown].flatten(0, 1)
        latents = self.resampler(shown, present.flatten(0, 1)).unflatten(0, (rows, pictures))
        found = Pictures(latents.flatten(1, 2), present.any(dim=2).sum(dim=1))
        begin = found.count.clamp(max=1)[:, None] - 1  # the begin looks at the first picture
        if self.word is None or self.picture is None or pictures < 2:
            return found, states.new_zeros(rows, 0, self.model.channels), present.new_zeros(rows, 0), begin
        told = Sources(states[..., self.shown :].flatten(0, 1), present.flatten(0, 1)).mean()
        words = self.word(told).unflatten(0, (rows, pictures))  # [rows, pictures, channels of the model]
        vectors = torch.stack([self.picture.expand_as(words), words], dim=2).flatten(1, 2)[:, :-1]
        place = torch.arange(2 * pictures - 1, device=states.device)  # picture, word, picture, word, …, picture
        there = (place < 2 * found.count[:, None] - 1) & (found.count > 1)[:, None]
        seen = torch.where(place % 2 == 0, place // 2, -1)
        which = torch.cat([begin, seen.expand(rows, -1)], dim=1)
        return found, vectors, there, which

    def _split(self, sources: Sources) -> tuple[Tensor, Tensor]:
        """The nodes of each picture, ``[rows, pictures, nodes, channels]``; pictures that are not there come last."""
        rows, slots, channels = sources.states.shape
        size = slots if self.nodes is None else self.nodes
        count = 1 if self.nodes is None else slots // size
        if count * size != slots:
            raise DataError(f"The places of a row must be whole pictures of {size} nodes, got {slots} places")
        states = sources.states.reshape(rows, count, size, channels)
        present = sources.present.reshape(rows, count, size)
        order = (~present.any(dim=2)).long().argsort(dim=1, stable=True)
        row = torch.arange(rows, device=order.device)[:, None]
        return states[row, order], present[row, order]

    def _first(self, pictures: Pictures) -> Tensor:
        """Number of the picture before the text, ``[rows]``; -1 where there is none."""
        last: Tensor = pictures.count - 1
        return last if self.word is not None else last.clamp(max=0)

    @contextmanager
    def _looking(self, pictures: Pictures, which: Tensor) -> Iterator[None]:
        """While it is open, the blocks of the language model look: each position at one picture, or at none (-1)."""
        latents = self.resampler.latents.shape[0]
        there = which < pictures.count[:, None]
        owner = torch.arange(pictures.latents.shape[1], device=which.device) // latents
        seen = (which[:, :, None] == owner) & there[:, :, None]  # [rows, positions, pictures * latents]

        def look(cross: nn.Module) -> Any:
            def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
                if args:
                    return (cross(args[0], pictures.latents, seen), *args[1:]), named
                return args, {**named, "hidden_states": cross(named["hidden_states"], pictures.latents, seen)}

            return before

        with ExitStack() as hooks:
            blocks = list(self.model.blocks)[:: self.every]
            for block, cross in zip(blocks, self.crosses, strict=True):
                handle = block.register_forward_pre_hook(look(cross), with_kwargs=True)
                hooks.callback(handle.remove)
            yield
