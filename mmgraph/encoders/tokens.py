"""Texts as numbers of their words and bytes, and an encoder of them that is trained with the graph."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.encoders.text import distinct_texts, text_bytes
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.schema import Identity, Modality
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

_WORD = re.compile(r"\w+|[^\w\s]")
_FIRST_WORD = 257  # 0 is padding, 1 to 256 are the bytes


class Tokens(Frozen[str, str]):
    """Texts to numbers of tokens, ``[texts, length]`` of int64, for an encoder that is trained: :class:`TokenEncoder`.

    A token is a word or a sign of the training texts, lower-cased; a word that is not among them is spelt: a space
    and its bytes in UTF-8, a token each. So no text is unknown, and a model can learn from rare words. 0 stands where
    a text has ended; what is beyond ``length`` is cut off.

    Source: words first and bytes where there is none is the byte fallback of Kudo & Richardson 2018, SentencePiece,
    arXiv:1808.06226, with words for its pieces. Scripts that put no space between words are spelt for the most part.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        length: Tokens of a text at most.
        words: Words of the vocabulary at most, the most frequent first.
        least: How often a word must occur in the distinct training texts.

    Attributes:
        words: The words of the vocabulary; the first has the number 257.

    Raises:
        ConfigError: An option is below 1.
        ArtifactError: The state is no vocabulary.

    Example:
        >>> tokens = Tokens.fit(["The cat sat.", "The cat, the hat."], length=7)
        >>> tokens.words
        ('the', 'cat', '.')
        >>> tokens(["The cat.", "the \N{CAT}"])  # a cat is four bytes
        tensor([[257, 258, 259,   0,   0,   0,   0],
                [257,  33, 241, 160, 145, 137,   0]])
    """

    modality = Modality.TEXT
    attribute = "tokens"
    dtype = torch.int64
    chunk = 8192

    def __init__(self, state: Mapping[str, Tensor], *, length: int = 64, words: int = 2**15, least: int = 2) -> None:
        _check_options(length, words, least)
        try:
            self.words: tuple[str, ...] = tuple(map(str, json.loads(state["words"].numpy().tobytes())))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"The state must hold the vocabulary in 'words', but {error!r}; fit it anew") from None
        self._number = {word: number for number, word in enumerate(self.words, _FIRST_WORD)}
        self._state = dict(state)
        self.shape = (length,)
        self.identity = Identity(
            name="tokens",
            revision=digest_of_state(state),
            options={"length": length, "words": words, "least": least},
        )

    @classmethod
    def fit(cls, texts: Iterable[str], *, length: int = 64, words: int = 2**15, least: int = 2) -> Self:
        """Takes the vocabulary from the distinct ones of some texts: those of the training samples alone.

        Raises:
            DataError: There is no text, or something else among them.
            ConfigError: An option is below 1.
        """
        _check_options(length, words, least)
        counts = Counter(word for text in distinct_texts(texts) for word in _split(text))
        known = sorted((word for word, count in counts.items() if count >= least), key=lambda word: -counts[word])
        written = json.dumps(known[:words], ensure_ascii=False).encode()
        state = {"words": torch.frombuffer(bytearray(written), dtype=torch.uint8)}
        return cls(state, length=length, words=words, least=least)

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options and of what was fitted with them."""
        return cls(state, **options)

    @property
    def vocabulary(self) -> int:
        """How many numbers there are: the padding, the bytes and the words."""
        return _FIRST_WORD + len(self.words)

    def state(self) -> dict[str, Tensor]:
        """The words, as the bytes of a JSON list."""
        return dict(self._state)

    def content(self, payload: str) -> bytes:
        """The text in UTF-8."""
        return text_bytes(payload)

    def encode(self, prepared: list[str]) -> Tensor:
        """Numbers of the tokens of texts that all differ: ``[texts, length]``."""
        found = torch.zeros(len(prepared), self.shape[0], dtype=torch.int64)
        for row, text in enumerate(prepared):
            numbers = list(islice(self._numbers(text), self.shape[0]))
            found[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        return found

    def _numbers(self, text: str) -> Iterable[int]:
        for word in _split(text):
            number = self._number.get(word)
            if number is not None:
                yield number
            else:
                yield from (1 + byte for byte in f" {word}".encode())


class TokenEncoder(Encoder):
    r"""Texts as tokens to vectors: embeddings, a recurrent network in both directions, and attention over the tokens.

    For the tokens :math:`t_1 \dots t_n` of a text that are not padding,

    .. math::
        h_{1 \dots n} = \mathrm{BiGRU}(E_{t_1} \dots E_{t_n}), \qquad
        a = \mathrm{softmax}_i\big(u^\top \tanh(W h_i + b)\big), \qquad
        v = \sum_i a_i h_i

    and :math:`v` is mapped to ``channels`` by one more linear map. Padding has no influence; a text that is all
    padding has :math:`v = 0`.

    Source: Yang et al. 2016, Hierarchical attention networks for document classification, eq. 5 to 7,
    DOI 10.18653/v1/N16-1174.

    Args:
        nodes: Node types to read, each with ``tokens [rows, length]`` of int64, 0 where a text has ended.
        channels: Width of the features.
        vocabulary: How many numbers there are, :attr:`Tokens.vocabulary`.
        hidden: Width of the embeddings and of the recurrent states; ``None`` for ``channels``.
        recurrent: Whether the order of the tokens is read; without, the embeddings themselves are attended to.
        dropout: Share of the embeddings' and of the vectors' values that is zeroed while training.

    Raises:
        ConfigError: No node type, or a width that can't be.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["text"].tokens = torch.tensor([[257, 258, 0], [0, 0, 0]])
        >>> TokenEncoder(["text"], 8, vocabulary=300)(graph)["text"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        nodes: Iterable[str],
        channels: int,
        *,
        vocabulary: int,
        hidden: int | None = None,
        recurrent: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        width = channels if hidden is None else hidden
        if not self.nodes or channels < 1 or vocabulary < 2 or width < 1 or (recurrent and width % 2):
            raise ConfigError(
                "TokenEncoder needs node types, a vocabulary of at least 2, channels of at least 1, and for both "
                f"directions an even hidden width, got {list(self.nodes)}, {vocabulary}, {channels} and {width}"
            )
        self.vocabulary = vocabulary
        self.networks = nn.ModuleDict(
            {weight_key(node): _Reader(vocabulary, width, channels, dropout, recurrent) for node in self.nodes}
        )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type.

        Raises:
            DataError: A number is not in the vocabulary.
        """
        found = {}
        for node in self.nodes:
            tokens = graph[node].tokens
            if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.vocabulary):
                raise DataError(
                    f"tokens of {node!r} must be from 0 to {self.vocabulary - 1}, got {int(tokens.min())} to "
                    f"{int(tokens.max())}; make them with the vocabulary that the encoder was made for"
                )
            found[node] = self.networks[weight_key(node)](tokens)
        return found


class _Reader(nn.Module):
    """Tokens of one node type to vectors."""

    def __init__(self, vocabulary: int, width: int, channels: int, dropout: float, recurrent: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.gru = nn.GRU(width, width // 2, batch_first=True, bidirectional=True) if recurrent else None
        self.key = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[rows, length]`` to ``[rows, channels]``."""
        present = tokens != 0  # [rows, length]
        lengths = (present * torch.arange(1, tokens.shape[1] + 1, device=tokens.device)).amax(dim=1)  # [rows]
        longest = int(lengths.max()) if len(tokens) else 0
        if longest == 0:
            return self.out(self.out.weight.new_zeros(len(tokens), self.out.in_features))
        present = present[:, :longest]
        states = self.dropout(self.embedding(tokens[:, :longest]))  # [rows, longest, width]
        if self.gru is not None:
            packed = pack_padded_sequence(states, lengths.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=longest)
        scores = self.score(self.key(states).tanh()).squeeze(-1)  # [rows, longest]
        weights = scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=1) * present
        return self.out(self.dropout((weights[:, :, None] * states).sum(dim=1)))  # [rows, channels]


def _split(text: str) -> list[str]:
    """Words and signs, lower-cased."""
    return _WORD.findall(text.lower())


def _check_options(length: int, words: int, least: int) -> None:
    if min(length, words, least) < 1:
        raise ConfigError(f"length, words and least must be at least 1, got {length}, {words} and {least}")
