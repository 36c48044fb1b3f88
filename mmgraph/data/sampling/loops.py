"""Loops over nodes and edges, in plain Python, which numba compiles where it is installed.

Uncompiled they are the reference for `draw` and `relabel`, which say the same in numpy.
A function here uses numpy scalars and arrays alone, and calls no other function of this module.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from mmgraph.optional import require

BLOCK = 256  # nodes whose rows are fetched together
SCAN = 32  # up to so many picks a node, looking at each is faster than marking them

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)


@functools.cache
def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a loop of this module, compiled by numba at its first call and kept on disk for the next process.

    It is kept beside the package, or where that can't be written in the user's cache folder (``NUMBA_CACHE_DIR``).

    Raises:
        MissingPackageError: numba is not installed.

    Example:
        >>> row, fresh, out = np.zeros(9, np.int32), np.empty(4, np.int64), np.empty(3, np.int64)
        >>> compiled(relabel)(np.array([7, 3, 7]), row, 1, 0, out, fresh), out.tolist()
        (2, [0, 1, 0])
    """
    numba = require("numba", extra="fast")
    try:
        return numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(loop)


def until(start: np.ndarray, stop: np.ndarray, time: np.ndarray, limit: np.ndarray, end: np.ndarray) -> None:
    """Writes to ``end`` where in each range the times up to its limit end; a range is in order of time."""
    for i in range(len(start)):
        low, high = start[i], stop[i]
        while low < high:
            middle = (low + high) // 2
            if time[middle] <= limit[i]:
                low = middle + 1
            else:
                high = middle
        end[i] = low


def draw(
    start: np.ndarray,
    count: np.ndarray,
    place: np.ndarray,
    offset: np.ndarray,
    key: np.uint64,
    fan_out: int,
    replace: bool,
    position: np.ndarray,
    marks: np.ndarray,
) -> None:
    """Draws ``offset[i + 1] - offset[i]`` of the ``count[i]`` positions from ``start[i]`` on, for every node i.

    Number c of the stream is the c-th of SplitMix64 seeded with ``key``; draw j of a node at ``place`` p takes
    number ``p * fan_out + j + 1``. It becomes a position below n as the high half of its 128-bit product with n
    (Lemire 2019, arXiv:1805.10941, without the rejection: n / 2⁶⁴ is the bias). Without replacement the draws are
    Floyd's (Bentley and Floyd 1987, doi:10.1145/30401.315746): draw j is from the first ``count - size + j + 1``
    positions, and the last of these is taken if the drawn one is taken already.

    Args:
        start: First position of each node.
        count: Positions that each node may choose from.
        place: What distinguishes the nodes in the stream.
        offset: Where each node's picks begin in ``position``, ``[nodes + 1]``.
        key: Seed of the stream.
        fan_out: Most draws a node.
        replace: Whether a position may be drawn again.
        position: Is filled.
        marks: Zeros, as many as the largest count of a node with more than 32 picks.
    """
    for i in range(len(start)):
        first, total, begin = start[i], count[i], offset[i]
        size = offset[i + 1] - begin
        if size == total and not replace:
            for j in range(size):
                position[begin + j] = first + j
            continue
        number = np.uint64(place[i]) * np.uint64(fan_out)
        for j in range(size):
            x = key + (number + np.uint64(j + 1)) * GOLDEN
            x = (x ^ (x >> np.uint64(30))) * MIX_1
            x = (x ^ (x >> np.uint64(27))) * MIX_2
            x = x ^ (x >> np.uint64(31))
            last = total - 1 if replace else total - size + j
            span = np.uint64(last + 1)
            pick = ((x >> np.uint64(32)) * span + (((x & LOW) * span) >> np.uint64(32))) >> np.uint64(32)
            chosen = np.int64(pick)
            if not replace:
                taken = False
                if size > SCAN:
                    taken = marks[chosen] == i + 1
                else:
                    for other in range(j):
                        taken |= position[begin + other] == first + chosen
                if taken:
                    chosen = last
                if size > SCAN:
                    marks[chosen] = i + 1
            position[begin + j] = first + chosen


def look_up(
    position: np.ndarray,
    offset: np.ndarray,
    row: int,
    source: np.ndarray,
    edge: np.ndarray,
    sources: np.ndarray,
    targets: np.ndarray,
    columns: np.ndarray,
) -> None:
    """Writes the source, the target's row and the column of the edge at each position; node i has row ``row + i``."""
    for i in range(len(offset) - 1):
        for j in range(offset[i], offset[i + 1]):
            targets[j] = row + i
    for j in range(len(position)):
        at = position[j]
        sources[j] = source[at]
        columns[j] = edge[at]


def relabel(nodes: np.ndarray, row: np.ndarray, base: int, rows: int, out: np.ndarray, fresh: np.ndarray) -> int:
    """Gives each node its row, in order of first appearance; returns how many nodes were new.

    Args:
        nodes: Ids, with repetitions.
        row: ``base`` + row of each node that has one; less than ``base`` for all others. Is updated.
        base: See ``row``.
        rows: Rows there are already.
        out: Is filled with the rows of ``nodes``.
        fresh: Is filled with the ids of the new rows; one longer than ``nodes``.
    """
    after = rows
    for low in range(0, len(nodes), BLOCK):
        high = min(low + BLOCK, len(nodes))
        for i in range(low, high):  # all that is needed next is fetched at once, not one after the other
            out[i] = row[nodes[i]]
        for i in range(low, high):  # without a branch, which would be mispredicted
            node = nodes[i]
            found = row[node] - base
            new = found < 0
            mine = after if new else found
            row[node] = base + mine
            fresh[after - rows] = node
            after += 1 if new else 0
            out[i] = mine
    return after - rows


def relabel_keys(
    keys: np.ndarray, key: np.ndarray, row: np.ndarray, rows: int, out: np.ndarray, fresh: np.ndarray
) -> int:
    """As `relabel`, for keys too large for an array of all of them; returns how many were new.

    Args:
        keys: With repetitions, none negative.
        key: A hash table of a power of two of slots; -1 where it is free. Is updated.
        row: The row of each slot's key. Is updated.
        rows: Rows there are already.
        out: Is filled with the rows of ``keys``.
        fresh: Is filled with the new keys.
    """
    last = len(key) - 1
    after = rows
    for i in range(len(keys)):
        hashed = np.uint64(keys[i]) * GOLDEN
        slot = np.int64((hashed ^ (hashed >> np.uint64(32))) & np.uint64(last))
        while key[slot] != -1 and key[slot] != keys[i]:
            slot = (slot + 1) & last
        if key[slot] == -1:
            key[slot] = keys[i]
            row[slot] = after
            fresh[after - rows] = keys[i]
            after += 1
        out[i] = row[slot]
    return after - rows
