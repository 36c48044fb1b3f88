"""The steps of random walks: loops in plain Python, which numba compiles where it is installed, and numpy's version.

As in `loops`, a loop uses numpy scalars and arrays alone, and calls no other function of a module.
"""

import numpy as np

from mmgraph.data.sampling.draw import stream
from mmgraph.data.sampling.loops import GOLDEN, MIX_1, MIX_2

TRIES = 64
"""Refusals after which a whole neighbourhood is weighed."""
UNIT = 2.0**-53


def walk(
    indptr: np.ndarray,
    target: np.ndarray,
    mass: np.ndarray,
    keys: np.ndarray,
    p: float,
    q: float,
    rows: np.ndarray,
    stop: int,
    place: np.ndarray,
    walks: np.ndarray,
) -> None:
    """Goes on with some walks up to column ``stop``, or until ``TRIES`` neighbours in a row are refused.

    Try r of step s (both from 0) of a walk takes two numbers of the SplitMix64 stream that its key seeds, those from
    ``2 * (s * (TRIES + 1) + r) + 1`` on: the first picks a neighbour, the second decides whether it is taken.

    Args:
        indptr: Where the edges of each node begin, ``[nodes + 1]``.
        target: Where each edge leads; those of a node ascend.
        mass: The weights up to and with each edge, from its node's first; empty without weights.
        keys: Of all walks, uint64.
        p: Return parameter.
        q: In-out parameter.
        rows: Which walks.
        stop: The last column to fill.
        place: The last column that is known of each walk; ``stop`` if it has ended. Is updated.
        walks: Nodes. Is filled.
    """
    most = max(1.0 / p, 1.0, 1.0 / q)
    back, near, far = 1.0 / p / most, 1.0 / most, 1.0 / q / most
    for i in rows:
        refused = False
        while place[i] < stop and not refused:
            step = place[i]
            node, last = walks[i, step], walks[i, step - 1] if step > 0 else np.int64(-1)
            begin, end = indptr[node], indptr[node + 1]
            if begin == end or (len(mass) > 0 and mass[end - 1] <= 0):
                place[i] = stop
                break
            refused = True
            for turn in range(TRIES):
                first = second = 0.0
                for half in range(2):
                    x = keys[i] + np.uint64(2 * (step * (TRIES + 1) + turn) + 1 + half) * GOLDEN
                    x = (x ^ (x >> np.uint64(30))) * MIX_1
                    x = (x ^ (x >> np.uint64(27))) * MIX_2
                    first, second = second, np.float64((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * UNIT
                low, high = begin + np.int64(first * (end - begin)), end
                if len(mass) > 0:
                    low, wanted = begin, min(first * mass[end - 1], np.nextafter(mass[end - 1], 0.0))
                    while low < high:
                        middle = (low + high) // 2
                        if mass[middle] <= wanted:
                            low = middle + 1
                        else:
                            high = middle
                other = target[low]
                share = back if other == last else near
                if last >= 0 and other != last and min(near, far) <= second < max(near, far):
                    low, high = indptr[last], indptr[last + 1]  # only here it matters whether they are neighbours
                    while low < high:
                        middle = (low + high) // 2
                        if target[middle] < other:
                            low = middle + 1
                        else:
                            high = middle
                    share = near if low < indptr[last + 1] and target[low] == other else far
                elif other != last:
                    share = min(near, far)
                if last < 0 or second < share:
                    walks[i, step + 1] = other
                    place[i] = step + 1
                    refused = False
                    break


def weigh(
    indptr: np.ndarray,
    target: np.ndarray,
    mass: np.ndarray,
    keys: np.ndarray,
    p: float,
    q: float,
    rows: np.ndarray,
    place: np.ndarray,
    walks: np.ndarray,
) -> None:
    """Takes one step of some walks, each of which came from somewhere, by the weights of all that it may go to.

    The number is that of try ``TRIES``. The arguments are those of `walk`.
    """
    for i in rows:
        step = place[i]
        node, last = walks[i, step], walks[i, step - 1]
        begin, end = indptr[node], indptr[node + 1]
        sums, total = np.empty(end - begin), 0.0
        at, after = indptr[last], indptr[last + 1]  # both ascend, so that one pass finds the common neighbours
        for j in range(begin, end):
            weight = 1.0
            if len(mass) > 0:
                weight = mass[j] - (mass[j - 1] if j > begin else 0.0)
            while at < after and target[at] < target[j]:
                at += 1
            if target[j] == last:
                weight *= 1.0 / p
            elif at == after or target[at] != target[j]:
                weight *= 1.0 / q
            total += weight
            sums[j - begin] = total
        x = keys[i] + np.uint64(2 * (step * (TRIES + 1) + TRIES) + 1) * GOLDEN
        x = (x ^ (x >> np.uint64(30))) * MIX_1
        x = (x ^ (x >> np.uint64(27))) * MIX_2
        share = np.float64((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * UNIT
        wanted = min(share * total, np.nextafter(total, 0.0))
        j = 0
        while sums[j] <= wanted:
            j += 1
        walks[i, step + 1] = target[begin + j]
        place[i] = step + 1


def walk_at_once(
    indptr: np.ndarray,
    target: np.ndarray,
    mass: np.ndarray,
    keys: np.ndarray,
    p: float,
    q: float,
    rows: np.ndarray,
    stop: int,
    place: np.ndarray,
    walks: np.ndarray,
) -> None:
    """What `walk` does, by all walks at once."""
    most = max(1.0 / p, 1.0, 1.0 / q)
    back, near, far = 1.0 / p / most, 1.0 / most, 1.0 / q / most
    rows = rows[place[rows] < stop]
    while len(rows):
        node = walks[rows, place[rows]]
        begin, end = indptr[node], indptr[node + 1]
        ends = begin == end
        if len(mass):
            ends = ends | (mass[end - 1] <= 0)
        place[rows[ends]] = stop
        left = rows[~ends]
        for turn in range(TRIES):
            step = place[left]
            node, last = walks[left, step], np.where(step > 0, walks[left, step - 1], -1)
            number = (2 * (step * (TRIES + 1) + turn) + 1).astype(np.uint64)
            first, second = (_share(stream(keys[left], number + np.uint64(half))) for half in range(2))
            other = target[_pick(first, indptr[node], indptr[node + 1], mass)]
            share = np.full(len(left), near)
            if near != far:
                share[~_leads(indptr, target, np.maximum(last, 0), other)] = far
            share[other == last] = back
            taken = (last < 0) | (second < share)
            walks[left[taken], step[taken] + 1] = other[taken]
            place[left[taken]] += 1
            left = left[~taken]
            if len(left) == 0:
                break
        rows = rows[(place[rows] < stop) & ~np.isin(rows, left)]


def _share(x: np.ndarray) -> np.ndarray:
    """Numbers of 64 uniform bits as shares, from 0 to below 1."""
    return (x >> np.uint64(11)).astype(np.float64) * UNIT


def _pick(share: np.ndarray, begin: np.ndarray, end: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The edge of each node at a share of all its edges, or of their weight."""
    if not len(mass):
        return begin + (share * (end - begin)).astype(np.int64)
    total = mass[end - 1]
    return _bisect(mass, begin, end, np.minimum(share * total, np.nextafter(total, 0.0)), after=True)


def _leads(indptr: np.ndarray, target: np.ndarray, source: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether an edge leads from one node to another."""
    end = indptr[source + 1]
    at = _bisect(target, indptr[source], end, other, after=False)
    there = at < end
    there[there] = target[at[there]] == other[there]
    return there


def _bisect(values: np.ndarray, low: np.ndarray, high: np.ndarray, wanted: np.ndarray, *, after: bool) -> np.ndarray:
    """The first place in each range whose value is above the wanted one, or else at least as large."""
    low, high = low.copy(), high.copy()
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        less = values[middle] <= wanted[open_] if after else values[middle] < wanted[open_]
        low[open_[less]] = middle[less] + 1
        high[open_[~less]] = middle[~less]
    return low
