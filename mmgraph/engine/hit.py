"""What a search gives: hits that carry their subgraph, their payloads, and why they were found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from mmgraph.engine.around import Step
from mmgraph.errors import ConfigError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Node(NamedTuple):
    """A node of the graph that is searched: its type, and its row there."""

    type: str
    row: int


@dataclass(frozen=True)
class Reason:
    """What one node of the query gave to the score of a hit; the contributions of all reasons sum to it.

    Attributes:
        query: The node of the query: its type, with a number behind where there are several.
        matched: What it was found by: one node, or all nodes of a view that a model embeds together.
        contribution: What it gave to the score.
        similarity: The cosine of the two, -1 to 1.
        words: How well the words agree, 0 to 1; ``None`` where words were not asked for.
        walk: The edges from the hit's node to what the match hangs on; none if it hangs on the hit itself.
    """

    query: str
    matched: tuple[Node, ...]
    contribution: float
    similarity: float
    words: float | None = None
    walk: tuple[Step, ...] = ()

    @property
    def node(self) -> str:
        """The type of what it was found by; of a view of several modalities all of them."""
        return "+".join(dict.fromkeys(node.type for node in self.matched))


@dataclass(frozen=True)
class Hit:
    """A part of the graph that was found.

    Attributes:
        id: The key of the anchor, or of what a node hangs on.
        score: How near it is to the query; larger is better.
        metadata: What is known of the anchor: the columns that were kept, its part of the split, its classes.
        node: The type of the node that was found: the anchor's, or at the level of nodes a modality's.
        position: Its row.
        reasons: What each node of the query gave; those that it has no answer to are left out.
    """

    id: str
    score: float
    metadata: Mapping[str, Any]
    node: str
    position: int
    reasons: tuple[Reason, ...]
    _subgraph: Callable[[], HeteroData] = field(repr=False, compare=False)
    _nodes: Callable[[str], tuple[Node, ...]] = field(repr=False, compare=False)
    _payload: Callable[[str, int], str | bytes] = field(repr=False, compare=False)

    @cached_property
    def subgraph(self) -> HeteroData:
        """The graph around it, without labels; ``n_id`` says which rows of the whole graph its nodes are."""
        return self._subgraph()

    def payload(self, node: str, number: int = 0) -> str | bytes:
        """What one of its modality nodes stands for: a text, the bytes of a file, JSON of the rest.

        Args:
            node: A modality node type, or the name of a modality that it has nodes of.
            number: Which of them, the one that was matched first, if one was.

        Raises:
            ConfigError: It has no such node.
        """
        nodes = self._nodes(node)
        matched = [one for reason in self.reasons for one in reason.matched if one in nodes]
        ordered = list(dict.fromkeys([*matched, *nodes]))
        if not 0 <= number < len(ordered):
            raise ConfigError(f"{self.id!r} has {len(ordered)} nodes of {node!r}, got number {number}")
        return self._payload(*ordered[number])

    @property
    def why(self) -> str:
        """The reasons in a line, the greatest first: what of the query, by what it was found, what it gave."""
        ordered = sorted(self.reasons, key=lambda reason: -reason.contribution)
        return ", ".join(
            f"{one.query} {one.contribution:.2f}"
            + (f" by {one.node}" if one.query.split()[0] != one.node else "")
            + (" over " + " ".join(step.edge[1] for step in one.walk) if one.walk else "")
            for one in ordered
        )

    def to_json(self) -> dict[str, Any]:
        """The hit without its subgraph and payloads, as JSON has it."""
        return {
            "id": self.id,
            "similarity": self.score,
            "metadata": dict(self.metadata),
            "node": self.node,
            "row": self.position,
            "reasons": [
                {
                    "query": one.query,
                    "matched": [list(node) for node in one.matched],
                    "contribution": one.contribution,
                    "similarity": one.similarity,
                    "words": one.words,
                    "walk": [
                        {"edge": list(step.edge), "source": step.source, "target": step.target} for step in one.walk
                    ],
                }
                for one in self.reasons
            ],
        }
