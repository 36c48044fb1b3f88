"""Which relations give the facts of others away, found in training alone and counted in what is held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmgraph.builders.facts import among, distinct, meet, overlaps, reverse, spans

ALIKE = 0.8
"""Share of the pairs of each of two relations that the other has too, above which one gives the other away."""

EXPOSED = 0.5
"""Share of a relation's held-out facts, of what chance leaves, from which on another relation says them too."""

DEVIATIONS = 2.0
"""Standard deviations by which that share must be above chance."""

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Two relations, of which one gives the facts of the other away.

    Args:
        relation: The one.
        other: The other.
        kind: ``inverse`` (the same pairs, from tail to head), ``symmetric`` (so with itself) or ``same``.
        share: The share of pairs in common, of the relation that has more.
    """

    relation: str
    other: str
    kind: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Exposure:
    r"""Held-out facts of a relation whose pair of entities training joins as well, by a relation that says theirs.

    The rule "what ``other`` joins, ``relation`` joins" (from tail to head unless it is ``same``) finds ``count``.
    Whether it is listed does not depend on how large training is. Of the relation's n facts of the part, self-loops
    left out, the share s that stand so in *any* part must be far above chance c:

    .. math:: s \ge c + \max\left(\frac{1 - c}{2},\; 2 \sqrt{\frac{c\,(1 - c)}{n}}\right), \qquad
        c = \frac{1}{n} \sum_{(a, b)} \min\left(1, \frac{d^+(a)\,d^-(b)}{m}\right)

    where a and b are the entities of a fact as ``other`` would join them; ``other`` has m facts, :math:`d^+(a)` of them
    from a and :math:`d^-(b)` to b, that of a to b itself not counted (the chance of graphs of the same degrees, Chung &
    Lu 2002, Connected components in random graphs with given expected degree sequences, Annals of Combinatorics). Where
    relations are sparse that is half of the facts; a relation that joins nearly everything gives nothing away.

    Args:
        part: Where the facts are held out, ``val`` or ``test``.
        relation: Their relation.
        other: The relation that joins their entities in training.
        kind: ``inverse`` (from tail to head), ``symmetric`` (so by the relation itself) or ``same``.
        count: How many of the facts stand so in training.
        share: That of the relation's facts in the part, self-loops left out.
    """

    part: str
    relation: str
    other: str
    kind: str
    count: int
    share: float


def find_leaks(train: np.ndarray, num_entities: int, relations: Sequence[str]) -> tuple[list[Leak], np.ndarray]:
    """Pairs of relations of which one gives the other away, and rows ``(relation, other, turned)`` of their numbers.

    Self-loops say nothing of the direction and are left out.
    """
    facts = _apart(train)
    counts = np.bincount(facts[:, 1], minlength=len(relations))
    leaks, rows = [], [np.empty((0, 3), np.int64)]
    for turned, others in ((1, reverse(facts)), (0, facts)):
        shared = overlaps(facts, others, num_entities, len(relations))
        first, second = shared.row.astype(np.int64), shared.col.astype(np.int64)
        share = shared.data / np.maximum(counts[first], counts[second])
        found = (share > ALIKE) & ((first != second) | (turned == 1))
        rows.append(np.stack([first[found], second[found], np.full(found.sum(), turned)], axis=1))
        for one, other, its in zip(first[found].tolist(), second[found].tolist(), share[found].tolist(), strict=True):
            if one <= other:
                kind = _kind(one, other, turned)
                leaks.append(Leak(relation=relations[one], other=relations[other], kind=kind, share=its))
    return leaks, np.concatenate(rows)


def find_exposed(
    held: Mapping[str, np.ndarray],
    known: np.ndarray,
    trained: np.ndarray,
    leaks: np.ndarray,
    num_entities: int,
    relations: Sequence[str],
) -> tuple[list[Exposure], dict[str, int]]:
    """What training gives away of facts that are held out.

    Args:
        held: Part → its facts.
        known: The facts of all parts, each once.
        trained: Which of them are in training, a mask.
        leaks: Rows ``(relation, other, turned)`` that :func:`find_leaks` found.
        num_entities: How many there are.
        relations: The names of the relations.

    Returns:
        The exposures, those of most facts first; and part → how many of its facts stand in training by an exposure or
        by a leak.
    """
    trained, known = trained[known[:, 0] != known[:, 2]], _apart(known)
    facts = _apart(np.concatenate([*held.values()]))
    size, parts = len(relations), list(held)
    part = np.repeat(np.arange(len(parts)), [len(_apart(one)) for one in held.values()])
    facts = np.stack(
        [facts[:, 0], part * size + facts[:, 1], facts[:, 2]], axis=1
    )  # a relation of each part is its own
    sizes, said, found = np.bincount(facts[:, 1], minlength=len(parts) * size), np.zeros(len(facts), bool), []
    for turned, others in ((1, reverse(known)), (0, known)):
        rows, places = meet(facts, others, num_entities)
        asked, other, inside = facts[rows, 1], others[places, 1], trained[places]
        told = (asked % size != other) | (turned == 1)
        rows, codes, inside = rows[told], (asked * size + other)[told], inside[told]
        shown = inside & among(codes, _more_than_chance(facts, others, rows, codes, num_entities, size))
        leaky = distinct(leaks[leaks[:, 2] == turned] @ (size, 1, 0))
        said[rows[shown | (inside & among(codes % size**2, leaky))]] = True
        for code, count in zip(*(one.tolist() for one in np.unique(codes[shown], return_counts=True)), strict=True):
            own, its = divmod(code, size)
            where, one = divmod(own, size)
            found.append(
                Exposure(
                    part=parts[where],
                    relation=relations[one],
                    other=relations[its],
                    kind=_kind(one, its, turned),
                    count=count,
                    share=count / int(sizes[own]),
                )
            )
    leaked = np.bincount(part[said], minlength=len(parts)).tolist()
    return sorted(found, key=lambda one: -one.count), dict(zip(parts, leaked, strict=True))


def _more_than_chance(
    facts: np.ndarray, others: np.ndarray, rows: np.ndarray, codes: np.ndarray, num_entities: int, size: int
) -> np.ndarray:
    """Of pairs of relations that meet in ``rows`` of the facts, those that do so too often for chance; sorted."""
    pairs, counts = np.unique(codes, return_counts=True)
    sizes = np.bincount(facts[:, 1], minlength=size)
    often = counts >= EXPOSED * sizes[pairs // size]  # chance makes this no less
    pairs, counts = pairs[often], counts[often]
    relation, other = pairs // size, pairs % size
    met = among(codes, pairs)
    met = distinct(np.searchsorted(pairs, codes[met]) * len(facts) + rows[met])
    order = np.argsort(facts[:, 1], kind="stable")
    first = np.searchsorted(facts[order, 1], relation)
    pair = np.repeat(np.arange(len(pairs)), sizes[relation])  # all facts of its relation, for each pair
    row = order[spans(first, sizes[relation])]
    its = among(pair * len(facts) + row, met).astype(np.int64)
    heads, tails = (
        _count(others[:, 1] * num_entities + others[:, column], other[pair] * num_entities + facts[row, column]) - its
        for column in (0, 2)
    )
    most = np.bincount(others[:, 1], minlength=size)[other[pair]] - its
    chance = np.bincount(pair, np.minimum(heads * tails / np.maximum(most, 1), 1), len(pairs)) / sizes[relation]
    spread = np.sqrt(chance * np.maximum(1 - chance, 0) / sizes[relation])
    least = chance + np.maximum(EXPOSED * (1 - chance), DEVIATIONS * spread)
    return pairs[counts / sizes[relation] >= least - ROUNDING]


def _count(codes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How often each code that is asked for is there."""
    given = np.sort(codes)
    return np.searchsorted(given, asked, side="right") - np.searchsorted(given, asked)


def _apart(facts: np.ndarray) -> np.ndarray:
    """The facts without self-loops."""
    return facts[facts[:, 0] != facts[:, 2]]


def _kind(one: int, other: int, turned: int) -> str:
    return "symmetric" if one == other else ("inverse" if turned else "same")
