"""An experiment: a model beside its controls, over several runs, each of them fitted once and written down."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save
from torch import nn

from mmgraph.builders import Population
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import read_json, write_bytes, write_json
from mmgraph.objectives import Objective, Supervised
from mmgraph.schema import Schema
from mmgraph.tasks import BASELINES, NodeClassification, baseline, control_graph, default_controls
from mmgraph.tasks.node_classification import HIGHER_IS_BETTER
from mmgraph.train.fit import FitConfig, Fitted, fit
from mmgraph.train.record import graph_sha256, rows_sha256
from mmgraph.train.results import FULL, Cell, Results
from mmgraph.train.threads import limited

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Built: TypeAlias = "Population | tuple[HeteroData, Schema]"
MakeModel: TypeAlias = Callable[[Schema], nn.Module]
MakeObjective: TypeAlias = Callable[[Schema], Objective]

WEIGHTS = "model.safetensors"  # of the full model of the first run (and fold)


def evaluate(
    build: Callable[[int, int], Built],
    make_model: MakeModel,
    *,
    runs: int = 5,
    folds: int = 1,
    config: FitConfig | None = None,
    controls: Sequence[str] | None = None,
    rivals: Mapping[str, MakeModel] | None = None,
    make_objective: MakeObjective | None = None,
    target: str | None = None,
    metric: str = "accuracy",
    folder: Path | None = None,
    progress: bool = False,
) -> Results:
    """Trains a model and its controls on several resplits (or seeds), and judges each once on the test part.

    With a folder, each cell of the experiment is written down when it is finished; called again after a kill,
    only what is missing is run, and the results are the same.

    Args:
        build: (run, fold) → a population, or a graph and its schema, with masks of the three parts. The folds
            of a run share the test part, and deal training and validation out anew.
        make_model: Schema → a fresh model; called with the run's seed set.
        runs: How many runs.
        folds: How many models a run trains and averages, each stopped early on its own fold; the linear
            controls are averaged in the same way.
        config: How to train; the seed of a run is ``config.seed`` plus its number.
        controls: Names of :mod:`mmgraph.tasks.controls`; ``None`` for all that apply, ``()`` for none.
        rivals: Further models to compare with, by name.
        make_objective: Schema → what training makes small; by default learning from labels.
        target: Name of the target; by default the only one.
        metric: The metric that the verdict is about.
        folder: Where cells are kept.
        progress: Show a bar.

    Raises:
        ConfigError: No run, an unknown control, or a rival with the name of a control.
        DataError: The folds of a run have different test parts.
        ArtifactError: A cell in the folder is of other data.

    Example:
        >>> from mmgraph import Population, load_dataset, stratified_split
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.fusion import Concat
        >>> from mmgraph.model import Model
        >>> records = load_dataset("wdbc")
        >>> def build(run, fold):
        ...     return Population.fit(records, stratified_split(records.labels, seed=run))
        >>> def make_model(schema):
        ...     widths = {name: schema.nodes[name].channels for name in schema.modalities}
        ...     encoder, fusion = Table(widths, 4), Concat(dict.fromkeys(widths, 4), 8)
        ...     return Model(schema=schema, encoder=encoder, fusion=fusion, head=nn.Linear(8, 2))
        >>> results = evaluate(build, make_model, runs=1, config=FitConfig(epochs=20), controls=["majority"])
        >>> results.mean("full", "accuracy") > results.mean("majority", "accuracy") + 0.2
        True
    """
    config, rivals = config or FitConfig(), dict(rivals or {})
    if runs < 1 or folds < 1:
        raise ConfigError(f"runs and folds must be at least 1, got runs={runs}, folds={folds}")
    cells: list[Cell] = []
    classes: Sequence[str] = ()
    with _bar(progress) as bar, limited(config.threads):
        bar_task = bar.add_task("", total=None)
        for number in range(runs):
            trial = _trial(number, [build(number, fold) for fold in range(folds)], target)
            classes = trial.task.target.classes
            names = _variants(trial.task.schema, controls, rivals)
            if metric not in trial.task.metrics:
                raise ConfigError(f"metric must be one of {list(trial.task.metrics)}, got {metric!r}")
            bar.update(bar_task, total=runs * len(names))
            for name in names:
                bar.update(bar_task, description=f"run {number + 1}/{runs}: {name}")
                path = None if folder is None else folder / "cells" / f"{number:03d}-{name.replace(':', '_')}.json"
                cell = _kept(path, trial.digest)
                if cell is None:
                    cell = _cell(trial, name, rivals.get(name, make_model), make_objective, config, path)
                    if path is not None:
                        write_json(path, cell.to_json())
                        shutil.rmtree(_fits(path).parent, ignore_errors=True)  # one fit is under way at a time
                cells.append(cell)
                bar.advance(bar_task)
    return Results(cells, metric, HIGHER_IS_BETTER, classes)


class _Trial(NamedTuple):
    """One run: its graph, once for each inner fold."""

    run: int
    folds: list[HeteroData]
    task: NodeClassification
    digest: str


def _trial(run: int, built: Sequence[Built], target: str | None) -> _Trial:
    graphs, schemas = [], []
    for one in built:
        graph, schema = (one.graph, one.schema) if isinstance(one, Population) else one
        graphs.append(graph)
        schemas.append(schema)
    task = NodeClassification(schemas[0], target)
    store = [graph[task.target.node] for graph in graphs]
    if any(not torch.equal(store[0].test_mask, other.test_mask) for other in store[1:]):
        raise DataError(f"The folds of run {run} must have the same test part")
    if any(schema != schemas[0] for schema in schemas[1:]):
        raise DataError(f"The folds of run {run} must have the same schema; select columns the same in each, or none")
    digest = hashlib.sha256("".join(graph_sha256(graph) for graph in graphs).encode()).hexdigest()
    return _Trial(run, graphs, task, digest)


def _cell(
    trial: _Trial,
    name: str,
    make_model: MakeModel,
    make_objective: MakeObjective | None,
    config: FitConfig,
    path: Path | None,
) -> Cell:
    task, graph = trial.task, trial.folds[0]
    store = graph[task.target.node]
    masks = [store[f"{part}_mask"] for part in ("train", "val", "test")]
    about: dict[str, Any] = {
        "run": trial.run,
        "variant": name,
        "data_sha256": trial.digest,
        "parts": tuple(int(mask.sum()) for mask in masks),
        "test_sha256": rows_sha256(masks[2]),
        "labels": task.labels(graph, "test").tolist(),
    }
    if name in BASELINES:
        test = baseline(name, trial.folds, task)
        val = task.evaluate(baseline(name, trial.folds, task, "val"), graph, "val")
        fitted: list[Fitted] = []
    else:
        fitted = _fit_folds(trial, name, make_model, make_objective, config, path)
        test = torch.stack([one.predict("test") for one in fitted]).mean(dim=0)
        scores = [one.evaluate("val") for one in fitted]
        val = {metric: float(np.mean([score[metric] for score in scores])) for metric in task.metrics}
    return Cell(
        metrics=task.evaluate(test, graph, "test"),
        val_metrics=val,
        seconds=sum(one.seconds for one in fitted),
        best_epoch=fitted[0].best_epoch if fitted else -1,
        history=fitted[0].history if fitted else (),
        probabilities=[[round(value, 6) for value in row] for row in test.tolist()],
        **about,
    )


def _fit_folds(
    trial: _Trial,
    name: str,
    make_model: MakeModel,
    make_objective: MakeObjective | None,
    config: FitConfig,
    path: Path | None,
) -> list[Fitted]:
    """Fits a variant on each fold, the model made and trained under the run's own seed."""
    task, schema, seed = trial.task, trial.task.schema, config.seed + trial.run
    fitted = []
    for number, graph in enumerate(trial.folds):
        changed = control_graph(name, graph, schema, seed=seed) if name in default_controls(schema) else graph
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make_model(schema)
        objective = make_objective(schema) if make_objective else Supervised(task.target)
        folder = None if path is None else _fits(path) / str(number)
        fitted.append(fit(model, objective, task, changed, replace(config, seed=seed), folder=folder))
    if path is not None and name == FULL and trial.run == 0:
        write_bytes(path.parents[1] / WEIGHTS, save(fitted[0].model.state_dict()))
    return fitted


def _fits(cell: Path) -> Path:
    """Where the checkpoints of a cell's fits stay until the cell is finished."""
    return cell.parents[1] / "fits" / cell.stem


def _kept(path: Path | None, digest: str) -> Cell | None:
    if path is None or not path.exists():
        return None
    cell = Cell.from_json(read_json(path))
    if cell.data_sha256 != digest:
        raise ArtifactError(
            f"{str(path)!r} must be of the graph {digest[:12]}…, got {cell.data_sha256[:12]}…; "
            "the data or the settings have changed: use another folder, or remove this one"
        )
    return cell


def _variants(schema: Schema, controls: Sequence[str] | None, rivals: Mapping[str, MakeModel]) -> list[str]:
    known = default_controls(schema)
    chosen = known if controls is None else tuple(controls)
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigError(f"Controls must be among {list(known)}, got {unknown}")
    if taken := [name for name in rivals if name in (FULL, *known)]:
        raise ConfigError(f"A rival must not have the name of a control, got {taken}")
    return [FULL, *rivals, *chosen]


def _bar(progress: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not progress, transient=True)
