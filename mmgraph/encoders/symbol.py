"""Symbols (names, codes, categories): as numbers of a vocabulary, and by a vector that is learned for each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.schema import Identity, Modality
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Symbol = str | int
MAX_CHARS = 1024


class Symbols(Frozen[Symbol, int]):
    """Symbols to numbers, int64 ``[rows]``: 0 for what is unknown, then 1 to as many as it was fitted on.

    A symbol is a str or an int; ``"1"`` and ``1`` are two.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.

    Raises:
        ArtifactError: The state is not one of ``Symbols``.

    Example:
        >>> encoder = Symbols.fit(["owl", "cat", "owl"])
        >>> encoder(["cat", "owl", "horse"]), encoder.size
        (tensor([1, 2, 0]), 3)
    """

    modality = Modality.SYMBOL
    attribute = "symbol"
    dtype = torch.int64
    shape = ()
    chunk = 1 << 16

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        try:
            known = json.loads(state["vocabulary"].numpy().tobytes())
            self._codes = {_key(symbol): place for place, symbol in enumerate(known, start=1)}
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise ArtifactError(f"The state must be a vocabulary, got {sorted(state)}: {error}; fit it anew") from None
        self._state = dict(state)
        self.identity = Identity(name="symbols", revision=digest_of_state(state))

    @classmethod
    def fit(cls, payloads: Iterable[Symbol], *, min_count: int = 1, max_symbols: int = 1 << 20) -> Self:
        """Numbers the symbols of the training samples, in ascending order; ints come first.

        Args:
            payloads: Symbols, as often as they occur.
            min_count: Symbols that occur less often are unknown.
            max_symbols: The most symbols that are known: the most frequent ones.

        Raises:
            DataError: Something that is no symbol.
            ConfigError: An option below 1.
        """
        if min(min_count, max_symbols) < 1:
            raise ConfigError(f"min_count and max_symbols must be at least 1, got {min_count} and {max_symbols}")
        counts: Counter[str] = Counter()
        for place, payload in enumerate(payloads):
            try:
                counts[_key(payload)] += 1
            except DataError as error:
                raise DataError(f"Symbol {place} can't be fitted on: {error}") from None
        frequent = [key for key, count in counts.items() if count >= min_count]
        frequent.sort(key=lambda key: (-counts[key], key))
        known = [json.loads(key) for key in frequent[:max_symbols]]
        known.sort(key=lambda symbol: (isinstance(symbol, str), symbol))
        data = np.frombuffer(json.dumps(known).encode(), dtype=np.uint8)
        return cls({"vocabulary": torch.from_numpy(data.copy())})

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of what was fitted."""
        return cls(state)

    @property
    def size(self) -> int:
        """How many numbers there are, that of the unknown among them."""
        return len(self._codes) + 1

    @property
    def vocabulary(self) -> list[Symbol]:
        """The symbols that are known, in the order of their numbers from 1 on."""
        return [json.loads(key) for key in self._codes]

    def state(self) -> dict[str, Tensor]:
        """The vocabulary."""
        return dict(self._state)

    def content(self, payload: Symbol) -> bytes:
        """The symbol in JSON."""
        return _key(payload).encode()

    def prepare(self, payload: Symbol) -> int:
        """The number of a symbol."""
        return self._codes.get(_key(payload), 0)

    def encode(self, prepared: list[int]) -> Tensor:
        """The numbers as a tensor: ``[symbols]``."""
        return torch.tensor(prepared, dtype=torch.int64)


class SymbolEmbedding(Encoder):
    """A vector for each symbol of each node type, learned; one for what is unknown too.

    Reads ``graph[type].symbol``, int64 ``[rows]``. While training, a share of the symbols is taken for unknown, so that
    this vector is learned as well.

    Args:
        sizes: Node type → how many numbers there are (``Symbols.size``).
        channels: Width of the features.
        unknown: Share of the symbols that is taken for unknown while training.

    Raises:
        ConfigError: No node type, a size or a width below 1, or a share that is none.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["word"].symbol = torch.tensor([2, 0, 2])
        >>> SymbolEmbedding({"word": 3}, 8)(graph)["word"].shape
        torch.Size([3, 8])
    """

    def __init__(self, sizes: Mapping[str, int], channels: int, *, unknown: float = 0.0) -> None:
        super().__init__()
        if not sizes or min(*sizes.values(), channels) < 1 or not 0 <= unknown < 1:
            raise ConfigError(
                f"SymbolEmbedding needs node types, sizes of at least 1 and a share below 1, got {dict(sizes)} to "
                f"{channels} with {unknown}"
            )
        self.nodes, self.unknown = tuple(sizes), unknown
        self.tables = nn.ModuleDict({weight_key(node): nn.Embedding(size, channels) for node, size in sizes.items()})

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        return {node: self.tables[weight_key(node)](self._symbols(graph[node].symbol)) for node in self.nodes}

    def _symbols(self, symbols: Tensor) -> Tensor:
        if not self.training or self.unknown == 0:
            return symbols
        return symbols.masked_fill(torch.rand(symbols.shape, device=symbols.device) < self.unknown, 0)


def _key(symbol: object) -> str:
    """A symbol in JSON, by which it is known."""
    if isinstance(symbol, bool) or not isinstance(symbol, str | int):
        raise DataError(f"a symbol must be a str or an int, got {type(symbol).__name__}; leave a missing one out")
    if isinstance(symbol, str) and not 1 <= len(symbol) <= MAX_CHARS:
        raise DataError(f"a symbol must have 1 to {MAX_CHARS} characters, got {len(symbol)}")
    if isinstance(symbol, int) and symbol.bit_length() > 63:
        raise DataError(f"a symbol that is an int must fit in 64 bits, got one of {symbol.bit_length()}")
    return json.dumps(symbol)
