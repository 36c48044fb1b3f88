"""Pairs of nodes that are no edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmgraph.data.csc import Csc
from mmgraph.data.sampling.draw import below, key_of, stream
from mmgraph.errors import DataError

ROUNDS = 16  # after so many draws that were all edges, the targets that are left are listed


def draw_negatives(source: np.ndarray, num_targets: int, key: np.uint64, known: Sequence[Csc] = ()) -> np.ndarray:
    """A target for each source, uniform over all of them, or over those that no known edge leads to.

    Args:
        source: ``[negatives]``, int64.
        num_targets: Nodes of the target type.
        key: Of the draws.
        known: Edges that are never drawn.

    Returns:
        ``[negatives]``, int64.

    Raises:
        DataError: A source has an edge to every target.

    Example:
        >>> import torch
        >>> edges = Csc.from_edges(torch.tensor([[0, 0], [0, 2]]), num_sources=2, num_targets=3)
        >>> draw_negatives(np.array([0, 0]), 3, key_of("example"), [edges]).tolist()
        [1, 1]
    """
    number = np.arange(1, len(source) + 1, dtype=np.uint64)
    target = below(stream(key, number), num_targets)
    if not known:
        return target
    left = np.arange(len(source))
    for turn in range(1, ROUNDS + 1):
        left = left[_known(known, source[left], target[left])]
        if len(left) == 0:
            return target
        target[left] = below(stream(key_of(int(key), turn), number[left]), num_targets)
    left = left[_known(known, source[left], target[left])]
    for one in left.tolist():
        free = _not_reached(known, int(source[one]), num_targets)
        if len(free) == 0:
            raise DataError(
                f"A negative of source {source[one]} must be no edge, but it has edges to all {num_targets} targets; "
                "set unseen=False, or leave its edges out of the seeds"
            )
        target[one] = free[below(stream(key_of(int(key), "free"), number[one : one + 1]), len(free))[0]]
    return target


def _known(known: Sequence[Csc], source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Says which pairs are edges, ``[pairs]``."""
    found = np.zeros(len(source), dtype=bool)
    for csc in known:
        start = csc.indptr[target]
        size = csc.indptr[target + 1] - start
        before = np.cumsum(size) - size
        position = np.repeat(start - before, size) + np.arange(size.sum())
        pair = np.repeat(np.arange(len(source)), size)
        found[pair[csc.source[position] == source[pair]]] = True
    return found


def _not_reached(known: Sequence[Csc], source: int, num_targets: int) -> np.ndarray:
    """The targets that no known edge leads to from a source, ascending."""
    free = np.ones(num_targets, dtype=bool)
    for csc in known:
        free[np.searchsorted(csc.indptr, np.flatnonzero(csc.source == source), side="right") - 1] = False
    return np.flatnonzero(free)
