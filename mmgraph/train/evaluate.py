"""An experiment: a model beside its controls, over several runs, each of them fitted once and written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save

from mmgraph.errors import ConfigError
from mmgraph.files import write_bytes, write_json
from mmgraph.tasks import BASELINES, Generation, NodeClassification, Task, baseline
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.train.fit import FitConfig, Fitted
from mmgraph.train.processes import Place
from mmgraph.train.results import FULL, Cell, Results
from mmgraph.train.threads import limited
from mmgraph.train.trial import (
    Given,
    MakeModel,
    MakeObjective,
    MakeTask,
    MakeTransform,
    Trial,
    Ways,
    averaged,
    bar,
    kept,
    validated,
)

if TYPE_CHECKING:
    from mmgraph.trackers import Tracker

SHEET = "made"  # the folder with some of what the full model of the first run makes
WEIGHTS = "model.safetensors"  # of the full model of the first run (and fold)


def evaluate(
    build: Callable[[int, int], Given],
    make_model: MakeModel,
    *,
    runs: int = 5,
    folds: int = 1,
    config: FitConfig | None = None,
    controls: Sequence[str] | None = None,
    rivals: Mapping[str, MakeModel] | None = None,
    make_objective: MakeObjective | None = None,
    rival_objectives: Mapping[str, MakeObjective] | None = None,
    make_transform: MakeTransform | None = None,
    make_task: MakeTask | None = None,
    target: str | None = None,
    metric: str = "accuracy",
    folder: Path | None = None,
    tracker: Tracker | None = None,
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
        rival_objectives: The objectives of rivals that are trained in another way, by name; one that is not among
            ``rivals`` has the full model.
        make_transform: Schema → what each training step is changed by; see :func:`~mmgraph.train.fit.fit`.
        make_task: Schema → what is asked; by default :class:`~mmgraph.tasks.NodeClassification` of the target.
        target: Name of the target; by default the only one.
        metric: The metric that the verdict is about.
        folder: Where cells are kept.
        tracker: Where cells can be watched, see :mod:`mmgraph.trackers`; one that was finished before, and is not there
            yet, is added.
        progress: Show a bar.

    Raises:
        ConfigError: No run, an unknown control, or a rival with the name of a control.
        DataError: The folds of a run have different test parts.
        ArtifactError: A cell in the folder is of other data.

    Example:
        >>> from mmgraph import Population, load_dataset, stratified_split
        >>> from torch import nn
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
    config, rival_objectives = config or FitConfig(), dict(rival_objectives or {})
    rivals = {**dict.fromkeys(rival_objectives, make_model), **(rivals or {})}
    if runs < 1 or folds < 1:
        raise ConfigError(f"runs and folds must be at least 1, got runs={runs}, folds={folds}")
    make_task = make_task or (lambda schema: NodeClassification(schema, target))
    cells: list[Cell] = []
    classes: Sequence[str] = ()
    directions: dict[str, bool] = {}
    leads = Place.here().leads  # of several processes, the first one writes
    tracker = tracker if leads else None
    with bar(shown=progress and leads) as shown, limited(config.threads), _closed(tracker):
        step = shown.add_task("", total=None)
        for number in range(runs):
            trial = Trial.of(number, [build(number, fold) for fold in range(folds)], make_task)
            classes = trial.task.classes
            names = _variants(trial.task, controls, rivals)
            if metric not in trial.task.metrics:
                raise ConfigError(f"metric must be one of {list(trial.task.metrics)}, got {metric!r}")
            directions = {name: higher_is_better(name) for name in trial.task.metrics}
            shown.update(step, total=runs * len(names))
            for name in names:
                shown.update(step, description=f"run {number + 1}/{runs}: {name}")
                path = None if folder is None else folder / "cells" / f"{number:03d}-{name.replace(':', '_')}.json"
                cell = kept(path, trial.digest)
                if cell is None:
                    objective = rival_objectives.get(name, make_objective)
                    ways = Ways(rivals.get(name, make_model), config, objective, make_transform)
                    cell = _cell(trial, name, ways, path, tracker)
                    if path is not None and leads:
                        write_json(path, cell.to_json())
                        shutil.rmtree(_fits(path).parent, ignore_errors=True)  # one fit is under way at a time
                elif tracker is not None:
                    tracker.finish(cell, config)
                cells.append(cell)
                shown.advance(step)
    return Results(cells, metric, directions, classes)


def _cell(trial: Trial, name: str, ways: Ways, path: Path | None, tracker: Tracker | None) -> Cell:
    task, fitted = trial.task, []
    if tracker is not None:
        ways = ways._replace(loggers=lambda fold: tracker.loggers(trial.run, name, fold))
    if name in BASELINES and name in task.controls:
        val = task.evaluate(baseline(name, trial.folds, task, "val"), trial.folds[0], "val")
        test = baseline(name, trial.folds, task)
    else:
        fitted = _fit_folds(trial, name, ways, path)
        test, val = averaged(fitted), validated(fitted, task.metrics)
        shown = path is not None and name == FULL and trial.run == 0 and Place.here().leads
        if path is not None and shown and isinstance(task, Generation):
            task.sheet(test, trial.folds[0], "test", path.parents[1] / SHEET)
    cell = trial.cell(name, test, val, fitted)
    if tracker is not None:
        tracker.finish(cell, ways.config, [one.history for one in fitted])
    return cell


@contextmanager
def _closed(tracker: Tracker | None) -> Iterator[None]:
    """Lets a tracker go, however the experiment ends."""
    try:
        yield
    finally:
        if tracker is not None:
            tracker.close()


def _fit_folds(trial: Trial, name: str, ways: Ways, path: Path | None) -> list[Fitted]:
    """Fits a variant on each fold."""
    seed = ways.config.seed + trial.run
    changed = name in trial.task.controls
    graphs = [trial.task.control(name, graph, seed=seed) if changed else graph for graph in trial.folds]
    fitted = trial.fit(graphs, ways, None if path is None else _fits(path))
    if path is not None and name == FULL and trial.run == 0 and Place.here().leads:
        weights = fitted[0].model.state_dict()  # of which some may be tied, as a language model's first and last are
        write_bytes(path.parents[1] / WEIGHTS, save({name: value.clone() for name, value in weights.items()}))
    return fitted


def _fits(cell: Path) -> Path:
    """Where the checkpoints of a cell's fits stay until the cell is finished."""
    return cell.parents[1] / "fits" / cell.stem


def _variants(task: Task, controls: Sequence[str] | None, rivals: Mapping[str, MakeModel]) -> list[str]:
    known = task.controls
    chosen = known if controls is None else tuple(controls)
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigError(f"Controls must be among {list(known)}, got {unknown}")
    if taken := [name for name in rivals if name in (FULL, *known)]:
        raise ConfigError(f"A rival must not have the name of a control, got {taken}")
    return [FULL, *rivals, *chosen]
