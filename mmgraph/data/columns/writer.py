"""Columns written in a stream: nothing counts before the commit, and after it nothing is lost."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from filelock import FileLock, Timeout

from mmgraph.data.format import (
    BLOCK_BYTES,
    DTYPES,
    VERSION,
    ColumnHead,
    Head,
    WholeHead,
    as_numpy,
    dtype_name,
    file_name,
    read_head,
    row_bytes,
    sync_folder,
    write_head,
)
from mmgraph.errors import ArtifactError, DataError, MMGraphError

_BUFFER_BYTES = 1 << 18


@dataclass
class _Growing:
    """A column while it grows: its file, how many rows it has, and the digest of the block that is not yet full."""

    file: BinaryIO
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    block_rows: int
    rows: int = 0
    digests: list[str] = field(default_factory=list)
    partial: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.row_bytes = row_bytes(self.dtype, self.shape)

    def write(self, array: np.ndarray) -> None:
        size = self.row_bytes
        if size == 0:
            self.rows += len(array)
            return
        data = array.reshape(-1).view(np.uint8).data
        self.file.write(data)
        while len(data):
            rows = min(self.block_rows - self.rows % self.block_rows, len(data) // size)
            self.partial.update(data[: rows * size])
            data = data[rows * size :]
            self.rows += rows
            if self.rows % self.block_rows == 0:
                self.digests.append(self.partial.hexdigest())
                self.partial = hashlib.sha256()

    def head(self) -> ColumnHead:
        open_block = self.row_bytes and self.rows % self.block_rows
        return ColumnHead(
            file=f"columns/{file_name(self.name)}",
            dtype=dtype_name(self.dtype),
            shape=self.shape,
            rows=self.rows,
            block_rows=self.block_rows,
            sha256=(*self.digests, self.partial.hexdigest()) if open_block else tuple(self.digests),
        )


class ColumnsWriter:
    """Writes columns and whole files into a folder; a context manager.

    What is appended streams to the disk at once and counts from :meth:`commit` on. Leaving without a commit, by an
    exception or by a kill drops what came after the last one; the next writer goes on from there.

    Args:
        folder: Where to write; made if it is not there.
        kind: What the folder holds; its head is ``<kind>.json``.
        append: Whether to add to what is there. Otherwise there must be nothing yet.
        block_bytes: About how many bytes one digest covers.

    Raises:
        ArtifactError: The folder has a commit already and ``append`` is False, another writer is at work, what is
            there is damaged, or the disk refuses.

    Example:
        >>> folder = getfixture("tmp_path") / "numbers"
        >>> with ColumnsWriter(folder, kind="csc") as writer:
        ...     writer.append("x", torch.ones(2, 4))
        ...     writer.append("x", torch.zeros(1, 4))
        ...     writer.commit({"rows": 3})
        >>> sorted(path.name for path in folder.iterdir() if path.name != ".lock")
        ['columns', 'csc.json']
    """

    def __init__(self, folder: str | Path, *, kind: str, append: bool = False, block_bytes: int = BLOCK_BYTES) -> None:
        self.folder = Path(folder).absolute()
        self.kind = kind
        self.head: Head | None = None
        self._block_bytes = block_bytes
        self._columns: dict[str, _Growing] = {}
        self._files: dict[str, WholeHead] = {}
        self._broken = False
        with self._disk():
            (self.folder / "columns").mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".lock", timeout=0, thread_local=False)
            try:
                self._lock.acquire()
            except Timeout:
                raise ArtifactError(
                    f"Folder {str(self.folder)!r} must have one writer at a time, and another is at work; "
                    "wait for it, or write to another folder"
                ) from None
        try:
            self._resume(append)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, name: str, array: np.ndarray | torch.Tensor) -> None:
        """Adds rows to a column; the first call says its dtype and the shape of a row.

        Args:
            name: Name of the column.
            array: ``[rows, *shape]``.

        Raises:
            DataError: The array has no rows dimension, or another dtype or shape than the column.
            ArtifactError: The disk refuses; what was committed is intact.
        """
        tensor = torch.from_numpy(_native(array)) if isinstance(array, np.ndarray) else array.detach()
        if tensor.dim() == 0:
            raise DataError(f"Column {name!r} must be given rows, [rows, …], got one number; reshape it to [1]")
        dtype_name(tensor.dtype)
        shape = tuple(tensor.shape[1:])
        with self._disk():
            column = self._columns.get(name) or self._start(name, tensor.dtype, shape)
            if (column.dtype, column.shape) != (tensor.dtype, shape):
                raise DataError(
                    f"Column {name!r} holds rows of {list(column.shape)} {column.dtype}, "
                    f"got {list(shape)} {tensor.dtype}; convert it"
                )
            column.write(as_numpy(tensor))

    def copy(self, source: str, target: str) -> None:
        """Begins a column with all that another holds.

        Args:
            source: Name of the column that is there.
            target: Name of the new one.

        Raises:
            ArtifactError: The disk refuses; what was committed is intact.
        """
        known = self._columns[source]
        with self._disk():
            known.file.flush()
            size = known.row_bytes
            rows = max(1, _BUFFER_BYTES // max(1, size))
            with (self.folder / "columns" / file_name(source)).open("rb") as file:
                for first in range(0, known.rows, rows):
                    count = min(rows, known.rows - first)
                    bits = np.frombuffer(file.read(count * size), dtype=DTYPES[known.dtype])
                    chunk = bits.reshape(count, *known.shape)
                    (self._columns.get(target) or self._start(target, known.dtype, known.shape)).write(chunk)

    def put(self, name: str, data: bytes) -> None:
        """Writes a whole file; it counts from the next commit on. The committed file of this name stays as it is.

        Args:
            name: Path in the folder, e.g. ``"schema.json"``. After the first commit a number is put before the ending.
            data: All its bytes.

        Raises:
            ArtifactError: The disk refuses; what was committed is intact.
        """
        digest = hashlib.sha256(data).hexdigest()
        known = self._files.get(name)
        if known is not None and (known.sha256, known.bytes) == (digest, len(data)):
            return
        path = Path(name)
        if self.head is not None:
            path = path.with_name(f"{path.stem}.{self.head.commit + 1}{path.suffix}")
        with self._disk():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        self._files[name] = WholeHead(file=path.as_posix(), bytes=len(data), sha256=digest)

    def commit(self, meta: Mapping[str, Any]) -> None:
        """Makes all that was written so far the version that readers open.

        Args:
            meta: What else readers must know; JSON.

        Raises:
            ArtifactError: The disk refuses, now or in an :meth:`append` before; what was committed is intact.
        """
        with self._disk():
            for column in self._columns.values():
                column.file.flush()
                os.fsync(column.file.fileno())
            folders = {(self.folder / whole.file).parent for whole in self._files.values()}
            for folder in sorted(folders | {self.folder / "columns", self.folder.parent}):
                sync_folder(folder)
            head = Head(
                format=f"mmgraph.{self.kind}",
                version=VERSION,
                commit=1 if self.head is None else self.head.commit + 1,
                columns={name: column.head() for name, column in self._columns.items()},
                files=dict(self._files),
                meta=dict(meta),
            )
            write_head(self.folder, self.kind, head)
        self.head = head

    def close(self) -> None:
        """Ends the writing; what was not committed is dropped."""
        for column in self._columns.values():
            try:
                column.file.close()
            except OSError:
                self._broken = True  # only what was not committed was still in the buffer
        self._columns = {}
        self._lock.release()

    @property
    def _state(self) -> str:
        if self.head is None:
            return "nothing was committed before"
        return f"the version that was committed before (commit {self.head.commit}) is intact"

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turns what the disk refuses into an error that says what is left."""
        if self._broken:
            raise ArtifactError(
                f"Nothing more can be written to {str(self.folder)!r} after a failed write; {self._state}; "
                "open a new writer"
            )
        try:
            yield
        except OSError as error:
            self._broken = True
            raise ArtifactError(
                f"Folder {str(self.folder)!r} can't be written: {error}; {self._state}; "
                "make room or give a folder that can be written, then write again"
            ) from error
        except MMGraphError:
            raise
        except BaseException:
            self._broken = True  # an interrupt between the bytes and their digest
            raise

    def _resume(self, append: bool) -> None:
        if not (self.folder / f"{self.kind}.json").exists():
            return
        self.head = read_head(self.folder, self.kind)
        if not append:
            raise ArtifactError(
                f"Folder {str(self.folder)!r} holds a {self.kind} already; give append=True to add to it, "
                "another folder, or remove it"
            )
        self._files = dict(self.head.files)
        with self._disk():
            for name, head in self.head.columns.items():
                self._columns[name] = self._reopen(name, head)
            self._clear()

    def _start(self, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> _Growing:
        path = self.folder / "columns" / file_name(name)
        file = path.open("wb", buffering=_BUFFER_BYTES)
        rows = max(1, self._block_bytes // max(1, row_bytes(dtype, shape)))
        self._columns[name] = _Growing(file, name, dtype, shape, rows)
        return self._columns[name]

    def _reopen(self, name: str, head: ColumnHead) -> _Growing:
        """Cuts a column to what is committed, and takes up the digest of its last block."""
        path = self.folder / head.file
        size = head.rows * head.row_bytes
        if not path.is_file() or path.stat().st_size < size:
            raise ArtifactError(f"File {str(path)!r} must hold {size} bytes, and is missing or truncated")
        file = path.open("r+b", buffering=_BUFFER_BYTES)
        column = _Growing(file, name, head.torch_dtype, head.shape, head.block_rows, head.rows, list(head.sha256))
        file.truncate(size)
        tail = head.rows % head.block_rows * head.row_bytes
        file.seek(size - tail)
        if tail:
            column.partial.update(file.read(tail))
            if column.partial.hexdigest() != column.digests.pop():
                file.close()
                raise ArtifactError(f"File {str(path)!r} is damaged in its last block; restore a copy")
        return column

    def _clear(self) -> None:
        """Removes what earlier writers left without a commit, or replaced."""
        kept = {one.file for one in (*self._files.values(), *(column.head() for column in self._columns.values()))}
        folders = {Path(one).parent for one in kept} | {Path("columns")}
        for folder in folders - {Path()}:
            for path in (self.folder / folder).iterdir():
                if path.is_file() and path.relative_to(self.folder).as_posix() not in kept:
                    path.unlink()
        names = {Path(name) for name in self._files if "/" not in name}
        for path in self.folder.iterdir():
            first = re.sub(r"\.\d+$", "", path.stem) + path.suffix
            if path.name not in kept and Path(first) in names:
                path.unlink()


def _native(array: np.ndarray) -> np.ndarray:
    """An array that torch can wrap without a word: writable, of native byte order, without negative strides."""
    dtype_name(array.dtype)
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    return native if native.flags.writeable else native.copy()
