"""How many threads the mathematics uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Limits torch, BLAS and OpenMP to some threads for the length of a block; ``None`` leaves them alone.

    On graphs of some thousand nodes one thread is the fastest: several spend their time waiting.

    Example:
        >>> with limited(1):
        ...     torch.get_num_threads()
        1
    """
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)
