"""A neighbourhood to be drawn: nodes with what they stand for, and the typed edges among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgraph.engine.around import Around
from mmgraph.engine.hit import Node
from mmgraph.schema.schema import EdgeType

if TYPE_CHECKING:
    from mmgraph.assembly import Built


@dataclass(frozen=True)
class Neighbour:
    """A node of a neighbourhood.

    Attributes:
        node: Its type and its row; of a modality node the reference of its payload.
        id: Its key; ``None`` if it has none.
        modality: What it stands for, ``"image"``; ``None`` if it has no payload.
        distance: How many edges from the centre; a modality node is as far as what it hangs on.
    """

    node: Node
    id: str | None
    modality: str | None
    distance: int


@dataclass(frozen=True)
class Neighbourhood:
    """What is around a node.

    Attributes:
        nodes: The centre first, then the nearer ones first.
        edges: Among them, as in the graph: type, and the places of source and target in ``nodes``.
        more: How many nodes are left out.
    """

    nodes: tuple[Neighbour, ...]
    edges: tuple[tuple[EdgeType, int, int], ...]
    more: int


def neighbourhood(built: Built, around: Around, centre: Node, *, hops: int, most: int) -> Neighbourhood:
    """What is within some edges of a node, with the modality nodes of what is in it."""
    ball = around.ball(centre.type, np.array([centre.row]), hops=hops)
    distance = {
        Node(around.kinds[kind], row): steps
        for kind, row, steps in zip(ball.kind.tolist(), ball.row.tolist(), ball.distance.tolist(), strict=True)
    }
    for node in list(distance):  # what hangs on each comes along, and what hangs on that
        _hang(around, node, distance)
    ordered = sorted(distance, key=lambda node: (distance[node], node.type in around.parts))[:most]
    rows = {
        kind: np.sort([node.row for node in ordered if node.type == kind]).astype(np.int64) for kind in around.counts
    }
    place = {node: number for number, node in enumerate(ordered)}
    edges = [
        (edge, place[Node(edge[0], int(rows[edge[0]][source]))], place[Node(edge[2], int(rows[edge[2]][target]))])
        for edge, _, index in around.edges(rows)
        for source, target in index.T.tolist()
    ]
    nodes = [_neighbour(built, node, distance[node]) for node in ordered]
    return Neighbourhood(tuple(nodes), tuple(edges), len(distance) - len(nodes))


def _hang(around: Around, owner: Node, distance: dict[Node, int]) -> None:
    for edge, into in around.into.items():
        if edge[1:] == ("of", owner.type):
            places, _ = into.of(np.array([owner.row]))
            for row in into.other[places].tolist():
                part = Node(edge[0], row)
                distance.setdefault(part, distance[owner])
                _hang(around, part, distance)


def _neighbour(built: Built, node: Node, distance: int) -> Neighbour:
    keys, modality = built.keys.get(node.type), built.schema.nodes[node.type].modality
    return Neighbour(
        node, None if keys is None else keys[node.row], None if modality is None else str(modality), distance
    )
