"""From ids of a large graph to rows of a batch, in order of first appearance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmgraph.data.sampling import loops


def relabel(nodes: np.ndarray, row: np.ndarray, base: int, rows: int, out: np.ndarray, fresh: np.ndarray) -> int:
    """What `loops.relabel` does, by all nodes at once."""
    missing = nodes[row[nodes] < base]
    turn = np.arange(len(missing), dtype=row.dtype)
    row[missing[::-1]] = turn[::-1]  # where an id is there twice, the last one written stays: its first appearance
    new = missing[row[missing] == turn]
    row[new] = np.arange(base + rows, base + rows + len(new), dtype=row.dtype)
    fresh[: len(new)] = new
    out[:] = row[nodes]
    out -= base
    return len(new)


class SharedNodes:
    """The nodes of one type in a batch where each is there once, whoever reached it; seeds have a row each.

    Args:
        scratch: One number a node of the graph, used again by every batch.
        compiled: Whether the loops are compiled.
    """

    def __init__(self, scratch: Scratch, *, compiled: bool) -> None:
        self._scratch = scratch
        self._loop: Callable[..., int] = loops.compiled(loops.relabel) if compiled else relabel
        self._ids = np.empty(0, dtype=np.int64)
        self.count = 0

    @property
    def ids(self) -> np.ndarray:
        """The id of every row, ``[rows]``."""
        return self._ids[: self.count]

    def between(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Ids and trees of the rows from ``low`` to ``high``; shared nodes are in no tree."""
        return self._ids[low:high], None

    def start(self, seeds: np.ndarray, tree: np.ndarray | None) -> None:
        """Gives the seeds their rows; one that is there twice is found at its first row."""
        self._scratch.begin(len(seeds))
        self._ids, self.count = seeds.copy(), len(seeds)
        row, base = self._scratch.row, self._scratch.base
        row[seeds[::-1]] = np.arange(base, base + len(seeds), dtype=row.dtype)[::-1]

    def find(self, nodes: np.ndarray, tree: np.ndarray | None, out: np.ndarray) -> None:
        """Writes the row of each node to ``out [nodes]``; new nodes get new rows."""
        self._ids = _grown(self._ids, self.count + len(nodes) + 1)
        fresh = self._ids[self.count :]
        self.count += self._loop(nodes, self._scratch.row, self._scratch.base, self.count, out, fresh)

    def end(self) -> None:
        """Lets the next batch use the scratch."""
        self._scratch.base += self.count


class Scratch:
    """One number a node: ``base`` + row for the nodes of the present batch, less for all others.

    Raising ``base`` forgets a batch, so nothing is cleared.
    """

    def __init__(self, num_nodes: int) -> None:
        self._limit = (1 << 31) - 1 if num_nodes < 1 << 30 else (1 << 63) - 1
        self.row = np.zeros(num_nodes, dtype=np.int32 if num_nodes < 1 << 30 else np.int64)
        self.base = 1

    def begin(self, num_seeds: int) -> None:
        """Makes sure that the numbers of a batch fit."""
        if self.base + len(self.row) + num_seeds > self._limit:
            self.row[:] = 0
            self.base = 1


class TreeNodes:
    """The nodes of one type in a batch where every seed has a tree of its own, and a node a row in each tree it is in.

    Args:
        num_nodes: Nodes of this type in the graph.
        compiled: Whether the loops are compiled.
    """

    def __init__(self, num_nodes: int, *, compiled: bool) -> None:
        self._num_nodes = max(num_nodes, 1)
        self._compiled = compiled
        self._keys = np.empty(0, dtype=np.int64)  # tree · nodes of the graph + id
        self._table = _empty_table(0)
        self.count = 0

    @property
    def ids(self) -> np.ndarray:
        """The id of every row, ``[rows]``."""
        return self._keys[: self.count] % self._num_nodes

    def between(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and trees of the rows from ``low`` to ``high``."""
        tree, ids = np.divmod(self._keys[low:high], self._num_nodes)
        return ids, tree

    def start(self, seeds: np.ndarray, tree: np.ndarray | None) -> None:
        """Gives the seeds their rows; their trees differ."""
        self.find(seeds, tree, np.empty_like(seeds))

    def find(self, nodes: np.ndarray, tree: np.ndarray | None, out: np.ndarray) -> None:
        """Writes the row of each node in its tree to ``out [nodes]``; new nodes get new rows."""
        assert tree is not None  # a node without a tree has no place here
        keys = tree * self._num_nodes + nodes
        self._keys = _grown(self._keys, self.count + len(keys))
        if not self._compiled:
            self._find_by_sorting(keys, out)
            return
        loop = loops.compiled(loops.relabel_keys)
        if 2 * (self.count + len(keys)) > len(self._table[0]):
            self._table = _empty_table(2 * (self.count + len(keys)))
            known = self._keys[: self.count]
            loop(known, *self._table, 0, np.empty_like(known), np.empty_like(known))
        self.count += loop(keys, *self._table, self.count, out, self._keys[self.count :])

    def end(self) -> None:
        """Nothing is kept from one batch to the next."""

    def _find_by_sorting(self, keys: np.ndarray, out: np.ndarray) -> None:
        everything = np.concatenate([self._keys[: self.count], keys])
        _, first, inverse = np.unique(everything, return_index=True, return_inverse=True)
        order = np.argsort(first)  # of the distinct keys, by first appearance
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        self._keys[: len(order)] = everything[first[order]]
        out[:] = rank[inverse[self.count :]]
        self.count = len(order)


def _empty_table(slots: int) -> tuple[np.ndarray, np.ndarray]:
    size = 1 << max(slots - 1, 1).bit_length()
    return np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int64)


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) >= size:
        return array
    grown = np.empty(max(size, 2 * len(array)), dtype=array.dtype)
    grown[: len(array)] = array
    return grown
