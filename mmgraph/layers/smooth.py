"""Smoothing without weights: personalised PageRank over the edge sets."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.message import mass, spread
from mmgraph.layers.base import Layer, arriving, check_relations
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType


class Smooth(Layer):
    r"""Predict, then propagate: states move towards the mean of their neighbours, and never forget themselves.

    .. math::
        h^{k+1}_v = (1 - \alpha) h^0_v
        + \alpha \frac{1}{|R_v|} \sum_{r \in R_v} \mathrm{mean}_{u \in N_r(v)} h^k_u

    where :math:`R_v` are the relations in which v has neighbours; a node without any keeps :math:`h^0`.
    :math:`\alpha` is fixed, or learned: one number :math:`\tanh(a)`, which starts at 0 (no graph), so that
    training decides whether neighbours count; a negative one moves states *away* from their neighbours' mean.

    Source: Gasteiger, Bojchevski and Günnemann 2019, Predict then propagate: graph neural networks meet
    personalized PageRank, eq. 5; arXiv:1810.05997 (their α is 1 - ours; rows normalised by the in-degree).

    Args:
        relations: Edge types between nodes of one type.
        rounds: How many times.
        alpha: How far a state moves, between 0 and 1; ``None`` to learn it.

    Raises:
        ConfigError: An option out of its range, or a relation between two types.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = Smooth(relations=[("a", "near", "a")], rounds=1, alpha=0.5)
        >>> edges = {("a", "near", "a"): EdgeSet(torch.tensor([[0], [1]]))}
        >>> layer({"a": torch.tensor([[2.0], [0.0]])}, edges)["a"].flatten().tolist()
        [2.0, 1.0]
    """

    def __init__(self, *, relations: Iterable[EdgeType], rounds: int = 2, alpha: float | None = 0.5) -> None:
        super().__init__()
        if rounds < 1 or (alpha is not None and not 0 < alpha < 1):
            raise ConfigError(f"rounds must be at least 1 and alpha in (0, 1), got rounds={rounds}, alpha={alpha}")
        self.relations = check_relations(relations)
        if mixed := [relation for relation in self.relations if relation[0] != relation[2]]:
            raise ConfigError(f"Smooth joins nodes of one type, got {mixed[0]}")
        self.rounds = rounds
        self.fixed = alpha
        self.gate = nn.Parameter(torch.zeros(1)) if alpha is None else None  # a, where alpha is learned

    @property
    def alpha(self) -> Tensor | float:
        """How far a state moves."""
        if self.gate is not None:
            return torch.tanh(self.gate)
        assert self.fixed is not None
        return self.fixed

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives states of the same shapes."""
        nodes = dict.fromkeys(relation[0] for relation in self.relations)
        return {**features, **{node: self._smooth(features, edges, node) for node in nodes}}

    def _smooth(self, features: Features, edges: EdgeSets, node: NodeType) -> Tensor:
        own = [relation for relation in self.relations if relation[0] == node]
        sets = arriving(edges, own, features, reduce="mean")
        plain = arriving(edges, own, features, reduce="sum")
        reached = [(mass(one.edges, one.values, like=features[node]) > 0)[:, None] for one in plain]
        count = torch.stack(reached).sum(dim=0)  # [rows, 1]: in how many relations a node has neighbours
        start = state = features[node]
        for _ in range(self.rounds):
            mean = sum(spread(state, one.edges, one.values) for one in sets) / count.clamp_min(1)
            state = (start + self.alpha * (mean - start)).where(count > 0, start)  # [rows, channels]
        return state

    def extra_repr(self) -> str:
        """What is printed of the layer."""
        return f"rounds={self.rounds}, alpha={'learned' if self.fixed is None else self.fixed}"
