"""Messages that a relation can turn round: "not capable of" is "capable of" with the other sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.recurrent import gru
from mmgraph.keys import weight_key
from mmgraph.layers.base import Layer, check_relations, keep, node_types
from mmgraph.typing import EdgeSets, EdgeType, Features


class Signed(Layer):
    r"""A vector a relation multiplies what travels along it, there and back; its denial has the opposite vector.

    .. math::
        m_v = \sum_{(u, r, v)} (s_r z_{|r|} \odot W_\to h_u + b_r)
        + \sum_{(v, r, u)} (s_r z_{|r|} \odot W_\gets h_u + b_r),
        \qquad h_v \leftarrow \mathrm{GRU}(m_v, h_v)

    with :math:`|r|` what :math:`r` denies and :math:`s_r = -1` if it denies something, else :math:`r` itself and 1. A
    path's factors multiply, so that two denials along it cancel, as they do in an argument. The weights are the same in
    every round; they grow with the relations by two vectors each, where :class:`~mmgraph.layers.Gated` has a matrix.

    Source: Vashishth et al. 2020, Composition-based multi-relational graph convolutional networks, arXiv:1911.03082
    (composition by product, a matrix a direction); Li et al. 2016, Gated graph sequence neural networks,
    arXiv:1511.05493 (the update); Derr, Ma & Tang 2018, Signed graph convolutional network, arXiv:1808.06354 (signs).

    Args:
        channels: Width of the states, in and out.
        relations: Edge types to pass messages along, both ways.
        rounds: How many times.
        denies: Name of a relation → name of the one that it denies, which must be among the relations too.

    Raises:
        ConfigError: ``rounds`` is below 1, or a relation that denies one that is not there.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> relations = [("a", "likes", "a"), ("a", "hates", "a")]
        >>> layer = Signed(4, relations=relations, rounds=2, denies={"hates": "likes"})
        >>> layer({"a": torch.ones(3, 4)}, {relations[1]: EdgeSet(torch.tensor([[0], [1]]))})["a"].shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        channels: int,
        *,
        relations: Iterable[EdgeType],
        rounds: int,
        denies: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if rounds < 1:
            raise ConfigError(f"rounds must be at least 1, got {rounds}")
        self.relations, self.rounds, denies = check_relations(relations), rounds, dict(denies or {})
        self.nodes = node_types(self.relations)
        names = list(dict.fromkeys(name for _, name, _ in self.relations))
        affirmed = [name for name in names if name not in denies]
        if missing := [name for name in names if denies.get(name, affirmed[0] if affirmed else "") not in affirmed]:
            raise ConfigError(f"{missing[0]!r} must deny one of {affirmed}, got {denies.get(missing[0])!r}")
        number = [names.index(name) for _, name, _ in self.relations]
        base = [affirmed.index(denies.get(name, name)) for _, name, _ in self.relations]
        sign = [-1.0 if name in denies else 1.0 for _, name, _ in self.relations]
        self.register_buffer("number", torch.tensor(number), persistent=False)
        self.register_buffer("base", torch.tensor(base), persistent=False)
        self.register_buffer("sign", torch.tensor(sign), persistent=False)
        self.factor = nn.Parameter(torch.ones(len(affirmed), channels))
        self.offset = nn.Parameter(0.1 * torch.randn(len(names), channels))
        self.there = nn.Linear(channels, channels, bias=False)
        self.back = nn.Linear(channels, channels, bias=False)
        self.cell = nn.ModuleDict({weight_key(node): nn.GRUCell(channels, channels) for node in self.nodes})

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, channels]`` for the node types of the relations; others pass unchanged."""
        rows = [features[node].shape[0] for node in self.nodes]
        source, target, relation = keep(edges, ("signed", self.relations, *rows), lambda: self._joined(edges, rows))
        factor = (self.sign[:, None] * self.factor[self.base])[relation]  # [edges, channels]
        offset = self.offset[self.number][relation]
        states = torch.cat([features[node] for node in self.nodes])  # [rows of all types, channels]
        for _ in range(self.rounds):
            there = factor * self.there(states)[source] + offset
            back = factor * self.back(states)[target] + offset
            message = torch.zeros_like(states).index_add(0, target, there).index_add(0, source, back)
            after = [
                gru(m, h, *self.cell[weight_key(node)].parameters())
                for node, m, h in zip(self.nodes, message.split(rows), states.split(rows), strict=True)
            ]
            states = torch.cat(after)
        return {**features, **dict(zip(self.nodes, states.split(rows), strict=True))}

    def _joined(self, edges: EdgeSets, rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The edges of all relations among the rows of all node types: source, target, place of the relation."""
        first = dict(zip(self.nodes, accumulate([0, *rows]), strict=False))
        there = [
            (place, torch.stack([edges[edge].index[0] + first[edge[0]], edges[edge].index[1] + first[edge[2]]]))
            for place, edge in enumerate(self.relations)
            if edge in edges
        ]
        device = self.sign.device
        index = torch.cat([torch.empty(2, 0, dtype=torch.long, device=device), *(one for _, one in there)], dim=1)
        places = [torch.full_like(one[0], place) for place, one in there]
        return index[0], index[1], torch.cat([index[0, :0], *places])
