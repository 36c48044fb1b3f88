"""What the estimators share: the population, the model on it, and new rows attached one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from torch import Tensor, nn

from mmgraph.builders import Population, PopulationConfig
from mmgraph.encoders import Table
from mmgraph.errors import ConfigError
from mmgraph.estimators.columns import Columns, Matrices, as_records, filled, means_of, new_columns, rows_of
from mmgraph.estimators.task import TARGET
from mmgraph.functional.similarity import Metric
from mmgraph.fusion import Concat
from mmgraph.layers import Mean, Stack
from mmgraph.model import Model
from mmgraph.objectives import Supervised
from mmgraph.schema import Schema, TargetSpec, view
from mmgraph.tasks import Task
from mmgraph.tasks.controls import control_graph
from mmgraph.train import FitConfig, fit

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SEEDS = 2**31 - 1
WHOLE = {"k": 0, "channels": 1, "rounds": 1, "epochs": 1}  # parameter → the least it may be


class GraphEstimator(BaseEstimator, ABC):
    """A population graph of the rows, a model on it, and what both need for new rows."""

    def __init__(
        self,
        *,
        modalities: Mapping[str, Columns] | None = None,
        k: int = 10,
        metric: Metric = "euclidean",
        channels: int = 16,
        rounds: int = 1,
        dropout: float = 0.1,
        epochs: int = 200,
        learning_rate: float = 0.01,
        weight_decay: float = 5e-4,
        patience: int | None = 20,
        val: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.modalities = modalities
        self.k = k
        self.metric = metric
        self.channels = channels
        self.rounds = rounds
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.val = val
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _train(self, matrices: Matrices, y: np.ndarray, classes: tuple[str, ...]) -> None:
        """Fits population and model; ``y`` holds class numbers, or numbers to predict where there are no classes."""
        config = self._settings("log_loss" if classes else "error")
        rng = check_random_state(self.random_state)
        val = held_out(y if classes else None, len(y), self.val, rng)
        train = np.setdiff1d(np.arange(len(y)), val)
        self.fill_ = means_of(rows_of(matrices, train))
        self.population_, graph, schema = self._population(filled(matrices, self.fill_), y, classes, train, val)
        seed = int(rng.randint(SEEDS))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._model(schema, max(1, len(classes)))
        fitted = fit(model, Supervised(schema.target(TARGET)), self._task(schema), graph, replace(config, seed=seed))
        self.model_, self.n_iter_ = fitted.model.double(), len(fitted.history)
        self.best_epoch_, self.history_ = fitted.best_epoch, fitted.history
        self.val_rows_ = val

    @abstractmethod
    def _task(self, schema: Schema) -> Task:
        """Gives what the model is asked."""

    def _settings(self, monitor: str) -> FitConfig:
        for name, least in WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ConfigError(f"{name} must be a whole number, at least {least}, got {value!r}")
        if not 0 < self.val < 1:
            raise ConfigError(f"val must be a share between 0 and 1, got {self.val!r}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be a share from 0 to below 1, got {self.dropout!r}")
        return FitConfig(
            epochs=int(self.epochs),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            monitor=monitor,
        )

    def _population(
        self, matrices: Matrices, y: np.ndarray, classes: tuple[str, ...], train: np.ndarray, val: np.ndarray
    ) -> tuple[Population, HeteroData, Schema]:
        """The population of the training rows, and its graph with the validation rows attached, labels and masks.

        Validation rows are attached as new ones will be, so that training stops when *those* are told best.
        """
        cohort = as_records(rows_of(matrices, train), "training row")
        fewest = min(int(cohort.present(name).sum()) for name in matrices)
        self.k_ = min(int(self.k), max(1, fewest - 1))
        config = PopulationConfig(k=max(1, self.k_), metric=self.metric, drop_constant=True, anchor=_anchor(matrices))
        population = Population.fit(cohort, None, config)
        both = population.attach(as_records(rows_of(matrices, val), "validation row"))
        node, graph = config.anchor, self._joined(both)
        kind = "multiclass" if len(classes) > 2 else "binary" if classes else "regression"
        target = TargetSpec(node=node, kind=kind, classes=classes, attribute=TARGET)
        schema = population.schema.model_copy(update={"targets": {TARGET: target}})
        order = np.concatenate([train, val])
        graph[node][TARGET] = torch.from_numpy(y[order]) if classes else torch.from_numpy(y[order]).float()
        late = torch.arange(len(order)) >= len(train)
        graph[node].train_mask, graph[node].val_mask, graph[node].test_mask = ~late, late, torch.zeros_like(late)
        schema.check(graph)
        return population, graph, schema

    def _joined(self, population: Population) -> HeteroData:
        """The graph, without relations where ``k`` is 0."""
        if self.k_:
            return population.graph
        return control_graph("no_graph", population.graph, population.schema)

    def _model(self, schema: Schema, outputs: int) -> Model:
        widths = {name: schema.nodes[name].channels or 0 for name in schema.modalities}
        relations, channels = schema.relations(schema.anchor or ""), int(self.channels)
        return Model(
            schema=schema,
            encoder=Table(widths, channels, dropout=self.dropout),
            fusion=Concat(dict.fromkeys(widths, channels), channels),
            between=Stack(*(Mean(channels, channels, relations=relations) for _ in range(self.rounds))),
            head=nn.Linear(channels, outputs),
        )

    @torch.no_grad()
    def _answers(self, X: Any) -> Tensor:
        """What the model says of new rows, ``[rows, outputs]``, each attached to the training rows alone."""
        matrices = filled(new_columns(self, X), self.fill_)
        larger = self.population_.attach(as_records(matrices, "new row"))
        seen = view(self._joined(larger), larger.schema)
        for name in larger.schema.modalities:
            seen[name].x = seen[name].x.double()  # so that the rows beside it don't change a row's last digits
        answers: Tensor = self.model_(seen)
        return answers[len(self.population_.ids) :]


def held_out(labels: np.ndarray | None, rows: int, share: float, rng: np.random.RandomState) -> np.ndarray:
    """The rows to stop early by: about a share of each class, never all of one, and at least one row.

    Example:
        >>> held_out(np.array([0, 0, 0, 0, 1, 1, 2]), 7, 0.5, np.random.RandomState(0)).tolist()
        [2, 3, 4]
    """
    groups = [np.arange(rows)] if labels is None else [np.flatnonzero(labels == one) for one in np.unique(labels)]
    found = [rng.permutation(group)[: min(round(share * len(group)), len(group) - 1)] for group in groups]
    val = np.sort(np.concatenate(found))
    if not len(val):
        val = rng.permutation(max(groups, key=len))[:1]
    return val[: rows - 2]


def _anchor(matrices: Matrices) -> str:
    """A name for the rows that no modality has."""
    name = "row"
    while name in matrices:
        name = f"a {name}"
    return name
