"""A study: trials one after the other, each written down, and the best settings for the run that is to be judged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from rich import box
from rich.table import Table

from mmgraph.errors import ConfigError, MMGraphError
from mmgraph.files import claim, sha256, write_json
from mmgraph.optional import require
from mmgraph.recipe import Recipe, load_recipe, plain
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.train.trial import bar
from mmgraph.tune.space import Choice, Range, Space, Value, changed, checked
from mmgraph.tune.validation import validation_score

FORMAT = "mmgraph.tune/1"
NAME = "tune"  # of the study in its database
KILLED = "killed"  # the mark of a trial whose process ended in its middle: its like is tried again
FIRST = 5  # trials that are never stopped early
SHOWN = 10  # trials in a table


@dataclass(frozen=True)
class Tried:
    """One trial.

    Args:
        number: Which, from 0.
        values: Field → what was tried.
        score: The mean of the metric over the runs' validation parts; ``None`` if it was not carried through.
        state: ``complete``, ``pruned`` (stopped early, being worse than half of the others) or ``failed``.
        reason: Why it failed.
    """

    number: int
    values: Mapping[str, Value]
    score: float | None
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Tuned:
    """A study that has come to its end.

    Args:
        folder: Where it is: ``study.db`` (Optuna's), ``study.json``, ``best.json``.
        metric: The recipe's.
        trials: All of them.
        best: The best of those that were carried through.
        config: The recipe's settings with the best values.
    """

    folder: Path
    metric: str
    trials: tuple[Tried, ...]
    best: Tried
    config: Any

    def table(self) -> Table:
        """The best trials, for a terminal."""
        sign = -1 if higher_is_better(self.metric) else 1
        done = sorted((one for one in self.trials if one.score is not None), key=lambda one: sign * (one.score or 0.0))
        table = Table(title=f"{self.metric} on validation", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("trial", *self.best.values, self.metric):
            table.add_column(name, justify="right")
        for one in done[:SHOWN]:
            values = [_short(one.values[name]) for name in self.best.values]
            table.add_row(str(one.number), *values, f"{one.score:.4f}")
        return table

    def draw(self) -> list[Path]:
        """Writes pictures of the study into its folder: scores by trial, and which fields mattered."""
        optuna = require("optuna", extra="tune")
        with _quiet():
            from matplotlib import pyplot
            from optuna.visualization import matplotlib as pictures

            study = optuna.load_study(study_name=NAME, storage=_storage(self.folder))
            drawn = {"history.png": pictures.plot_optimization_history}
            if len({one.score for one in self.trials if one.score is not None}) > 1:
                drawn["importance.png"] = pictures.plot_param_importances
            for name, draw in drawn.items():
                figure = draw(study).figure
                figure.savefig(self.folder / name, bbox_inches="tight")
                pyplot.close(figure)
        return [self.folder / name for name in drawn]


def tune(
    recipe: Recipe | str | Path,
    space: Space,
    *,
    trials: int = 20,
    folder: str | Path,
    config: Any = None,
    seed: int = 0,
    prune: bool = True,
    progress: bool = False,
) -> Tuned:
    """Looks for the settings of a recipe that do best on validation.

    The test part is never looked at: carry the best settings out once, beside their controls (:class:`mmgraph.run.Run`,
    or ``mmgraph run NAME --config FOLDER/best.json``). In the folder of a killed study it goes on where that stopped,
    and ends with the same trials; a trial depends on those before it, the seed and its number alone. More trials can
    be added later.

    Args:
        recipe: What to tune, or its name or file.
        space: Dotted name of a field of its ``Config`` → a :class:`~mmgraph.tune.Range` or a
            :class:`~mmgraph.tune.Choice`.
        trials: How many, in all.
        folder: Of the study.
        config: The settings of all other fields, of the recipe's ``Config``; by default as it stands.
        seed: Of what is tried.
        prune: Stop trials that are worse than the median of the others at the same epoch of their first run.
        progress: Show a bar.

    Raises:
        ConfigError: A field that there is not, values that it can't have, a folder of another study or one at which
            another process is at work, or no trial that could be carried through.
        MissingPackageError: Optuna is not installed.

    Example:
        >>> tuned = tune(
        ...     "population_wdbc",
        ...     {"fit.learning_rate": Range(1e-3, 1e-1, log=True), "channels": Choice([4, 8])},
        ...     trials=2,
        ...     folder=getfixture("tmp_path") / "study",
        ...     config=load_recipe("population_wdbc").config({"runs": 1, "fit": {"epochs": 5}}),
        ... )
        >>> [one.state for one in tuned.trials], tuned.best.score > 0.5
        (['complete', 'complete'], True)
    """
    require("optuna", extra="tune")
    recipe, folder = recipe if isinstance(recipe, Recipe) else load_recipe(recipe), Path(folder)
    config = recipe.module.Config() if config is None else config
    if trials < 1:
        raise ConfigError(f"trials must be at least 1, got {trials}")
    space = checked(config, space)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0), _quiet():
            _claim(folder, recipe, config, space, seed, prune=prune)
            _carry_out(recipe, config, space, folder, trials, seed, prune=prune, progress=progress)
            return _ended(recipe, config, folder)
    except Timeout:
        raise ConfigError(
            f"Folder {str(folder)!r} is being tuned in by another process; wait for it, or choose another"
        ) from None


def _carry_out(
    recipe: Recipe, config: Any, space: Space, folder: Path, trials: int, seed: int, *, prune: bool, progress: bool
) -> None:
    import optuna

    storage = _storage(folder)
    direction = "maximize" if higher_is_better(recipe.module.METRIC) else "minimize"
    study = optuna.create_study(study_name=NAME, storage=storage, direction=direction, load_if_exists=True)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        storage.set_trial_user_attr(trial._trial_id, KILLED, True)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST) if prune else optuna.pruners.NopPruner()
    done = len(_tried(study))
    with bar(shown=progress) as shown:
        step = shown.add_task(f"tuning {recipe.name}", total=trials, completed=done)
        for number in range(done, trials):
            study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, number))
            _carry_out_one(recipe, config, space, study)
            shown.advance(step)


def _carry_out_one(recipe: Recipe, config: Any, space: Space, study: Any) -> None:
    import optuna

    before = [one for one in study.get_trials(deepcopy=False) if one.state == optuna.trial.TrialState.COMPLETE]
    trial = study.ask()
    values = {name: _suggested(trial, name, what) for name, what in space.items()}
    metric, monitor = recipe.module.METRIC, config.fit.monitor
    sign = 1 if higher_is_better(monitor) == higher_is_better(metric) else -1

    def watch(epoch: int, score: float) -> None:
        trial.report(sign * score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    same = [one.value for one in before if one.params == trial.params]
    try:
        score = same[0] if same else validation_score(recipe, changed(config, values), watch)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except MMGraphError as error:
        trial.set_user_attr("reason", " ".join(str(error).split()))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        if not np.isfinite(score):
            trial.set_user_attr("reason", f"{metric} on validation must be finite, got {score}")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score)


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _suggested(trial: Any, name: str, what: Range | Choice) -> Value:
    value: Value
    if isinstance(what, Choice):
        value = trial.suggest_categorical(name, what.values)
    elif isinstance(what.low, int) and isinstance(what.high, int):
        value = trial.suggest_int(name, what.low, what.high, log=what.log)
    else:
        value = trial.suggest_float(name, what.low, what.high, log=what.log)
    return value


def _tried(study: Any) -> list[Tried]:
    """The trials that count, in their order, numbered anew."""
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    found = [one for one in study.get_trials() if one.state.name in states and KILLED not in one.user_attrs]
    return [
        Tried(
            number,
            one.params,
            one.value if one.state.name == "COMPLETE" else None,
            states[one.state.name],
            one.user_attrs.get("reason", ""),
        )
        for number, one in enumerate(found)
    ]


def _ended(recipe: Recipe, config: Any, folder: Path) -> Tuned:
    """What came out, and its files."""
    import optuna

    trials = _tried(optuna.load_study(study_name=NAME, storage=_storage(folder)))
    metric = recipe.module.METRIC
    done = [one for one in trials if one.score is not None]
    if not done:
        raise ConfigError(
            f"None of {len(trials)} trials could be carried through; the first failed: {trials[0].reason}"
        )
    pick = max if higher_is_better(metric) else min
    best = pick(done, key=lambda one: one.score if one.score is not None else 0.0)  # of equals, the first
    settings = changed(config, best.values)
    write_json(folder / "best.json", plain(settings))
    told = {"format": FORMAT, "recipe": recipe.name, "metric": metric, "best": best.number}
    write_json(folder / "study.json", {**told, "trials": [asdict(one) for one in trials]})
    return Tuned(folder, metric, tuple(trials), best, settings)


def _claim(folder: Path, recipe: Recipe, config: Any, space: Space, seed: int, *, prune: bool) -> None:
    """Writes what the folder is for, or checks that it is for the same."""
    meta = {
        "format": FORMAT,
        "recipe": recipe.name,
        "recipe_sha256": sha256(recipe.path),
        "config": plain(config),
        "space": {name: {type(what).__name__: list(asdict(what).values())} for name, what in space.items()},
        "seed": seed,
        "prune": prune,
    }
    claim(folder / "tune.json", meta, "a study", "choose another folder")


def _seed(seed: int, number: int) -> int:
    """The seed of one trial's draws."""
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0])


def _storage(folder: Path) -> Any:
    import optuna

    return optuna.storages.RDBStorage(f"sqlite:///{(folder / 'study.db').absolute()}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna's log of trials, and its warnings of what may change, away."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
