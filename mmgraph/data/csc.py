"""Edges sorted by the node that they point at, in memory or mapped from disk: what neighbours are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.columns.columns import Columns
from mmgraph.data.columns.writer import ColumnsWriter
from mmgraph.errors import ArtifactError, DataError
from mmgraph.typing import EdgeType

_PARTS = ("indptr", "source", "edge", "time")


@dataclass(frozen=True, eq=False)
class Csc:
    """The edges of one type, those of each target together (compressed sparse columns); all arrays are read-only.

    The edges of target ``v`` are at positions ``indptr[v]`` to ``indptr[v + 1] - 1``, in order of their time where they
    have one, so that the ones up to a time are the first of them; otherwise in their order in the graph.

    Attributes:
        num_sources: Nodes of the type that the edges come from.
        indptr: Where the edges of each target begin, int64 ``[targets + 1]``.
        source: The source of each edge, int32 or int64 ``[edges]``.
        edge: The column of each edge in the graph's ``edge_index``, int32 or int64 ``[edges]``.
        time: The time of each edge, int64 ``[edges]``, or None.

    Example:
        >>> csc = Csc.from_edges(torch.tensor([[0, 1, 2], [1, 0, 1]]), num_sources=3, num_targets=2)
        >>> csc.indptr.tolist(), csc.source.tolist(), csc.edge.tolist()
        ([0, 1, 3], [1, 0, 2], [1, 0, 2])
    """

    num_sources: int
    indptr: np.ndarray
    source: np.ndarray
    edge: np.ndarray
    time: np.ndarray | None = None

    def __post_init__(self) -> None:
        for part in _PARTS:
            if (array := getattr(self, part)) is not None:
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, part, view)

    @classmethod
    def from_edges(cls, index: Tensor, *, num_sources: int, num_targets: int, time: Tensor | None = None) -> Csc:
        """Sorts edges by their target, stably.

        Args:
            index: ``[2, edges]``, the source and the target of each edge.
            num_sources: Nodes of the source type.
            num_targets: Nodes of the target type.
            time: ``[edges]`` of integers; by default the edges have no time.

        Raises:
            DataError: The shape is another, an end is no node, or times are not integers.
        """
        if index.dim() != 2 or len(index) != 2 or not _whole(index):
            raise DataError(f"Edges must be integers [2, edges], got {list(index.shape)} of {index.dtype}")
        for name, ends, count in (("source", index[0], num_sources), ("target", index[1], num_targets)):
            if ends.numel() and (ends.min() < 0 or ends.max() >= count):
                raise DataError(
                    f"A {name} must be in [0, {count}), got {int(ends.min())} to {int(ends.max())}; "
                    "mend edge_index, or the number of nodes"
                )
        index = index.cpu()
        source, target = (ends.to(_width(count)) for ends, count in zip(index, (num_sources, num_targets), strict=True))
        edges = index.shape[1]
        if time is None:
            order = torch.sort(target, stable=True).indices
        else:
            time = check_times("Edge times", time, edges)
            early = torch.sort(time, stable=True).indices
            order = early[torch.sort(target[early], stable=True).indices]
        indptr = torch.zeros(num_targets + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(target, minlength=num_targets), dim=0, out=indptr[1:])
        return cls(
            num_sources,
            indptr.numpy(),
            source[order].numpy(),
            order.to(_width(edges)).numpy(),
            None if time is None else time[order].numpy(),
        )

    @property
    def num_targets(self) -> int:
        """Nodes of the type that the edges point at."""
        return len(self.indptr) - 1

    def __len__(self) -> int:
        """The number of edges."""
        return len(self.source)


def save_csc(folder: str | Path, edges: Mapping[EdgeType, Csc]) -> None:
    """Writes sorted edges into a new folder, with the digests of all bytes.

    Raises:
        ArtifactError: The folder holds some already, or the disk refuses.

    Example:
        >>> csc = Csc.from_edges(torch.tensor([[0, 1, 2], [1, 0, 1]]), num_sources=3, num_targets=2)
        >>> folder = getfixture("tmp_path") / "edges"
        >>> save_csc(folder, {("word", "in", "text"): csc})
        >>> open_csc(folder)["word", "in", "text"].source.tolist()
        [1, 0, 2]
    """
    with ColumnsWriter(folder, kind="csc") as writer:
        for number, csc in enumerate(edges.values()):
            for part in _PARTS:
                if (array := getattr(csc, part)) is not None:
                    writer.append(f"{number}.{part}", array)
        writer.commit(
            {
                "edge_types": [list(edge_type) for edge_type in edges],
                "num_sources": [csc.num_sources for csc in edges.values()],
            }
        )


def open_csc(folder: str | Path) -> dict[EdgeType, Csc]:
    """Maps sorted edges that :func:`save_csc` wrote into memory; all bytes are read once, to compare their digests.

    Raises:
        ArtifactError: The folder is missing, damaged, or of something else.
    """
    columns = Columns.open(folder, kind="csc")
    columns.verify()
    try:
        names = [(str(a), str(b), str(c)) for a, b, c in columns.meta["edge_types"]]
        counts = [int(count) for count in columns.meta["num_sources"]]
        pairs = list(zip(names, counts, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{str(columns.folder)!r} must name edge types and counts, but {error!r}") from None
    found = {}
    for number, (edge_type, num_sources) in enumerate(pairs):
        parts = {part: columns[name].array for part in _PARTS if (name := f"{number}.{part}") in columns}
        for part in _PARTS[:3]:
            if part not in parts:
                raise ArtifactError(f"{str(columns.folder)!r} must have a column '{number}.{part}'; write it again")
        found[edge_type] = Csc(num_sources, **parts)
        _check(found[edge_type], f"{str(columns.folder)!r}, {edge_type}")
    return found


def check_times(what: str, time: Tensor, rows: int) -> Tensor:
    """Times as int64 ``[rows]``.

    Raises:
        DataError: The shape is another, or they are not integers.
    """
    if time.shape != (rows,) or (rows > 0 and not _whole(time)):
        raise DataError(
            f"{what} must be integers [{rows}], got {list(time.shape)} of {time.dtype}; "
            "count in a unit that is small enough, e.g. seconds or nanoseconds"
        )
    return time.cpu().to(torch.int64)


def _check(csc: Csc, where: str) -> None:
    """Raises where the loops would read beyond an array."""
    edges = len(csc.source)
    whole = csc.indptr.dtype == np.int64 and all(
        array.ndim == 1 and array.dtype in (np.int32, np.int64) for array in (csc.indptr, csc.source, csc.edge)
    )
    timed = csc.time is None or (csc.time.dtype == np.int64 and csc.time.shape == (edges,))
    if not whole or not timed or len(csc.indptr) == 0 or len(csc.edge) != edges:
        raise ArtifactError(f"The columns of {where} must be integers of agreeing lengths; write it again")
    if csc.indptr[0] != 0 or csc.indptr[-1] != edges or (np.diff(csc.indptr) < 0).any():
        raise ArtifactError(f"Offsets of {where} must rise from 0 to {edges}; write it again")
    for part, array, count in (("source", csc.source, csc.num_sources), ("edge", csc.edge, edges)):
        if edges and (array.min() < 0 or array.max() >= count):
            raise ArtifactError(
                f"Column {part!r} of {where} must be in [0, {count}), got {array.max()}; write it again"
            )


def _width(count: int) -> torch.dtype:
    return torch.int32 if count < 1 << 31 else torch.int64


def _whole(tensor: Tensor) -> bool:
    return not (tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool)
