"""Columns on disk, mapped into memory: opened at once, checked block by block when they are first touched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmgraph.data.columns.file import ColumnFile, check_size, may_map
from mmgraph.data.format import ColumnHead, Head, WholeHead, new_tensor, read_head
from mmgraph.errors import ArtifactError


class Column:
    """One array on disk, ``[rows, *shape]``, read-only.

    Args:
        name: Name of the column.
        file: Its bytes.
        head: What is committed of it.
    """

    def __init__(self, name: str, file: ColumnFile, head: ColumnHead) -> None:
        self.name = name
        self.file = file
        self.head = head
        self.path = file.path
        self.rows = head.rows
        self.shape = head.shape
        self.dtype = head.torch_dtype
        self._unseen: np.ndarray | None = np.ones(len(head.sha256), dtype=bool) if head.sha256 else None

    @property
    def array(self) -> np.ndarray:
        """All rows, ``[rows, *shape]``, read-only: the file itself.

        What it gives is unchecked: call :meth:`check` before rows are used. That costs a digest at the first touch of
        a block, and nothing once all blocks were seen.
        """
        return self.file.array

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {[self.rows, *self.shape]}, {self.head.dtype})"

    def check(self, start: int, stop: int) -> None:
        """Checks that rows are the ones that were written.

        Args:
            start: The first row.
            stop: The last row + 1.

        Raises:
            ArtifactError: The bytes have changed since; the message names the file and the digests.
        """
        unseen = self._unseen  # another thread may take it away
        if unseen is None or start >= stop:
            return
        size = self.head.block_rows
        first, last = start // size, -(-stop // size)
        for block in (first + np.flatnonzero(unseen[first:last])).tolist():
            self._check_block(block)

    def check_ranges(self, starts: np.ndarray, stops: np.ndarray) -> None:
        """Checks many ranges of rows at once, each as :meth:`check` does; ``[ranges]`` both."""
        unseen = self._unseen
        if unseen is None or len(starts) == 0:
            return
        size = self.head.block_rows
        some = stops > starts
        first, last = starts[some] // size, -(-stops[some] // size)
        before = np.concatenate(([0], np.cumsum(unseen)))
        for row in np.flatnonzero(before[last] > before[first]).tolist():
            self.check(int(first[row]) * size, int(last[row]) * size)

    def check_rows(self, rows: np.ndarray) -> None:
        """Checks single rows, ``[rows]``, as :meth:`check` does."""
        unseen = self._unseen
        if unseen is None or len(rows) == 0:
            return
        blocks = np.zeros(len(unseen), dtype=bool)
        blocks[rows // self.head.block_rows] = True
        for block in np.flatnonzero(blocks & unseen).tolist():
            self._check_block(block)

    def verify(self) -> None:
        """Checks all rows.

        Raises:
            ArtifactError: As :meth:`check`.
        """
        self.check(0, self.rows)

    def read(self, start: int, stop: int) -> torch.Tensor:
        """A checked copy of some rows, ``[stop - start, *shape]``."""
        self.check(start, stop)
        tensor, array = new_tensor((max(stop - start, 0), *self.shape), self.dtype)
        self.file.read_into(start, array)
        return tensor

    def _check_block(self, block: int) -> None:
        start = block * self.head.block_rows
        stop = min(start + self.head.block_rows, self.rows)
        if self.file.mapped:
            rows = self.array[start:stop]
        else:
            rows = np.empty((stop - start, *self.shape), dtype=self.file.dtype)
            self.file.read_into(start, rows)
        got = hashlib.sha256(rows.reshape(-1).view(np.uint8).data).hexdigest()
        if got != (expected := self.head.sha256[block]):
            raise ArtifactError(
                f"File {str(self.path)!r} is damaged in rows {start} to {stop - 1}: sha256 must be {expected[:12]}…, "
                f"got {got[:12]}…; restore a copy, or write it again"
            )
        unseen = self._unseen
        if unseen is not None:
            unseen[block] = False
            if not unseen.any():
                self._unseen = None


class Columns(Mapping[str, Column]):
    """The committed columns of a folder; name → :class:`Column`.

    Opening costs the head alone, however large the columns are. The version that was opened stays readable while
    others append to the folder.

    Example:
        >>> from mmgraph.data import ColumnsWriter
        >>> folder = getfixture("tmp_path") / "numbers"
        >>> with ColumnsWriter(folder, kind="csc") as writer:
        ...     writer.append("rows", np.arange(3))
        ...     writer.commit({"nodes": 3})
        >>> columns = Columns.open(folder, kind="csc")
        >>> columns["rows"].read(1, 3), columns.meta
        (tensor([1, 2]), {'nodes': 3})
    """

    def __init__(self, folder: Path, head: Head) -> None:
        self.folder = folder
        self.head = head
        self.meta: dict[str, Any] = head.meta
        mapped = may_map(sum(one.rows * one.row_bytes for one in head.columns.values()))
        self._columns = {
            name: Column(name, ColumnFile(folder / one.file, one, mapped=mapped), one)
            for name, one in head.columns.items()
        }
        self._unseen = set(head.files)
        for whole in head.files.values():
            check_size(folder / whole.file, whole.bytes, exact=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns, (self.folder, self.head)

    @classmethod
    def open(cls, folder: str | Path, *, kind: str) -> Columns:
        """Opens a folder that :class:`ColumnsWriter` wrote.

        Args:
            folder: The folder.
            kind: What it must hold; its head is ``<kind>.json``.

        Raises:
            ArtifactError: The folder, its head or a file is missing, shorter than what is committed, of another kind
                or of a newer format.
        """
        folder = Path(folder)
        head = read_head(folder, kind)
        while True:
            try:
                return cls(folder, head)
            except ArtifactError:
                newer = read_head(folder, kind)
                if newer.commit == head.commit:
                    raise
                head = newer  # committed and cleared away while we looked

    def __getitem__(self, name: str) -> Column:
        try:
            return self._columns[name]
        except KeyError:
            raise ArtifactError(
                f"{str(self.folder)!r} must have a column {name!r}; it has {list(self._columns)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def file(self, name: str) -> Path:
        """The path of a whole file, checked when it is first asked for.

        Raises:
            ArtifactError: There is none of this name, or its bytes have changed.
        """
        whole = self._whole(name)
        if name in self._unseen:
            _read_whole(self.folder / whole.file, whole)
            self._unseen.discard(name)
        return self.folder / whole.file

    def read_file(self, name: str) -> bytes:
        """The bytes of a whole file, checked.

        Raises:
            ArtifactError: As :meth:`file`.
        """
        whole = self._whole(name)
        return _read_whole(self.folder / whole.file, whole)

    def verify(self) -> None:
        """Checks all columns and all files.

        Raises:
            ArtifactError: The bytes of one have changed since they were written; the message names it.
        """
        for name in self.head.files:
            self.read_file(name)
        for column in self._columns.values():
            column.verify()

    def _whole(self, name: str) -> WholeHead:
        if name not in self.head.files:
            raise ArtifactError(f"{str(self.folder)!r} must have a file {name!r}; it has {list(self.head.files)}")
        return self.head.files[name]


def _read_whole(path: Path, whole: WholeHead) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"File {str(path)!r} can't be read: {error}") from None
    if (got := hashlib.sha256(data).hexdigest()) != whole.sha256:
        raise ArtifactError(
            f"File {str(path)!r} is damaged: sha256 must be {whole.sha256[:12]}…, got {got[:12]}…; "
            "restore a copy, or write it again"
        )
    return data
