"""The types that every room speaks: node types, edge types, features, edge sets."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

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


Spaces: TypeAlias = Mapping[str, Mapping[str, Seen]]
"""Space → view → what it says of the anchors there."""


class EdgeSet(NamedTuple):
    """The edges of one type: ``index[0]`` are source rows, ``index[1]`` target rows."""

    index: Tensor  # [2, edges]
    weight: Tensor | None = None  # [edges]


EdgeSets: TypeAlias = Mapping[EdgeType, EdgeSet]
