"""Smoothing without weights: personalised PageRank over the edge sets."""

from __future__ import annotations

from collections.abc import Iterable

from mmgraph.errors import ConfigError
from mmgraph.functional.message import aggregate, degree
from mmgraph.layers.base import Layer, check_relations
from mmgraph.typing import EdgeSets, EdgeType, Features


class Smooth(Layer):
    r"""Predict, then propagate: states move towards the mean of their neighbours, and never forget themselves.

    .. math::
        h^{k+1}_v = (1 - \alpha) h^0_v
        + \alpha \frac{1}{|R_v|} \sum_{r \in R_v} \mathrm{mean}_{u \in N_r(v)} h^k_u

    where :math:`R_v` are the relations in which v has neighbours; a node without any keeps :math:`h^0`.
    It has no parameters.

    Source: Gasteiger, Bojchevski and Günnemann 2019, Predict then propagate: graph neural networks meet
    personalized PageRank, eq. 5; arXiv:1810.05997 (their α is 1 - ours; rows normalised by the in-degree).

    Args:
        relations: Edge types between nodes of one type.
        rounds: How many times.
        alpha: How far a state moves, between 0 and 1.

    Raises:
        ConfigError: An option out of its range, or a relation between two types.

    Example:
        >>> import torch
        >>> from mmgraph.typing import EdgeSet
        >>> layer = Smooth(relations=[("a", "near", "a")], rounds=1, alpha=0.5)
        >>> edges = {("a", "near", "a"): EdgeSet(torch.tensor([[0], [1]]))}
        >>> layer({"a": torch.tensor([[2.0], [0.0]])}, edges)["a"].flatten().tolist()
        [2.0, 1.0]
    """

    def __init__(self, *, relations: Iterable[EdgeType], rounds: int = 2, alpha: float = 0.5) -> None:
        super().__init__()
        if rounds < 1 or not 0 < alpha < 1:
            raise ConfigError(f"rounds must be at least 1 and alpha in (0, 1), got rounds={rounds}, alpha={alpha}")
        self.relations = check_relations(relations)
        if mixed := [r for r in self.relations if r[0] != r[2]]:
            raise ConfigError(f"Smooth joins nodes of one type, got {mixed[0]}")
        self.rounds, self.alpha = rounds, alpha

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives states of the same shapes."""
        states = dict(features)
        for node in {relation[0] for relation in self.relations}:
            own = [edges[relation] for relation in self.relations if relation[0] == node]
            start = state = features[node]
            reached = [(degree(index, len(start), weight=weight) > 0)[:, None] for index, weight in own]
            count = sum(mask.to(start.dtype) for mask in reached)  # [rows, 1]
            for _ in range(self.rounds):
                means = [aggregate(state, i, len(start), weight=w, reduce="mean") for i, w in own]
                moved = (1 - self.alpha) * start + self.alpha * sum(means) / count.clamp_min(1)
                state = moved.where(count > 0, start)  # [rows, channels]
            states[node] = state
        return states

    def extra_repr(self) -> str:
        """What is printed of the layer."""
        return f"rounds={self.rounds}, alpha={self.alpha}"
