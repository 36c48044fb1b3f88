"""Nodes as a prefix: vectors that a language model reads before the text."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmgraph.decoders.decoding import Decoding
from mmgraph.decoders.language_model import LanguageModel
from mmgraph.decoders.resampler import Resampler
from mmgraph.decoders.text import BEGIN, TextDecoder
from mmgraph.errors import ConfigError
from mmgraph.typing import Sources


class Read(NamedTuple):
    """What a language model has read so far."""

    first: Tensor | None  # [rows, vocabulary]: logits of the first piece, until they are asked for
    cache: Any  # its keys and values
    seen: Tensor  # [rows, positions] of bool


class Prefix(TextDecoder):
    r"""A language model that reads ``prefix`` vectors made of the nodes, and then the text: ClipCap.

    .. math:: -\sum_t \log p_{LM}(w_t \mid f_1(x), \ldots, f_k(x), w_{<t})

    With a frozen language model f alone is trained: by ``mlp`` the prefix is a network with one hidden layer
    (tanh) of the nodes' mean; by ``attention`` it is that many vectors that attend to the nodes (a
    :class:`~mmgraph.decoders.Resampler`), each mapped to the model's width. The vectors stand behind the begin, as a
    model that has read many texts takes what is before a begin for another text. Where a row has no node there is no
    prefix, and the text is as likely as the language model finds it; so it is for all rows with a prefix of 0.

    Source: Mokady, Hertz and Bermano 2021, ClipCap: CLIP prefix for image captioning, arXiv:2111.09734.

    Args:
        channels: Width of the sources' states.
        model: Reads and writes; frozen, or to be trained with the rest.
        length: Pieces of a generated text at most, its end among them.
        prefix: Vectors that stand before the text.
        mapper: What makes them.
        hidden: Width of the hidden layer; by default half of what comes out, as in the authors' code.
        decoding: How texts are drawn.

    Raises:
        ConfigError: An option out of its range, or a prefix and text that do not fit into the model's positions.

    Example:
        >>> from mmgraph.decoders import train_language_model
        >>> folder = train_language_model(["a cat", "a dog"], getfixture("tmp_path") / "lm", channels=8, epochs=1)
        >>> decoder = Prefix(4, LanguageModel(folder), length=6, prefix=2)
        >>> decoder.generate(Sources(torch.ones(2, 3, 4), torch.ones(2, 3).bool())).shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        channels: int,
        model: LanguageModel,
        *,
        length: int,
        prefix: int = 10,
        mapper: Literal["mlp", "attention"] = "mlp",
        hidden: int | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        super().__init__(channels, vocabulary=model.vocabulary, length=length, decoding=decoding)
        if prefix < 0 or mapper not in ("mlp", "attention"):
            raise ConfigError(
                f"Prefix needs a prefix of at least 0 and mapper mlp or attention, got {prefix}, {mapper}"
            )
        check_room(model, prefix, length)
        self.model, self.prefix = model, prefix
        self.mapper: nn.Module | None = None
        if prefix and mapper == "mlp":
            width = prefix * model.channels
            middle = max(1, width // 2) if hidden is None else hidden
            if middle < 1:
                raise ConfigError(f"hidden must be at least 1, got {hidden}")
            self.mapper = nn.Sequential(nn.Linear(channels, middle), nn.Tanh(), nn.Linear(middle, width))
        elif prefix:
            heads = next(count for count in (4, 2, 1) if channels % count == 0)
            self.mapper = Resampler(channels, latents=prefix, heads=heads)
            self.widen = nn.Linear(channels, model.channels)

    def before(self, sources: Sources) -> tuple[Tensor, Tensor]:
        """What stands before each text, ``[rows, prefix, channels of the model]``, and whether it is there."""
        rows = len(sources.states)
        if self.mapper is None:
            vectors = sources.states.new_zeros(rows, 0, self.model.channels)
        elif isinstance(self.mapper, Resampler):
            vectors = self.widen(self.mapper(sources.states, sources.present))
        else:
            vectors = self.mapper(sources.mean()).unflatten(1, (self.prefix, self.model.channels))
        return vectors, sources.present.any(dim=1, keepdim=True).expand(rows, self.prefix)

    def forward(self, sources: Sources, tokens: Tensor) -> Tensor:
        """Gives the logits of every next number, ``[rows, length, vocabulary]``."""
        vectors, there = self.before(sources)
        read, seen = after_begin(self.model, vectors, there, tokens[:, :-1])
        logits, _ = self.model(read, seen=seen)
        return of_text(logits, there)[:, : tokens.shape[1]]

    def begin(self, sources: Sources) -> Read:
        """Reads the begin and the prefix."""
        vectors, there = self.before(sources)
        read, seen = after_begin(self.model, vectors, there)
        logits, cache = self.model(read, seen=seen, keep=True)
        return Read(of_text(logits, there)[:, 0], cache, seen)

    def step(self, state: Read, tokens: Tensor) -> tuple[Tensor, Read]:
        """Reads one number a row; the begin was read before."""
        if state.first is not None:
            return state.first, state._replace(first=None)
        seen = torch.cat([state.seen, state.seen.new_ones(len(tokens), 1)], dim=1)
        logits, cache = self.model(self.model.embed(tokens[:, None]), seen=seen, cache=state.cache, keep=True)
        return logits[:, 0], Read(None, cache, seen)

    def reorder(self, state: Read, rows: Tensor) -> Read:
        """The state of some rows."""
        first = None if state.first is None else state.first[rows]
        return Read(first, self.model.reorder(state.cache, rows), state.seen[rows])


def after_begin(
    model: LanguageModel, vectors: Tensor, there: Tensor, tokens: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What is read: the begin, vectors and a text; and which of it is there.

    Args:
        model: Reads it.
        vectors: ``[rows, vectors, channels of the model]``.
        there: Which of them are there, ``[rows, vectors]``: the first so many of each row.
        tokens: The text, ``[rows, pieces]``.

    Returns:
        ``[rows, 1 + vectors + pieces, channels of the model]``, and a mask without the channels.
    """
    begin = torch.full((len(vectors), 1), BEGIN, device=vectors.device)
    text = begin[:, :0] if tokens is None else tokens
    read = torch.cat([model.embed(begin), vectors, model.embed(text)], dim=1)
    return read, torch.cat([begin == BEGIN, there, torch.ones_like(text, dtype=torch.bool)], dim=1)


def of_text(logits: Tensor, there: Tensor) -> Tensor:
    """The logits of the pieces of a text: those at the last vector before it that is there, or at the begin; and on.

    Example:
        >>> logits = torch.arange(4.0).reshape(1, 4, 1)  # at the begin, two vectors and a piece
        >>> of_text(logits, torch.tensor([[True, False]])).flatten().tolist()
        [1.0, 3.0]
    """
    last = there.sum(dim=1)[:, None, None].expand(-1, 1, logits.shape[2])
    return torch.cat([logits.gather(1, last), logits[:, 1 + there.shape[1] :]], dim=1)


def check_room(model: LanguageModel, before: int, length: int) -> None:
    """Checks that what stands before a text and the text fit into the positions of a language model.

    Raises:
        ConfigError: They do not.
    """
    if model.context is not None and before + length > model.context:
        raise ConfigError(
            f"What stands before a text, {before}, and its length, {length}, must fit in the {model.context} positions "
            "of the language model; shorten one"
        )
