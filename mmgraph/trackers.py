"""Trackers: the cells of an experiment in TensorBoard or MLflow, on this machine alone.

Each cell (a variant in one run of :func:`~mmgraph.train.evaluate`) is one run of the tracker, with its settings, its
curves epoch by epoch as it is trained, its scores on validation and test, and versions and digests. What is in the
tracker is what is in the cell's history: a cell that was interrupted in the middle is written anew when it is finished,
and one that is finished is written once, however often the experiment goes on.

Look at them with ``tensorboard --logdir runs/NAME/tracking`` or
``mlflow ui --backend-store-uri sqlite:///runs/NAME/tracking/mlflow.db``.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
import warnings
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning.pytorch.loggers import Logger

from mmgraph.errors import ConfigError
from mmgraph.files import write_json
from mmgraph.optional import quiet, require
from mmgraph.train.record import record
from mmgraph.train.results import Cell

if TYPE_CHECKING:
    from mmgraph.train.fit import FitConfig

History: TypeAlias = Sequence[Mapping[str, float]]

FINISHED = "finished.json"
LONGEST = 500  # characters of a setting


class Tracker(ABC):
    """Where the cells of an experiment can be watched.

    Args:
        folder: Where the tracker's files go; it is made when the first cell begins.
        name: Of the experiment.
        config: Settings beside those of training, e.g. a recipe's.

    Raises:
        MissingPackageError: The tracker's package is not installed.
    """

    def __init__(self, folder: str | Path, *, name: str = "mmgraph", config: Mapping[str, Any] | None = None) -> None:
        self.folder, self.name, self.config = Path(folder), name, dict(config or {})
        self._open: str | None = None  # the cell that is under way
        self._seen: dict[tuple[int, int], set[str]] = {}  # (fold, epoch) → what was logged of it

    def loggers(self, run: int, variant: str, fold: int = 0) -> list[Logger]:
        """What :func:`~mmgraph.train.fit` takes to log one fold of a cell; the first fold begins the cell anew."""
        if fold == 0:
            self._start(_title(run, variant))
        return [_Curves(self, fold)]

    def log(self, metrics: Mapping[str, float], fold: int, epoch: int) -> None:
        """Adds a point to each of some curves of the cell that is under way."""
        self._seen.setdefault((fold, epoch), set()).update(metrics)
        self._scalars({_clean(f"fold{fold}/{name}" if fold else name): v for name, v in metrics.items()}, epoch)

    def finish(self, cell: Cell, config: FitConfig, histories: Sequence[History] | None = None) -> None:
        """Writes the scores of a cell, and what is missing of its curves; nothing, if it is there already.

        Args:
            cell: What came out.
            config: How it was trained.
            histories: Of each fold; by default the cell's own, of the first.
        """
        title = _title(cell.run, cell.variant)
        if self._open != title and self._finished(title):
            return
        curves = dict(enumerate([cell.history] if histories is None else histories))
        wanted = {(f, int(entry["epoch"])): set(entry) - {"epoch"} for f, curve in curves.items() for entry in curve}
        if self._open != title or self._seen != wanted:
            self._start(title)
            for fold, curve in curves.items():
                for entry in curve:
                    self.log({n: v for n, v in entry.items() if n != "epoch"}, fold, int(entry["epoch"]))
        parts = {"val": cell.val_metrics, "test": cell.metrics}
        scores = {_clean(f"{part}/{name}"): score for part, found in parts.items() for name, score in found.items()}
        known = {name: float(score) for name, score in scores.items() if math.isfinite(score)}
        settings = {"run": cell.run, "variant": cell.variant, **_flat({**self.config, "fit": asdict(config)})}
        digests = {"data_sha256": cell.data_sha256, "test_sha256": cell.test_sha256, "parts": list(cell.parts)}
        self._end(
            {name: str(value)[:LONGEST] if isinstance(value, str) else value for name, value in settings.items()},
            {**known, "seconds": cell.seconds},
            max(0, cell.best_epoch),
            _flat({**record(), **digests}),
        )
        self._open = None

    def close(self) -> None:
        """Lets go of a cell that was not finished."""
        if self._open is not None:
            self._let_go()
        self._open = None

    def _start(self, title: str) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._begin(title)
        self._open, self._seen = title, {}

    @abstractmethod
    def _finished(self, title: str) -> bool:
        """Whether a cell is there, whole."""

    @abstractmethod
    def _begin(self, title: str) -> None:
        """Begins a cell; what is there of an unfinished one is removed."""

    @abstractmethod
    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds points to curves."""

    @abstractmethod
    def _end(
        self, settings: Mapping[str, Any], scores: Mapping[str, float], step: int, facts: Mapping[str, Any]
    ) -> None:
        """Ends a cell: what it was, and what came out."""

    @abstractmethod
    def _let_go(self) -> None:
        """Closes what is open of a cell that was not finished."""


class TensorBoard(Tracker):
    """Event files for TensorBoard, a folder a cell.

    Example:
        >>> tracker = TensorBoard(getfixture("tmp_path"))
        >>> from mmgraph.train import FitConfig
        >>> told = {"metrics": {"accuracy": 0.9}, "val_metrics": {}, "seconds": 1.0, "parts": (6, 2, 2)}
        >>> tracker.finish(Cell(run=0, variant="full", data_sha256="", test_sha256="", **told), FitConfig())
        >>> sorted(path.name[:10] for path in (getfixture("tmp_path") / "000-full").iterdir())
        ['events.out', 'finished.j']
    """

    def __init__(self, folder: str | Path, *, name: str = "mmgraph", config: Mapping[str, Any] | None = None) -> None:
        require("tensorboard", extra="track")
        super().__init__(folder, name=name, config=config)
        self._writer: Any = None

    def _finished(self, title: str) -> bool:
        return (self.folder / title / FINISHED).exists()

    def _begin(self, title: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboard's own, at its first import
            from torch.utils.tensorboard import SummaryWriter
        shutil.rmtree(self.folder / title, ignore_errors=True)
        self._writer = SummaryWriter(self.folder / title)

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _end(
        self, settings: Mapping[str, Any], scores: Mapping[str, float], step: int, facts: Mapping[str, Any]
    ) -> None:
        from torch.utils.tensorboard.summary import hparams

        self._scalars(scores, step)
        plain = {name: v if isinstance(v, (bool, int, float, str)) else str(v) for name, v in settings.items()}
        for summary in hparams(plain, dict(scores)):
            self._writer.file_writer.add_summary(summary)
        self._writer.add_text("record", f"```json\n{json.dumps(facts, indent=2, default=str)}\n```")
        folder = Path(self._writer.log_dir)
        self._writer.close()
        write_json(folder / FINISHED, dict(facts))

    def _let_go(self) -> None:
        self._writer.close()


class MLflow(Tracker):
    """A local MLflow database, ``mlflow.db`` below the folder; nothing is sent anywhere.

    The tracker speaks to its own database alone: MLflow's tracking address, as other code has set it, stays as it is.
    """

    def __init__(self, folder: str | Path, *, name: str = "mmgraph", config: Mapping[str, Any] | None = None) -> None:
        with _without_telemetry():
            require("mlflow", extra="track")
        for needed in ("sqlalchemy", "alembic"):  # which MLflow needs for a local database, and brings in part
            require(needed, extra="track")
        super().__init__(folder, name=name, config=config)
        self._client: Any = None
        self._experiment, self._run = "", ""

    def _connect(self) -> Any:
        if self._client is None:
            from mlflow.tracking import MlflowClient

            folder = self.folder.absolute()
            with _quiet():
                self._client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
                found = self._client.get_experiment_by_name(self.name)
                if found is None:
                    artifacts = (folder / "artifacts").as_uri()
                    self._experiment = self._client.create_experiment(self.name, artifact_location=artifacts)
                else:
                    self._experiment = found.experiment_id
        return self._client

    def _runs(self, title: str) -> list[Any]:
        with _quiet():
            found = self._connect().search_runs([self._experiment], f"attributes.run_name = '{title}'")
        return list(found)

    def _finished(self, title: str) -> bool:
        if not (self.folder / "mlflow.db").exists():
            return False
        return any(one.info.status == "FINISHED" for one in self._runs(title))

    def _begin(self, title: str) -> None:
        for old in self._runs(title):
            self._client.delete_run(old.info.run_id)
        with _quiet():
            self._run = self._client.create_run(self._experiment, run_name=title).info.run_id

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _quiet():
            self._client.log_batch(self._run, metrics=[Metric(name, v, now, step) for name, v in values.items()])

    def _end(
        self, settings: Mapping[str, Any], scores: Mapping[str, float], step: int, facts: Mapping[str, Any]
    ) -> None:
        from mlflow.entities import Param, RunTag

        self._scalars(scores, step)
        with _quiet():
            for rows in _hundreds([Param(_clean(name), str(value)[:LONGEST]) for name, value in settings.items()]):
                self._client.log_batch(self._run, params=rows)
            for rows in _hundreds([RunTag(_clean(name), str(value)) for name, value in facts.items()]):
                self._client.log_batch(self._run, tags=rows)
            self._client.set_terminated(self._run, "FINISHED")

    def _let_go(self) -> None:
        with _quiet():
            self._client.set_terminated(self._run, "KILLED")


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow}


def open_tracker(
    kind: str, folder: str | Path, *, name: str = "mmgraph", config: Mapping[str, Any] | None = None
) -> Tracker:
    """The tracker of a kind.

    Args:
        kind: ``tensorboard`` or ``mlflow``.
        folder: Where its files go.
        name: Of the experiment.
        config: Settings beside those of training.

    Raises:
        ConfigError: There is no such tracker.
        MissingPackageError: Its package is not installed.

    Example:
        >>> open_tracker("wandb", "tracking")
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: Tracker must be one of ['tensorboard', 'mlflow'], got 'wandb'
    """
    if kind not in TRACKERS:
        raise ConfigError(f"Tracker must be one of {list(TRACKERS)}, got {kind!r}")
    return TRACKERS[kind](folder, name=name, config=config)


class _Curves(Logger):
    """What Lightning logs of one fold, on the axis of epochs."""

    def __init__(self, tracker: Tracker, fold: int) -> None:
        super().__init__()
        self.tracker, self.fold = tracker, fold

    @property
    def name(self) -> str:
        return self.tracker.name

    @property
    def version(self) -> int:
        return self.fold

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        self.tracker.log(values, self.fold, int(metrics["epoch"]))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The settings are written with the scores."""


def _title(run: int, variant: str) -> str:
    return f"{run:03d}-{_clean(variant).replace(':', '_').replace('/', '_')}"


def _clean(name: str) -> str:
    """A name that both trackers take.

    Example:
        >>> _clean("recall@1 image>text")
        'recall_1 image_text'
    """
    return re.sub(r"[^\w/. :-]", "_", name)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _hundreds(rows: list[Any]) -> Iterator[list[Any]]:
    """As many at a time as MLflow takes."""
    for start in range(0, len(rows), 100):
        yield rows[start : start + 100]


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """MLflow reads at its import whether it may tell its makers that it is used; here it may not."""
    name, before = "MLFLOW_DISABLE_TELEMETRY", os.environ.get("MLFLOW_DISABLE_TELEMETRY")
    os.environ[name] = "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _quiet() -> AbstractContextManager[None]:
    """Keeps away what MLflow says of its tables, and SQLAlchemy of MLflow."""
    return quiet("mlflow", Warning)
