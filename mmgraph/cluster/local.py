"""Workers that are processes of this machine."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mmgraph.cluster.parcel import MOST_DEATHS, Bench, Parcel, Reply, died, outcome_of
from mmgraph.encoders import Frozen
from mmgraph.encoders.frozen import Job, Outcome

_AHEAD = 2  # jobs that are read for each worker


@dataclass(eq=False)
class _Task:
    """A job, its place among the jobs, and how many workers died of it."""

    place: int
    job: Job
    deaths: int = 0


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    parcel: Parcel | None = None  # the one that it has
    task: _Task | None = None

    @classmethod
    def start(cls) -> _Worker:
        context = get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return cls(process, mine)

    def give(self, parcel: Parcel, task: _Task) -> None:
        """Gives it a task; one that has died is noticed when its answer is awaited."""
        self.task = task
        try:
            self.pipe.send((None if self.parcel is parcel else parcel, task.job))
        except OSError:
            return
        self.parcel = parcel

    def end(self) -> int | None:
        """Ends it, whatever it does, and gives its exit code."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        return code


@dataclass
class Processes:
    """Processes that encode, started when the first job comes; what a dead one had to do is done again.

    Args:
        count: How many.
    """

    count: int
    _workers: list[_Worker] = field(default_factory=list, init=False)

    def encode(self, parcel: Parcel, encoder: Frozen, jobs: Iterator[Job]) -> Iterator[Outcome]:
        """Carries jobs out, and gives their outcomes in order.

        Raises:
            ConfigError: Workers die of a job again and again, or have not enough memory.
            MMGraphError: What the encoder raised.
        """
        again: deque[_Task] = deque()
        done: dict[int, tuple[_Task, Reply]] = {}
        taken = given = 0
        more = True
        try:
            while True:
                while given in done:
                    task, reply = done.pop(given)
                    given += 1
                    yield outcome_of(parcel, encoder, task.job, reply)
                while self._have_room() and (again or (more and taken - given < _AHEAD * self.count)):
                    if not again:
                        job = next(jobs, None)
                        if job is None:
                            more = False
                            break
                        again.append(_Task(taken, job))
                        taken += 1
                    self._free().give(parcel, again.popleft())
                busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
                if not busy:
                    return
                for pipe in wait(list(busy)):
                    self._hear(busy[pipe], parcel, again, done)  # type: ignore[index]
        finally:
            for worker in [worker for worker in self._workers if worker.task is not None]:
                self._workers.remove(worker)
                worker.end()

    def close(self) -> None:
        """Ends all processes."""
        while self._workers:
            self._workers.pop().end()

    def _have_room(self) -> bool:
        return len(self._workers) < self.count or any(worker.task is None for worker in self._workers)

    def _free(self) -> _Worker:
        """A worker without a task, a new one if need be."""
        free = next((worker for worker in self._workers if worker.task is None), None)
        if free is None:
            free = _Worker.start()
            self._workers.append(free)
        return free

    def _hear(self, worker: _Worker, parcel: Parcel, again: deque[_Task], done: dict[int, tuple[_Task, Reply]]) -> None:
        task = worker.task
        assert task is not None
        try:
            done[task.place] = task, worker.pipe.recv()
            worker.task = None
        except (EOFError, OSError):
            self._workers.remove(worker)
            code = worker.end()
            task.deaths += 1
            if task.deaths == MOST_DEATHS:
                how = (
                    f"the last by signal {-code}"
                    if code is not None and code < 0
                    else f"the last with exit code {code}"
                )
                hint = "" if code != 1 else "; a script must build below `if __name__ == '__main__':`"
                raise died(parcel, task.job, how + hint) from None
            again.append(task)


def _work(pipe: Connection) -> None:
    """The life of a process: jobs come, replies go, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends it
    bench: Bench | None = None
    try:
        while True:
            parcel, job = pipe.recv()
            if parcel is not None:
                bench = Bench(parcel)
            assert bench is not None
            pipe.send(bench(job))
    except (EOFError, OSError):
        return
