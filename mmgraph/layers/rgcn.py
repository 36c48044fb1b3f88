"""Relational graph convolution: a matrix a relation, and two ways to make many of them few."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import spread
from mmgraph.functional.relational import relational
from mmgraph.keys import weight_key
from mmgraph.layers.base import Activation, Layer, arriving, check_relations, node_types
from mmgraph.layers.joined import join, keep_constant, stacked
from mmgraph.typing import EdgeSets, EdgeType, Features


class RGCN(Layer):
    r"""Mean of the neighbours, relation by relation, through matrices that are made of a few.

    .. math:: h'_v = \sigma\Big(\sum_r W_r\,\mathrm{mean}_{u \in N_r(v)} h_u + B_{\tau(v)} h_v + b_{\tau(v)}\Big),
        \qquad W_r = \sum_b a_{rb} V_b \quad\text{or}\quad W_r = \mathrm{diag}(Q_{r1}, \dots, Q_{rB})

    With ``bases`` relations share the matrices :math:`V_b` and differ in B numbers: choose it for many relations, and
    for rare ones, which learn from the frequent. With ``blocks`` each relation has its own small matrices, which keep
    groups of channels apart. With neither each has a whole matrix, and this is :class:`~mmgraph.layers.Mean`. An
    inverse relation (``^r``) is a relation like others. Means are weighted where edges have weights.

    Source: Schlichtkrull, Kipf, Bloem, van den Berg, Titov and Welling 2018, Modeling relational data with graph
    convolutional networks, eq. 2 to 4; arXiv:1703.06103.

    Nothing as large as edges times channels is held: with bases the sums are taken in the space of each basis.

    Args:
        in_channels: Width of the states that come in.
        out_channels: Width of the states that go out.
        relations: Edge types to pass messages along; all their node types get new states.
        bases: B, how many matrices the relations share.
        blocks: B, how many blocks each relation's matrix has; it divides both widths.
        activation: :math:`\sigma`; ``None`` for none.
        bias: Whether to add :math:`b`.
        self_loop: Whether to add :math:`B h_v`, a matrix a node type.

    Raises:
        ConfigError: Both ``bases`` and ``blocks`` are given, one is below 1, or blocks do not divide the widths.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> relations = [("a", "near", "a"), ("a", "^near", "a")]
        >>> layer = RGCN(2, 4, relations=relations, bases=1)
        >>> edges = {relation: EdgeSet(torch.tensor([[0], [1]])) for relation in relations}
        >>> layer({"a": torch.ones(3, 2)}, edges)["a"].shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relations: Iterable[EdgeType],
        bases: int | None = None,
        blocks: int | None = None,
        activation: Activation | None = torch.relu,
        bias: bool = True,
        self_loop: bool = True,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        _check(in_channels, out_channels, bases, blocks)
        self.in_channels, self.out_channels, self.bases, self.blocks = in_channels, out_channels, bases, blocks
        self.activation, self.nodes = activation, node_types(self.relations)
        count, keys = len(self.relations), [weight_key(node) for node in self.nodes]
        if bases is not None:
            self.basis = nn.Parameter(torch.empty(bases, out_channels, in_channels))
            self.share = nn.Parameter(torch.empty(count, bases))
        else:
            split = blocks or 1
            self.block = nn.Parameter(torch.empty(count, split, out_channels // split, in_channels // split))
        self.loop = nn.ParameterDict(
            {key: nn.Parameter(torch.empty(out_channels, in_channels)) for key in keys if self_loop}
        )
        self.bias = nn.ParameterDict({key: nn.Parameter(torch.empty(out_channels)) for key in keys if bias})
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights anew, so that each relation's matrix has the variance of Glorot's rule."""
        for weight in (self.basis if self.bases is not None else self.block, *self.loop.values()):
            bound = math.sqrt(6 / (weight.shape[-1] + weight.shape[-2]))
            nn.init.uniform_(weight, -bound, bound)
        if self.bases is not None:
            nn.init.normal_(self.share, std=1 / math.sqrt(self.bases))
        for bias in self.bias.values():
            nn.init.zeros_(bias)

    def weight(self, relation: EdgeType) -> Tensor:
        """The matrix :math:`W_r` of a relation, ``[out_channels, in_channels]``."""
        number = self.relations.index(relation)
        if self.bases is not None:
            return torch.einsum("b,boi->oi", self.share[number], self.basis)
        return torch.block_diag(*self.block[number])

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types of the relations; others pass unchanged."""
        messages = self._by_basis(features, edges) if self.bases is not None else self._by_block(features, edges)
        out = dict(features)
        for node in self.nodes:
            state = messages.get(node)
            key = weight_key(node)
            if key in self.loop:
                own = F.linear(features[node], self.loop[key])
                state = own if state is None else state + own
            elif state is None:  # a type to which no relation leads
                state = features[node].new_zeros(features[node].shape[0], self.out_channels)
            if key in self.bias:
                state = state + self.bias[key]
            out[node] = state if self.activation is None else self.activation(state)
        return out

    def extra_repr(self) -> str:
        """What is shown of its options."""
        return f"{self.in_channels}, {self.out_channels}, bases={self.bases}, blocks={self.blocks}"

    def _by_block(self, features: Features, edges: EdgeSets) -> Features:
        """What arrives through block-diagonal matrices: each group of channels by itself."""
        split = self.block.shape[1]
        relations = arriving(edges, self.relations, features, reduce="mean")
        groups = {node: features[node].chunk(split, dim=1) for node in self.nodes}
        found = [
            relational(
                {node: parts[number] for node, parts in groups.items()}, relations, self.block[:, number].unbind()
            )
            for number in range(split)
        ]
        return {node: torch.cat([one[node] for one in found], dim=1) for node in found[0]}

    def _by_basis(self, features: Features, edges: EdgeSets) -> Features:
        r"""What arrives through shared matrices, :math:`\sum_b V_b \sum_r a_{rb} \mathrm{mean}_u h_u`."""
        x, rows = stacked(features, self.nodes)
        shifts = [(rows[source].start, rows[target].start) for source, _, target in self.relations]
        key = ("mean of all", self.relations, *shifts, x.shape[0], x.dtype)

        def make() -> tuple[Adjacency, Tensor, Tensor]:
            joined = join(edges, self.relations, shifts, (x.shape[0], x.shape[0]))
            weight = x.new_ones(joined.edges.num_edges) if joined.weight is None else joined.weight.to(x.dtype)
            group = joined.relation * x.shape[0] + joined.edges.targets
            mass = x.new_zeros(len(self.relations) * x.shape[0]).index_add(0, group, weight)
            return joined.edges, joined.relation, weight / torch.where(mass == 0, torch.ones_like(mass), mass)[group]

        joined, relation, mean = keep_constant(edges, self.relations, key, make)
        each = (self.share.index_select(0, relation) * mean[:, None]).unbind(dim=1)  # [edges], one a basis
        if self.out_channels < self.in_channels:  # then rows are multiplied before they are summed
            sent = [F.linear(x, basis) for basis in self.basis]
            arrived = torch.stack([spread(one, joined, w) for one, w in zip(sent, each, strict=True)]).sum(dim=0)
        else:
            sums = torch.cat([spread(x, joined, values) for values in each], dim=1)  # [rows, bases * in]
            arrived = F.linear(sums, self.basis.transpose(0, 1).flatten(1))
        return {node: arrived[place] for node, place in rows.items()}


def _check(in_channels: int, out_channels: int, bases: int | None, blocks: int | None) -> None:
    if bases is not None and blocks is not None:
        raise ConfigError(f"RGCN takes bases or blocks, got both, {bases} and {blocks}; leave one out")
    for name, count in (("bases", bases), ("blocks", blocks)):
        if count is not None and count < 1:
            raise ConfigError(f"{name} must be at least 1, got {count}")
    if blocks is not None and (in_channels % blocks or out_channels % blocks):
        raise ConfigError(f"blocks must divide both widths, got {blocks} for {in_channels} and {out_channels} channels")
