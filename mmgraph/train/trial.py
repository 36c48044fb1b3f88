"""One run of an experiment: its graph, the models that are fitted on it, and the cells that are written down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import read_json
from mmgraph.objectives import Objective, Supervised
from mmgraph.schema import Schema
from mmgraph.tasks import Generation, NodeClassification, Task
from mmgraph.train.fit import FitConfig, Fitted, fit
from mmgraph.train.record import graph_sha256, rows_sha256
from mmgraph.train.results import Cell

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from torch_geometric.data import HeteroData

    from mmgraph.assembly import Built
    from mmgraph.builders import Population
    from mmgraph.train.module import Transform

Given: TypeAlias = "Population | Built | tuple[HeteroData, Schema]"
"""What a recipe builds: something with a graph and its schema, or both."""
MakeModel: TypeAlias = Callable[[Schema], nn.Module]
MakeObjective: TypeAlias = Callable[[Schema], Objective]
MakeTransform: TypeAlias = "Callable[[Schema], Transform]"
MakeTask: TypeAlias = Callable[[Schema], Task]


class Ways(NamedTuple):
    """How the models of an experiment are made and trained."""

    make_model: MakeModel
    config: FitConfig
    make_objective: MakeObjective | None = None
    make_transform: MakeTransform | None = None
    loggers: Callable[[int], Sequence[Logger]] | None = None  # of a fold


class Trial(NamedTuple):
    """One run: its graph, once for each inner fold."""

    run: int
    folds: list[HeteroData]
    task: Task
    digest: str

    @classmethod
    def of(cls, run: int, built: Sequence[Given], make_task: MakeTask) -> Trial:
        """Puts the folds of a run together.

        Raises:
            DataError: They have different test parts or schemas.
        """
        graphs, schemas = [], []
        for one in built:
            graph, schema = one if isinstance(one, tuple) else (one.graph, one.schema)
            graphs.append(graph)
            schemas.append(schema)
        task = make_task(schemas[0])
        store = [graph[task.node] for graph in graphs]
        if any(not torch.equal(store[0].test_mask, other.test_mask) for other in store[1:]):
            raise DataError(f"The folds of run {run} must have the same test part")
        if any(schema != schemas[0] for schema in schemas[1:]):
            raise DataError(
                f"The folds of run {run} must have the same schema; select columns the same in each, or none"
            )
        digest = hashlib.sha256("".join(graph_sha256(graph) for graph in graphs).encode()).hexdigest()
        return cls(run, graphs, task, digest)

    def fit(self, graphs: Sequence[HeteroData], ways: Ways, folder: Path | None) -> list[Fitted]:
        """Fits a model on each fold, made and trained under the run's own seed.

        Args:
            graphs: The folds' graphs, or what a variant makes of them.
            ways: How models are made and trained.
            folder: Where checkpoints go, a folder a fold.
        """
        task, schema, seed = self.task, self.task.schema, ways.config.seed + self.run
        fitted = []
        for number, graph in enumerate(graphs):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = ways.make_model(schema)
                objective = ways.make_objective(schema) if ways.make_objective else _by_labels(task)
            fitted.append(
                fit(
                    model,
                    objective,
                    task,
                    graph,
                    replace(ways.config, seed=seed),
                    transform=ways.make_transform(schema) if ways.make_transform else None,
                    folder=None if folder is None else folder / str(number),
                    loggers=ways.loggers(number) if ways.loggers else (),
                )
            )
        return fitted

    def cell(self, variant: str, test: Tensor, val: dict[str, float], fitted: Sequence[Fitted]) -> Cell:
        """What is written down of a variant: scores on test, and what the models of its folds were."""
        task, graph = self.task, self.folds[0]
        store = graph[task.node]
        answered = isinstance(task, NodeClassification)  # vectors are not kept: they are in the index
        masks = [store[f"{part}_mask"] for part in ("train", "val", "test")]
        return Cell(
            run=self.run,
            variant=variant,
            metrics=task.evaluate(test, graph, "test"),
            val_metrics=val,
            seconds=sum(one.seconds for one in fitted),
            data_sha256=self.digest,
            parts=(int(masks[0].sum()), int(masks[1].sum()), int(masks[2].sum())),
            test_sha256=rows_sha256(masks[2]),
            best_epoch=fitted[0].best_epoch if fitted else -1,
            history=fitted[0].history if fitted else (),
            probabilities=[[round(value, 6) for value in row] for row in test.tolist()] if answered else (),
            labels=task.labels(graph, "test").tolist() if isinstance(task, NodeClassification) else (),
        )


def _by_labels(task: Task) -> Objective:
    if not isinstance(task, NodeClassification):
        raise ConfigError(f"{type(task).__name__} needs make_objective, got none; labels are not what it learns from")
    return Supervised(task.target)


def averaged(fitted: Sequence[Fitted]) -> Tensor:
    """The answers for the test part, averaged over the folds' models."""
    if len(fitted) == 1:
        return fitted[0].predict("test")
    if isinstance(fitted[0].task, Generation):
        raise ConfigError(f"Payloads have no average: folds must be 1 where they are made, got {len(fitted)}")
    return torch.stack([one.predict("test")[:] for one in fitted]).mean(dim=0)


def validated(fitted: Sequence[Fitted], metrics: Sequence[str]) -> dict[str, float]:
    """The scores on validation, averaged over the folds' models, each judged on its own part."""
    scores = [one.evaluate("val") for one in fitted]
    return {metric: float(np.mean([score[metric] for score in scores])) for metric in metrics}


def kept(path: Path | None, digest: str) -> Cell | None:
    """The cell in a file, if there is one.

    Raises:
        ArtifactError: It is of other data.
    """
    if path is None or not path.exists():
        return None
    cell = Cell.from_json(read_json(path))
    if cell.data_sha256 != digest:
        raise ArtifactError(
            f"{str(path)!r} must be of the graph {digest[:12]}…, got {cell.data_sha256[:12]}…; "
            "the data or the settings have changed: use another folder, or remove this one"
        )
    return cell


def bar(*, shown: bool) -> Progress:
    """How far an experiment is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not shown, transient=True)
