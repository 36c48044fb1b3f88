"""Minibatches of rows that are joined to nothing, e.g. questions, each beside all of the graph that they are about."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.loader import Loader
from mmgraph.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData
    from torch_geometric.data.storage import NodeStorage


class RowLoader(Loader):
    """Reads the rows of one node type in batches; the other types are in every batch, whole.

    The batches of one loader share one graph object, whose rows are exchanged: what was made of its edges (see
    :func:`mmgraph.layers.edge_sets`) is made once and not once a batch. Read a batch before you ask for the next.

    Args:
        graph: What is read; no edge may join the rows.
        node: Their type.
        rows: Which of them, a mask ``[rows]``.
        groups: ``[rows]`` of integers: rows of equal number are always in one batch, and count as one.
        batch_size: Rows (or groups of them) in a batch, at most.
        shuffle: Read in another order each epoch.
        seed: Of the order.
        rank: Which part of each step is read here, below ``world``.
        world: Number of processes that share the rows.
        idle: Let the batch of some ranks in the last step be empty, see :class:`Loader`.

    Raises:
        DataError: No rows, or rows that an edge joins.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["query"].source = torch.tensor([0, 1, 0, 2])
        >>> loader = RowLoader(graph, "query", torch.ones(4).bool(), groups=graph["query"].source, batch_size=2)
        >>> [batch["query"].source.tolist() for batch in loader]
        [[0, 0, 1], [2]]
    """

    def __init__(
        self,
        graph: HeteroData,
        node: str,
        rows: Tensor,
        *,
        batch_size: int,
        groups: Tensor | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        idle: bool = False,
    ) -> None:
        if joined := [edge for edge in graph.edge_types if node in (edge[0], edge[2])]:
            raise DataError(f"Rows of {node!r} must be joined to nothing to be read in batches, got edges {joined}")
        if not rows.any():
            raise DataError(f"A loader must have at least 1 row of {node!r} to read, got none; is the split empty?")
        samples = _Rows(graph, node, rows, groups)
        super().__init__(
            samples,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world=world,
            idle=idle,
            prefetch=0,
        )


class Groups:
    """Rows that go together: the n-th group is the n-th sample; groups stand in the order of their first rows.

    Args:
        rows: Which rows count, a mask ``[rows]``.
        groups: ``[rows]`` of integers; by default each row is on its own.
    """

    def __init__(self, rows: Tensor, groups: Tensor | None) -> None:
        numbers = rows.nonzero().flatten().cpu().numpy()
        group = np.arange(len(numbers)) if groups is None else groups.cpu().numpy()[numbers]
        _, first, number = np.unique(group, return_index=True, return_inverse=True)
        number = np.argsort(np.argsort(first))[number]
        self._rows = numbers[np.argsort(number, kind="stable")]
        self._ends = np.bincount(number).cumsum()

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def sizes(self) -> np.ndarray:
        """The loader's question; all groups count alike."""
        return np.ones(len(self), dtype=np.int64)

    def rows(self, indices: np.ndarray) -> Tensor:
        """The rows of some groups, group by group.

        Example:
            >>> groups = Groups(torch.tensor([True, False, True, True]), torch.tensor([7, 7, 3, 7]))
            >>> groups.rows(np.array([0, 1])).tolist()
            [0, 3, 2]
        """
        starts, ends = np.concatenate([[0], self._ends])[indices], self._ends[indices]
        counts = ends - starts
        offsets = np.repeat(starts - np.concatenate([[0], counts.cumsum()[:-1]]), counts)
        return torch.from_numpy(self._rows[offsets + np.arange(len(offsets))])


class _Rows(Groups):
    """Groups of rows as samples."""

    def __init__(self, graph: HeteroData, node: str, rows: Tensor, groups: Tensor | None) -> None:
        super().__init__(rows, groups)
        self._whole, self._node = graph[node], node
        self._batch = copy.copy(graph)
        self._names = row_attributes(self._whole, len(rows))

    def batch(self, indices: np.ndarray) -> HeteroData:
        rows, store = self.rows(indices), self._batch[self._node]
        for name in self._names:
            store[name] = self._whole[name][rows]
        if "num_nodes" in self._whole:
            store.num_nodes = len(rows)
        return self._batch


def row_attributes(store: NodeStorage, rows: int) -> list[str]:
    """The tensors of a store that have a row a node."""
    return [
        name for name, value in store.items() if isinstance(value, Tensor) and value.dim() > 0 and len(value) == rows
    ]
