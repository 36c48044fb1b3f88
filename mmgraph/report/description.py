"""What a description of a graph or a collection is made of: figures that JSON can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmgraph.typing import EdgeType


@dataclass(frozen=True)
class Spread:
    """How numbers lie; all ``None`` where there are none."""

    mean: float | None
    median: float | None
    least: float | None
    most: float | None

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        """The spread of some numbers, ``[values]``; those that are not finite are left out.

        Example:
            >>> Spread.of(np.array([1, 2, 6, np.nan]))
            Spread(mean=3.0, median=2.0, least=1.0, most=6.0)
        """
        values = values[np.isfinite(values)]
        if not len(values):
            return cls(None, None, None, None)
        return cls(float(values.mean()), float(np.median(values)), float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Nodes:
    """A node type: its modality, how many nodes, attribute → shape of the row of one, and what encoded it."""

    type: str
    modality: str | None
    rows: int
    attributes: Mapping[str, tuple[int, ...]]
    encoder: str | None


@dataclass(frozen=True)
class Edges:
    """An edge type.

    Args:
        type: Source node type, relation, target node type.
        edges: How many.
        weighted: Whether they have weights.
        out_degree: Edges from each source node.
        in_degree: Edges to each target node.
        isolated: Nodes of both ends without any of these edges.
        self_loops: Edges from a node to itself.
        duplicates: Edges beyond the first of the same two nodes, in the same direction.
    """

    type: EdgeType
    edges: int
    weighted: bool
    out_degree: Spread
    in_degree: Spread
    isolated: int
    self_loops: int
    duplicates: int


@dataclass(frozen=True)
class Target:
    """What is to be predicted: class → nodes of it, or the spread of a measure, and of how many it is not known."""

    name: str
    node: str
    kind: str
    known: int
    unknown: int
    classes: Mapping[str, int]
    values: Spread | None


@dataclass(frozen=True)
class Part:
    """A part of the split: how many units, and target → class → share of the nodes in it whose class is known."""

    name: str
    units: int
    classes: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Missing:
    """How many of those that could have a node of a modality have none.

    Args:
        node: The modality's node type.
        of: The node type that it hangs on, or ``sample``.
        missing: How many lack it.
        share: Their share; ``None`` of nothing.
        parts: Part → share of those in it.
    """

    node: str
    of: str
    missing: int
    share: float | None
    parts: Mapping[str, float | None]


@dataclass(frozen=True)
class Homophily:
    """The share of the edges that join equal labels, what it would be by chance, and over how many edges."""

    share: float
    expected: float
    edges: int


@dataclass(frozen=True)
class Relation:
    """Relations among the nodes of one type, one or all together.

    Args:
        node: The node type.
        relations: Their names.
        components: How many connected parts they make, isolated nodes among them.
        largest: Share of the nodes in the largest one; ``None`` of nothing.
        homophily: Target → its homophily; not of measures, nor where no edge joins two known labels.
    """

    node: str
    relations: tuple[str, ...]
    components: int
    largest: float | None
    homophily: Mapping[str, Homophily]


@dataclass(frozen=True)
class Samples:
    """The samples of a collection: how many, how many nodes and edges each has."""

    samples: int
    nodes: Spread
    edges: Spread


@dataclass(frozen=True)
class Reason:
    """Why something was set aside, and how often."""

    table: str
    column: str
    reason: str
    count: int


@dataclass(frozen=True)
class Preview:
    """One unit in words: its key, part, labels, notes, and node type → what some of them stand for, and how many."""

    key: str
    part: str
    labels: Mapping[str, str | None]
    notes: Mapping[str, str]
    payloads: Mapping[str, tuple[str, ...]]
    totals: Mapping[str, int]


@dataclass(frozen=True)
class Description:
    """What a graph or a collection holds; ``dataclasses.asdict`` gives what JSON can say.

    Args:
        title: What it is called.
        unit: What figures are over: the node type of the anchors, or ``sample``; empty where there are none.
        units: How many.
        samples: Of a collection of several samples.
        nodes: The node types.
        edges: The edge types.
        targets: What is to be predicted.
        parts: The parts of the split; at last those in no part, if there are such.
        missing: What is missing of each modality.
        relations: Relations within a node type, but not of the nodes of a modality: each, then all together.
        rejected: How much was set aside when it was built.
        reasons: The most frequent reasons.
        previews: A few units.
        warnings: What may spoil a result.
    """

    title: str
    unit: str
    units: int
    samples: Samples | None
    nodes: tuple[Nodes, ...]
    edges: tuple[Edges, ...]
    targets: tuple[Target, ...]
    parts: tuple[Part, ...]
    missing: tuple[Missing, ...]
    relations: tuple[Relation, ...]
    rejected: int
    reasons: tuple[Reason, ...]
    previews: tuple[Preview, ...]
    warnings: tuple[str, ...]
