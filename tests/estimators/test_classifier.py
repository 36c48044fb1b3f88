"""The classifier: scikit-learn's own checks, its classes, and its controls."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.estimator_checks import parametrize_with_checks

from mmgraph.errors import ConfigError, DataError
from mmgraph.estimators import GraphClassifier
from mmgraph.estimators.base import SEEDS


@parametrize_with_checks([GraphClassifier(epochs=15, learning_rate=0.03)])
def test_it_keeps_to_what_scikit_learn_asks(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn.externals")  # a check casts NaN to whole numbers
        check(estimator)


def test_classes_are_told_by_their_names(classes) -> None:
    X, y = classes
    model = GraphClassifier(k=3, epochs=40, random_state=0).fit(X, y)
    assert model.classes_.tolist() == ["high", "low", "middle"]
    assert model.score(X, y) > 0.9
    assert set(model.predict(X)) == {"high", "low", "middle"}


def test_two_classes_and_numbers_for_names(classes) -> None:
    X, y = classes
    binary = GraphClassifier(k=3, epochs=5, random_state=0).fit(X, y == "low")
    assert binary.classes_.dtype == bool
    assert binary.predict_proba(X).shape == (60, 2)


def test_one_class_is_refused_and_so_are_numbers_without_classes(classes) -> None:
    X, _ = classes
    with pytest.raises(DataError, match="y must hold at least 2 classes, got 1 class, .*'a'"):
        GraphClassifier().fit(X, ["a"] * 60)
    with pytest.raises(DataError, match="GraphClassifier requires y to be passed, but the target y is None"):
        GraphClassifier().fit(X, None)
    with pytest.raises(ValueError, match="Unknown label type"):
        GraphClassifier().fit(X, X[:, 0])


@pytest.fixture(scope="module")
def model(modalities) -> GraphClassifier:
    return GraphClassifier(modalities=modalities, k=3, epochs=10, random_state=0)


@pytest.fixture(scope="module")
def results(model, classes):
    return model.controls(*classes, runs=2, test=0.3)


def test_a_score_stands_beside_its_controls(results) -> None:
    names = ("full", "no_graph", "without:blood", "without:scan", "flat_linear", "majority")
    assert results.variants == names
    assert (results.metric, results.runs, results.resplit) == ("accuracy", 2, True)
    assert {cell.parts for cell in results.cells} == {(33, 9, 18)}
    assert results.verdict().startswith("The graph ")
    assert "The network over a linear model" in results.verdict()
    assert "Fusion over the best with one modality less" in results.verdict()


def test_controls_are_fits_by_hand_on_the_same_rows(model, results, classes) -> None:
    X, y = classes
    seed = int(check_random_state(0).randint(SEEDS))
    parts = train_test_split(np.arange(60), test_size=0.3, random_state=seed, stratify=y)
    train, test = (np.sort(rows) for rows in parts)
    for name, changed in {
        "full": {},
        "no_graph": {"k": 0},
        "without:scan": {"modalities": {"blood": slice(0, 4)}},
    }.items():
        by_hand = clone(model).set_params(random_state=seed, **changed).fit(X[train], y[train])
        assert results.values(name, "accuracy")[0] == by_hand.score(X[test], y[test])
    dummy = DummyClassifier(strategy="prior").fit(X[train], y[train])
    assert results.values("majority", "accuracy")[0] == dummy.score(X[test], y[test])
    assert results.mean("flat_linear", "accuracy") > 0.8


def test_controls_leave_the_estimator_as_it_is(model, results) -> None:
    assert not hasattr(model, "model_")
    assert model.get_params()["k"] == 3
    with pytest.raises(ConfigError, match="runs must be at least 1 and test a share between 0 and 1, got 0 and 0.3"):
        model.controls(np.ones((4, 6)), [0, 1, 0, 1], runs=0)
    with pytest.raises(ConfigError, match="got 1 and 1"):
        model.controls(np.ones((4, 6)), [0, 1, 0, 1], runs=1, test=1)


def test_controls_of_a_table_with_gaps(classes) -> None:
    X, y = classes
    X = X.copy()
    X[::3, 2], X[1::7, 4:] = np.nan, np.nan
    matrices = {"blood": X[:, :4], "scan": X[:, 4:]}
    results = GraphClassifier(k=3, epochs=3, random_state=0).controls(matrices, y, runs=1)
    assert np.isfinite([cell.metrics["log_loss"] for cell in results.cells]).all()
