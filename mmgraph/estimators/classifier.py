"""A classifier of the rows of a table, on the population graph that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from mmgraph.errors import DataError
from mmgraph.estimators.base import GraphEstimator
from mmgraph.estimators.columns import fit_columns
from mmgraph.estimators.controls import Kind, controls
from mmgraph.schema import Schema
from mmgraph.tasks import NodeClassification
from mmgraph.train.results import Results


class GraphClassifier(ClassifierMixin, GraphEstimator):
    r"""Classifies rows by what they and the rows most like them hold, after scikit-learn's manner.

    ``fit`` joins each training row to the ``k`` nearest in each modality (a population graph: Parisot et al. 2018,
    arXiv:1806.01738), and trains a linear map a modality, their fusion, and ``rounds`` of averaging over neighbours
    (Hamilton et al. 2017, arXiv:1706.02216) on it. A share of the rows is held back to stop early by. A new row is
    joined to the training rows, by edges that lead into it: what is said of it depends on no other new row.

    Args:
        modalities: Name → the columns of one modality: a slice, or their numbers or names; by default all columns are
            one. Columns in none are left aside.
        k: Neighbours of a row in each modality (fewer where fewer rows have it); 0 for no graph.
        metric: Distance between rows: ``euclidean``, ``cosine`` or ``correlation``, of scaled columns.
        channels: Width of a row's state.
        rounds: Rounds of messages.
        dropout: Share of the values zeroed while training.
        epochs: At most so many.
        learning_rate: Of Adam.
        weight_decay: Of weight matrices.
        patience: Stop after so many epochs that are not better on the rows held back; ``None`` never stops early.
        val: Share of the rows of each class that is held back.
        random_state: Of the rows held back, the first weights and dropout.

    ``X`` is a table ``[rows, columns]``, or a mapping modality → matrix ``[rows, channels]``. A row without a
    modality has NaN in all its columns; where only some are unknown, they are filled with the training rows' mean.

    Attributes:
        classes_: The classes.
        k_: How many neighbours a row has in each modality.
        fill_: The means that unknown values are filled with.
        population_: The graph of the training rows, and what attaches new ones.
        model_: The model, at its best epoch.
        best_epoch_, n_iter_, history_: That epoch, how many there were, and what was logged in each.
        val_rows_: The rows held back.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> X, y = load_wine(return_X_y=True)
        >>> model = GraphClassifier(k=5, epochs=30, random_state=0).fit(X[::2], y[::2])
        >>> model.score(X[1::2], y[1::2]) > 0.9
        True
    """

    def fit(self, X: Any, y: Any) -> GraphClassifier:
        """Builds the population of the rows, and trains a model on it.

        Args:
            X: The table, or a mapping modality → matrix.
            y: ``[rows]``, the class of each.

        Raises:
            ConfigError: A parameter out of its range, or columns that are not there.
            DataError: Fewer than 2 classes, or a modality that does not vary, or that no training row has.
        """
        matrices = fit_columns(self, X, self.modalities)
        if y is None:
            raise DataError("GraphClassifier requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        check_consistent_length(next(iter(matrices.values())), y)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"y must hold at least 2 classes, got 1 class, {self.classes_[0]!r}")
        self._train(matrices, numbers.astype(np.int64), tuple(str(one) for one in self.classes_))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Gives the probability of each class, ``[rows, classes]``, in the order of ``classes_``."""
        probabilities: np.ndarray = self._answers(X).softmax(dim=1).numpy()
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """Gives the most probable class of each row, ``[rows]``."""
        best = self.predict_proba(X).argmax(axis=1)
        found: np.ndarray = self.classes_[best]
        return found

    def controls(self, X: Any, y: Any, *, runs: int = 5, test: float = 0.3) -> Results:
        """Says what the graph, each modality and the network are worth on a table: a score counts beside its controls.

        Each run draws a test part anew, stratified, and fits all variants on the rest: ``full``, these settings;
        ``no_graph``, the same with ``k=0``; ``without:<modality>``; ``flat_linear``, logistic regression whose strength
        is chosen on the rows held back; ``majority``, the shares of the classes. The estimator itself stays as it is.

        Args:
            X: As in :meth:`fit`.
            y: As in :meth:`fit`.
            runs: How many resplits.
            test: Share of the rows to test on.

        Returns:
            The scores, with ``table()`` and ``verdict()``.

        Example:
            >>> from sklearn.datasets import load_wine
            >>> X, y = load_wine(return_X_y=True)
            >>> results = GraphClassifier(k=5, epochs=20, random_state=0).controls(X, y, runs=2)
            >>> results.variants
            ('full', 'no_graph', 'flat_linear', 'majority')
            >>> results.mean("full", "accuracy") > results.mean("majority", "accuracy") + 0.3
            True
        """
        return controls(self, X, y, _CLASSES, runs=runs, test=test)

    def _task(self, schema: Schema) -> NodeClassification:
        return NodeClassification(schema)


def _linear(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=5000)


def _scores(model: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    said, probabilities = model.predict(X), model.predict_proba(X)
    return {
        "accuracy": float(accuracy_score(y, said)),
        "balanced_accuracy": float(balanced_accuracy_score(y, said)),
        "log_loss": float(log_loss(y, probabilities, labels=model.classes_)),
    }


_CLASSES = Kind(
    better={"accuracy": True, "balanced_accuracy": True, "log_loss": False},
    loss="log_loss",
    scores=_scores,
    linear=_linear,
    dummy=("majority", lambda: DummyClassifier(strategy="prior")),
    stratify=True,
)
