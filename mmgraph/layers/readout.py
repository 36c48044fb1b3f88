"""Subgraphs as states: each node gets the vector of what is around it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mmgraph.errors import ConfigError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import aggregate
from mmgraph.functional.readout import Weights, subgraphs
from mmgraph.layers.base import Layer, check_relations, keep
from mmgraph.typing import EdgeSets, EdgeType, Features


class Readout(Layer):
    r"""The state of a node becomes the weighted sum of the states in the subgraph around it.

    .. math:: z_c = \sum_{v : d(v, c) \le \text{hops}} w_v h_v

    It has no parameters. After an encoder, or a projection, it makes a model one of subgraphs: what a subgraph is told
    apart by is then trained like anything else. Edges of all relations count alike and once, whatever their weights.

    Args:
        relations: Edge types between nodes of one type.
        hops: Radius of a subgraph; nothing beyond it is read.
        weights: How much each member counts: ``mean``, ``sum``, ``decay`` or ``walk``; see
            :mod:`mmgraph.functional.readout`.
        decay: :math:`\lambda` of ``decay``.
        centre: Whether the node itself counts.

    Raises:
        ConfigError: An option out of its range, or a relation between two types.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = Readout(relations=[("a", "near", "a")], hops=1)
        >>> edges = {("a", "near", "a"): EdgeSet(torch.tensor([[0, 1], [1, 0]]))}
        >>> layer({"a": torch.tensor([[2.0], [0.0], [5.0]])}, edges)["a"].flatten().tolist()
        [1.0, 1.0, 5.0]
    """

    def __init__(
        self,
        *,
        relations: Iterable[EdgeType],
        hops: int = 2,
        weights: Weights = "walk",
        decay: float = 0.5,
        centre: bool = True,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        if mixed := [relation for relation in self.relations if relation[0] != relation[2]]:
            raise ConfigError(f"Readout joins nodes of one type, got {mixed[0]}")
        self.hops, self.weights, self.decay, self.centre = hops, weights, decay, centre
        try:
            subgraphs(torch.empty(2, 0, dtype=torch.long), 0, hops=hops, weights=weights, decay=decay)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives states of the same shapes."""
        nodes = dict.fromkeys(relation[0] for relation in self.relations)
        return {**features, **{node: self._read(features[node], edges, node) for node in nodes}}

    def _read(self, x: Tensor, edges: EdgeSets, node: str) -> Tensor:
        relations = tuple(relation for relation in self.relations if relation[0] == node)
        options = (self.hops, self.weights, self.decay, self.centre)

        def make() -> tuple[Adjacency, Tensor]:
            index = torch.cat([edges[relation].index for relation in relations], dim=1)
            pairs, weight = subgraphs(
                index,
                len(x),
                hops=self.hops,
                weights=self.weights,
                decay=self.decay,
                centre=self.centre,
                dtype=x.dtype,
            )
            return Adjacency(pairs, len(x), len(x)), weight

        members, weight = keep(edges, ("subgraphs", relations, len(x), x.dtype, *options), make)
        return aggregate(x, members, weight=weight)

    def extra_repr(self) -> str:
        """What is printed of the layer."""
        decay = f", decay={self.decay}" if self.weights == "decay" else ""
        return f"hops={self.hops}, weights={self.weights!r}{decay}{'' if self.centre else ', centre=False'}"
