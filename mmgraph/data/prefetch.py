"""Things made ahead, in a thread, while others are used."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Generator, Iterator
from queue import Empty, Queue
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class _Last(NamedTuple):
    """What follows the last thing: nothing, or the error that ended their making."""

    error: BaseException | None


def ahead(things: Iterator[T], depth: int) -> Generator[T]:
    """Gives the things of an iterator, of which up to ``depth`` wait ready-made while one more is in the making.

    They are the same things in the same order as without a thread (``depth`` 0). An error in their making is raised
    here, after the things made before it, with the traceback of where it happened. The thread ends with the last
    thing, or when the generator is closed.

    Args:
        things: What is given; it is advanced in the thread alone.
        depth: How many may wait.

    Example:
        >>> list(ahead(iter("abc"), 2))
        ['a', 'b', 'c']
    """
    if depth == 0:
        yield from things
        return
    ready: Queue[T | _Last] = Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(  # context variables (numpy's error state is one) hold in the thread too
        target=contextvars.copy_context().run,
        args=(_fill, things, ready, stop),
        name="mmgraph-prefetch",
        daemon=True,
    )
    thread.start()
    try:
        while not isinstance(thing := ready.get(), _Last):
            yield thing
        if thing.error is not None:
            raise thing.error
    finally:
        stop.set()
        _empty(ready)  # the thread may wait for room
        if thread is not threading.current_thread():  # where it is, the garbage collector closes an abandoned generator
            thread.join()


def _fill(things: Iterator[T], ready: Queue[T | _Last], stop: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for thing in things:
            ready.put(thing)
            if stop.is_set():
                return
    except BaseException as caught:
        error = caught
    ready.put(_Last(error))


def _empty(ready: Queue) -> None:
    try:
        while True:
            ready.get_nowait()
    except Empty:
        return
