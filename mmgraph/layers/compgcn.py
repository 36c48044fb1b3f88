"""Composition-based graph convolution: relations have states of their own, and are composed with the sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import BLOCK_BYTES, spread
from mmgraph.layers.base import Activation, Layer, check_relations, node_types
from mmgraph.layers.joined import join, keep_constant, stacked
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType

Composition: TypeAlias = Literal["sub", "mult", "corr"]
INVERSE = "^"


class CompGCN(Layer):
    r"""Messages that are composed of what the source is and what the relation is, both of them states.

    .. math::
        h'_v = \sigma\Big(\sum_{d \in \{\to, \gets\}} W_d \sum_{(u, r) \in N_d(v)}
        \frac{w_{uv}}{\sqrt{d_u d_v}}\, \phi(h_u, z_r) + W_\circ\, \phi(h_v, z_\circ) + b\Big),
        \qquad z'_r = W_R z_r

    with :math:`\phi` one of ``sub`` :math:`h - z`, ``mult`` :math:`h \odot z`, or ``corr``, circular correlation
    :math:`\phi_k = \sum_i h_i z_{(i + k) \bmod n}`. There is one matrix for relations, one for their inverses (``^r``),
    one for the node itself, so that the number of weights does not grow with that of the relations. :math:`d_u` is the
    weight that leaves u in a direction, along all relations, :math:`d_v` what arrives at v. As in the authors' code the
    node itself is composed with a learned vector :math:`z_\circ`; neither their batch norm nor their third is here.

    The states of the relations are ``features["relation"]``, ``[2 R, in_channels]``: row i is the i-th name without
    ``^`` among the relations of this layer, row R + i its inverse. They are returned ``[2 R, out_channels]``.

    Source: Vashishth, Sanyal, Nitin and Talukdar 2020, Composition-based multi-relational graph convolutional
    networks, eq. 2 to 5; arXiv:1911.03082. Correlation: Nickel, Rosasco and Poggio 2016, Holographic embeddings of
    knowledge graphs, eq. 2; arXiv:1510.04935.

    ``sub`` is summed as it stands, nodes and relations apart. The others are summed a block of edges at a time,
    correlation in the space of frequencies, where it is a product; nothing as large as edges times channels is held.

    Args:
        in_channels: Width of the states that come in, of nodes and relations.
        out_channels: Width of the states that go out.
        relations: Edge types to pass messages along; all their node types get new states.
        composition: :math:`\phi`.
        activation: :math:`\sigma`, of the nodes; ``None`` for none.
        bias: Whether to add :math:`b`.

    Raises:
        ConfigError: An unknown composition, an inverse without its relation, or a node type of the name "relation".

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = CompGCN(2, 4, relations=[("a", "near", "a"), ("a", "^near", "a")])
        >>> index = torch.tensor([[0], [1]])
        >>> edges = {("a", "near", "a"): EdgeSet(index), ("a", "^near", "a"): EdgeSet(index.flip(0))}
        >>> out = layer({"a": torch.ones(3, 2), "relation": torch.ones(2, 2)}, edges)
        >>> {name: list(state.shape) for name, state in out.items()}
        {'a': [3, 4], 'relation': [2, 4]}
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relations: Iterable[EdgeType],
        composition: Composition = "corr",
        activation: Activation | None = torch.tanh,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        if composition not in ("sub", "mult", "corr"):
            raise ConfigError(f"composition must be 'sub', 'mult' or 'corr', got {composition!r}")
        self.nodes = node_types(self.relations)
        if "relation" in self.nodes:
            raise ConfigError("CompGCN keeps the states of relations under 'relation', got a node type of that name")
        self.names = tuple(dict.fromkeys(name for _, name, _ in self.relations if not name.startswith(INVERSE)))
        self.in_channels, self.out_channels, self.composition = in_channels, out_channels, composition
        self.activation = activation
        self.directions = tuple(one for one in (self._of(inverse=False), self._of(inverse=True)) if one.relations)
        self.weight = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(out_channels, in_channels)) for name in self._weights()}
        )
        self.loop = nn.Parameter(torch.empty(1, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights anew, by Glorot's rule."""
        for weight in (*self.weight.values(), self.loop):
            nn.init.xavier_uniform_(weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types of the relations and for ``relation``."""
        z = self._states(features)
        x, rows = stacked(features, self.nodes)
        out = F.linear(self._compose(x, self.loop), self.weight["itself"], self.bias)  # [rows, out]
        for direction in self.directions:
            ends = self._ends(direction, edges, x, rows, len(z))
            out = out + F.linear(self._arrive(x, z, ends), self.weight[direction.name])
        out = out if self.activation is None else self.activation(out)
        states = {node: out[place] for node, place in rows.items()}
        return {**features, **states, "relation": F.linear(z, self.weight["relation"])}

    def extra_repr(self) -> str:
        """What is shown of its options."""
        return f"{self.in_channels}, {self.out_channels}, composition={self.composition!r}"

    def _weights(self) -> tuple[str, ...]:
        return (*(direction.name for direction in self.directions), "itself", "relation")

    def _of(self, *, inverse: bool) -> _Direction:
        """The relations of one direction, and the row that each has among the states."""
        relations = tuple(one for one in self.relations if one[1].startswith(INVERSE) == inverse)
        names = [name.removeprefix(INVERSE) if inverse else name for _, name, _ in relations]
        if unknown := [name for name in names if name not in self.names]:
            raise ConfigError(
                f"An inverse needs its relation, whose state it stands beside, got '^{unknown[0]}' without "
                f"{unknown[0]!r}; name both"
            )
        first = len(self.names) if inverse else 0
        return _Direction(
            "inverse" if inverse else "original", relations, tuple(first + self.names.index(name) for name in names)
        )

    def _states(self, features: Features) -> Tensor:
        expected = (2 * len(self.names), self.in_channels)
        z = features.get("relation")
        if z is None or z.shape != expected:
            raise DataError(
                f"CompGCN needs features['relation'] {list(expected)}, a row for each of {len(self.names)} relations "
                f"and then for each inverse, got {None if z is None else list(z.shape)}"
            )
        return z

    def _compose(self, x: Tensor, z: Tensor) -> Tensor:
        """Composes rows with one relation."""
        if self.composition == "sub":
            return x - z
        if self.composition == "mult":
            return x * z
        return _back(_frequencies(x).conj() * _frequencies(z), x.shape[1])

    def _arrive(self, x: Tensor, z: Tensor, ends: _Ends) -> Tensor:
        """The weighted sum of what is composed along the edges, ``[rows, in_channels]``."""
        if self.composition == "sub":
            by_relation = ends.by_relation
            values = ends.weight.index_select(0, by_relation.order)
            return spread(x, ends.by_target, ends.weight) - spread(z, by_relation, values)
        if self.composition == "mult":
            return _composed_sums(x, z, ends)
        return _back(_composed_sums(_frequencies(x).conj(), _frequencies(z), ends), x.shape[1])

    def _ends(
        self, direction: _Direction, edges: EdgeSets, x: Tensor, rows: dict[NodeType, slice], states: int
    ) -> _Ends:
        shifts = [(rows[source].start, rows[target].start) for source, _, target in direction.relations]
        size = (len(x), len(x))

        def make() -> _Ends:
            joined = join(edges, direction.relations, shifts, size)
            relation = joined.relation.new_tensor(direction.rows).index_select(0, joined.relation)
            return _Ends.of(joined.edges, relation, _norm(joined.edges, joined.weight, x), states)

        return keep_constant(edges, direction.relations, ("composed", direction, *shifts, *size, x.dtype), make)


class _Direction(NamedTuple):
    """The relations that share a matrix."""

    name: str
    relations: tuple[EdgeType, ...]
    rows: tuple[int, ...]  # of each relation among the states


class _Ends(NamedTuple):
    """Edges with three ends, sorted by target: source, relation and target row of each, and its weight."""

    source: Tensor
    relation: Tensor
    target: Tensor
    weight: Tensor
    by_target: Adjacency  # source → target
    by_relation: Adjacency  # relation → target; its order are positions in these edges

    @classmethod
    def of(cls, edges: Adjacency, relation: Tensor, weight: Tensor, states: int) -> _Ends:
        by_relation = Adjacency(torch.stack([relation, edges.targets.long()]), states, edges.num_targets)
        return cls(edges.sources, relation, edges.targets, weight, edges, by_relation)


def _composed_sums(x: Tensor, z: Tensor, ends: _Ends) -> Tensor:
    r"""The products of the rows at two ends, summed at the third: :math:`\sum_e w_e x_{u(e)} z_{r(e)}`."""
    found: Tensor = _Composed.apply(x, z, ends.weight, ends)
    return found


class _Composed(torch.autograd.Function):
    """Sums of products of rows; the way back goes along the same edges, sorted by source and by relation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, weight: Tensor, ends: _Ends) -> Tensor:
        ctx.ends = ends
        ctx.save_for_backward(x, z, weight)
        return _product_sums((x, ends.source), (z, ends.relation), weight, ends.by_target.offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, z, weight), ends = grads, ctx.saved_tensors, ctx.ends
        d_x, d_z, d_weight = None, None, None
        if ctx.needs_input_grad[0]:
            d_x = _turned_sums((grad, ends.target), (z.conj(), ends.relation), weight, ends.by_target.transposed)
        if ctx.needs_input_grad[1]:
            back = ends.by_relation.transposed
            order = ends.by_relation.order.index_select(0, back.order)
            both = ((grad, ends.target.index_select(0, order)), (x.conj(), ends.source.index_select(0, order)))
            d_z = _product_sums(*both, weight.index_select(0, order), back.offsets)
        if ctx.needs_input_grad[2]:
            d_weight = _products(x, z, grad, ends)
        return d_x, d_z, d_weight, None


def _turned_sums(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], weight: Tensor, back: Adjacency) -> Tensor:
    order = back.order
    one, other = ((table, rows.index_select(0, order)) for table, rows in (a, b))
    return _product_sums(one, other, weight.index_select(0, order), back.offsets)


def _product_sums(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], weight: Tensor, offsets: Tensor) -> Tensor:
    """Sums of the products of rows of two tables over runs of edges, a block of edges at a time."""
    (left, lefts), (right, rights) = a, b
    channels, edges = left.shape[1], len(weight)
    real = torch.view_as_real(left.resolve_conj()).flatten(1) if left.is_complex() else left
    out = real.new_zeros(len(offsets) - 1, real.shape[1])
    step = max(1, BLOCK_BYTES // max(real.shape[1] * real.element_size(), 1))
    for start in range(0, edges, step):
        end = min(start + step, edges)
        pairs = left.index_select(0, lefts[start:end]) * right.index_select(0, rights[start:end])  # [block, channels]
        pairs = torch.view_as_real(pairs.resolve_conj()).flatten(1) if pairs.is_complex() else pairs
        first = int(torch.searchsorted(offsets, start, right=True)) - 1  # the run that the block starts in
        last = int(torch.searchsorted(offsets, end))
        starts = offsets[first:last].clamp_min(start) - start
        places = torch.arange(end - start, dtype=starts.dtype, device=starts.device)
        out[first:last] += torch.embedding_bag(
            pairs, places, starts, False, 0, False, weight[start:end].to(pairs.dtype), False
        )[0]
    return torch.view_as_complex(out.unflatten(1, (channels, 2))) if left.is_complex() else out


def _products(x: Tensor, z: Tensor, grad: Tensor, ends: _Ends) -> Tensor:
    """The gradient of the weight of each edge, ``[edges]``."""
    found = torch.empty_like(ends.weight)
    step = max(1, BLOCK_BYTES // max(x.shape[1] * x.element_size(), 1))
    for start in range(0, len(found), step):
        some = slice(start, start + step)
        pairs = x.index_select(0, ends.source[some]) * z.index_select(0, ends.relation[some])
        found[some] = (pairs * grad.index_select(0, ends.target[some]).conj()).sum(dim=1).real
    return found


def _norm(edges: Adjacency, weight: Tensor | None, like: Tensor) -> Tensor:
    r""":math:`w_{uv} / \sqrt{d_u d_v}` of each edge, 0 where there is no degree."""
    values = like.new_ones(edges.num_edges) if weight is None else weight.to(like.dtype)
    leaves = values.new_zeros(edges.num_sources).index_add(0, edges.sources, values)
    arrives = values.new_zeros(edges.num_targets).index_add(0, edges.targets, values)
    scale = leaves.index_select(0, edges.sources) * arrives.index_select(0, edges.targets)
    return torch.where(scale > 0, values * scale.clamp_min(1e-38).rsqrt(), torch.zeros_like(values))


def _frequencies(x: Tensor) -> Tensor:
    """The discrete Fourier transform of rows, half of it: rows are real."""
    if len(x) == 0:  # which some libraries refuse
        return torch.view_as_complex(x.new_zeros(0, x.shape[1] // 2 + 1, 2))
    found: Tensor = torch.fft.rfft(x, dim=1)
    return found


def _back(x: Tensor, channels: int) -> Tensor:
    if len(x) == 0:
        return torch.view_as_real(x).new_zeros(0, channels)
    found: Tensor = torch.fft.irfft(x, n=channels, dim=1)
    return found
