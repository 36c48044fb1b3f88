"""What the API does: asks the engine, and says what it found as it goes over the wire."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from mmgraph.engine.searched import Asked
from mmgraph.errors import ConfigError, DataError
from mmgraph.serve.graph import Shelf
from mmgraph.serve.limits import Limits
from mmgraph.serve.media import SIDES, Content, content_of
from mmgraph.serve.wire import (
    Allowed,
    Description,
    EdgeSet,
    EdgeType,
    Neighbourhood,
    NodeType,
    Result,
    Results,
    Scalar,
    Subgraph,
    Why,
    read_question,
)

if TYPE_CHECKING:
    from mmgraph.engine import Engine, Hit

REFRESH_S = 2.0
EXAMPLES = 8
VALUES = 40  # that a column may have to be a filter of the page


class Api:
    """Answers the questions of the API; may be asked by several threads at once.

    Args:
        engine: What searches.
        limits: How much may be asked for.
        title: What is searched.
    """

    def __init__(self, engine: Engine, limits: Limits, *, title: str) -> None:
        self.engine, self.limits, self.title = engine, limits, title
        self._shelf = Shelf(engine.now)
        self._looked, self._lock = time.monotonic(), Lock()

    def shelf(self) -> Shelf:
        """The graph as it is now: what others have written since is taken up every few seconds.

        Raises:
            ArtifactError: The graph was built anew.
        """
        with self._lock:
            if self.engine.folder is not None and time.monotonic() - self._looked > REFRESH_S:
                self.engine.refresh()
                self._looked = time.monotonic()
            if self._shelf.now is not self.engine.now:
                self._shelf = Shelf(self.engine.now)
            return self._shelf

    def describe(self) -> Description:
        """What there is to search."""
        shelf = self.shelf()
        graph, anchor = shelf.built.graph, shelf.built.anchor
        searched = shelf.now.searchable("sample")
        return Description(
            title=self.title,
            anchor=anchor,
            nodes=[
                NodeType(name=node, modality=spec.modality, rows=shelf.rows[node], searchable=node in searched)
                for node, spec in shelf.schema.nodes.items()
            ],
            edges=[
                EdgeType(source=edge[0], relation=edge[1], target=edge[2], edges=int(graph[edge].num_edges))
                for edge in shelf.schema.edges
            ],
            examples=[shelf.node(anchor, row) for row in _spread(shelf.rows[anchor])],
            columns={name: found for name, values in shelf.now.columns.items() if (found := _few(values))},
            limits=Allowed(max_bytes=self.limits.max_bytes, max_k=self.limits.max_k, max_hops=self.limits.max_hops),
        )

    def search(self, body: bytes, content_type: str) -> Results:
        """Finds what is most like the payloads of a request's body, or like an anchor.

        Raises:
            ConfigError: The question can't be answered here.
            DataError: It can't be read.
            ArtifactError: An encoder is gone or has changed.
        """
        shelf = self.shelf()
        asked = read_question(body, content_type, texts=shelf.texts)
        question = asked.question
        self._check("k", question.k, 1, self.limits.max_k)
        self._check("hops", question.hops, 0, self.limits.max_hops)
        before = time.perf_counter()
        hits = shelf.now.search(
            Asked(
                asked.payloads if question.id is None or asked.payloads else None,
                question.id,
                question.k,
                question.where,
                question.level,
                question.hops,
                text_weight=self.engine.state.text_weight,
                cache=None,
            )
        )
        took_ms = round(1000 * (time.perf_counter() - before), 1)
        return Results(results=[_result(shelf, hit, with_subgraph=question.subgraph) for hit in hits], took_ms=took_ms)

    def neighbours(self, node: str | None, id: str, limit: int | None = None) -> Neighbourhood:
        """A node, and what is joined to it; of the anchor's type where none is said.

        Raises:
            DataError: There is no such node.
            ConfigError: The limit is beyond what is allowed.
        """
        limit = self.limits.max_nodes if limit is None else limit
        self._check("limit", limit, 1, self.limits.max_nodes)
        shelf = self.shelf()
        return shelf.neighbourhood(node or shelf.built.anchor, id, limit=limit)

    def payload(self, node: str, row: int, side: int | None = None) -> Content | None:
        """What a modality node stands for, as a browser may have it; ``None`` where there is no such node.

        Raises:
            ConfigError: The side is another than those that there are.
            DataError: What there is can't be shown.
        """
        if side is not None and side not in SIDES:
            raise ConfigError(f"side must be one of {list(SIDES)}, got {side}")
        shelf = self.shelf()
        if node not in shelf.built.payloads or row >= shelf.rows[node]:
            return None
        return content_of(shelf.now.payload(node, row), shelf.schema.nodes[node].modality, side)

    @staticmethod
    def _check(name: str, value: int, least: int, most: int) -> None:
        if not least <= value <= most:
            raise ConfigError(f"{name} must be from {least} to {most}, got {value}; ask for another number")


def _result(shelf: Shelf, hit: Hit, *, with_subgraph: bool) -> Result:
    node = shelf.node(hit.node, hit.position)
    matched = [(one.type, one.row) for reason in hit.reasons for one in reason.matched]
    hanging = shelf.hanging(hit.node, hit.position, matched)
    here = {(one.node, one.row) for one in hanging} | {(hit.node, hit.position)}
    elsewhere = [shelf.node(*one) for one in dict.fromkeys(matched) if one not in here]
    own = [node] if node.modality is not None else []
    return Result(
        node=hit.node,
        row=hit.position,
        id=node.id,
        of=hit.id,
        label=node.label,
        score=hit.score,
        metadata=dict(hit.metadata),
        why=[
            Why(
                query=reason.query,
                node=reason.node,
                similarity=reason.similarity,
                contribution=reason.contribution,
                walk=[step.edge[1] for step in reason.walk],
            )
            for reason in hit.reasons
        ],
        nodes=own + hanging + elsewhere,
        subgraph=_subgraph(hit.subgraph) if with_subgraph else None,
    )


def number_of(text: str | None, name: str, default: int | None) -> int | None:
    """A whole number from the address of a request.

    Raises:
        DataError: It is something else.

    Example:
        >>> number_of("12", "row", None), number_of(None, "side", None)
        (12, None)
        >>> number_of("1e9", "row", None)
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: row must be a whole number of at most 15 figures, got '1e9'
    """
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise DataError(f"{name} must be a whole number of at most 15 figures, got {text[:80]!r}")
    return int(text)


def _spread(rows: int) -> list[int]:
    """Some rows, from the first to the last."""
    some = min(rows, EXAMPLES)
    return [place * rows // some for place in range(some)]


def _few(values: Sequence[Any]) -> list[Scalar]:
    """The values of a column that is worth a filter, in order; else none."""
    found: list[Scalar] = []
    for value in dict.fromkeys(value for value in values if value not in (None, "")):
        found.append(value)
        if len(found) > VALUES:
            return []
    return sorted(found, key=str) if len(found) > 1 else []


def _subgraph(graph: Any) -> Subgraph:
    rows = {node: graph[node].n_id.tolist() for node in graph.node_types}
    return Subgraph(
        nodes=rows,
        edges=[
            EdgeSet(
                type=edge,
                source=[rows[edge[0]][one] for one in graph[edge].edge_index[0].tolist()],
                target=[rows[edge[2]][one] for one in graph[edge].edge_index[1].tolist()],
            )
            for edge in graph.edge_types
        ],
    )
