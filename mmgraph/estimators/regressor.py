"""A regressor of the rows of a table, on the population graph that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from mmgraph.errors import DataError
from mmgraph.estimators.base import GraphEstimator
from mmgraph.estimators.columns import fit_columns
from mmgraph.estimators.controls import Kind, controls
from mmgraph.estimators.task import _NodeRegression
from mmgraph.schema import Schema
from mmgraph.train.results import Results


class GraphRegressor(RegressorMixin, GraphEstimator):
    r"""Predicts a number for each row from what it and the rows most like it hold, after scikit-learn's manner.

    The model is that of :class:`~mmgraph.estimators.GraphClassifier`, with one output and the squared error; all that
    is said there of its arguments, of ``X`` and of new rows holds here. ``y`` is brought to mean 0 and deviation 1 for
    training, and back for what is predicted.

    Args:
        modalities: Name → the columns of one modality; by default all columns are one.
        k: Neighbours of a row in each modality; 0 for no graph.
        metric: Distance between rows: ``euclidean``, ``cosine`` or ``correlation``, of scaled columns.
        channels: Width of a row's state.
        rounds: Rounds of messages.
        dropout: Share of the values zeroed while training.
        epochs: At most so many.
        learning_rate: Of Adam.
        weight_decay: Of weight matrices.
        patience: Stop after so many epochs that are not better on the rows held back; ``None`` never stops early.
        val: Share of the rows that is held back.
        random_state: Of the rows held back, the first weights and dropout.

    Attributes:
        k_: How many neighbours a row has in each modality.
        fill_: The means that unknown values are filled with.
        population_: The graph of the training rows, and what attaches new ones.
        model_: The model, at its best epoch.
        best_epoch_, n_iter_, history_: That epoch, how many there were, and what was logged in each.
        val_rows_: The rows held back.
        mean_, scale_: Mean and deviation of ``y``.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = GraphRegressor(epochs=30, random_state=0).fit(X[::2], y[::2])
        >>> model.score(X[1::2], y[1::2]) > 0.3
        True
    """

    def fit(self, X: Any, y: Any) -> GraphRegressor:
        """Builds the population of the rows, and trains a model on it.

        Args:
            X: The table, or a mapping modality → matrix.
            y: ``[rows]``, the number of each.

        Raises:
            ConfigError: A parameter out of its range, or columns that are not there.
            DataError: A modality that does not vary, or that no training row has.
        """
        matrices = fit_columns(self, X, self.modalities)
        if y is None:
            raise DataError("GraphRegressor requires y to be passed, but the target y is None")
        y = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(next(iter(matrices.values())), y)
        self.mean_, deviation = float(y.mean()), float(y.std())
        self.scale_ = deviation if deviation > 0 else 1.0
        self._train(matrices, (y - self.mean_) / self.scale_, ())
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Gives the number of each row, ``[rows]``."""
        found: np.ndarray = self._answers(X).squeeze(1).numpy() * self.scale_ + self.mean_
        return found

    def controls(self, X: Any, y: Any, *, runs: int = 5, test: float = 0.3) -> Results:
        """Says what the graph, each modality and the network are worth on a table: a score counts beside its controls.

        Each run draws a test part anew, and fits all variants on the rest: ``full``, these settings; ``no_graph``, the
        same with ``k=0``; ``without:<modality>``; ``flat_linear``, ridge regression, its strength chosen on the rows
        held back; ``mean``, that of ``y``. The estimator itself stays as it is.

        Args:
            X: As in :meth:`fit`.
            y: As in :meth:`fit`.
            runs: How many resplits.
            test: Share of the rows to test on.

        Returns:
            The scores, with ``table()`` and ``verdict()``.

        Example:
            >>> from sklearn.datasets import load_diabetes
            >>> X, y = load_diabetes(return_X_y=True)
            >>> results = GraphRegressor(epochs=10, random_state=0).controls(X, y, runs=2)
            >>> results.variants, results.mean("flat_linear", "r2") > 0.3
            (('full', 'no_graph', 'flat_linear', 'mean'), True)
        """
        return controls(self, X, y, _NUMBERS, runs=runs, test=test)

    def _task(self, schema: Schema) -> _NodeRegression:
        return _NodeRegression(schema)


def _scores(model: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    said = model.predict(X)
    return {
        "r2": float(r2_score(y, said)),
        "mae": float(mean_absolute_error(y, said)),
        "rmse": float(root_mean_squared_error(y, said)),
    }


_NUMBERS = Kind(
    better={"r2": True, "mae": False, "rmse": False},
    loss="rmse",
    scores=_scores,
    linear=lambda strength: Ridge(alpha=1 / strength),
    dummy=("mean", DummyRegressor),
    stratify=False,
)
