"""The regressor: scikit-learn's own checks, its scale, its task, and its controls."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyRegressor
from sklearn.metrics import mean_squared_error
from sklearn.utils.estimator_checks import parametrize_with_checks

from mmgraph.errors import DataError
from mmgraph.estimators import GraphRegressor


@parametrize_with_checks([GraphRegressor(epochs=15, learning_rate=0.03)])
def test_it_keeps_to_what_scikit_learn_asks(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn.externals")  # a check casts NaN to whole numbers
        check(estimator)


@pytest.fixture(scope="module")
def model(numbers, modalities) -> GraphRegressor:
    return GraphRegressor(modalities=modalities, k=3, epochs=60, learning_rate=0.03, random_state=0).fit(*numbers)


def test_numbers_are_told_in_their_own_unit(model, numbers) -> None:
    X, y = numbers
    assert (model.mean_, model.scale_) == (y.mean(), y.std())
    assert model.predict(X).mean() == pytest.approx(y.mean(), abs=5)
    assert model.score(X, y) > 0.8


def test_the_unit_changes_nothing(model, numbers, modalities) -> None:
    X, y = numbers
    other = GraphRegressor(modalities=modalities, k=3, epochs=60, learning_rate=0.03, random_state=0).fit(X, y * 8 - 4)
    assert np.allclose(other.predict(X), model.predict(X) * 8 - 4, rtol=1e-3)


def test_training_stops_by_the_squared_error_of_the_rows_held_back(model, numbers) -> None:
    X, y = (values[model.val_rows_] for values in numbers)
    error = mean_squared_error(y, model.predict(X)) / model.scale_**2
    scores = [entry["val_error"] for entry in model.history_]
    assert min(scores) == pytest.approx(error, rel=1e-4)
    assert model.best_epoch_ == int(np.argmin(scores))


def test_training_learns_from_the_training_rows_alone(model, numbers, modalities) -> None:
    X, y = numbers
    changed = y.copy()
    changed[model.val_rows_] = changed[model.val_rows_][::-1]  # so that mean and deviation stay
    other = GraphRegressor(modalities=modalities, k=3, epochs=60, learning_rate=0.03, random_state=0).fit(X, changed)
    both = list(zip(model.history_, other.history_, strict=False))
    assert all(one["train_total"] == pytest.approx(two["train_total"], rel=1e-5) for one, two in both)
    assert model.history_[0]["val_error"] != other.history_[0]["val_error"]


def test_a_constant_is_told_as_it_is(numbers) -> None:
    X, _ = numbers
    model = GraphRegressor(k=3, epochs=3, random_state=0).fit(X, np.full(60, 7.0))
    assert model.scale_ == 1.0
    assert np.abs(model.predict(X) - 7).max() < 2


def test_y_must_be_numbers(numbers) -> None:
    X, y = numbers
    with pytest.raises(DataError, match="GraphRegressor requires y to be passed, but the target y is None"):
        GraphRegressor().fit(X, None)
    with pytest.raises(ValueError, match="contains NaN"):
        GraphRegressor().fit(X, np.where(y > 50, np.nan, y))
    with pytest.raises(ValueError, match="could not convert string to float: .*'tall'"):
        GraphRegressor().fit(X, ["tall"] * 60)


def test_a_score_stands_beside_its_controls(numbers) -> None:
    X, y = numbers
    results = GraphRegressor(k=3, epochs=20, learning_rate=0.03, random_state=0).controls(X, y, runs=2)
    assert results.variants == ("full", "no_graph", "flat_linear", "mean")
    assert results.mean("flat_linear", "r2") > 0.99
    assert results.mean("mean", "r2") < 0.05
    assert results.higher_is_better == {"r2": True, "mae": False, "rmse": False}
    dummy = DummyRegressor().fit(X, y)
    assert results.mean("mean", "mae") == pytest.approx(np.abs(y - dummy.predict(X)).mean(), rel=0.5)


def test_the_task_hides_what_it_asks_for(model) -> None:
    task, graph = model._task(_with_target(model)), _graph(model)
    seen = task.view(graph, "train")
    assert seen["row"].num_nodes == 4
    assert task.view(graph, "val")["row"].y.isnan().tolist() == [False] * 4 + [True] * 2
    assert task.evaluate(torch.tensor([1.0, 3.0]), graph, "val") == {"error": 2.5}
    answers = task.answers(torch.arange(6.0)[:, None], task.view(graph, "val"), "val")
    assert answers.tolist() == [4.0, 5.0]


def _with_target(model):
    from mmgraph.schema import TargetSpec

    schema = model.population_.schema
    return schema.model_copy(update={"targets": {"y": TargetSpec(node="row", kind="regression")}})


def _graph(model):
    """Four rows for training, two for validation, without any modality."""
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    graph["row"].x, graph["row"].y = torch.empty(6, 0), torch.tensor([0.0, 0, 0, 0, 0, 1])
    late = torch.arange(6) > 3
    graph["row"].train_mask, graph["row"].val_mask, graph["row"].test_mask = ~late, late, late & ~late
    for name in ("blood", "scan"):
        graph[name].x = torch.empty(0, model.population_.graph[name].x.shape[1])
        graph[name, "of", "row"].edge_index = torch.empty(2, 0, dtype=torch.long)
        graph["row", f"near_{name}", "row"].edge_index = torch.empty(2, 0, dtype=torch.long)
    return graph
