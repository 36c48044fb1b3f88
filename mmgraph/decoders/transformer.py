"""A causal Transformer that reads the nodes around the hidden one."""

from __future__ import annotations

from torch import Tensor

from mmgraph.decoders.causal import CausalDecoder
from mmgraph.decoders.decoding import Decoding
from mmgraph.typing import Sources


class TransformerDecoder(CausalDecoder):
    r"""Each piece attends to those before it, then to the sources, in every block.

    .. math::
        y = x + \mathrm{SelfAttention}(\mathrm{LN}\,x), \quad
        z = y + \mathrm{Attention}(\mathrm{LN}\,y, X), \quad
        x' = z + W_2 \, \mathrm{gelu}(W_1 \mathrm{LN}\,z + b_1) + b_2

    X are the states of the row's sources: as a graph, causal edges along the text and edges from each source to each
    piece. Places are learned; a last norm and the matrix of the pieces (``tied``) give the logits. The order of the
    sources doesn't matter. A row without sources skips the second term, with its bias: it is written by the language
    model alone.

    Source: Vaswani et al. 2017, Attention is all you need; arXiv:1706.03762; the norms first: Xiong et al. 2020,
    arXiv:2002.04745 (``torch.nn.TransformerDecoder`` with ``norm_first``).

    When to take it: the decoder of texts to begin with. :class:`~mmgraph.decoders.LSTMDecoder` has fewer weights, for
    a few thousand short texts; :class:`~mmgraph.decoders.MeshedDecoder` reads the sources after each round of messages.

    Args:
        channels: Width of the sources' states and of the blocks.
        vocabulary: How many numbers there are: 0 (begin), 1 (end) and the pieces.
        length: Pieces of a text at most, the end among them.
        depth: How many blocks.
        heads: How many; they divide the channels.
        hidden: Width of the feed-forward layers; by default 4 times the channels.
        dropout: Share zeroed while training.
        tied: Whether pieces are read and written with one matrix (Press & Wolf 2017, arXiv:1608.05859).
        smoothing: Share of the probability that training spreads over all numbers but 0.
        decoding: How texts are drawn; by default greedily.
        attribute: The tensor that holds the numbers.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> import torch
        >>> decoder = TransformerDecoder(8, vocabulary=20, length=6).eval()
        >>> sources = Sources(torch.randn(2, 3, 8), torch.tensor([[True, True, False], [False, False, False]]))
        >>> decoder.generate(sources).shape
        torch.Size([2, 6])
        >>> {name: tuple(loss.shape) for name, loss in decoder.losses(sources, torch.tensor([[5, 1], [7, 4]])).items()}
        {'total': (2,), 'nll': (2,)}
    """

    def __init__(
        self,
        channels: int,
        *,
        vocabulary: int,
        length: int,
        depth: int = 2,
        heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        tied: bool = True,
        smoothing: float = 0.0,
        decoding: Decoding | None = None,
        attribute: str = "tokens",
    ) -> None:
        super().__init__(
            channels,
            vocabulary=vocabulary,
            length=length,
            depth=depth,
            heads=heads,
            hidden=hidden,
            dropout=dropout,
            tied=tied,
            rounds=0,
            smoothing=smoothing,
            decoding=decoding,
            attribute=attribute,
        )

    def _read(self, sources: Sources) -> tuple[Tensor, ...]:
        return (sources.states,)
