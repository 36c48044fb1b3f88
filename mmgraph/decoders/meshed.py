"""A causal Transformer that reads the nodes around the hidden one after every round of messages."""

from __future__ import annotations

from torch import Tensor

from mmgraph.decoders.causal import CausalDecoder
from mmgraph.decoders.decoding import Decoding
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources


class MeshedDecoder(CausalDecoder):
    r"""A :class:`~mmgraph.decoders.TransformerDecoder` whose every block reads every round, each through its gate.

    .. math::
        M(X_1 \ldots X_N, Y) = \frac{1}{\sqrt N} \sum_i \alpha_i \odot C(X_i, Y), \qquad
        \alpha_i = \sigma\big(W_i [Y; C(X_i, Y)] + b_i\big)

    Y are the pieces after self-attention (normed), C is the cross-attention, with the same weights for all rounds, and
    :math:`X_i` the states of the sources after round i of messages (``Sources.depths``). The sum is divided by
    :math:`\sqrt N` as in the authors' program; their formula leaves it out. M takes the place of the Transformer
    decoder's second term: with one round and gates that are open (1), both are the same. Norms come first here, last in
    the paper.

    The slots of memory that the paper gives the encoder are :class:`~mmgraph.layers.MemoryAttention`.

    Source: Cornia, Stefanini, Baraldi & Cucchiara 2020, Meshed-memory transformer for image captioning, section 3.2,
    eq. 5 to 7; arXiv:1912.08226.

    Args:
        channels: Width of the sources' states and of the blocks.
        vocabulary: How many numbers there are: 0 (begin), 1 (end) and the pieces.
        length: Pieces of a text at most, the end among them.
        rounds: N: how many entries ``Sources.depths`` has; where it is empty, there is one.
        depth: How many blocks.
        heads: How many; they divide the channels.
        hidden: Width of the feed-forward layers; by default 4 times the channels.
        dropout: Share zeroed while training.
        tied: Whether pieces are read and written with one matrix.
        smoothing: Share of the probability that training spreads over all numbers but 0.
        decoding: How texts are drawn; by default greedily.
        attribute: The tensor that holds the numbers.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> import torch
        >>> decoder = MeshedDecoder(8, vocabulary=20, length=6, rounds=2).eval()
        >>> after = (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
        >>> decoder.generate(Sources(after[-1], torch.ones(2, 3, dtype=torch.bool), after)).shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        channels: int,
        *,
        vocabulary: int,
        length: int,
        rounds: int,
        depth: int = 2,
        heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        tied: bool = True,
        smoothing: float = 0.0,
        decoding: Decoding | None = None,
        attribute: str = "tokens",
    ) -> None:
        if rounds < 1:
            raise ConfigError(f"rounds must be at least 1, got {rounds}; TransformerDecoder reads the last one alone")
        super().__init__(
            channels,
            vocabulary=vocabulary,
            length=length,
            depth=depth,
            heads=heads,
            hidden=hidden,
            dropout=dropout,
            tied=tied,
            rounds=rounds,
            smoothing=smoothing,
            decoding=decoding,
            attribute=attribute,
        )
        self.rounds = rounds

    def _read(self, sources: Sources) -> tuple[Tensor, ...]:
        read = sources.depths or (sources.states,)
        if len(read) != self.rounds:
            raise DataError(
                f"The decoder reads sources after {self.rounds} rounds of messages, got {len(read)}; make it with "
                f"rounds={len(read)}"
            )
        return read
