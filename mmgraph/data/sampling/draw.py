"""Draws that depend on nothing but their key: the same in any thread, order and process, compiled or not."""

import hashlib
from typing import Any

import numpy as np

from mmgraph.data.sampling.loops import GOLDEN, LOW, MIX_1, MIX_2


def key_of(*parts: Any) -> np.uint64:
    """A key of 64 bits for a stream of draws, from the numbers and names that say what it is for.

    Example:
        >>> bool(key_of(0, "hop", 1) == key_of(0, "hop", 1)), bool(key_of(0, "hop", 1) == key_of(0, "hop", 2))
        (True, False)
    """
    return np.uint64(int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little"))


def stream(key: np.uint64, number: np.ndarray) -> np.ndarray:
    """Numbers of the stream SplitMix64 seeded with ``key``, uint64; the first is number 1.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, doi:10.1145/2660193.2660195.

    Example:
        >>> [hex(x) for x in stream(np.uint64(1234567), np.array([1, 2], dtype=np.uint64))]
        ['0x599ed017fb08fc85', '0x2c73f08458540fa5']
    """
    x = key + number.astype(np.uint64, copy=False) * GOLDEN
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


def below(x: np.ndarray, span: np.ndarray | int) -> np.ndarray:
    """Turns numbers of 64 uniform bits into numbers below ``span`` (at most 2³²), int64: the high half of the product.

    Example:
        >>> below(np.array([0, 2**63, 2**64 - 1], dtype=np.uint64), 10).tolist()
        [0, 5, 9]
    """
    n = np.asarray(span).astype(np.uint64)
    return (((x >> np.uint64(32)) * n + (((x & LOW) * n) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def until(start: np.ndarray, stop: np.ndarray, time: np.ndarray, limit: np.ndarray, end: np.ndarray) -> None:
    """What `loops.until` does, by a bisection of all ranges at once."""
    low, high = start.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        early = open_.copy()
        early[open_] = time[middle[open_]] <= limit[open_]
        low = np.where(early, middle + 1, low)
        high = np.where(open_ & ~early, middle, high)
    end[:] = low


def draw(
    start: np.ndarray,
    count: np.ndarray,
    place: np.ndarray,
    offset: np.ndarray,
    key: np.uint64,
    fan_out: int,
    replace: bool,
    position: np.ndarray,
    marks: np.ndarray,  # noqa: ARG001  # the loop's scratch
) -> None:
    """What `loops.draw` does, by all nodes at once."""
    size = np.diff(offset)
    position[:] = np.arange(len(position)) + np.repeat(start - offset[:-1], size)
    some = np.flatnonzero(size > 0 if replace else size < count)
    if len(some) == 0:
        return
    first, total = start[some], count[some]
    number = place[some].astype(np.uint64) * np.uint64(fan_out)
    numbers = number[:, None] + np.arange(1, fan_out + 1, dtype=np.uint64)
    x = stream(key, numbers)  # [nodes, fan_out]
    if replace:
        pick = below(x, total[:, None])
    else:
        pick = np.empty(x.shape, dtype=np.int64)
        for j in range(fan_out):
            last = total - fan_out + j
            chosen = below(x[:, j], last + 1)
            taken = (pick[:, :j] == chosen[:, None]).any(axis=1)
            pick[:, j] = np.where(taken, last, chosen)
    position[offset[some][:, None] + np.arange(fan_out)] = first[:, None] + pick


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
    """What `loops.look_up` does, by all positions at once."""
    sources[:] = source[position]
    targets[:] = np.repeat(np.arange(row, row + len(offset) - 1), np.diff(offset))
    columns[:] = edge[position]
