"""How far a search must look for the recall that is asked of it."""

from collections.abc import Callable, Sequence

import numpy as np

SAMPLE = 256  # items that are searched for, each leaving itself out
NEIGHBOURS = 10
SHORTLISTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
VECTOR_COST = 100  # scoring an item by its vector takes as long as comparing so many codes,
PROBE_COST = 180  # and going to a cell as so many

Search = Callable[[int], tuple[np.ndarray, np.ndarray]]  # k to positions and scores, both [sample, k]


def sample(items: int) -> np.ndarray:
    """Draws the items that are searched for, always the same; ascending int64 ``[sample]``."""
    return np.sort(np.random.default_rng(0).choice(items, min(items, SAMPLE), replace=False))


def neighbours(search: Search, rows: np.ndarray, items: int) -> np.ndarray:
    """Searches for the neighbours of some rows of the items, themselves left out; scores ``[sample, neighbours]``."""
    positions, scores = search(min(NEIGHBOURS + 1, items))
    own = positions == rows[:, None]
    own[~own.any(axis=1), -1] = True  # a twin has taken its place
    return scores[~own].reshape(len(rows), -1)


def recall_of(found: np.ndarray, true: np.ndarray) -> float:
    """Gives the share of found neighbours that are as near as the true ones, less its standard error.

    Args:
        found: Scores of what was found, ``[sample, neighbours]``.
        true: Scores of the true neighbours, the best first, ``[sample, neighbours]``.

    Example:
        >>> recall_of(np.array([[5.0, 1.0]]), np.array([[5.0, 3.0]]))
        0.5
    """
    shares = (found >= true[:, -1:]).mean(axis=1)
    return float(shares.mean() - shares.std() / np.sqrt(len(shares)))


def cheapest(
    recall: Callable[[int, int], float],
    wanted: float,
    *,
    probes: Sequence[int],
    shortlists: Sequence[int],
    cell: float,
) -> tuple[int, int]:
    """Finds the probes and the shortlist that reach a recall with the least work; the most of both if none do.

    It begins with the longest list, and goes on to shorter ones, which need no fewer probes, while they take less work.

    Args:
        recall: Probes and shortlist → recall; more of either find no less.
        wanted: The recall.
        probes: Numbers of cells to choose from, ascending.
        shortlists: Multiples of k to choose from, ascending.
        cell: Items a cell.

    Example:
        >>> cheapest(lambda p, s: 1 - 1 / p - 0.1 / s, 0.9, probes=range(1, 99), shortlists=[1, 2, 4], cell=50)
        (21, 2)
    """
    best, least, at = (probes[-1], shortlists[-1]), np.inf, 0
    for shortlist in reversed(shortlists):
        work = [one * (PROBE_COST + cell) + VECTOR_COST * NEIGHBOURS * shortlist for one in probes]
        while at < len(probes) and work[at] < least and recall(probes[at], shortlist) < wanted:
            at += 1
        if at == len(probes) or work[at] >= least:
            break
        best, least = (probes[at], shortlist), work[at]
    return best


def steps(most: int) -> list[int]:
    """Numbers up to a last one, each about half as much again as the one before.

    Example:
        >>> steps(20)
        [1, 2, 3, 4, 6, 8, 12, 16, 20]
    """
    found = sorted({times * 2**power for power in range(most.bit_length()) for times in (2, 3)} | {1})
    return [one for one in found if one < most] + [most]
