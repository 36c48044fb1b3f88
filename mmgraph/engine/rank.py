r"""Ranking: the score of a part of the graph for a query, and the few parts that are worth scoring.

.. math:: s(a) = \sum_{q \in Q} w_q \max_{u \in N_h(a)} g_{d(a, u)}\big(v(q, u)\big), \qquad
          g_d(c) = \min(c, \gamma^d c)

with :math:`Q` the nodes of the query, :math:`w_q` their weights (each modality the same, each of its nodes the same),
:math:`N_h(a)` the nodes within :math:`h` edges of an anchor that :math:`q` can be compared with, :math:`d` how many
edges away what they hang on is, and :math:`v` the cosine of the two, each less the mean of its kind; of texts with
words :math:`v = (1 - \lambda) \cos + \lambda\, \mathrm{BM25}`, the best text having 1. A part that has nothing to be
compared with a node of the query gets nothing for it. The best match of each node of the query counts, as in late
interaction (Khattab & Zaharia 2020, ColBERT, arXiv:2004.12832).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmgraph.engine.around import Around, Ball, Step, greatest
from mmgraph.engine.fields import Field
from mmgraph.engine.query import QueryNode
from mmgraph.index.score import BLOCK, score

_AT_ONCE = 256  # parts that are scored together
_WIDE = 16  # the same where what is around them is scored too
_MOST = 1000  # parts that are scored where an index proposes them, or 10 times k
_PROPOSED = 128  # items that an index proposes for each node of a query, or 4 times k


@dataclass(frozen=True)
class Match:
    """The best match of one node of a query in one part of the graph.

    Args:
        query: The node of the query.
        field: The field of the match.
        item: Its item there.
        value: What it is worth, less what its distance takes off.
        similarity: The cosine.
        words: How well the words agree; ``None`` where nobody asked.
        walk: The edges from the part's centre to what the item hangs on.
    """

    query: QueryNode
    field: Field
    item: int
    value: float
    similarity: float
    words: float | None
    walk: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """Scores the parts of a graph around nodes of one type for one query.

    Args:
        query: The nodes of the query.
        fields: What they are compared with.
        around: The graph.
        node: The type whose nodes are ranked.
        reach: How many edges away a match may hang.
        decay: What is left of a match one edge farther.
        text_weight: The share of the words in the value of a match of texts.
        words: (query node, field) → how well the words agree, ``[items]``.
    """

    query: Sequence[QueryNode]
    fields: Mapping[str, Field]
    around: Around
    node: str
    reach: int = 0
    decay: float = 0.5
    text_weight: float = 0.0
    words: Mapping[tuple[str, str], np.ndarray] | None = None

    def best(self, k: int, allowed: np.ndarray | None = None) -> Iterator[tuple[int, float, list[Match]]]:
        """The k best rows, the best first, equal ones in their order: row, score, matches.

        Args:
            k: How many.
            allowed: Mask of the rows that may be found, ``[rows]``; ``None`` for all.
        """
        found: list[tuple[float, int, list[Match]]] = []
        rows = self._worth_scoring(k, allowed)
        step = _WIDE if self.reach else _AT_ONCE
        for first in range(0, len(rows), step):
            found += self._scored(rows[first : first + step])
            found = sorted(found, key=lambda one: (-one[0], one[1]))[:k]
        for value, row, matches in found:
            yield row, value, self._explained(row, matches)

    def _worth_scoring(self, k: int, allowed: np.ndarray | None) -> np.ndarray:
        """The rows that may be among the k best, ``[found]``: with an index of those that it proposes."""
        proposes = allowed is None and any(field.near is not None for _, field in self._pairs())
        rough, error = self._rough(self._proposed(k) if proposes else None)
        if allowed is not None:
            rough[~allowed] = -np.inf
        (rows,) = np.nonzero(rough > -np.inf)
        if len(rows) <= k:
            return rows if not proposes or len(rows) == k else self._worth_scoring_of_all(k)
        least = np.partition(rough[rows], -k)[-k] - 2 * error
        if proposes:
            most = max(_MOST, 10 * k)
            return rows if len(rows) <= most else np.sort(rows[np.argsort(-rough[rows], kind="stable")[:most]])
        return rows[rough[rows] >= least]

    def _worth_scoring_of_all(self, k: int) -> np.ndarray:
        exact = {name: replace(field, near=None) for name, field in self.fields.items()}
        return replace(self, fields=exact)._worth_scoring(k, None)

    def _pairs(self) -> Iterator[tuple[QueryNode, Field]]:
        """The nodes of the query, and the fields that they are compared with."""
        for one in self.query:
            for name in one.vectors:
                if self.reach or self.fields[name].owner == self.node:
                    yield one, self.fields[name]

    def _rough(self, proposed: Mapping[tuple[str, str], np.ndarray] | None) -> tuple[np.ndarray, float]:
        """Scores in single precision, ``[rows]``, minus infinity where there is nothing, and how wrong they may be."""
        total = np.full(self.around.counts[self.node], -np.inf)
        error = 0.0
        for one in self.query:
            best: dict[str, np.ndarray] = {}
            for name in one.vectors:
                field = self.fields[name]
                if not self.reach and field.owner != self.node:
                    continue
                values = self._roughly(one, field, None if proposed is None else proposed[one.name, name])
                owned = greatest(values, field.start)
                best[field.owner] = np.maximum(best[field.owner], owned) if field.owner in best else owned
                error = max(error, (field.vectors.shape[1] + 8) * 2.0**-22)
            value = best.get(self.node, np.full(len(total), -np.inf))
            for distance in range(1, self.reach + 1):
                best = self.around.spread(best)
                there = best.get(self.node, value)
                value = np.maximum(value, np.minimum(there, there * self.decay**distance))
            (there,) = np.nonzero(value > -np.inf)
            total[there] = np.where(total[there] > -np.inf, total[there], 0) + one.weight * value[there]
        return total, error

    def _roughly(self, one: QueryNode, field: Field, proposed: np.ndarray | None) -> np.ndarray:
        """What each item of a field is worth for a node of the query, in single precision, ``[items]``."""
        vector = one.vectors[field.name]
        length = float(np.linalg.norm(vector.astype(np.float64)))
        unit = vector / length if length > 0 else vector
        words = (self.words or {}).get((one.name, field.name))
        if proposed is None:
            values = (field.vectors @ unit * field.scale).astype(np.float64)
            return values if words is None else (1 - self.text_weight) * values + self.text_weight * words
        values = np.full(len(field.rows), -np.inf)
        similarity = field.vectors[proposed] @ unit * field.scale[proposed]
        values[proposed] = similarity if words is None else self._mixed(similarity, words[proposed])
        return values

    def _mixed(self, similarity: np.ndarray, words: np.ndarray) -> np.ndarray:
        return (1 - self.text_weight) * similarity + self.text_weight * words

    def _proposed(self, k: int) -> dict[tuple[str, str], np.ndarray]:
        """The items that the indexes, and the words, find nearest to each node of the query."""
        found = {}
        for one, field in self._pairs():
            count = max(_PROPOSED, 4 * k)
            if field.near is None:
                found[one.name, field.name] = np.arange(len(field.rows))
                continue
            items = field.near.items(one.vectors[field.name], count)
            words = (self.words or {}).get((one.name, field.name))
            if words is not None:
                some = min(count, len(words))
                items = np.concatenate([items, np.argpartition(-words, some - 1)[:some]])
            found[one.name, field.name] = np.unique(items)
        return found

    def _scored(self, rows: np.ndarray) -> list[tuple[float, int, list[Match]]]:
        """Score, row and matches of some rows, in double precision; equal vectors get equal scores."""
        ball = self.around.ball(self.node, rows, hops=self.reach)
        scores = np.zeros(len(rows))
        matches: list[list[Match]] = [[] for _ in rows]
        for one in self.query:
            found = [part for part in self._parts(one, ball) if len(part[0])]
            if not found:
                continue
            centre, value, distance, number, item, similarity, words = (
                np.concatenate(column) for column in zip(*found, strict=True)
            )
            order = np.lexsort((item, number, distance, -value, centre))
            first = order[np.unique(centre[order], return_index=True)[1]]  # the best of each centre
            scores[centre[first]] += one.weight * value[first]
            fields = [self.fields[name] for name in one.vectors]
            for place in first.tolist():
                told = None if np.isnan(words[place]) else float(words[place])
                match = Match(
                    one, fields[number[place]], int(item[place]), float(value[place]), float(similarity[place]), told
                )
                matches[int(centre[place])].append(match)
        return [
            (float(value), int(row), found) for value, row, found in zip(scores, rows, matches, strict=True) if found
        ]

    def _parts(self, one: QueryNode, ball: Ball) -> Iterator[tuple[np.ndarray, ...]]:
        """All that a node of the query can be compared with in some balls, field by field.

        Yields:
            Centre, value, distance, number of the field, item, cosine and words of each, ``[compared]``.
        """
        for number, name in enumerate(one.vectors):
            field = self.fields[name]
            if field.owner not in self.around.kinds:
                continue
            (places,) = np.nonzero(ball.kind == self.around.kinds.index(field.owner))
            owners = ball.row[places]
            counts = field.start[owners + 1] - field.start[owners]
            place = np.repeat(places, counts)
            item = np.repeat(field.start[owners] - np.cumsum(counts) + counts, counts) + np.arange(len(place))
            similarity = _cosines(one.vectors[name], field, item)
            words = (self.words or {}).get((one.name, name))
            told = np.full(len(item), np.nan) if words is None else words[item]
            value = similarity if words is None else self._mixed(similarity, told)
            distance = ball.distance[place]
            value = np.minimum(value, value * self.decay**distance)
            yield ball.centre[place], value, distance, np.full(len(item), number), item, similarity, told

    def _explained(self, row: int, matches: Sequence[Match]) -> list[Match]:
        """The matches of a row with the edges that lead to them."""
        if not self.reach:
            return list(matches)
        ball = self.around.ball(self.node, np.array([row]), hops=self.reach)
        walked = []
        for match in matches:
            kind, owner = self.around.kinds.index(match.field.owner), match.field.owners[match.item]
            (places,) = np.nonzero((ball.kind == kind) & (ball.row == owner))
            walked.append(replace(match, walk=self.around.walk(ball, int(places[0]))))
        return walked


def _cosines(vector: np.ndarray, field: Field, item: np.ndarray) -> np.ndarray:
    """The cosines of a vector to some items of a field, ``[items]``; to one that comes twice it is computed once."""
    once, back = np.unique(item, return_inverse=True)
    step = max(1, BLOCK // field.vectors.shape[1])
    parts = [score(vector, field.vectors[once[at : at + step]], "cosine") for at in range(0, len(once), step)]
    return np.concatenate([np.empty(0), *parts])[back]
