"""Texts as numbers of pieces that can be put together again: what a decoder of texts writes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.encoders.text import distinct_texts, text_bytes
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.media.pieces import ALPHABET, END, FIRST, spell
from mmgraph.optional import require
from mmgraph.schema import Identity, Modality

_LEAST = FIRST + 256  # every byte is a piece


class Subwords(Frozen[str, str]):
    """Texts to numbers of their pieces, ``[texts, length]`` of int64, and back: byte-level pair encoding.

    A piece is a byte, or what became of two pieces that stood side by side most often in the training texts. A row is
    ``[p1, …, pn, 1, 0, 0, …]``: pieces from 2 on, 1 for the end, 0 for what comes after it. All 256 bytes are pieces,
    so no text is unknown, and each one that fits comes back as it was (lower-cased with ``lower``). Of a text of
    ``length`` pieces or more the first ``length`` are kept, without an end; a warning says how many texts were cut,
    and by how much.

    Source: Sennrich et al. 2016, Neural machine translation of rare words with subword units, arXiv:1508.07909; on
    bytes as in Radford et al. 2019, Language models are unsupervised multitask learners.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        length: Numbers of a text at most, its end among them.
        lower: Whether texts are lower-cased.

    Attributes:
        pieces: The piece of each number, its bytes written in the alphabet of :func:`spell`; "" for 0 and 1.

    Raises:
        ConfigError: A length below 2.
        ArtifactError: The state is no tokenizer.
        MissingPackageError: tokenizers is not installed.

    Example:
        >>> subwords = Subwords.fit(["red cat", "red dog", "red hat"], length=6, vocabulary=262)
        >>> subwords.pieces[258:]
        ('ed', 'red', 'at')
        >>> tokens = subwords(["red at", "red"])
        >>> tokens
        tensor([[259, 222, 260,   1,   0,   0],
                [259,   1,   0,   0,   0,   0]])
        >>> subwords.decode(tokens)
        ['red at', 'red']
    """

    modality = Modality.TEXT
    attribute = "tokens"
    dtype = torch.int64
    chunk = 8192

    def __init__(self, state: Mapping[str, Tensor], *, length: int = 32, lower: bool = False) -> None:
        _check_length(length)
        tokenizers = require("tokenizers", extra="text")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(state["tokenizer"].numpy().tobytes().decode())
        except Exception as error:  # tokenizers raises nothing narrower
            raise ArtifactError(
                f"The state must hold a tokenizer as JSON in 'tokenizer', but {error!r}; fit it anew"
            ) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # a text that happens to be "<|endoftext|>" is a text
        numbers = self._tokenizer.get_vocab(with_added_tokens=True)
        pieces = [""] * (FIRST + max(numbers.values(), default=-1) + 1)
        for piece, number in numbers.items():
            pieces[FIRST + number] = piece
        if missing := [byte for byte, sign in enumerate(ALPHABET) if sign not in numbers]:
            raise ArtifactError(
                f"The tokenizer must know all 256 bytes as pieces, as that of GPT-2 does, got none of {missing[:5]}; "
                "take a byte-level one, or fit one"
            )
        self.pieces = tuple(pieces)
        self.lower = lower
        self._state = dict(state)
        self.shape = (length,)
        self.identity = Identity(
            name="subwords", revision=digest_of_state(state), options={"length": length, "lower": lower}
        )

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        *,
        length: int = 32,
        vocabulary: int = 1000,
        least: int = 2,
        lower: bool = False,
        model: str | Path | None = None,
    ) -> Self:
        """Learns the pieces from the distinct ones of some texts (those of the training samples alone), in any order.

        Args:
            texts: What to learn from; not read if there is a model.
            length: Numbers of a text at most, its end among them.
            vocabulary: Numbers at most, 0 and 1 among them; fewer where no pair is left.
            least: How often a pair must occur to become a piece.
            lower: Whether texts are lower-cased.
            model: A folder of transformers, whose byte-level tokenizer is taken in place of all this; its number n is
                n + 2 here.

        Raises:
            DataError: There is no text, or something else among them.
            ConfigError: An option is out of its range, or the folder holds no byte-level tokenizer.
        """
        _check_length(length)
        if model is not None:
            try:
                return cls(_take(Path(model)), length=length, lower=lower)
            except ArtifactError as error:
                raise ConfigError(
                    f"model must be a folder with a byte-level tokenizer, got {str(model)!r}: {error}"
                ) from None
        if vocabulary < _LEAST or least < 1:
            raise ConfigError(
                f"vocabulary must be at least {_LEAST} (0, the end and 256 bytes) and least at least 1, got "
                f"{vocabulary} and {least}"
            )
        found = sorted({text.lower() if lower else text for text in distinct_texts(texts)})
        return cls(_train(found, vocabulary - FIRST, least), length=length, lower=lower)

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options of :meth:`fit` and of what was fitted with them; no model is read again."""
        return cls(state, **{key: options[key] for key in ("length", "lower") if key in options})

    def state(self) -> dict[str, Tensor]:
        """The tokenizer, as the bytes of its JSON."""
        return dict(self._state)

    def content(self, payload: str) -> bytes:
        """The text in UTF-8."""
        return text_bytes(payload)

    def encode(self, prepared: list[str]) -> Tensor:
        """Numbers of the pieces of texts that all differ: ``[texts, length]``.

        Warns:
            UserWarning: Texts were cut off.
        """
        length = self.shape[0]
        texts = [text.lower() if self.lower else text for text in prepared]
        found = torch.zeros(len(texts), length, dtype=torch.int64)
        beyond = []
        for row, said in enumerate(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)):
            numbers = [FIRST + number for number in said.ids]
            beyond += [len(numbers) - length] if len(numbers) >= length else []
            kept = [*numbers, END][:length]
            found[row, : len(kept)] = torch.tensor(kept, dtype=torch.int64)
        if beyond:
            warnings.warn(
                f"{len(beyond)} of {len(texts)} texts have no room for their end in {length} pieces, and were cut by "
                f"up to {max(beyond)} pieces; raise length to {length + max(beyond) + 1} to keep them whole",
                stacklevel=2,
            )
        return found

    def decode(self, tokens: Tensor) -> list[str]:
        """The texts of rows of numbers, ``[rows, length]``.

        Raises:
            DataError: A number is not in the vocabulary.
        """
        return spell(self.pieces, tokens)


def _train(texts: list[str], pieces: int, least: int) -> dict[str, Tensor]:
    """The state of a tokenizer that is trained."""
    tokenizers = require("tokenizers", extra="text")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=pieces,
        min_frequency=least,
        initial_alphabet=list(ALPHABET),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer, length=len(texts))
    return _state_of(tokenizer.to_str().encode())


def _take(folder: Path) -> dict[str, Tensor]:
    """The state of a tokenizer of transformers."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ConfigError(f"model must be a folder of transformers with a tokenizer.json, got {str(folder)!r}")
    return _state_of(file.read_bytes())


def _state_of(written: bytes) -> dict[str, Tensor]:
    return {"tokenizer": torch.frombuffer(bytearray(written), dtype=torch.uint8)}


def _check_length(length: int) -> None:
    if length < 2:
        raise ConfigError(f"length must be at least 2, a piece and the end, got {length}")
