"""Workers that are actors of a Ray cluster, driven by Ray Data."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmgraph.cluster.parcel import MOST_DEATHS, Bench, Parcel, Reply, died, outcome_of
from mmgraph.encoders import Frozen
from mmgraph.encoders.frozen import Job, Outcome
from mmgraph.errors import ConfigError
from mmgraph.optional import quiet, require

if TYPE_CHECKING:
    import pyarrow as pa

WAVE = 1 << 28
"""Bytes of payloads that are put into the cluster's store before its actors start; each wave starts its own."""

_SMALL = 64  # bytes that a payload counts, at least


class RayActors:
    """Actors of a Ray cluster that encode; those that die are started again, and do their job again.

    Jobs are put into the cluster's object store, a wave at a time, and their numbers are a dataset of Ray Data that is
    mapped by a pool of actors. What comes back is kept at once, in the order of the jobs.

    Args:
        count: How many actors, of one processor each.
        address: Of a running cluster; without one, one of this machine that :meth:`close` ends. A process that is
            connected to a cluster stays with it.

    Raises:
        MissingPackageError: Ray is not installed.
        ConfigError: There is no cluster, it has other versions, or fewer processors than actors.
    """

    def __init__(self, count: int, address: str | None = None) -> None:
        self.ray = require("ray", extra="distributed")
        require("ray.data", extra="distributed")
        self.count = count
        self.owned = not self.ray.is_initialized()
        if self.owned:
            _connect(self.ray, count, address)
        try:
            there = int(self.ray.cluster_resources().get("CPU", 0))
            if there < count:
                raise ConfigError(
                    f"workers must be at most the processors of the Ray cluster, {there}, got {count}; take fewer, or "
                    "a larger cluster"
                )
        except BaseException:
            self.close()
            raise

    def encode(self, parcel: Parcel, encoder: Frozen, jobs: Iterator[Job]) -> Iterator[Outcome]:
        """Carries jobs out, and gives their outcomes in order.

        Raises:
            ConfigError: Actors die of a job again and again, or have not enough memory.
            MMGraphError: What the encoder raised.
        """
        packed = self.ray.put(parcel)
        while wave := self._wave(jobs):
            yield from self._encode(packed, parcel, encoder, wave)

    def close(self) -> None:
        """Ends the cluster, if it was started here."""
        if self.owned:
            self.ray.shutdown()
            self.owned = False

    def _wave(self, jobs: Iterator[Job]) -> list[tuple[Job, Any]]:
        """Some jobs, without their payloads, and where these are."""
        wave: list[tuple[Job, Any]] = []
        held = 0
        while held < WAVE and (job := next(jobs, None)) is not None:
            held += sum(max(_SMALL, len(one) if isinstance(one, bytes | str) else 0) for one in job.values())
            wave.append((dict.fromkeys(job), self.ray.put(dict(job))))
        return wave

    def _encode(self, packed: Any, parcel: Parcel, encoder: Frozen, wave: list[tuple[Job, Any]]) -> Iterator[Outcome]:
        ledger = self.ray.remote(num_cpus=0)(_Ledger).remote(packed, [place for _, place in wave])
        try:
            with quiet("ray.data", DeprecationWarning, module="ray"):
                tables = iter(self._dataset(ledger, len(wave)).iter_batches(batch_size=1, batch_format="pyarrow"))
            while True:
                with quiet("ray.data", DeprecationWarning, module="ray"):
                    table = next(tables, None)
                if table is None:
                    return
                row = table.to_pylist()[0]
                job, error = wave[row["number"]][0], json.loads(row["error"])
                if error and error[0] == _DIED:
                    raise died(parcel, job, error[1])
                rejected = {int(number): reason for number, reason in json.loads(row["rejected"]).items()}
                yield outcome_of(parcel, encoder, job, Reply(row["features"], rejected, error and tuple(error)))
        except self.ray.exceptions.RayError as error:
            raise ConfigError(
                f"The Ray cluster must be able to encode {parcel.node!r}, but {type(error).__name__}: {error}; mend "
                "it, and build again: what is encoded is kept"
            ) from error
        finally:
            self.ray.kill(ledger)

    def _dataset(self, ledger: Any, jobs: int) -> Any:
        """The numbers of jobs, to be mapped by actors."""
        numbers = [{"number": number} for number in range(jobs)]
        dataset = self.ray.data.from_items(numbers, override_num_blocks=jobs).map_batches(
            _Actor,
            fn_constructor_args=(ledger,),
            compute=self.ray.data.ActorPoolStrategy(size=min(self.count, jobs)),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
        )
        dataset.context.enable_progress_bars = False
        dataset.context.print_on_execution_start = False
        dataset.context.execution_options.preserve_order = True
        return dataset


_DIED = "died"


class _Ledger:
    """Where actors find the encoder and the jobs; it counts how often a job was begun, for an actor that dies can't."""

    def __init__(self, parcel: Parcel, places: list[Any]) -> None:
        self.parcel, self.places = parcel, places
        self.begun = [0] * len(places)

    def encoder(self) -> Parcel:
        """What each actor needs once."""
        return self.parcel

    def begin(self, number: int) -> tuple[int, Any]:
        """How often a job was begun before, and where it is."""
        self.begun[number] += 1
        return self.begun[number] - 1, self.places[number]


class _Actor:
    """A worker, as Ray Data calls it: numbers of jobs come, replies go."""

    def __init__(self, ledger: Any) -> None:
        import ray

        self.ray, self.ledger = ray, ledger
        self.bench = Bench(ray.get(ledger.encoder.remote()))

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        number = batch["number"][0].as_py()
        before, place = self.ray.get(self.ledger.begin.remote(number))
        reply = (
            Reply(error=(_DIED, "as the cluster's ledger counts"))
            if before >= MOST_DEATHS
            else self.bench(self.ray.get(place))
        )
        return pa.table(
            {
                "number": pa.array([number], pa.int64()),
                "features": pa.array([reply.features], pa.large_binary()),
                "rejected": pa.array([json.dumps(reply.rejected)], pa.large_string()),
                "error": pa.array([json.dumps(reply.error)], pa.large_string()),
            }
        )


def _connect(ray: Any, count: int, address: str | None) -> None:
    """Connects to a cluster, or starts one on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None and "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"num_cpus": count, "include_dashboard": False}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="ray")  # on what it will do with GPUs
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"A Ray cluster of the same versions must run at {address or os.environ.get('RAY_ADDRESS')!r}, but "
                f"{str(error).strip()}; start one with: ray start --head"
            ) from None
