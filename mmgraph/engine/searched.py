"""What an engine searches: a graph at one moment, whole and unchanging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mmgraph.assembly.built import Built
from mmgraph.engine.around import Alone, Around
from mmgraph.engine.fields import Field
from mmgraph.engine.hit import Hit, Node, Reason
from mmgraph.engine.joint import Joint
from mmgraph.engine.live import Live
from mmgraph.engine.query import QueryNode, encode, node_of, payloads_of, query_nodes
from mmgraph.engine.rank import Match, Ranking
from mmgraph.errors import ConfigError, DataError
from mmgraph.index import BM25
from mmgraph.index.inputs import check_count
from mmgraph.schema import Modality
from mmgraph.search import labels_of, parts_of

if TYPE_CHECKING:
    from mmgraph.encoders import FeatureCache

Level = Literal["node", "sample", "subgraph"]
LEVELS: tuple[str, ...] = get_args(Level)
MOST_HOPS = 8


@dataclass(frozen=True)
class Asked:
    """A query and what is to be found, checked.

    Args:
        payloads: Modality → payload or list of them; or
        id: an anchor.
        k: How many.
        where: What a hit must have.
        level: What is found.
        hops: Radius.
        text_weight: The share of the words.
        cache: Where features are looked up and kept.

    Raises:
        ConfigError: One of them is out of range.
    """

    payloads: Mapping[str, Any] | None
    id: str | None
    k: int
    where: Mapping[str, Any]
    level: str
    hops: int
    text_weight: float
    cache: FeatureCache | None

    def __post_init__(self) -> None:
        check_count("k", self.k)
        if self.level not in LEVELS:
            raise ConfigError(f"level must be one of {list(LEVELS)}, got {self.level!r}")
        check_hops(self.hops)
        check_text_weight(self.text_weight)
        if (self.payloads is None) == (self.id is None):
            raise ConfigError("search needs either payloads= or id= of an anchor")


def check_hops(hops: int) -> None:
    """Checks a radius.

    Raises:
        ConfigError: It is out of range.
    """
    check_count("hops", hops, least=0, most=MOST_HOPS)


def check_text_weight(weight: float) -> None:
    """Checks the share of the words.

    Raises:
        ConfigError: It is out of range.
    """
    if not 0 <= weight <= 1:
        raise ConfigError(f"text_weight must be from 0 to 1, got {weight!r}")


class Searched:
    """A graph as it is at one moment, with all that a search of it needs.

    Args:
        live: The graph.
        fields: What queries are compared with.
        joint: The model that embeds queries; ``None`` where each modality is compared with its own.
    """

    def __init__(self, live: Live, fields: Mapping[str, Field], joint: Joint | None = None) -> None:
        self.live, self.fields, self.joint = live, dict(fields), joint
        self.built: Built = live.built
        self.around = Around(self.built.graph, self.built.schema)
        self._bm25: dict[str, BM25] = {}

    @property
    def anchor(self) -> str:
        """The node type that the modalities speak about."""
        return self.built.anchor

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each anchor, by its key."""
        return {name: row for row, name in enumerate(self.built.ids)}

    def row(self, id: str) -> int:
        """The row of an anchor.

        Raises:
            DataError: There is no such anchor.
        """
        if id not in self.rows:
            raise DataError(f"Id must be one of the {len(self.rows)} of {self.anchor!r}, got {id!r}")
        return self.rows[id]

    def payload(self, node: str, row: int) -> str | bytes:
        """What one modality node stands for.

        Raises:
            ConfigError: There is no such node type.
            DataError: It has no such row.
        """
        if node not in self.live.payloads:
            raise ConfigError(f"A modality node type must be one of {sorted(self.live.payloads)}, got {node!r}")
        rows = len(self.live.payloads[node])
        if not 0 <= row < rows:
            raise DataError(f"A row of {node!r} must be between 0 and {rows - 1}, got {row}")
        return self.live.payloads[node][row]

    @cached_property
    def columns(self) -> dict[str, Sequence[Any]]:
        """What is known of the anchors, by which hits can be filtered: column → a value for each."""
        built = self.built
        found: dict[str, Sequence[Any]] = {
            name: values for (node, name), values in built.notes.items() if node == built.anchor
        }
        for name, target in built.schema.targets.items():
            if target.node == built.anchor and target.classes:
                found[name] = labels_of(built.graph, built.schema, name)
        parts = parts_of(built.graph, built.anchor)
        return {**found, "part": parts} if any(parts) else found

    def searchable(self, level: str) -> list[str]:
        """The modality node types that can be searched by."""
        if self.joint is not None:
            return list(self.joint.modalities)
        return [name for name, one in self.fields.items() if self._is_reached(one, level)]

    def search(self, asked: Asked) -> list[Hit]:
        """Finds what is most like a query; see :meth:`Engine.search`."""
        where = dict(asked.where)
        fields = self._fields(where.pop("node", None), asked.level)
        query = self._query(asked, fields)
        query = [replace(one, vectors={n: v for n, v in one.vectors.items() if n in fields}) for one in query]
        ranking = Ranking(
            [one for one in query if one.vectors],
            fields,
            self.around,
            self.anchor,
            reach=asked.hops if asked.level == "subgraph" else 0,
            text_weight=asked.text_weight,
            words=self._words(query) if asked.text_weight > 0 else {},
        )
        allowed = self._allowed(where, asked.id)
        if asked.level == "node":
            return self._nodes(ranking, asked.k, allowed, asked.hops, where=bool(where))
        return [
            self._hit(Node(self.anchor, row), score, matches, asked.hops)
            for row, score, matches in ranking.best(asked.k, allowed)
        ]

    def _query(self, asked: Asked, fields: Mapping[str, Field]) -> list[QueryNode]:
        if asked.id is not None:
            return self._query_of(self.row(asked.id), fields)
        given = payloads_of(self.built, asked.payloads or {}, self.searchable(asked.level))
        features = encode(self.built, given, asked.cache)
        if self.joint is not None:
            return self.joint.query_nodes(self.built, features, self.fields, given)
        return query_nodes(features, self.fields, given)

    def _words(self, query: Sequence[QueryNode]) -> dict[tuple[str, str], np.ndarray]:
        """(query node, field) → how well the words agree, ``[items]``: the best has 1."""
        found = {}
        for one in query:
            for name in one.vectors:
                if (
                    one.text is not None
                    and self.built.schema.nodes[self.fields[name].nodes[0]].modality is Modality.TEXT
                ):
                    scores = self.bm25(name).scores(one.text)
                    found[one.name, name] = scores / max(scores.max(initial=0.0), 1e-12)
        return found

    def bm25(self, name: str) -> BM25:
        """The words of the texts of a field."""
        if name not in self._bm25:
            one = self.fields[name]
            texts = self._texts(one)
            self._bm25[name] = BM25(texts, map(str, range(len(one.rows))))
        return self._bm25[name]

    def _texts(self, one: Field) -> Iterable[str]:
        """The text of each item; of a view all texts of its anchor."""
        node = one.nodes[0]
        payloads = self.live.payloads[node]
        if one.name in self.built.payloads and self.joint is None:
            return (str(payloads[row]) for row in one.rows.tolist())
        into = self.around.into[node, "of", one.owner]
        hanging = (into.other[into.start[row] : into.start[row + 1]].tolist() for row in one.rows.tolist())
        return (" ".join(str(payloads[each]) for each in some) for some in hanging)

    def _fields(self, nodes: Any, level: str) -> dict[str, Field]:
        """The fields that a match may be in."""
        named = set(self.fields) if nodes is None else {nodes} if isinstance(nodes, str) else set(nodes)
        if unknown := sorted(named - set(self.fields)):
            raise ConfigError(f"where 'node' must name some of {sorted(self.fields)}, got {unknown[0]!r}")
        return {name: one for name, one in self.fields.items() if name in named and self._is_reached(one, level)}

    def _is_reached(self, one: Field, level: str) -> bool:
        return level != "sample" or one.owner == self.anchor

    def _query_of(self, row: int, fields: Mapping[str, Field]) -> list[QueryNode]:
        """The query that an anchor is, by what hangs on it."""
        items = {
            name: np.arange(one.start[row], one.start[row + 1])
            for name, one in fields.items()
            if one.owner == self.anchor and one.start[row + 1] > one.start[row]
        }
        if not items:
            raise DataError(f"{self.built.ids[row]!r} must have a node of {sorted(fields)} to be searched by, got none")
        return [
            QueryNode(
                name if len(some) == 1 else f"{name} {number}", name, 1 / (len(items) * len(some)), {name: vector}
            )
            for name, some in items.items()
            for number, vector in enumerate(fields[name].vectors[some])
        ]

    def _allowed(self, where: Mapping[str, Any], id: str | None) -> np.ndarray | None:
        """The anchors that may be found, ``[anchors]``; ``None`` for all."""
        if not where and id is None:
            return None
        allowed = np.ones(len(self.built.ids), dtype=bool)
        for column, value in where.items():
            if column not in self.columns:
                raise ConfigError(f"where must name some of {[*self.columns, 'node']}, got {column!r}")
            wanted = value if isinstance(value, (set, frozenset, list, tuple)) else (value,)
            allowed &= np.array([one in wanted for one in self.columns[column]], dtype=bool)
        if id is not None:
            allowed[self.row(id)] = False
        return allowed

    def _nodes(self, ranking: Ranking, k: int, allowed: np.ndarray | None, hops: int, *, where: bool) -> list[Hit]:
        """Hits at the level of nodes: each node is a part of its own."""
        found = []
        for name, one in ranking.fields.items():
            query = [
                replace(each, vectors={name: each.vectors[name]}) for each in ranking.query if name in each.vectors
            ]
            if not query or (where and one.owner != self.anchor):
                continue  # what hangs elsewhere has none of the columns
            alone = replace(one, owner=name, start=np.arange(len(one.rows) + 1))
            around = Alone(name, len(one.rows))
            ranked = replace(ranking, query=query, fields={name: alone}, around=around, node=name)
            own = allowed[one.owners] if allowed is not None and one.owner == self.anchor else None
            found += [(score, one, item, matches) for item, score, matches in ranked.best(k, own)]
        found.sort(key=lambda each: -each[0])
        hits = []
        for score, one, item, matches in found[:k]:
            matched = [replace(match, field=one) for match in matches]
            owner = Node(one.owner, int(one.owners[item]))
            hits.append(self._hit(owner, score, matched, hops, self._matched(matched[0])[0]))
        return hits

    def _hit(self, owner: Node, score: float, matches: Iterable[Match], hops: int, node: Node | None = None) -> Hit:
        reasons = tuple(
            Reason(
                match.query.name,
                self._matched(match),
                match.query.weight * match.value,
                match.similarity,
                match.words,
                match.walk,
            )
            for match in matches
        )
        is_anchor = owner.type == self.anchor
        return Hit(
            id=self.built.keys[owner.type][owner.row],
            score=score,
            metadata={name: values[owner.row] for name, values in self.columns.items()} if is_anchor else {},
            node=(node or owner).type,
            position=(node or owner).row,
            reasons=reasons,
            _subgraph=lambda: self.around.subgraph(owner.type, owner.row, hops=hops),
            _nodes=lambda name: self._hanging(owner, name),
            _payload=self.payload,
        )

    def _matched(self, match: Match) -> tuple[Node, ...]:
        row = int(match.field.rows[match.item])
        if self.joint is None:
            return (Node(match.field.nodes[0], row),)
        return tuple(one for node in match.field.nodes for one in self._hanging(Node(match.field.owner, row), node))

    def _hanging(self, owner: Node, name: str) -> tuple[Node, ...]:
        """The modality nodes of a type that hang on a node."""
        mine = [
            edge[0] for edge in self.around.into if edge[1:] == ("of", owner.type) and edge[0] in self.built.payloads
        ]
        node = node_of(self.built, name, mine)
        into = self.around.into[node, "of", owner.type]
        places, _ = into.of(np.array([owner.row]))
        return tuple(Node(node, row) for row in into.other[places].tolist())
