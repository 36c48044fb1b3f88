"""Who encodes payloads: this process, several of this machine, or actors of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Protocol

from mmgraph.cluster.parcel import Parcel
from mmgraph.encoders import Frozen
from mmgraph.encoders.frozen import Job, Outcome
from mmgraph.errors import ConfigError

ENGINES = ("local", "ray")


class Workers(Protocol):
    """Those who carry jobs out."""

    def encode(self, parcel: Parcel, encoder: Frozen, jobs: Iterator[Job]) -> Iterator[Outcome]:
        """Carries jobs out with the encoder of a parcel, and gives their outcomes in order."""
        ...

    def close(self) -> None:
        """Ends all that was started."""
        ...


@contextmanager
def open_workers(engine: str = "local", count: int = 1, *, address: str | None = None) -> Iterator[Workers | None]:
    """Opens workers, and ends them with the block.

    Args:
        engine: One of :data:`ENGINES`.
        count: How many.
        address: Of a running Ray cluster; without one, one of this machine that ends with the block. A process that is
            connected to a cluster stays with it.

    Returns:
        The workers; ``None`` for this process alone.

    Raises:
        ConfigError: Another engine, fewer than one worker, an address without Ray, or more workers than the cluster has
            processors.
        MissingPackageError: Ray is not installed.

    Example:
        >>> with open_workers() as workers:
        ...     workers is None
        True
        >>> with open_workers("dask"):
        ...     pass
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: engine must be one of ['local', 'ray'], got 'dask'
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {list(ENGINES)}, got {engine!r}")
    if count < 1:
        raise ConfigError(f"workers must be at least 1, got {count}")
    if address is not None and engine != "ray":
        raise ConfigError(f"address is of a Ray cluster, got {address!r} with engine {engine!r}; take engine 'ray'")
    if engine == "local":
        if count == 1:
            yield None
            return
        from mmgraph.cluster.local import Processes

        with closing(Processes(count)) as processes:
            yield processes
        return
    from mmgraph.cluster.ray_data import RayActors

    with closing(RayActors(count, address)) as actors:
        yield actors
