"""Facts as rows of three numbers: named, made unique, looked up, reversed and closed, without a loop over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat

import numpy as np
from scipy import sparse

from mmgraph.errors import DataError

MOST_PATHS = 100_000_000  # of two steps, in one round of a closure


def numbers(names: Iterable[str], index: Mapping[str, int]) -> np.ndarray:
    """The number of each name, -1 where it has none.

    Example:
        >>> numbers(["b", "x"], {"a": 0, "b": 1})
        array([ 1, -1])
    """
    return np.fromiter(map(index.get, names, repeat(-1)), np.int64)


def keys(facts: np.ndarray, num_entities: int, num_relations: int) -> np.ndarray:
    """One number a fact, by which equal facts are known, ``[facts]``.

    Raises:
        DataError: There are so many entities and relations that 64 bits don't tell the facts apart.
    """
    if (most := num_entities * num_entities * max(num_relations, 1)) >= 2**63:
        raise DataError(
            f"entities² times relations must be below 2⁶³, got {num_entities}² times {num_relations} ({most:.1e}); "
            "build graphs of parts of the facts"
        )
    heads, relations, tails = facts.T
    return (relations * num_entities + heads) * num_entities + tails


def first_of_each(codes: np.ndarray) -> np.ndarray:
    """Rows at which codes stand for the first time, in order.

    Example:
        >>> first_of_each(np.array([5, 3, 5, 1]))
        array([0, 1, 3])
    """
    return np.sort(np.unique(codes, return_index=True)[1])


def distinct(codes: np.ndarray) -> np.ndarray:
    """The codes, each once, sorted.

    Example:
        >>> distinct(np.array([5, 3, 5]))
        array([3, 5])
    """
    return np.unique(codes, return_index=True)[0]  # without the index NumPy hashes: slow for regular codes


def among(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which codes are among known ones, which are sorted; a mask.

    Example:
        >>> among(np.array([5, 3, 7]), np.array([3, 5]))
        array([ True,  True, False])
    """
    if len(known) == 0:
        return np.zeros(len(codes), bool)
    rows = np.searchsorted(known, codes)
    return known[np.minimum(rows, len(known) - 1)] == codes


def reverse(facts: np.ndarray) -> np.ndarray:
    """The facts with head and tail exchanged."""
    return facts[:, ::-1]


def close(pairs: np.ndarray, num_entities: int, what: str) -> np.ndarray:
    r"""The pairs that follow from transitivity alone: not given, and not of an entity with itself, ``[new, 2]``.

    :math:`(a, c)` follows if a path leads from a to c. Paths are doubled in length each round, so that the number of
    rounds is the logarithm of the longest.

    Raises:
        DataError: The closure would need more than a hundred million paths in one round.

    Example:
        >>> close(np.array([[0, 1], [1, 2], [2, 3]]), 4, "before").tolist()
        [[0, 2], [0, 3], [1, 3]]
    """
    ones = np.ones(len(pairs), bool)
    given = sparse.csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(num_entities, num_entities))
    reached, size = given, -1
    while reached.nnz != size:
        size = reached.nnz
        inward = np.bincount(reached.indices, minlength=num_entities)
        if (paths := int(inward @ np.diff(reached.indptr))) > MOST_PATHS:
            raise DataError(
                f"The closure of {what!r} must need at most {MOST_PATHS:,} paths a round, got {paths:,} from "
                f"{len(pairs):,} facts; leave the relation unmarked, or give the closure you need as facts"
            )
        reached = reached + reached @ reached
    rows, columns = (reached > given).nonzero()
    apart = rows != columns
    return np.stack([rows[apart], columns[apart]], axis=1).astype(np.int64)


def overlaps(facts: np.ndarray, others: np.ndarray, num_entities: int, num_relations: int) -> sparse.coo_matrix:
    """How many pairs of entities a relation of ``facts`` shares with one of ``others``, ``[relations, relations]``."""
    pairs = np.concatenate([facts[:, 0] * num_entities + facts[:, 2], others[:, 0] * num_entities + others[:, 2]])
    found, pair = np.unique(pairs, return_inverse=True)
    shape = (num_relations, len(found))

    def incidence(relations: np.ndarray, columns: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix((np.ones(len(relations), np.int64), (relations, columns)), shape=shape)

    left, right = incidence(facts[:, 1], pair[: len(facts)]), incidence(others[:, 1], pair[len(facts) :])
    return (left @ right.T).tocoo()


def meet(facts: np.ndarray, others: np.ndarray, num_entities: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of a row of ``facts`` and one of ``others`` that join the same head with the same tail.

    Example:
        >>> facts, others = np.array([[0, 0, 1], [2, 0, 1]]), np.array([[2, 5, 1], [0, 6, 2], [2, 7, 1]])
        >>> meet(facts, others, 3)
        (array([1, 1]), array([0, 2]))
    """
    asked, given = (rows[:, 0] * num_entities + rows[:, 2] for rows in (facts, others))
    rows = np.argsort(given, kind="stable")
    starts, stops = (np.searchsorted(given[rows], asked, side=side) for side in ("left", "right"))
    counts = stops - starts
    return np.repeat(np.arange(len(facts)), counts), rows[spans(starts, counts)]


def spans(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers from each start on, as many as are asked for.

    Example:
        >>> spans(np.array([7, 0, 4]), np.array([2, 0, 3]))
        array([7, 8, 4, 5, 6])
    """
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
