"""What lies around nodes of a graph: walked edge by edge, in time that grows with what is found, not with the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mmgraph.schema import Schema, view
from mmgraph.schema.schema import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Step(NamedTuple):
    """One edge that was walked: its type, and the rows of its two ends."""

    edge: EdgeType
    source: int
    target: int


@dataclass(frozen=True)
class Rows:
    """Edges found by one of their ends: those of row ``r`` are ``other[start[r] : start[r + 1]]``.

    Args:
        start: ``[rows + 1]``.
        other: The other end of each, ``[edges]``, in the order of the graph for one row.
        number: Which edge of the graph each is, ``[edges]``.
    """

    start: np.ndarray
    other: np.ndarray
    number: np.ndarray

    @classmethod
    def by(cls, end: np.ndarray, other: np.ndarray, rows: int) -> Rows:
        """Sorts edges by one of their ends, ``[edges]``."""
        order = np.argsort(end, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(end, minlength=rows))])
        return cls(start.astype(np.int64), other[order], order)

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places of the edges of some rows, ``[found]``, and which of the rows each is of.

        Example:
            >>> rows = Rows.by(np.array([0, 2, 0]), np.array([7, 8, 9]), rows=3)
            >>> places, which = rows.of(np.array([2, 0]))
            >>> rows.other[places].tolist(), which.tolist()
            ([8, 7, 9], [0, 1, 1])
        """
        counts = self.start[rows + 1] - self.start[rows]
        which = np.repeat(np.arange(len(rows)), counts)
        first = np.repeat(self.start[rows] - np.cumsum(counts) + counts, counts)
        return first + np.arange(len(which)), which

    def best(self, values: np.ndarray) -> np.ndarray:
        """The greatest of the values of the other ends of each row, ``[rows]``; minus infinity for those without."""
        return greatest(values[self.other], self.start)


def greatest(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The greatest value of each part, ``[parts]``; minus infinity for an empty one.

    Args:
        values: ``[values]``, part after part.
        start: Where each part begins, and where the last ends, ``[parts + 1]``.

    Example:
        >>> greatest(np.array([1.0, 3.0, 2.0]), np.array([0, 2, 2, 3])).tolist()
        [3.0, -inf, 2.0]
    """
    found = np.full(len(start) - 1, -np.inf, dtype=values.dtype)
    there = start[1:] > start[:-1]
    if there.any():
        found[there] = np.maximum.reduceat(values, start[:-1][there])
    return found


@dataclass(frozen=True)
class Link:
    """A way to walk: from a node type over an edge type to another, in its direction or against it."""

    edge: EdgeType
    forward: bool
    rows: Rows

    @property
    def to(self) -> str:
        """The type that it leads to."""
        return self.edge[2] if self.forward else self.edge[0]

    def step(self, here: int, there: int) -> Step:
        """The edge that leads from one row to another."""
        return Step(self.edge, here, there) if self.forward else Step(self.edge, there, here)


@dataclass(frozen=True)
class Ball:
    """The nodes within some edges of some centres, each once a centre, the nearer ones first.

    Args:
        kind: Node type of each, as a number of ``Around.kinds``, ``[found]``.
        row: Row of each, ``[found]``.
        centre: Which of the centres it is around, ``[found]``.
        distance: How many edges from it, ``[found]``.
        parent: The one found before, from which it was reached, ``[found]``; -1 for a centre.
        link: By which link of the parent's type, ``[found]``.
    """

    kind: np.ndarray
    row: np.ndarray
    centre: np.ndarray
    distance: np.ndarray
    parent: np.ndarray
    link: np.ndarray


class Around:
    """Neighbourhoods of a graph, as :func:`mmgraph.search.subgraph` means them.

    An edge between two nodes of one type is walked from its target to its source, one between two types either way;
    the modality nodes of what is within reach belong to it.

    Args:
        graph: The whole graph.
        schema: What it means.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.ones(4, 1)
        >>> graph["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> around = Around(graph, Schema.infer(graph, anchor="paper"))
        >>> around.subgraph("paper", 2, hops=1)["paper"].n_id.tolist()
        [1, 2]
    """

    def __init__(self, graph: HeteroData, schema: Schema) -> None:
        self.graph = view(graph, schema)  # what is declared, and no label
        self.parts = {edge[0] for edge in schema.edges if edge[1] == "of"}
        self.counts = {node: int(graph[node].num_nodes or 0) for node in schema.nodes}
        self.kinds = [node for node in schema.nodes if node not in self.parts]
        self.links: dict[str, list[Link]] = {node: [] for node in self.kinds}
        self.into: dict[EdgeType, Rows] = {}  # all edges by their target
        self._held = {kind: list(self.graph[kind].items()) for kind in (*schema.nodes, *schema.edges)}
        for edge in schema.edges:
            source, target = graph[edge].edge_index.numpy()
            self.into[edge] = into = Rows.by(target, source, self.counts[edge[2]])
            if edge[1] == "of" or not {edge[0], edge[2]} <= set(self.kinds):
                continue
            self.links[edge[2]].append(Link(edge, False, into))
            if edge[0] != edge[2]:
                self.links[edge[0]].append(Link(edge, True, Rows.by(source, target, self.counts[edge[0]])))

    def ball(self, node: str, rows: np.ndarray, *, hops: int) -> Ball:
        """The nodes within some edges of some rows of a type, modality nodes left out."""
        first = np.arange(len(rows))
        kind = np.full(len(rows), self.kinds.index(node))
        none = np.full(len(rows), -1)
        layers = [np.stack([kind, rows.astype(np.int64), first, np.zeros_like(first), none, none])]
        size, seen = len(rows), [self._keys(layers[0])]
        for distance in range(1, hops + 1):
            layer = self._next(layers[-1], size - layers[-1].shape[1], distance)
            _, once = np.unique(self._keys(layer), return_index=True)
            layer = layer[:, np.sort(once)]
            layer = layer[:, ~np.isin(self._keys(layer), np.concatenate(seen))]
            if not layer.shape[1]:
                break
            layers.append(layer)
            seen.append(self._keys(layer))
            size += layer.shape[1]
        return Ball(*np.concatenate(layers, axis=1))

    def _next(self, layer: np.ndarray, first: int, distance: int) -> np.ndarray:
        """All that one edge leads to from the nodes of a layer, ``[6, found]``."""
        parts = [np.empty((6, 0), dtype=np.int64)]
        for number, node in enumerate(self.kinds):
            (here,) = np.nonzero(layer[0] == number)
            for way, link in enumerate(self.links[node]) if len(here) else ():
                places, which = link.rows.of(layer[1, here])
                kind = np.full(len(places), self.kinds.index(link.to))
                centre = layer[2, here][which]
                same = np.full(len(places), 0)
                parts.append(
                    np.stack([kind, link.rows.other[places], centre, same + distance, first + here[which], same + way])
                )
        return np.concatenate(parts, axis=1)

    def _keys(self, layer: np.ndarray) -> np.ndarray:
        """A number for each centre and node, by which equal ones are known."""
        most = max(self.counts.values(), default=0) + 1
        return (layer[2] * len(self.kinds) + layer[0]) * most + layer[1]

    def walk(self, ball: Ball, place: int) -> tuple[Step, ...]:
        """The edges that lead from a centre to a node of its ball."""
        steps: list[Step] = []
        while ball.parent[place] >= 0:
            before = int(ball.parent[place])
            link = self.links[self.kinds[ball.kind[before]]][ball.link[place]]
            steps.append(link.step(int(ball.row[before]), int(ball.row[place])))
            place = before
        return tuple(reversed(steps))

    def spread(self, best: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What each node would have if it took the best of itself and of all one edge away, type by type."""
        grown = dict(best)
        for node, links in self.links.items():
            for link in links:
                if link.to in best:
                    value = link.rows.best(best[link.to])
                    grown[node] = value if node not in grown else np.maximum(grown[node], value)
        return grown

    def rows(self, node: str, row: int, *, hops: int) -> dict[str, np.ndarray]:
        """Node type → the rows within some edges of one, ascending, with the modality nodes of what is in it."""
        ball = self.ball(node, np.array([row]), hops=hops)
        found = {kind: np.sort(ball.row[ball.kind == number]) for number, kind in enumerate(self.kinds)}
        todo = list(found)
        while todo:
            owner = todo.pop()
            for part in [edge[0] for edge in self.into if edge[1:] == ("of", owner)]:
                places, _ = self.into[part, "of", owner].of(found[owner])
                mine = self.into[part, "of", owner].other[places]
                found[part] = np.unique(np.concatenate([mine, found[part]]) if part in found else mine)
                todo.append(part)
        none = np.empty(0, dtype=np.int64)
        return {kind: found.get(kind, none) for kind in self.counts}

    def edges(self, rows: dict[str, np.ndarray]) -> Iterator[tuple[EdgeType, np.ndarray, np.ndarray]]:
        """The edges among some rows, ascending: their type, their numbers, ``[2, edges]`` counted among the rows."""
        none = np.empty((2, 0), dtype=np.int64)
        for edge, into in self.into.items():
            if not len(rows[edge[0]]) or not len(rows[edge[2]]):
                yield edge, none[0], none
                continue
            places, target = into.of(rows[edge[2]])
            source = into.other[places]
            known = rows[edge[0]]
            at = np.searchsorted(known, source)
            there = np.append(known, -1)[at] == source
            numbers = into.number[places[there]]
            order = np.argsort(numbers, kind="stable")
            yield edge, numbers[order], np.stack([at[there], target[there]])[:, order]

    def subgraph(self, node: str, row: int, *, hops: int = 1) -> HeteroData:
        """The graph within some edges of a node; ``n_id`` says which rows of the whole graph its nodes are."""
        from torch_geometric.data import HeteroData

        rows, found = self.rows(node, row, hops=hops), HeteroData()
        for kind, some in rows.items():
            chosen = torch.from_numpy(some)
            store = found[kind]
            for key, value in self._held[kind]:
                store[key] = len(some) if key == "num_nodes" else value[chosen]
        for edge, numbers, index in self.edges(rows):
            chosen = torch.from_numpy(numbers)
            store = found[edge]
            for key, value in self._held[edge]:
                store[key] = torch.from_numpy(index) if key == "edge_index" else value[chosen]
        return found


class Alone(Around):
    """Nodes with nothing around them, each a part of its own."""

    def __init__(self, node: str, count: int) -> None:
        self.kinds, self.counts, self.links, self.into, self.parts = [node], {node: count}, {node: []}, {}, set()
