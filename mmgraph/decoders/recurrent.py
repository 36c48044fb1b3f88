"""A recurrent network that is shown the nodes around the hidden one, and tells."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.decoders.decoding import Decoding
from mmgraph.decoders.text import TextDecoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources


class Told(NamedTuple):
    """A text so far: the network's state, and what each row may attend to."""

    hidden: Tensor  # [rows, hidden]
    cell: Tensor  # [rows, hidden]
    keys: Tensor  # [rows, nodes, hidden]; no nodes where the decoder doesn't attend
    values: Tensor  # [rows, nodes, channels]
    present: Tensor  # [rows, nodes]


class LSTMDecoder(TextDecoder):
    r"""The mean of the sources is the head of a causal chain, the begin and the pieces follow.

    .. math::
        x_{-1} = W \, \mathrm{mean}(X), \quad x_t = E_{w_t} \; (w_0 = \text{begin}), \quad
        h_{t} = \mathrm{LSTM}(x_t, h_{t-1}), \quad
        p(w_{t+1} \mid w_{\le t}, X) = \mathrm{softmax}(W_o h_t + b_o)

    With ``attend`` each step also reads the sources, through a gate (Xu et al., eq. 4 to 6 and section 4.2.1, where the
    context is read by the LSTM alone, not by the output):

    .. math::
        x_t = [E_{w_t}; \beta_t \textstyle\sum_i \alpha_{ti} U X_i], \quad
        \alpha_{t} = \mathrm{softmax}_i \big(v \cdot \tanh(W_a X_i + W_h h_{t-1})\big), \quad
        \beta_t = \sigma(w_\beta \cdot h_{t-1} + b_\beta)

    W and U have no bias: sources that are zero say as little as none at all, and the decoder is the language model.

    Source: Vinyals, Toshev, Bengio & Erhan 2015, Show and tell, eq. 10 to 12; arXiv:1411.4555. Xu et al. 2015, Show,
    attend and tell; arXiv:1502.03044.

    When to take it: a few thousand short texts. For more, or longer ones, :class:`~mmgraph.decoders.TransformerDecoder`
    trains faster, all pieces at once.

    Args:
        channels: Width of the sources' states and of the pieces'.
        vocabulary: How many numbers there are: 0 (begin), 1 (end) and the pieces.
        length: Pieces of a text at most, the end among them.
        hidden: Width of the network's state; by default the channels.
        attend: Whether each step reads the sources.
        dropout: Share of what goes into and comes out of the network that is zeroed while training.
        smoothing: Share of the probability that training spreads over all numbers but 0.
        decoding: How texts are drawn; by default greedily.
        attribute: The tensor that holds the numbers.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> decoder = LSTMDecoder(8, vocabulary=20, length=6, attend=True).eval()
        >>> sources = Sources(torch.randn(2, 3, 8), torch.tensor([[True, True, False], [False, False, False]]))
        >>> decoder.generate(sources).shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        channels: int,
        *,
        vocabulary: int,
        length: int,
        hidden: int | None = None,
        attend: bool = False,
        dropout: float = 0.1,
        smoothing: float = 0.0,
        decoding: Decoding | None = None,
        attribute: str = "tokens",
    ) -> None:
        super().__init__(
            channels,
            vocabulary=vocabulary,
            length=length,
            smoothing=smoothing,
            decoding=decoding,
            attribute=attribute,
        )
        hidden = channels if hidden is None else hidden
        if hidden < 1 or not 0 <= dropout < 1:
            raise ConfigError(f"hidden must be at least 1 and dropout in [0, 1), got {hidden} and {dropout}")
        self.attend = attend
        self.pieces, self.show = nn.Embedding(vocabulary, channels), nn.Linear(channels, channels, bias=False)
        self.lstm = nn.LSTM(2 * channels if attend else channels, hidden, batch_first=True)
        self.write = nn.Linear(hidden, vocabulary)
        self.dropout = nn.Dropout(dropout)
        if attend:
            self.key, self.value = nn.Linear(channels, hidden), nn.Linear(channels, channels, bias=False)
            self.ask, self.score = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, 1, bias=False)
            self.gate = nn.Linear(hidden, 1)

    def forward(self, sources: Sources, tokens: Tensor) -> Tensor:
        """The logits of every next piece, ``[rows, length, vocabulary]``."""
        state = self.begin(sources)
        read = self.dropout(self.pieces(F.pad(tokens, (1, 0))[:, : tokens.shape[1]]))  # [rows, length, channels]
        if not self.attend:
            return self.write(self.dropout(self.lstm(read, (state.hidden[None], state.cell[None]))[0]))
        out = []
        for piece in read.unbind(1):
            state = self._read(state, piece)
            out.append(state.hidden)
        return self.write(self.dropout(torch.stack(out, dim=1)))

    def begin(self, sources: Sources) -> Told:
        """The network's state after the mean of the sources, and what it may attend to."""
        states, present = sources.states, sources.present
        if states.shape[2] != self.channels:
            raise DataError(
                f"The decoder reads sources of {self.channels} channels, got {states.shape[2]}; encode them to that "
                "width, or make the decoder for theirs"
            )
        zeros = states.new_zeros(len(states), self.lstm.hidden_size)
        none = Told(zeros, zeros, zeros[:, None][:, :0], states[:, :0], present[:, :0])
        state = self._read(none, self.dropout(self.show(sources.mean())))
        if not self.attend:
            return state
        return state._replace(keys=self.key(states), values=self.value(states), present=present)

    def step(self, state: Told, tokens: Tensor) -> tuple[Tensor, Told]:
        """Reads one piece a row, ``[rows]``, and gives the logits of the next."""
        state = self._read(state, self.dropout(self.pieces(tokens)))
        return self.write(self.dropout(state.hidden)), state

    def reorder(self, state: Told, rows: Tensor) -> Told:
        """The state of some rows, each as often as it is named."""
        return Told(*(x.index_select(0, rows) for x in state))

    def _read(self, state: Told, x: Tensor) -> Told:
        """The state after one input more, ``[rows, channels]``."""
        if self.attend:
            x = torch.cat([x, self._context(state)], dim=1)
        _, (hidden, cell) = self.lstm(x[:, None], (state.hidden[None], state.cell[None]))
        return state._replace(hidden=hidden[0], cell=cell[0])

    def _context(self, state: Told) -> Tensor:
        """What the sources that are present say to the state, ``[rows, channels]``; zeros where there is none."""
        scores = self.score(torch.tanh(state.keys + self.ask(state.hidden)[:, None])).squeeze(2)  # [rows, nodes]
        scores = scores.masked_fill(~state.present, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=1) * state.present
        return self.gate(state.hidden).sigmoid() * (weights[:, :, None] * state.values).sum(dim=1)
