"""The graph behind the page: its nodes as they are shown, and what is joined to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice, zip_longest
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from mmgraph.errors import DataError
from mmgraph.report.cards import Item
from mmgraph.report.payloads import WORDS, clean, said
from mmgraph.schema import Modality
from mmgraph.serve.wire import Edge, Neighbourhood, Node, Shown

if TYPE_CHECKING:
    from mmgraph.engine.searched import Searched
    from mmgraph.typing import EdgeType as Triple

API = "/api/v1"
LONG, LABEL = 2000, 120  # characters of a text, of what a node is called
SHOWN = 4  # nodes of one type at a hit
SEEN = (Modality.IMAGE, Modality.VIDEO)


class Shelf:
    """Gives the nodes of a graph as they go over the wire.

    Args:
        now: The graph as it is at one moment, and stays here, whatever becomes of the engine.
    """

    def __init__(self, now: Searched) -> None:
        self.now, self.built = now, now.built
        self.schema = self.built.schema
        self.rows = {node: int(self.built.graph[node].num_nodes or 0) for node in self.schema.nodes}
        binary = (*SEEN, Modality.AUDIO)
        self.texts = [node for node in self.built.payloads if self.schema.nodes[node].modality not in binary]
        self.parts = [edge for edge in self.schema.edges if edge[1] == "of" and edge[0] in self.built.payloads]

    @cached_property
    def places(self) -> dict[str, dict[str, int]]:
        """Node type with keys → key → row."""
        return {node: {key: row for row, key in enumerate(keys)} for node, keys in self.built.keys.items()}

    @cached_property
    def joined(self) -> dict[tuple[Triple, bool], tuple[np.ndarray, np.ndarray]]:
        """(edge type, whether by its source) → where each row's other ends begin, ``[rows + 1]``, and those ends."""
        found = {}
        for edge in self.schema.edges:
            ends = self.built.graph[edge].edge_index.numpy()
            for by_source in (True, False):
                here, there = ends if by_source else ends[::-1]
                count = self.rows[edge[0] if by_source else edge[2]]
                start = np.concatenate([[0], np.cumsum(np.bincount(here, minlength=count))])
                found[edge, by_source] = (start, there[np.argsort(here, kind="stable")])
        return found

    def place(self, node: str, id: str) -> int:
        """The row of a node, by its key, or where its type has none by its row.

        Raises:
            DataError: There is no such node.
        """
        if node not in self.rows:
            raise DataError(f"A node type must be one of {sorted(self.rows)}, got {node[:80]!r}")
        if node in self.built.keys:
            if id not in self.places[node]:
                raise DataError(f"{node!r} must have a node {id[:80]!r}, got none by that key")
            return self.places[node][id]
        if not (id.isascii() and id.isdigit() and len(id) < 16 and int(id) < self.rows[node]):
            raise DataError(f"A row of {node!r} must be between 0 and {self.rows[node] - 1}, got {id[:80]!r}")
        return int(id)

    def ends(self, edge: Triple, row: int, *, by_source: bool) -> np.ndarray:
        """The other ends of the edges of one type at a row, each once, ascending."""
        start, ends = self.joined[edge, by_source]
        return np.unique(ends[start[row] : start[row + 1]])

    def node(self, node: str, row: int) -> Node:
        """A node as it is shown."""
        shown = self.shown(node, row)
        key = self.built.keys[node][row] if node in self.built.keys else None
        label = clean(key) if key else shown.text if shown.kind == "text" else f"{node} {row}"
        return Node(
            node=node,
            row=row,
            id=str(row) if key is None else key,
            label=_cut(label, LABEL),
            modality=self.schema.nodes[node].modality,
            payload=shown,
            face=self.face(node, row),
        )

    def shown(self, node: str, row: int) -> Shown:
        """What a node stands for: a text, where its picture or sound is, else a few words."""
        modality = self.schema.nodes[node].modality
        if node not in self.built.payloads:
            notes = [
                f"{name}: {one}"
                for (kind, name), values in self.built.notes.items()
                if kind == node and (one := values[row])
            ]
            return Shown(kind="data" if notes else "none", text=_cut(clean(", ".join(notes)), LONG))
        url = f"{API}/payload/{_quoted(node)}/{row}"
        if modality in SEEN or modality is Modality.AUDIO:
            kind = "audio" if modality is Modality.AUDIO else "image"
            return Shown(kind=kind, text=WORDS[modality], url=url)
        payload = self.now.payload(node, row)
        if modality is Modality.TEXT and isinstance(payload, str):
            return Shown(kind="text", text=_cut(clean(payload), LONG), url=url)
        return Shown(kind="data", text=said(Item(modality, payload), LONG), url=url)

    def face(self, node: str, row: int) -> str | None:
        """Where the first picture that hangs on a node is."""
        for edge in self.parts:
            if edge[2] == node and self.schema.nodes[edge[0]].modality in SEEN:
                found = self.ends(edge, row, by_source=False)
                if len(found):
                    return f"{API}/payload/{_quoted(edge[0])}/{found[0]}"
        return None

    def hanging(self, node: str, row: int, first: Sequence[tuple[str, int]] = ()) -> list[Node]:
        """The modality nodes at a node, some of each type; those that were matched come first."""
        nodes = []
        for edge in self.parts:
            if edge[2] == node:
                rows = self.ends(edge, row, by_source=False).tolist()
                rows.sort(key=lambda one, kind=edge[0]: (kind, one) not in first)
                nodes += [self.node(edge[0], one) for one in rows[:SHOWN]]
        return nodes

    def neighbourhood(self, node: str, id: str, *, limit: int) -> Neighbourhood:
        """A node, what is joined to it, and the edges among these; of too many some of each relation.

        Args:
            node: Its type.
            id: Its key; its row where its type has none.
            limit: Most nodes, itself among them.

        Raises:
            DataError: There is no such node.
        """
        row = self.place(node, id)
        ways: list[list[tuple[str, int]]] = []
        for edge in self.schema.edges:
            for by_source, here, there in ((True, edge[0], edge[2]), (False, edge[2], edge[0])):
                if here == node:
                    ends = self.ends(edge, row, by_source=by_source)
                    ways.append([(there, one) for one in ends.tolist() if (there, one) != (node, row)])
        everyone = dict.fromkeys(one for turn in zip_longest(*ways) for one in turn if one is not None)
        chosen = [(node, row), *islice(everyone, limit - 1)]
        return Neighbourhood(
            nodes=[self.node(*one) for one in chosen],
            edges=list(self._among(chosen)),
            left_out=len(everyone) + 1 - len(chosen),
        )

    def _among(self, chosen: Sequence[tuple[str, int]]) -> Iterator[Edge]:
        place = {one: number for number, one in enumerate(chosen)}
        for edge in self.schema.edges:
            known = np.array(sorted(row for kind, row in chosen if kind == edge[2]), dtype=np.int64)
            for source in [row for kind, row in chosen if kind == edge[0]] if len(known) else ():
                for target in np.intersect1d(self.ends(edge, source, by_source=True), known).tolist():
                    ends = place[edge[0], source], place[edge[2], target]
                    if ends[0] != ends[1]:
                        yield Edge(source=ends[0], target=ends[1], relation=edge[1])


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _quoted(node: str) -> str:
    return quote(node, safe="")
