"""Heterogeneous graph transformer: keys, queries and values by node type, matrices between them by relation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.attention import attention
from mmgraph.functional.attention_blocks import Blocks, find_blocks
from mmgraph.keys import weight_key
from mmgraph.layers.base import Layer, check_relations
from mmgraph.layers.joined import counted, join, keep_constant, stacked
from mmgraph.typing import EdgeSets, EdgeType, Features


class HGT(Layer):
    r"""Attention in which node types ask, answer and speak each in its own way, and each relation translates.

    .. math::
        m_v = \big\Vert_h \sum_{(u, r)} \alpha^h_{urv}\, M^h_r V^h_{\tau(u)} h_u, \qquad
        \alpha^h_{urv} = \mathrm{softmax}_{(u, r) \in N(v)} \Big(
        \frac{\mu^h_r}{\sqrt d} \big(A^h_r K^h_{\tau(u)} h_u\big) \cdot Q^h_{\tau(v)} h_v + \log w_{uv}\Big)

        h'_v = s_{\tau(v)} \big(O_{\tau(v)}\, \mathrm{GELU}(m_v)\big) + \big(1 - s_{\tau(v)}\big) h_v, \qquad
        s = \mathrm{sigmoid}(g)

    One softmax over all edges into a node, of whichever relation. :math:`\mu` says how much a relation counts before
    anything is read, :math:`s` how much is new; where the widths differ there is no old state to keep, and s is 1. A
    node without any edge gets :math:`m_v = 0`. An edge of weight w counts as w edges, one of weight 0 is none.

    Source: Hu, Dong, Wang and Sun 2020, Heterogeneous graph transformer, eq. 3 to 5; arXiv:2003.01332 (without its
    encoding of time). The same as PyTorch Geometric's ``HGTConv``.

    Args:
        in_channels: Width of the states that come in.
        out_channels: Width of the states that go out.
        relations: Edge types to attend along; node types to which one leads get new states.
        heads: How many; they divide ``out_channels``.
        dropout: Share of the attention's weights zeroed while training.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = HGT(8, 8, relations=[("author", "wrote", "paper"), ("paper", "cites", "paper")], heads=2)
        >>> index = torch.tensor([[0, 1], [1, 1]])
        >>> edges = {relation: EdgeSet(index) for relation in layer.relations}
        >>> layer({"author": torch.randn(2, 8), "paper": torch.randn(3, 8)}, edges)["paper"].shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relations: Iterable[EdgeType],
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        if heads < 1 or out_channels < 1 or out_channels % heads:
            raise ConfigError(
                f"heads must divide the channels, and both be at least 1, got {heads} heads and {out_channels} channels"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {dropout}")
        self.heads, self.dropout = heads, dropout
        self.sources = tuple(dict.fromkeys(relation[0] for relation in self.relations))
        self.targets = tuple(dict.fromkeys(relation[2] for relation in self.relations))
        d = out_channels // heads
        self.query = _each(self.targets, in_channels, out_channels)
        self.key = _each(self.sources, in_channels, out_channels)
        self.value = _each(self.sources, in_channels, out_channels)
        self.out = _each(self.targets, out_channels, out_channels)
        keys = [weight_key(*relation) for relation in self.relations]
        self.attend = nn.ParameterDict({key: nn.Parameter(torch.empty(heads, d, d)) for key in keys})
        self.message = nn.ParameterDict({key: nn.Parameter(torch.empty(heads, d, d)) for key in keys})
        self.prior = nn.ParameterDict({key: nn.Parameter(torch.ones(heads)) for key in keys})
        gated = self.targets if in_channels == out_channels else ()
        self.skip = nn.ParameterDict({weight_key(node): nn.Parameter(torch.ones(())) for node in gated})
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights anew, by Glorot's rule; priors and gates start at 1."""
        for linear in (one for part in (self.query, self.key, self.value, self.out) for one in part.values()):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        for matrix in (*self.attend.values(), *self.message.values()):
            bound = math.sqrt(3 / matrix.shape[2])
            nn.init.uniform_(matrix, -bound, bound)
        for one in (*self.prior.values(), *self.skip.values()):
            nn.init.ones_(one)

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types that relations lead to; others pass unchanged."""
        found = self._edges(features, edges)
        query = torch.cat([self.query[weight_key(node)](features[node]) for node in self.targets])
        message = attention(
            query,
            self._told(self.key, self.attend, features, scaled=True),
            self._told(self.value, self.message, features),
            found.all,
            heads=self.heads,
            bias=found.bias,
            dropout=self.dropout if self.training else 0.0,
            blocks=found.blocks,
        )  # [targets, out]
        _, rows = stacked(features, self.targets)
        return {**features, **{node: self._update(node, features[node], message[rows[node]]) for node in self.targets}}

    def extra_repr(self) -> str:
        """What is shown of its options."""
        return f"heads={self.heads}, dropout={self.dropout}"

    def _told(
        self, linear: nn.ModuleDict, matrix: nn.ParameterDict, features: Features, *, scaled: bool = False
    ) -> Tensor:
        """Keys or values as each relation translates them, relation below relation, ``[sources, out]``."""
        said = {node: linear[weight_key(node)](features[node]) for node in self.sources}
        told = []
        for relation in self.relations:
            key = weight_key(*relation)
            each = matrix[key] * self.prior[key][:, None, None] if scaled else matrix[key]  # [heads, d, d]
            heads = said[relation[0]].unflatten(1, each.shape[:2])  # [rows, heads, d]
            told.append(torch.einsum("rhd,hed->rhe", heads, each).flatten(1))
        return torch.cat(told)

    def _update(self, node: str, before: Tensor, message: Tensor) -> Tensor:
        key = weight_key(node)
        state: Tensor = self.out[key](F.gelu(message))
        if key not in self.skip:
            return state
        return torch.lerp(before, state, self.skip[key].sigmoid())

    def _edges(self, features: Features, edges: EdgeSets) -> _Edges:
        """The edges of all relations as one set, each relation's sources rows of their own."""
        counts = [features[source].shape[0] for source, _, _ in self.relations]
        _, rows = stacked(features, self.targets)
        starts = [0, *accumulate(counts)]
        shifts = [(start, rows[relation[2]].start) for start, relation in zip(starts, self.relations, strict=False)]
        size = (starts[-1], sum(features[node].shape[0] for node in self.targets))

        def make() -> _Edges:
            joined, _, weight = join(counted(edges, self.relations), self.relations, shifts, size)
            if weight is not None:  # attention reads it in the order in which edges were given
                weight = torch.empty_like(weight).index_copy(0, joined.order, weight.log())
            blocks = Blocks((), None) if torch.compiler.is_exporting() else find_blocks(joined)
            return _Edges(joined, blocks, weight)

        return keep_constant(edges, self.relations, ("translated", self.relations, *shifts, size), make)


class _Edges(NamedTuple):
    """The edges of all relations, and which of them are nearly complete."""

    all: Adjacency
    blocks: Blocks
    bias: Tensor | None  # [edges]: log of the weights


def _each(nodes: Iterable[str], in_channels: int, out_channels: int) -> nn.ModuleDict:
    return nn.ModuleDict({weight_key(node): nn.Linear(in_channels, out_channels) for node in nodes})
