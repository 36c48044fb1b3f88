"""What an estimator's score stands beside: itself without its graph, a linear model, no model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length, check_random_state

from mmgraph.errors import ConfigError
from mmgraph.estimators.base import SEEDS, GraphEstimator
from mmgraph.estimators.columns import Matrices, fit_columns, rows_of
from mmgraph.tasks.controls import STRENGTHS
from mmgraph.train.results import FULL, Cell, Results


class Kind(NamedTuple):
    """What differs between classes and numbers."""

    better: Mapping[str, bool]  # metric → whether more is better; the first is the verdict's
    loss: str  # by which the linear model's strength is chosen
    scores: Callable[[Any, Any, np.ndarray], dict[str, float]]
    linear: Callable[[float], Any]  # inverse penalty → model
    dummy: tuple[str, Callable[[], Any]]  # what knows no column, and its name
    stratify: bool


def controls(estimator: GraphEstimator, X: Any, y: Any, kind: Kind, *, runs: int, test: float) -> Results:
    """Fits copies of an estimator and its controls on the same rows, run by run, and judges each on the others."""
    if runs < 1 or not 0 < test < 1:
        raise ConfigError(f"runs must be at least 1 and test a share between 0 and 1, got {runs} and {test}")
    matrices, y = fit_columns(clone(estimator), X, estimator.modalities), np.asarray(y)
    check_consistent_length(next(iter(matrices.values())), y)
    rng = check_random_state(estimator.random_state)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in matrices.values())).hexdigest()
    cells: list[Cell] = []
    for run in range(runs):
        seed = int(rng.randint(SEEDS))
        options = {"test_size": test, "random_state": seed, "stratify": y if kind.stratify else None}
        train, held = (np.sort(rows) for rows in train_test_split(np.arange(len(y)), **options))
        val = 0
        for name, model, table, seconds in _fitted(estimator, matrices, y, train, seed, kind):
            val = len(model.val_rows_) if name == FULL else val
            cells.append(
                Cell(
                    run=run,
                    variant=name,
                    metrics=kind.scores(model, _rows(table, held), y[held]),
                    val_metrics={},
                    seconds=seconds,
                    data_sha256=digest,
                    parts=(len(train) - val, val, len(held)),
                    test_sha256=hashlib.sha256(held.tobytes()).hexdigest(),
                )
            )
    return Results(cells, next(iter(kind.better)), dict(kind.better))


def _fitted(
    estimator: GraphEstimator, matrices: Matrices, y: np.ndarray, train: np.ndarray, seed: int, kind: Kind
) -> list[tuple[str, Any, Matrices | np.ndarray, float]]:
    """(name, model, what it reads, seconds) of each variant, fitted on the training rows."""
    graph = clone(estimator).set_params(modalities=None, random_state=seed)
    tried: dict[str, tuple[Any, Matrices]] = {
        FULL: (graph, matrices),
        "no_graph": (clone(graph).set_params(k=0), matrices),
    }
    for left in matrices if len(matrices) > 1 else ():
        tried[f"without:{left}"] = clone(graph), {name: x for name, x in matrices.items() if name != left}
    found: list[tuple[str, Any, Matrices | np.ndarray, float]] = []
    for name, (model, table) in tried.items():
        started = time.perf_counter()
        model.fit(rows_of(table, train), y[train])
        found.append((name, model, table, time.perf_counter() - started))
    flat, started = np.hstack(list(matrices.values())), time.perf_counter()
    linear = _best_linear(flat[train], y[train], graph.val_rows_, kind)
    found.append(("flat_linear", linear, flat, time.perf_counter() - started))
    name, make = kind.dummy
    return [*found, (name, make().fit(flat[train], y[train]), flat, 0.0)]


def _best_linear(x: np.ndarray, y: np.ndarray, val: np.ndarray, kind: Kind) -> Any:
    """The linear model of the strength that is best on the rows held back; what is unknown is the mean."""
    fit = np.setdiff1d(np.arange(len(y)), val)
    tried = []
    for strength in STRENGTHS:
        steps = StandardScaler(), SimpleImputer(keep_empty_features=True), kind.linear(strength)
        model = make_pipeline(*steps).fit(x[fit], y[fit])
        tried.append((kind.scores(model, x[val], y[val])[kind.loss], strength, model))
    return min(tried, key=lambda one: one[:2])[2]


def _rows(table: Matrices | np.ndarray, rows: np.ndarray) -> Matrices | np.ndarray:
    return table[rows] if isinstance(table, np.ndarray) else rows_of(table, rows)
