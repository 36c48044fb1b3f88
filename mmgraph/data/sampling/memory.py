"""Memory for the arrays of batches, used again once nothing holds it any more.

A fresh array costs a page fault for every 4 KiB at its first touch, which for the features of a batch is several
times the copy itself.
"""

import math
import weakref
from collections import deque

import numpy as np

SMALL = 1 << 20  # bytes up to which the allocator keeps memory warm by itself


class Recycler:
    """Gives arrays whose memory comes back when they, and all views and tensors made of them, are gone.

    What somebody still holds is never given out again, so a batch never changes.

    Args:
        keep: How many blocks of memory wait for their next use at most.

    Example:
        >>> recycler = Recycler()
        >>> first = recycler.empty((512, 1024), np.float32)
        >>> address = first.ctypes.data
        >>> del first
        >>> recycler.empty((500, 1024), np.float32).ctypes.data == address
        True
    """

    def __init__(self, keep: int = 8) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=keep)  # its methods need no lock, and finalizers may take none

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array with arbitrary content."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALL:
            return np.empty(shape, dtype)
        block = self._find(size)
        if block is None:
            step = 1 << (size.bit_length() - 3)  # blocks of few sizes, at most a quarter too large
            block = np.empty(-(-size // step) * step, np.uint8)
        array = np.frombuffer(block.data[:size], dtype)  # all views of it hold this object, and it holds the block
        weakref.finalize(array, self._free.append, block).atexit = False
        return array.reshape(shape)

    def _find(self, size: int) -> np.ndarray | None:
        for _ in range(len(self._free)):
            try:
                block = self._free.popleft()
            except IndexError:  # another thread was faster
                return None
            if size <= block.nbytes <= 2 * size:
                return block
            self._free.append(block)
        return None
