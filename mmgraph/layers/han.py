"""Heterogeneous graph attention: over the neighbours along each meta-path, then over the meta-paths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import edge_softmax, spread
from mmgraph.keys import weight_key
from mmgraph.layers.base import Activation, Layer, check_relations, node_types
from mmgraph.layers.joined import counted, keep_constant
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType


class HAN(Layer):
    r"""Attention at two levels: which neighbours of a meta-path count, and which meta-paths.

    .. math::
        z^p_v = \sigma\Big(\big\Vert_h \sum_{u \in N_p(v)} \alpha^{ph}_{uv} g^h_u\Big), \quad
        \alpha^{ph}_{uv} = \mathrm{softmax}_{u \in N_p(v)} \big(\mathrm{LeakyReLU}(
        a^{ph}_s \cdot g^h_u + a^{ph}_t \cdot g^h_v) + \log w_{uv}\big), \quad g_v = M_{\tau(v)} h_v + b_{\tau(v)}

        h'_v = \sum_p \beta_p z^p_v, \qquad
        \beta = \mathrm{softmax}_p \Big(\frac{1}{|V|} \sum_v q \cdot \tanh(W z^p_v + b)\Big)

    A relation is a meta-path: an edge type between nodes that a path of other edge types joins, which
    :func:`mmgraph.builders.add_metapaths` makes, with loops, so that a node counts among its own neighbours. No tensor
    of edges times channels is held. An edge of weight w (the number of paths) counts as w edges, one of weight 0 is
    none. A node without neighbours along a path gets :math:`\sigma(0)` there. W and q are shared by all node types.

    Source: Wang, Ji, Shi, Wang, Cui, Yu and Ye 2019, Heterogeneous graph attention network, eq. 1 to 9;
    arXiv:1903.07293. Scores as in Veličković et al. 2018, Graph attention networks; arXiv:1710.10903. There
    :math:`\sigma` is ELU; PyTorch Geometric takes ReLU.

    Args:
        in_channels: Width of the states that come in.
        out_channels: Width of the states that go out, all heads side by side.
        relations: The meta-paths; node types to which one leads get new states.
        heads: How many; they divide ``out_channels``.
        hidden: Width of W; by default ``out_channels``.
        dropout: Share of the node-level attention weights zeroed while training.
        slope: Of the leaky ReLU below 0.
        activation: :math:`\sigma`; ``None`` for none.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> relations = [("paper", "PAP", "paper"), ("paper", "PSP", "paper")]
        >>> layer = HAN(3, 8, relations=relations, heads=2)
        >>> edges = {relation: EdgeSet(torch.tensor([[0, 1], [0, 0]])) for relation in relations}
        >>> layer({"paper": torch.randn(2, 3)}, edges)["paper"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relations: Iterable[EdgeType],
        heads: int = 8,
        hidden: int | None = None,
        dropout: float = 0.0,
        slope: float = 0.2,
        activation: Activation | None = F.elu,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        hidden = out_channels if hidden is None else hidden
        if heads < 1 or out_channels < 1 or out_channels % heads or hidden < 1:
            raise ConfigError(
                f"heads must divide the channels, and all be at least 1, got {heads} heads, {out_channels} channels "
                f"and {hidden} hidden"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {dropout}")
        self.heads, self.dropout, self.slope, self.activation = heads, dropout, slope, activation
        self.targets = tuple(dict.fromkeys(relation[2] for relation in self.relations))
        self.project = nn.ModuleDict(
            {weight_key(node): nn.Linear(in_channels, out_channels) for node in node_types(self.relations)}
        )
        shape = (2, heads, out_channels // heads)  # of the source, of the target
        self.ask = nn.ParameterDict({weight_key(*r): nn.Parameter(torch.empty(shape)) for r in self.relations})
        self.semantic = nn.Linear(out_channels, hidden)
        self.query = nn.Parameter(torch.empty(1, hidden))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights anew, by Glorot's rule."""
        for linear in (*self.project.values(), self.semantic):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        for ask in (*self.ask.values(), self.query):
            nn.init.xavier_uniform_(ask)

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types that relations lead to; others pass unchanged."""
        found = self._paths(features, edges)
        states = {}
        for node, paths in found.items():
            share = self._share(paths)  # [paths]
            states[node] = torch.einsum("p,prc->rc", share, paths)
        return {**features, **states}

    def shares(self, features: Features, edges: EdgeSets) -> dict[NodeType, dict[EdgeType, float]]:
        r"""Gives :math:`\beta`: how much each meta-path into a node type counts; they add up to 1."""
        found = self._paths(features, edges)
        return {
            node: dict(zip(self._into(node), self._share(paths).tolist(), strict=True)) for node, paths in found.items()
        }

    def weights(self, features: Features, edges: EdgeSets) -> dict[EdgeType, Tensor]:
        r"""Gives :math:`\alpha`, without dropout: relation → ``[edges, heads]``, in the order in which they are given.

        Over the edges of a relation into a node they add up to 1.
        """
        projected = self._project(features)
        found = {}
        for relation in self.relations:
            joined = self._joined(relation, features, edges)
            alpha = self._alpha(relation, projected, joined)
            index, weight = edges[relation]
            there = torch.ones_like(index[0]).bool() if weight is None else weight > 0
            found[relation] = alpha.new_zeros(index.shape[1], self.heads).masked_scatter(there[:, None], alpha)
        return found

    def extra_repr(self) -> str:
        """What is shown of its options."""
        return f"heads={self.heads}, dropout={self.dropout}"

    def _into(self, node: NodeType) -> tuple[EdgeType, ...]:
        return tuple(relation for relation in self.relations if relation[2] == node)

    def _project(self, features: Features) -> Features:
        return {node: self.project[weight_key(node)](features[node]) for node in node_types(self.relations)}

    def _paths(self, features: Features, edges: EdgeSets) -> dict[NodeType, Tensor]:
        """What each meta-path says of the nodes of each type, ``[paths, rows, out_channels]``."""
        projected = self._project(features)
        said: dict[NodeType, list[Tensor]] = {node: [] for node in self.targets}
        for relation in self.relations:
            joined = self._joined(relation, features, edges)
            alpha = F.dropout(self._alpha(relation, projected, joined), self.dropout, self.training)
            alpha = alpha.index_select(0, joined.all.order)  # [edges, heads], by target
            heads = projected[relation[0]].chunk(self.heads, dim=1)
            state = torch.cat(
                [spread(x, joined.all, share) for x, share in zip(heads, alpha.unbind(dim=1), strict=True)], dim=1
            )
            said[relation[2]].append(state if self.activation is None else self.activation(state))
        return {node: torch.stack(states) for node, states in said.items()}

    def _share(self, paths: Tensor) -> Tensor:
        if paths.shape[1] == 0:
            return paths.new_full((len(paths),), 1 / len(paths))
        return ((torch.tanh(self.semantic(paths)).mean(dim=1)) @ self.query[0]).softmax(dim=0)

    def _alpha(self, relation: EdgeType, projected: Features, joined: _Edges) -> Tensor:
        """The weights of the edges that count, ``[edges, heads]``."""
        of_source, of_target = self.ask[weight_key(*relation)]
        source = (projected[relation[0]].unflatten(1, of_source.shape) * of_source).sum(dim=2)  # [rows, heads]
        target = (projected[relation[2]].unflatten(1, of_target.shape) * of_target).sum(dim=2)
        scores = source.index_select(0, joined.index[0]) + target.index_select(0, joined.index[1])
        scores = F.leaky_relu(scores, self.slope)
        if joined.bias is not None:
            scores = scores + joined.bias.to(scores.dtype)[:, None]
        return edge_softmax(scores, joined.all)

    def _joined(self, relation: EdgeType, features: Features, edges: EdgeSets) -> _Edges:
        size = (features[relation[0]].shape[0], features[relation[2]].shape[0])

        def make() -> _Edges:
            index, weight = counted(edges, [relation])[relation]
            return _Edges(index, Adjacency(index, *size), None if weight is None else weight.log())

        return keep_constant(edges, [relation], ("counted", relation, *size), make)


class _Edges(NamedTuple):
    """The edges of a meta-path that count."""

    index: Tensor  # [2, edges]
    all: Adjacency
    bias: Tensor | None  # [edges]: log of the weights
