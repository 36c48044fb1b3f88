"""What an explanation says: how much of a score each modality, node and edge accounts for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from mmgraph.typing import EdgeType, NodeType

Method: TypeAlias = Literal["shapley", "occlusion", "integrated gradients", "attention"]

OTHERS = "{} of others"


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """The score of one anchor, taken apart.

    Args:
        method: How it was taken apart.
        anchor: Row of the anchor in the graph that was given.
        output: Which output of the model is explained.
        score: What the model says of it.
        baseline: What it says where nothing is known.
        parts: What accounts for the difference: a modality by its name (the anchor's own nodes), a relation by its
            name, and ``"… of others"`` for the nodes of a type that hang on other anchors.
        nodes: Node type → ``[rows]``, a number a node around the anchor; empty if the method gives none.
        edges: Edge type → ``[edges]``, a number an edge around the anchor; likewise.
        channels: Node type → ``[rows, channels]``: of integrated gradients, the numbers of ``nodes`` by channel.
        n_id: Node type → ``[rows]``: which rows of the graph that was given the nodes are.
        index: Edge type → ``[2, edges]``: source and target of each edge, in rows of the graph that was given.
        kept: Relations that the method left as they are.

    Example:
        >>> found = Attribution(
        ...     method="shapley", anchor=7, output=1, score=3.0, baseline=-0.5, parts={"scan": 2.0, "near": 1.5}
        ... )
        >>> print(found)
        shapley: anchor 7, output 1: 3.000 = -0.500 + 3.500
          scan      +2.000  ██████████
          near      +1.500  ████████
          residual  +0.000
    """

    method: Method
    anchor: int
    output: int
    score: float
    baseline: float
    parts: Mapping[str, float]
    nodes: Mapping[NodeType, Tensor] = field(default_factory=dict)
    edges: Mapping[EdgeType, Tensor] = field(default_factory=dict)
    channels: Mapping[NodeType, Tensor] = field(default_factory=dict)
    n_id: Mapping[NodeType, Tensor] = field(default_factory=dict)
    index: Mapping[EdgeType, Tensor] = field(default_factory=dict)
    kept: tuple[EdgeType, ...] = ()

    @property
    def total(self) -> float:
        """What the parts add up to."""
        return sum(self.parts.values())

    @property
    def residual(self) -> float:
        """What of the difference the parts do not account for: ``score - baseline - total``."""
        return self.score - self.baseline - self.total

    def __str__(self) -> str:
        rows = sorted(self.parts.items(), key=lambda row: -abs(row[1]))
        width = max(map(len, [*self.parts, "residual"]))
        largest = max((abs(value) for _, value in rows), default=0.0) or 1.0
        lines = [
            f"{self.method}: anchor {self.anchor}, output {self.output}: "
            f"{self.score:.3f} = {self.baseline:.3f} {'+' if self.total + self.residual >= 0 else '-'} "
            f"{abs(self.score - self.baseline):.3f}"
        ]
        for name, value in rows:
            bar = ("█" if value >= 0 else "░") * round(10 * abs(value) / largest)
            lines.append(f"  {name:<{width}}  {value:+.3f}  {bar}".rstrip())
        return "\n".join([*lines, f"  {'residual':<{width}}  {self.residual:+.3f}"])
