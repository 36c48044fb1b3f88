"""The bytes of a column: mapped into memory, or read piece by piece where the address space is limited."""

from __future__ import annotations

import mmap
import os
import weakref
from functools import cached_property
from pathlib import Path

import numpy as np

from mmgraph.data.format import DTYPES, ColumnHead
from mmgraph.errors import ArtifactError


class ColumnFile:
    """The committed rows of a file, unchecked.

    Args:
        path: The file.
        head: What is committed of it.
        mapped: Whether to map it; otherwise only the rows that are asked for take up memory.

    Raises:
        ArtifactError: The file is missing, shorter than what is committed, or can't be opened.
    """

    def __init__(self, path: Path, head: ColumnHead, *, mapped: bool) -> None:
        self.path = path
        self.shape = (head.rows, *head.shape)
        self.dtype = DTYPES[head.torch_dtype]
        self.mapped = mapped
        self._row_bytes = head.row_bytes
        size = head.rows * head.row_bytes
        check_size(path, size, exact=False)
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                self._map = mmap.mmap(handle, size, access=mmap.ACCESS_READ) if mapped and size else b""
            finally:
                self._handle = -1 if mapped else handle
                if mapped:
                    os.close(handle)
                else:
                    weakref.finalize(self, os.close, handle)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"File {str(path)!r} can't be read: {error}") from None

    @cached_property
    def array(self) -> np.ndarray:
        """All rows, ``[rows, *shape]``, read-only: the file itself, or a copy in memory where it is not mapped."""
        if self._map:
            return np.frombuffer(self._map, dtype=self.dtype).reshape(self.shape)
        array = np.empty(self.shape, dtype=self.dtype)
        self.read_into(0, array)
        array.flags.writeable = False
        return array

    def read_into(self, start: int, out: np.ndarray) -> None:
        """Copies rows from ``start`` on into an array of their shape and dtype, ``[rows, *shape]``, contiguous."""
        if self._map:
            out[...] = self.array[start : start + len(out)]
        elif out.nbytes:
            left = out.reshape(-1).view(np.uint8).data
            place = start * self._row_bytes
            while left:
                count = os.preadv(self._handle, [left], place)
                if count == 0:
                    raise ArtifactError(f"File {str(self.path)!r} is truncated since it was opened; restore a copy")
                left, place = left[count:], place + count


def check_size(path: Path, size: int, *, exact: bool) -> None:
    """Checks that a file is there and holds what is committed.

    Raises:
        ArtifactError: It is missing or has another size; the message names it.
    """
    try:
        got = path.stat().st_size
    except OSError:
        raise ArtifactError(f"File {str(path)!r} is missing; restore a copy, or write it again") from None
    if got < size or (exact and got != size):
        raise ArtifactError(
            f"File {str(path)!r} is truncated: it must hold {size} bytes, got {got}; restore a copy, or write it again"
        )


def may_map(size: int) -> bool:
    """Whether so many bytes leave half of the address space that is still to be had (``ulimit -v``) to other things."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return True
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return True
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        used = 0
    return size <= (limit - used) // 2
