"""The score of a trial: the full model of a recipe, on the validation parts of its runs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger

from mmgraph.errors import ConfigError
from mmgraph.recipe import Recipe
from mmgraph.tasks import NodeClassification
from mmgraph.train.experiment import experiment
from mmgraph.train.threads import limited
from mmgraph.train.trial import Trial, Ways, validated

REPORTS = 20  # of a fit, at most


def validation_score(recipe: Recipe, config: Any, watch: Callable[[int, float], None] | None = None) -> float:
    """Trains the full model on each run, and gives the mean of the recipe's metric on validation.

    Nothing is predicted for the test part, and none of its labels is read.

    Args:
        recipe: Whose model.
        config: With which settings.
        watch: Called with the epoch and the monitored score on validation, now and then in the first fit; what it
            raises ends the trial.

    Raises:
        ConfigError: The recipe's task does not know its metric.

    Example:
        >>> from mmgraph.recipe import load_recipe
        >>> recipe = load_recipe("population_wdbc")
        >>> validation_score(recipe, recipe.config({"runs": 1, "fit": {"epochs": 30}})) > 0.9
        True
    """
    asked, scores = experiment(recipe.module, config), []
    make_task = asked["make_task"] or NodeClassification
    with limited(asked["config"].threads):
        for run in range(asked["runs"]):
            trial = Trial.of(run, [asked["build"](run, fold) for fold in range(asked["folds"])], make_task)
            if asked["metric"] not in trial.task.metrics:
                raise ConfigError(f"METRIC must be one of {list(trial.task.metrics)}, got {asked['metric']!r}")
            loggers = None
            if watch is not None and run == 0:
                watcher = _Watcher(f"val_{config.fit.monitor}", max(1, config.fit.epochs // REPORTS), watch)
                loggers = lambda fold, one=watcher: [one] if fold == 0 else []  # noqa: E731
            ways = Ways(asked["make_model"], asked["config"], asked["make_objective"], asked["make_transform"], loggers)
            fitted = trial.fit(trial.folds, ways, None)
            scores.append(validated(fitted, [asked["metric"]])[asked["metric"]])
    return float(np.mean(scores))


class _Watcher(Logger):
    """Tells every so many epochs what the score on validation is."""

    def __init__(self, metric: str, every: int, watch: Callable[[int, float], None]) -> None:
        super().__init__()
        self.metric, self.every, self.watch = metric, every, watch

    @property
    def name(self) -> str:
        return "watcher"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        epoch = int(metrics["epoch"])
        if self.metric in metrics and epoch % self.every == 0:
            self.watch(epoch, float(metrics[self.metric]))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """A trial's settings are in the study."""
