"""The types that every room speaks: node types, edge types, features, edge sets."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

NodeType: TypeAlias = str
EdgeType: TypeAlias = tuple[str, str, str]
"""(source node type, relation, target node type)."""

Features: TypeAlias = dict[NodeType, Tensor]
"""One matrix ``[rows, channels]`` a node type; a row a node."""

Parts: TypeAlias = Mapping[str, Tensor]
"""One matrix ``[anchors, channels]`` a modality: what each anchor's nodes of that modality say."""

Present: TypeAlias = Mapping[str, Tensor]
"""One mask ``[anchors]`` a modality: which anchors have a node of it."""

Terms: TypeAlias = dict[str, Tensor]
"""The scalar terms of an objective; ``"total"`` is the one to minimise."""


class Seen(NamedTuple):
    """What one view says of the anchors, in one space: zeros where the view has nothing of an anchor."""

    states: Tensor  # [anchors, channels]
    present: Tensor  # [anchors] of bool


class Sources(NamedTuple):
    """What a decoder reads at each row: the nodes that it may see, side by side; a row may have none.

    Example:
        >>> import torch
        >>> sources = Sources(torch.ones(2, 3, 4), torch.tensor([[True, True, False], [False, False, False]]))
        >>> sources.mean()[:, 0].tolist(), sources.take(torch.tensor([0])).states.shape
        ([1.0, 0.0], torch.Size([1, 3, 4]))
        >>> bool(sources.nothing().present.any())
        False
    """

    states: Tensor  # [rows, nodes, channels]; zeros where there is no node
    present: Tensor  # [rows, nodes] of bool
    depths: tuple[Tensor, ...] = ()  # the states after each round of messages, if there were several

    def take(self, rows: Tensor | slice) -> "Sources":
        """Some of the rows, by their numbers, a mask or a slice."""
        return Sources(self.states[rows], self.present[rows], tuple(states[rows] for states in self.depths))

    def nothing(self) -> "Sources":
        """The same rows, of which nothing may be seen."""
        zeros = tuple(torch.zeros_like(states) for states in self.depths)
        return Sources(torch.zeros_like(self.states), torch.zeros_like(self.present), zeros)

    def mean(self) -> Tensor:
        """The mean of each row's nodes, ``[rows, channels]``; zeros where there is none."""
        weight = self.present.to(self.states.dtype)[:, :, None]
        return (self.states * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)


Spaces: TypeAlias = Mapping[str, Mapping[str, Seen]]
"""Space → view → what it says of the anchors there."""


class EdgeSet(NamedTuple):
    """The edges of one type: ``index[0]`` are source rows, ``index[1]`` target rows."""

    index: Tensor  # [2, edges]
    weight: Tensor | None = None  # [edges]


EdgeSets: TypeAlias = Mapping[EdgeType, EdgeSet]
