"""The graph as it is now: what was built, with all that was added, updated and deleted since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch_geometric.data import HeteroData

from mmgraph.assembly.built import Built
from mmgraph.schema.schema import EdgeType

if TYPE_CHECKING:
    from mmgraph.engine.changes import Change

Rows = Mapping[str, np.ndarray]
Payloads = Mapping[str, Sequence[str | bytes]]


@dataclass(frozen=True)
class Live:
    """A graph as it is now.

    Args:
        built: The graph.
        payloads: Modality node type → what its nodes stand for, row by row.
        base: Node type → which row of the base each node is, ``[rows]``; -1 for one that came later.
    """

    built: Built
    payloads: Payloads
    base: Rows


def unchanged(built: Built, payloads: Payloads) -> Live:
    """A graph as it was built."""
    return Live(built, payloads, {node: np.arange(built.graph[node].num_nodes) for node in built.schema.nodes})


def changed(built: Built, payloads: Payloads, changes: Sequence[Change]) -> Live:
    """A graph with changes, in the order in which they were made.

    An anchor that is updated keeps its edges, its labels, its part of the split and the columns that are not given, and
    goes to the end of the order.
    """
    if not changes:
        return unchanged(built, payloads)
    parts = [built.graph, *(change.graph for change in changes)]
    graph, start = _joined(parts, built)
    anchor = built.anchor
    ids = [id for some in (built.ids, *(change.ids for change in changes)) for id in some]
    alive, moved, joined = _followed(built, changes, ids, start[anchor])
    for old, new in moved:
        for key, value in graph[anchor].items():
            if key not in ("x", "num_nodes"):
                value[new] = value[old]
    keep = {node: np.ones(starts[-1], dtype=bool) for node, starts in start.items()}
    keep[anchor] = alive
    to = np.arange(len(ids))
    for old, new in moved:
        to[old] = new
    while len(moved) and not np.array_equal(to, to[to]):
        to = to[to]
    for edge in built.schema.edges:
        index = graph[edge].edge_index.numpy()
        if edge[1:] == ("of", anchor):
            keep[edge[0]][index[0]] = alive[index[1]]
            continue
        for end, node in ((0, edge[0]), (1, edge[2])):
            if node == anchor:
                index[end] = to[index[end]]
    _join(graph, anchor, joined, to)
    kept = {node: torch.from_numpy(mask) for node, mask in keep.items()}
    found = {node: np.flatnonzero(mask) for node, mask in keep.items()}
    readers = {
        node: _Chosen([payloads[node], *(one.payloads[node] for one in changes)], found[node]) for node in payloads
    }
    notes = dict(built.notes)
    for node, name in built.notes:
        if node == anchor:
            values = [one for some in (built.notes[node, name], *(c.notes[name] for c in changes)) for one in some]
            for old, new in moved:
                values[new] = values[old] if values[new] is None else values[new]
            notes[node, name] = [values[row] for row in found[anchor].tolist()]
    now = replace(
        built,
        graph=graph.subgraph(kept),
        keys={**built.keys, anchor: [ids[row] for row in found[anchor].tolist()]},
        notes=notes,
        payloads={node: _Reader(one) for node, one in readers.items()},
    )
    base = {node: np.where(some < start[node][1], some, -1) for node, some in found.items()}
    return Live(now, readers, base)


def _joined(parts: Sequence[HeteroData], built: Built) -> tuple[HeteroData, dict[str, np.ndarray]]:
    """Graphs side by side, and where the rows of each type of each begin, ``[graphs + 1]``."""
    graph, start = HeteroData(), {}
    for node in built.schema.nodes:
        counts = [int(part[node].num_nodes or 0) for part in parts]
        start[node] = np.concatenate([[0], np.cumsum(counts)])
        for key in parts[0][node]:
            graph[node][key] = sum(counts) if key == "num_nodes" else torch.cat([part[node][key] for part in parts])
    for edge in built.schema.edges:
        for key in parts[0][edge]:
            if key != "edge_index":
                graph[edge][key] = torch.cat([part[edge][key] for part in parts])
                continue
            offsets = np.stack([start[edge[0]][:-1], start[edge[2]][:-1]], axis=1)  # [graphs, 2]
            shifted = [
                part[edge].edge_index + torch.from_numpy(offset)[:, None]
                for part, offset in zip(parts, offsets, strict=True)
            ]
            graph[edge].edge_index = torch.cat(shifted, dim=1)
    return graph, start


def _followed(
    built: Built, changes: Sequence[Change], ids: Sequence[str], start: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int]], list[tuple[EdgeType, int, int]]]:
    """Which anchors are left, ``[rows]``, which took the place of which, and the edges between them, as rows.

    A key means the row that had it when the edge was made: one that is deleted and added again is another node.
    """
    alive = np.ones(len(ids), dtype=bool)
    moved: list[tuple[int, int]] = []
    joined: list[tuple[EdgeType, int, int]] = []
    others = {node: _places(built, node) for change in changes for edge, _, _ in change.joins for node in edge[::2]}
    rows = {id: row for row, id in enumerate(built.ids)}
    for number, change in enumerate(changes, start=1):
        for id in change.deleted:
            alive[rows.pop(id)] = False
        for row, id in enumerate(change.ids, start=int(start[number])):
            if id in change.updated and id in rows:
                alive[rows[id]] = False
                moved.append((rows[id], row))
            rows[id] = row
        for edge, source, target in change.joins:
            ends = [rows if node == built.anchor else others[node] for node in edge[::2]]
            if source in ends[0] and target in ends[1]:
                joined.append((edge, ends[0][source], ends[1][target]))
    return alive, moved, joined


def _join(graph: HeteroData, anchor: str, joined: Sequence[tuple[EdgeType, int, int]], to: np.ndarray) -> None:
    """Adds edges between rows, each led to the row that took its place; those that are there are left out."""
    for edge in dict.fromkeys(edge for edge, _, _ in joined):
        index = graph[edge].edge_index
        known = set(map(tuple, index.T.tolist()))
        pairs = [
            tuple(int(to[row]) if node == anchor else row for node, row in zip(edge[::2], rows, strict=True))
            for one, *rows in joined
            if one == edge
        ]
        fresh = [pair for pair in dict.fromkeys(pairs) if pair not in known]
        if not fresh:
            continue
        for key, value in list(graph[edge].items()):
            if key == "edge_index":
                graph[edge][key] = torch.cat([index, torch.tensor(fresh).T], dim=1)
            else:
                graph[edge][key] = torch.cat([value, value.new_ones(len(fresh), *value.shape[1:])])


def _places(built: Built, node: str) -> dict[str, int]:
    return {key: row for row, key in enumerate(built.keys[node])}


class _Chosen(Sequence[Any]):
    """Some values out of several sequences, one after another."""

    def __init__(self, parts: Sequence[Sequence[Any]], rows: np.ndarray) -> None:
        self.parts, self.rows = parts, rows
        self.start = np.concatenate([[0], np.cumsum([len(part) for part in parts])])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: Any) -> Any:
        place = int(self.rows[row])
        part = int(np.searchsorted(self.start, place, side="right")) - 1
        return self.parts[part][place - int(self.start[part])]


@dataclass(frozen=True)
class _Reader:
    """Gives payloads in order, as a built graph does."""

    values: Sequence[Any]

    def __call__(self) -> Iterator[Any]:
        for row in range(len(self.values)):
            yield self.values[row]


class Unwritten(Sequence[str | bytes]):
    """The payloads of a graph that is not written: each is read off the tables again."""

    def __init__(self, built: Built, node: str) -> None:
        self.built, self.node = built, node

    def __len__(self) -> int:
        return int(self.built.graph[self.node].num_nodes or 0)

    def __getitem__(self, row: Any) -> Any:
        return self.built.payload(self.node, int(row))
