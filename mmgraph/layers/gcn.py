"""Averaging layers: mean aggregation with a root weight, and symmetric normalisation with self-loops."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import symmetric_norm
from mmgraph.functional.relational import Relation, relational
from mmgraph.keys import weight_key
from mmgraph.layers.base import Activation, Layer, arriving, check_relations, keep, node_types
from mmgraph.typing import EdgeSets, EdgeType, Features


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
        self.nodes, self.biased = node_types(self.relations), bias
        self.root = nn.ModuleDict({weight_key(n): nn.Linear(in_channels, out_channels, bias=bias) for n in self.nodes})

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types of the relations; others pass unchanged."""
        out = relational(
            features,
            arriving(edges, self.relations, features, reduce="mean"),
            [self.neighbour[weight_key(*r)].weight for r in self.relations],
            own_weight={n: self.root[weight_key(n)].weight for n in self.nodes},
            own_bias={n: self.root[weight_key(n)].bias for n in self.nodes if self.biased},
        )
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
        self_loops: Whether a node counts among its own neighbours. Without, a node that no edge points at gets
            :math:`\sigma(b)`, and a node type that no relation leads to stays as it is.

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
        self_loops: bool = True,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        self.activation, self.self_loops = activation, self_loops
        looped = {source for source, _, target in self.relations if source == target}
        self.alone = tuple(n for n in node_types(self.relations) if n not in looped) if self_loops else ()
        keys = [weight_key(*r) for r in self.relations] + [weight_key(n, "itself", n) for n in self.alone]
        self.weight = nn.ModuleDict({key: _glorot(nn.Linear(in_channels, out_channels, bias=False)) for key in keys})
        reached = node_types(self.relations) if self_loops else dict.fromkeys(r[2] for r in self.relations)
        self.biased = tuple(reached) if bias else ()
        self.bias = nn.ParameterDict({weight_key(n): nn.Parameter(torch.zeros(out_channels)) for n in self.biased})

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, out_channels]`` for the node types of the relations; others pass unchanged."""
        out = relational(
            features,
            self._normalised(features, edges),
            [self.weight[weight_key(*r)].weight for r in self.relations],
            own_weight={n: self.weight[weight_key(n, "itself", n)].weight for n in self.alone},
            own_bias={n: self.bias[weight_key(n)] for n in self.biased},
        )
        return {**features, **{node: _activate(self.activation, state) for node, state in out.items()}}

    def _normalised(self, features: Features, edges: EdgeSets) -> list[Relation]:
        """The relations, with edges sorted, loops included, and their weights."""
        rows = [(features[r[0]].shape[0], features[r[2]].shape[0]) for r in self.relations]
        likes = [features[r[2]] for r in self.relations]

        def make() -> list[Relation]:
            joined = []
            for relation, sizes, like in zip(self.relations, rows, likes, strict=True):
                index, weight = edges[relation]
                weight, dtype = None if weight is None else weight.to(like.dtype), like.dtype
                looped = self.self_loops and relation[0] == relation[2]
                joined.append(symmetric_norm(index, *sizes, weight=weight, self_loops=looped, dtype=dtype))
            found = Adjacency.several([(index, *sizes) for (index, _), sizes in zip(joined, rows, strict=True)])
            values = [weight.index_select(0, one.order) for one, (_, weight) in zip(found, joined, strict=True)]
            return [Relation(r[0], r[2], *pair) for r, *pair in zip(self.relations, found, values, strict=True)]

        weights = [edges[relation].weight for relation in self.relations]
        if any(weight is not None and weight.requires_grad for weight in weights):
            return make()
        dtypes = [like.dtype for like in likes]
        return keep(edges, ("normalised", self.relations, self.self_loops, *rows, *dtypes), make)


def _activate(activation: Activation | None, state: Tensor) -> Tensor:
    if activation is torch.relu:
        return state.relu_()  # the state is new, and nobody else's
    return state if activation is None else activation(state)


def _glorot(linear: nn.Linear) -> nn.Linear:
    nn.init.xavier_uniform_(linear.weight)
    return linear
