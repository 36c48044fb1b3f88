"""Averaging layers: mean aggregation with a root weight, and symmetric normalisation with self-loops."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from mmgraph.functional.message import aggregate, symmetric_norm
from mmgraph.keys import weight_key
from mmgraph.layers.base import Activation, Layer, check_relations
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType


class Mean(Layer):
    r"""Mean of the neighbours, relation by relation, beside the node's own state.

    .. math:: h'_v = \sigma\Big(\sum_r W_r\,\mathrm{mean}_{u \in N_r(v)} h_u + B_{\tau(v)} h_v + b_{\tau(v)}\Big)

    With one relation this is GraphSAGE with mean aggregation. The mean is weighted where edges have weights.

    Source: Hamilton, Ying and Leskovec 2017, Inductive representation learning on large graphs;
    arXiv:1706.02216. Relation-typed: Schlichtkrull et al. 2018, Modeling relational data with graph
    convolutional networks; arXiv:1703.06103.

    Args:
        in_channels: Width of the states that come in.
        out_channels: Width of the states that go out.
        relations: Edge types to pass messages along; all their node types get new states.
        activation: :math:`\sigma`; ``None`` for none.
        bias: Whether to add :math:`b`.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = Mean(2, 4, relations=[("a", "near", "a")])
        >>> edges = {("a", "near", "a"): EdgeSet(torch.tensor([[0], [1]]))}
        >>> layer({"a": torch.ones(3, 2)}, edges)["a"].shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relations: Iterable[EdgeType],
        activation: Activation | None = torch.relu,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        self.activation = activation
        self.neighbour = nn.ModuleDict(
            {weight_key(*r): nn.Linear(in_channels, out_channels, bias=False) for r in self.relations}
        )
        self.root = nn.ModuleDict(
            {weight_key(n): nn.Linear(in_channels, out_channels, bias=bias) for n in node_types(self.relations)}
        )

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types of the relations; others pass unchanged."""
        out = {node: self.root[weight_key(node)](features[node]) for node in node_types(self.relations)}
        for relation in self.relations:
            index, weight = edges[relation]
            source, _, target = relation
            projected = self.neighbour[weight_key(*relation)](features[source])  # [sources, out_channels]
            message = aggregate(projected, index, len(features[target]), weight=weight, reduce="mean")
            out[target] = out[target] + message
        return {**features, **{node: _activate(self.activation, state) for node, state in out.items()}}


class GCN(Layer):
    r"""Graph convolution with symmetric normalisation and self-loops, relation by relation.

    .. math::
        h'_v = \sigma\Big(\sum_r W_r \sum_{u \in N_r(v) \cup \{v\}}
        \frac{w_{uv}}{\sqrt{\hat d_u \hat d_v}} h_u + b\Big)

    Relations between two node types have no self-loops; a node type that no relation joins to itself gets an
    own loop with its own weights, so no node loses its state. A loop that is there already counts beside the added one.

    Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks, eq. 2;
    arXiv:1609.02907.

    On the complete graph of a sample's modality nodes this gives every node the same vector: join modalities
    with a fusion, not with this.

    Args:
        in_channels: Width of the states that come in.
        out_channels: Width of the states that go out.
        relations: Edge types to pass messages along; all their node types get new states.
        activation: :math:`\sigma`; ``None`` for none.
        bias: Whether to add :math:`b`.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = GCN(2, 4, relations=[("a", "near", "a")])
        >>> layer({"a": torch.ones(3, 2)}, {("a", "near", "a"): EdgeSet(torch.tensor([[0], [1]]))})["a"].shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relations: Iterable[EdgeType],
        activation: Activation | None = torch.relu,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        self.activation = activation
        looped = {source for source, _, target in self.relations if source == target}
        self.alone = tuple(node for node in node_types(self.relations) if node not in looped)
        keys = [weight_key(*r) for r in self.relations] + [weight_key(n, "itself", n) for n in self.alone]
        self.weight = nn.ModuleDict({key: _glorot(nn.Linear(in_channels, out_channels, bias=False)) for key in keys})
        self.biased = node_types(self.relations) if bias else ()
        self.bias = nn.ParameterDict({weight_key(n): nn.Parameter(torch.zeros(out_channels)) for n in self.biased})

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types of the relations; others pass unchanged."""
        out = {node: self.weight[weight_key(node, "itself", node)](features[node]) for node in self.alone}
        for relation in self.relations:
            source, _, target = relation
            rows = len(features[target])
            index, weight = symmetric_norm(
                edges[relation].index,
                len(features[source]),
                rows,
                weight=edges[relation].weight,
                self_loops=source == target,
            )
            projected = self.weight[weight_key(*relation)](features[source])  # [sources, out_channels]
            message = aggregate(projected, index, rows, weight=weight)
            out[target] = out[target] + message if target in out else message
        for node in self.biased:
            out[node] = out[node] + self.bias[weight_key(node)]
        return {**features, **{node: _activate(self.activation, state) for node, state in out.items()}}


def node_types(relations: Iterable[EdgeType]) -> tuple[NodeType, ...]:
    """The node types that some relations join, each once, in order.

    Example:
        >>> node_types([("a", "of", "b"), ("b", "near", "b")])
        ('a', 'b')
    """
    return tuple(dict.fromkeys(node for source, _, target in relations for node in (source, target)))


def _activate(activation: Activation | None, state: torch.Tensor) -> torch.Tensor:
    return state if activation is None else activation(state)


def _glorot(linear: nn.Linear) -> nn.Linear:
    nn.init.xavier_uniform_(linear.weight)
    return linear
