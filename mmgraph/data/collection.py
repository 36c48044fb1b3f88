"""A collection: many small graphs in one folder, mapped into memory, joined into batches at the speed of a copy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmgraph.data.columns.collate import Collator
from mmgraph.data.columns.columns import Column, Columns
from mmgraph.data.columns.contents import KIND, read_contents, read_schema, read_splits
from mmgraph.data.columns.guard import Guard, check_offsets
from mmgraph.data.columns.layout import UNIT, StoreType
from mmgraph.data.columns.payload import Payload, PayloadKey, Value
from mmgraph.errors import DataError

if TYPE_CHECKING:
    import pyarrow
    from torch_geometric.data import Batch, HeteroData


_PART_ROWS = 1 << 20


class OutOfRangeError(DataError, IndexError):
    """A sample is asked for that the collection does not have."""


class Collection:
    """A packed, memory-mapped, read-only sequence of samples, with their schema and splits.

    Opening costs the same however large it is. The bytes of a sample are checked when it is first touched: against
    their digest, and that its offsets and edges stay within its rows. What is read is a copy, the files never change.

    Args:
        path: The folder that :class:`CollectionWriter` wrote.

    Raises:
        ArtifactError: The folder or a file in it is missing, truncated, damaged, made by a newer mmgraph, or its parts
            disagree.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.data import CollectionWriter
        >>> graph = HeteroData()
        >>> graph["scan"].x = torch.ones(2, 4)
        >>> graph["scan", "near", "scan"].edge_index = torch.tensor([[0], [1]])
        >>> with CollectionWriter(getfixture("tmp_path") / "scans") as writer:
        ...     writer.extend([graph, graph, graph])
        >>> collection = Collection(getfixture("tmp_path") / "scans")
        >>> collection[0]["scan"].x.shape, collection.batch([2, 0])["scan", "near", "scan"].edge_index
        (torch.Size([2, 4]), tensor([[0, 2], [1, 3]]))
    """

    def __init__(self, path: str | Path) -> None:
        self._open(Columns.open(path, kind=KIND))

    def _open(self, columns: Columns) -> None:
        self.path = columns.folder
        self.columns = columns
        contents = read_contents(columns)
        self.schema = read_schema(columns, contents.layout)
        self._samples = contents.samples
        self._layout = contents.layout
        self._splits = read_splits(columns, contents.samples)
        self._payloads = {head.key: Payload(columns, head) for head in contents.payloads}
        self._collator = Collator(contents.layout, columns)
        self._guard = Guard(columns, contents)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.columns,)

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r}, samples={self._samples})"

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> HeteroData:
        """One sample, equal to the graph that was added; its tensors are copies.

        Raises:
            OutOfRangeError: There is no such sample.
            ArtifactError: Its bytes have changed since they were written.
        """
        (number,) = self._numbers([index]).tolist()
        self._guard.admit(np.array([number]))
        return self._collator.sample(number)

    def __iter__(self) -> Iterator[HeteroData]:
        for number in range(self._samples):
            yield self[number]

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> Batch:
        """Samples joined into one graph.

        Args:
            indices: Numbers of samples, ``[graphs]``, in any order, a negative one counting from the end; a sample may
                come twice. Neighbours in ascending order are read fastest.

        Returns:
            What ``torch_geometric.data.Batch.from_data_list([collection[i] for i in indices])`` gives, bit for bit, and
            ``to_data_list`` works for types that have ``num_nodes`` alone, too.

        Raises:
            DataError: No index is given, or they are not whole numbers.
            OutOfRangeError: There is no such sample.
            ArtifactError: The bytes of one have changed since they were written.
        """
        numbers = self._numbers(indices)
        self._guard.admit(numbers)
        return self._collator.batch(numbers)

    @property
    def splits(self) -> dict[str, np.ndarray]:
        """Name of a split → the numbers of its samples, ``[samples]``, ascending."""
        return {
            name: np.concatenate([np.arange(start, stop) for start, stop in ranges])
            for name, ranges in self._splits.items()
        }

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many nodes and edges each sample has together, ``[samples]``."""
        sizes = np.zeros(self._samples, dtype=np.int64)
        for store in self._layout.stores:
            if store.offsets != UNIT:
                sizes += np.diff(self._offsets(store.offsets))
        sizes.flags.writeable = False
        return sizes

    def column(self, kind: StoreType, attribute: str) -> Column:
        """The column of an attribute, the rows of all samples one after another.

        Args:
            kind: A node type, an edge type, or None for the graph itself.
            attribute: Its attribute. Of an ``edge_index`` the rows are ``[edges, 2]``, counted within the sample.

        Raises:
            DataError: There is no such type or attribute.
        """
        return self.columns[self._layout.attribute(kind, attribute).column]

    def offsets(self, kind: StoreType, attribute: str) -> np.ndarray:
        """Where the rows of each sample begin in a column, and where the last ends, ``[samples + 1]``.

        Raises:
            DataError: There is no such type or attribute.
        """
        name = self._layout.attribute(kind, attribute).offsets
        return np.arange(self._samples + 1) if name == UNIT else self._offsets(name)

    def payload(self, kind: str | None, name: str) -> pyarrow.ChunkedArray:
        """All values of a payload, mapped into memory; its files are checked whole.

        Args:
            kind: The node type for one value a node, None for one value a sample.
            name: What it was called.

        Raises:
            DataError: There is no such payload.
            ArtifactError: A file is damaged.
        """
        key = name if kind is None else (kind, name)
        if key not in self._payloads:
            raise DataError(f"Payload must be one of {list(self._payloads)}, got {key!r}")
        return self._payloads[key].all()

    def payloads(self, index: int) -> dict[PayloadKey, Value | list[Value]]:
        """What one sample and its nodes stand for, as it was added.

        Raises:
            OutOfRangeError: There is no such sample.
            ArtifactError: A file is damaged.
        """
        (number,) = self._numbers([index]).tolist()
        self._guard.admit(np.array([number]))
        found: dict[PayloadKey, Value | list[Value]] = {}
        for key, payload in self._payloads.items():
            if payload.head.type is None:
                (found[key],) = payload.values(number, number + 1)
            else:
                ends = self.columns[self._layout.store(payload.head.type).offsets].array
                found[key] = payload.values(int(ends[number]), int(ends[number + 1]))
        return found

    def verify(self) -> None:
        """Checks every byte: all digests, all offsets, all edges.

        Raises:
            ArtifactError: Something has changed since it was written, or its parts disagree; the message names it.
        """
        self.columns.verify()
        parts = np.flatnonzero(np.diff(np.cumsum(self.sizes + 1) // _PART_ROWS)) + 1  # few enough rows at a time
        for first, last in itertools.pairwise((0, *parts.tolist(), self._samples)):
            self._guard.admit(np.arange(first, last))

    def _offsets(self, name: str) -> np.ndarray:
        column = self.columns[name]
        column.verify()
        check_offsets(column, np.arange(self._samples), column.array[:-1], column.array[1:])
        return column.array

    def _numbers(self, indices: Any) -> np.ndarray:
        """The numbers of samples that indices ask for, ``[samples]``."""
        numbers = np.asarray(indices)
        if numbers.ndim != 1 or len(numbers) == 0 or numbers.dtype.kind not in "iu":
            raise DataError(
                "Indices must be a sequence of at least one whole number, got "
                f"{numbers.dtype} {list(numbers.shape)}; of a mask take np.flatnonzero(mask)"
            )
        low, high = int(numbers.min()), int(numbers.max())
        if low < -self._samples or high >= self._samples:
            wrong = (numbers < -self._samples) | (numbers >= self._samples)
            raise OutOfRangeError(
                f"Index must be between {-self._samples} and {self._samples - 1} (there are {self._samples} samples), "
                f"got {numbers[wrong][0]}"
            )
        numbers = numbers.astype(np.int64)
        return numbers if low >= 0 else np.where(numbers < 0, numbers + self._samples, numbers)


def _reopen(columns: Columns) -> Collection:
    """The same version of a collection, in another process."""
    collection = Collection.__new__(Collection)
    collection._open(columns)
    return collection
