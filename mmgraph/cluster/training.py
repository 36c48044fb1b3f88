"""Fits that share their steps over the machines of a Ray cluster, under Ray Train."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from mmgraph.cluster.ray_data import RayActors
from mmgraph.errors import ConfigError, MMGraphError
from mmgraph.optional import quiet, require


def train_on_ray(
    function: Callable[..., Any],
    *args: Any,
    processes: int,
    address: str | None = None,
    storage: str | Path | None = None,
    failures: int = 0,
) -> Any:
    """Calls a function in several processes of a Ray cluster, whose fits then share their steps.

    As :func:`mmgraph.train.launch` does on one machine: Ray Train's ``TorchTrainer`` starts the processes, joins them
    and tells each its place; :func:`mmgraph.fit` does the rest, and ends with the weights that one process ends with.
    If one process ends, all do; with ``failures`` they are started again, and a fit that was given a folder goes on
    from its checkpoint.

    Args:
        function: What each process does. All must do the same, and build their data and model themselves.
        *args: What it gets.
        processes: How many, of one processor each (and a GPU each, where the cluster has some).
        address: Of a running Ray cluster; without one, one of this machine that ends with the call. A process that is
            connected to a cluster stays with it.
        storage: A folder that all machines share, where Ray Train keeps what it must; ``None`` for one of this machine
            that is removed.
        failures: How often all are started again.

    Returns:
        What it returns in the first process.

    Raises:
        MissingPackageError: Ray is not installed.
        ConfigError: Fewer than one process, or more than the cluster has processors.
        ProcessError: A process was killed, or failed by an error that is not ours. Errors of ours come as they are.

    Example:
        >>> def fitted(): ...  # loads data, makes a model, calls mmgraph.fit and gives its scores
        >>> scores = train_on_ray(fitted, processes=4, address="auto", failures=2)  # doctest: +SKIP
    """
    if processes < 1 or failures < 0:
        raise ConfigError(f"processes must be at least 1 and failures at least 0, got {processes} and {failures}")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with closing(RayActors(processes, address)) as cluster, tempfile.TemporaryDirectory(prefix="mmgraph-") as own:
        with _unremarked():
            train, torch_train = (require(f"ray.train{one}", extra="distributed") for one in ("", ".torch"))
        try:
            with _unremarked():
                result = torch_train.TorchTrainer(
                    _carried_out,
                    train_loop_config={"function": function, "args": args},
                    scaling_config=train.ScalingConfig(
                        num_workers=processes, use_gpu=cluster.ray.cluster_resources().get("GPU", 0) >= processes
                    ),
                    run_config=train.RunConfig(
                        storage_path=str(Path(storage or own).absolute()),
                        failure_config=train.FailureConfig(max_failures=failures),
                    ),
                ).fit()
        except train.TrainingFailedError as error:
            raise _reason(error, processes) from error
        return result.return_value


def _carried_out(given: dict[str, Any]) -> Any:
    """What each process does."""
    return given["function"](*given["args"])


def _reason(error: Any, processes: int) -> MMGraphError:
    """An error of ours as it is; of others, what Ray Train says."""
    from mmgraph.train import ProcessError  # not at import: builds need no Lightning

    raised = list(getattr(error, "worker_failures", {}).values())
    ours = [one for one in raised if isinstance(one, MMGraphError)]
    if ours:
        found: MMGraphError = min(ours, key=lambda one: isinstance(one, ProcessError))  # one that failed by itself
        return found
    return ProcessError(
        f"All {processes} processes must run until the end, but {error}; call again: a fit with a folder goes on from "
        "its checkpoint"
    )


def _unremarked() -> AbstractContextManager[None]:
    """Without Ray Train's remarks on its progress."""
    return quiet("ray.train", DeprecationWarning, FutureWarning, UserWarning, module="ray")
