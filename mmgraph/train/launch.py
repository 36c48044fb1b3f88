"""Starting several processes from Python, and ending them all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from pickle import PicklingError
from typing import Any

from mmgraph.errors import ConfigError, MMGraphError
from mmgraph.train.processes import MEET, PLACE, Place, ProcessError, leave

LOG = "TORCH_CPP_LOG_LEVEL"
GRACE_S = 5.0  # from being asked to end to being ended
LAST_WORDS_S = 1.0  # in which the others may say why they end, too


def launch(function: Callable[..., Any], *args: Any, processes: int) -> Any:
    """Calls a function in several processes of this machine, whose fits then share their steps.

    As ``torchrun`` does, from Python. Each process is new: it imports the function, so that a script must call this
    below ``if __name__ == "__main__":`` and the function must be at the top of a module; it builds its data and its
    model itself. If one process ends, so do all, and none outlives the caller.

    Args:
        function: What each process does. All must do the same; :meth:`Place.here` says which one it is.
        *args: What it gets.
        processes: How many.

    Returns:
        What it returns in the first process.

    Raises:
        ConfigError: Fewer than one process, a call within a process that was launched, or something that can't be sent.
        ProcessError: A process was killed, or failed by an error that is not ours. Errors of ours come as they are.

    Example:
        >>> launch(max, 2, 3, processes=1)
        3
    """
    if processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    if processes == 1:
        return function(*args)
    if Place.here().world > 1 or getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            f"launch was called within a process that was launched, with processes={processes}; in a script, put the "
            'call below if __name__ == "__main__":'
        )
    with tempfile.TemporaryDirectory(prefix="mmgraph-") as folder:
        started: list[SpawnProcess] = []
        try:
            pipes = [
                _start(Place(r, processes, r, processes), folder, function, args, started) for r in range(processes)
            ]
            return _result(started, pipes)
        finally:
            _end(started)


def _start(
    place: Place, folder: str, function: Callable[..., Any], args: tuple[Any, ...], started: list[SpawnProcess]
) -> Connection:
    """Starts one more process, and gives the pipe by which it answers."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_carried_out, args=(place, folder, its, function, args))
    try:
        with _unwarned():
            process.start()
    except (AttributeError, TypeError, PicklingError) as error:
        raise ConfigError(
            f"What launch is given is sent to other processes, but {error}; give it a function at the top of a module, "
            "and arguments that can be pickled"
        ) from error
    its.close()
    started.append(process)
    return mine


@contextmanager
def _unwarned() -> Iterator[None]:
    """Keeps torch's remark away, said in each process and fit, that every weight was used in the first step."""
    before = os.environ.get(LOG)
    os.environ.setdefault(LOG, "ERROR")
    try:
        yield
    finally:
        if before is None:
            del os.environ[LOG]


def _result(started: Sequence[SpawnProcess], pipes: Sequence[Connection]) -> Any:
    """Waits for all to end, and gives what the first one returns."""
    running, found = dict(enumerate(pipes)), None
    failed: list[MMGraphError] = []
    while running:
        ready = wait(list(running.values()), timeout=LAST_WORDS_S if failed else None)
        if not ready:
            break
        for rank in [rank for rank, pipe in running.items() if pipe in ready]:
            try:
                error, value = running[rank].recv()
                running[rank].send(None)  # it stays until what it sent has arrived
            except (EOFError, OSError):
                started[rank].join(GRACE_S)
                error, value = ("", "", ""), started[rank].exitcode
            del running[rank]
            if error is not None:
                failed.append(_reason(rank, len(started), error, value))
            elif rank == 0:
                found = value
    if failed:  # rather of one that failed by itself than of one that missed it
        raise min(failed, key=lambda error: isinstance(error, _MissedError))
    return found


class _MissedError(ProcessError):
    """What a process says that misses another."""


def _reason(rank: int, processes: int, said: tuple[str, str, str], exit_code: int | None) -> MMGraphError:
    """The error of a process, from what it said last: the kind of its error, the message and where it came from."""
    kind, message, told = said
    if kind == ProcessError.__name__:
        return _MissedError(message)
    ours = {one.__name__: one for one in MMGraphError.__subclasses__()}
    if kind in ours:
        return ours[kind](message)
    if kind:
        return ProcessError(f"Process {rank} of {processes} failed:\n{told}")
    if exit_code is not None and exit_code < 0:
        return ProcessError(
            f"All {processes} processes must live until the end, but process {rank} was killed by "
            f"{signal.Signals(-exit_code).name}, so the others were ended; start them again: with a folder, a fit goes "
            "on from its checkpoint"
        )
    return ProcessError(
        f"Process {rank} of {processes} ended with exit code {exit_code} and no result; its error is above. Is the "
        'function at the top of a module, and the call of launch below if __name__ == "__main__":?'
    )


def _end(started: Sequence[SpawnProcess]) -> None:
    """Ends what still runs."""
    for process in started:
        process.terminate()
    for process in started:
        process.join(GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _carried_out(
    place: Place, folder: str, pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    """What a launched process does."""
    for name, value in zip(PLACE, place, strict=True):
        os.environ[name] = str(value)
    os.environ[MEET] = f"file://{Path(folder) / 'meet'}"
    local = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    os.environ.update({"GLOO_SOCKET_IFNAME": local[0]} if local else {})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    said: tuple[tuple[str, str, str] | None, Any]
    try:
        result = function(*args)
        said = None, result if place.leads else None
    except Exception as error:  # whatever it is, the caller is told
        said = (type(error).__name__, str(error), traceback.format_exc()), None
    pipe.send(said)
    with suppress(EOFError, OSError):
        pipe.recv()
    leave()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
