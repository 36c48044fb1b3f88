"""What a decoder of texts is: the next piece, given those before it and the nodes around the hidden one."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor

from mmgraph.decoders.decoding import Decoding
from mmgraph.decoders.generative import Generative
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.decoding import beam, greedy, nucleus
from mmgraph.typing import Sources

BEGIN, END = 0, 1
"""Number 0 is the begin of a text on the way in and padding on the way out; number 1 its end; pieces follow."""


class TextDecoder(Generative):
    r"""A chain of pieces, each given those before it and the sources: :math:`-\sum_t \log p(w_t \mid w_{<t}, x)`.

    A text is a row ``[p1, …, pn, 1, 0, 0, …]`` of numbers: pieces from 2 on, 1 for the end, 0 for what comes after it.
    One that was cut off has no end. The decoder reads ``[0, p1, …]`` and says ``[p1, …, 1]``.

    A subclass defines :meth:`forward`, and the same step by step in :meth:`begin`, :meth:`step` and :meth:`reorder`.

    Args:
        channels: Width of the sources' states.
        vocabulary: How many numbers there are, 0 and 1 among them.
        length: Pieces of a generated text at most, the end among them.
        smoothing: Share of the probability that training spreads over all numbers but 0 (Szegedy et al. 2016,
            arXiv:1512.00567).
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
        smoothing: float = 0.0,
        decoding: Decoding | None = None,
        attribute: str = "tokens",
    ) -> None:
        super().__init__()
        if channels < 1 or vocabulary < 3 or length < 1 or not 0 <= smoothing < 1:
            raise ConfigError(
                "A decoder of texts needs channels and length of at least 1, a vocabulary of at least 3 and smoothing "
                f"from 0 to below 1, got {channels}, {length}, {vocabulary} and {smoothing}"
            )
        self.channels, self.vocabulary, self.length = channels, vocabulary, length
        self.smoothing, self.decoding, self.attribute = smoothing, decoding or Decoding(), attribute

    @abstractmethod
    def forward(self, sources: Sources, tokens: Tensor) -> Tensor:
        """The logits of every next piece, ``[rows, length, vocabulary]``; those at i have read 0, ``tokens[:, :i]``."""

    @abstractmethod
    def begin(self, sources: Sources) -> Any:
        """What is known before the first piece."""

    @abstractmethod
    def step(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """Reads one piece a row, ``[rows]`` (0 at first), and gives the logits of the next, ``[rows, vocabulary]``."""

    @abstractmethod
    def reorder(self, state: Any, rows: Tensor) -> Any:
        """The state of some rows, each as often as it is named."""

    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """``total`` (smoothed in training) and ``nll``, the negative log likelihood of each text, in nats.

        Raises:
            DataError: A number is not in the vocabulary.
        """
        self.check(payload)
        tokens = payload[:, : max(1, int(self.counts(payload).max())) if len(payload) else 1]
        said = self(sources, tokens).log_softmax(dim=-1)  # [rows, length, vocabulary]
        known = (tokens != BEGIN).to(said.dtype)
        nll = -(said.gather(2, tokens[:, :, None]).squeeze(2) * known).sum(dim=1)
        if not self.training or self.smoothing == 0:
            return {"total": nll, "nll": nll}
        spread = -(said[:, :, 1:].mean(dim=2) * known).sum(dim=1)
        return {"total": (1 - self.smoothing) * nll + self.smoothing * spread, "nll": nll}

    def counts(self, payload: Tensor) -> Tensor:
        """Pieces of each text, its end among them, ``[rows]``."""
        return (payload != BEGIN).sum(dim=1)

    @torch.no_grad()
    def generate(
        self, sources: Sources, *, generator: Generator | None = None, decoding: Decoding | None = None
    ) -> Tensor:
        """Draws a text a row, ``[rows, length]``: pieces, the end if it came, and zeros.

        Raises:
            DataError: The decoder says numbers that are not finite.
        """
        how, device = decoding or self.decoding, sources.states.device
        common: dict[str, Any] = {"rows": len(sources.states), "length": self.length, "device": device}
        try:
            state = self.begin(sources)
            if how.method == "greedy":
                return greedy(self.step, state, **common)
            if how.method == "nucleus":
                options: dict[str, Any] = {"top_p": how.top_p, "temperature": how.temperature, "generator": generator}
                return nucleus(self.step, state, **options, **common)
            chosen: dict[str, Any] = {"width": how.width, "length_penalty": how.length_penalty}
            return beam(self.step, state, self.reorder, **chosen, **common)
        except ValueError as error:  # logits that are not finite
            raise DataError(f"A text can't be drawn: {error}") from None

    def check(self, tokens: Tensor) -> None:
        """Checks that all numbers are in the vocabulary.

        Raises:
            DataError: One is not.
        """
        if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.vocabulary):
            raise DataError(
                f"{self.attribute} must be from 0 to {self.vocabulary - 1}, got {int(tokens.min())} to "
                f"{int(tokens.max())}; make them with the vocabulary that the decoder was made for"
            )
