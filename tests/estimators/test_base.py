"""What both estimators share: which rows are seen when, new rows alone and among others, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmgraph.errors import ConfigError, DataError
from mmgraph.estimators import GraphClassifier, GraphRegressor
from mmgraph.estimators.base import held_out
from mmgraph.schema import view

FAST = {"k": 3, "epochs": 8, "random_state": 0}


@pytest.fixture(scope="module")
def fitted(classes, modalities) -> GraphClassifier:
    return GraphClassifier(modalities=modalities, **FAST).fit(*classes)


def test_a_row_is_told_the_same_alone_and_among_others(fitted, classes) -> None:
    X = classes[0] + 0.1
    X[3, 4:], X[7, 1] = np.nan, np.nan
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba(X[row : row + 1]) for row in range(len(X))])
    assert np.allclose(together, alone, rtol=0, atol=1e-12)
    assert np.allclose(together.sum(axis=1), 1)
    assert (fitted.predict(X) == fitted.classes_[together.argmax(axis=1)]).all()


def test_only_the_training_rows_are_joined_to_and_scaled_by(fitted, classes, modalities) -> None:
    X, y = classes
    changed = X.copy()
    changed[fitted.val_rows_] += 7.0
    other = GraphClassifier(modalities=modalities, **FAST).fit(changed, y)
    assert (other.val_rows_ == fitted.val_rows_).all()
    assert len(fitted.population_.ids) == len(X) - len(fitted.val_rows_)
    for name in modalities:
        assert torch.equal(other.population_.graph[name].x, fitted.population_.graph[name].x)
    assert other.history_[0]["train_total"] == fitted.history_[0]["train_total"]
    assert other.history_[0]["val_log_loss"] != fitted.history_[0]["val_log_loss"]


def test_the_best_epoch_is_the_one_that_is_best_on_the_rows_held_back(fitted, classes) -> None:
    scores = [entry["val_log_loss"] for entry in fitted.history_]
    assert fitted.n_iter_ == len(scores)
    assert fitted.best_epoch_ == int(np.argmin(scores))
    X, y = (values[fitted.val_rows_] for values in classes)
    said = fitted.predict_proba(X)[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    assert -np.log(said).mean() == pytest.approx(min(scores), abs=1e-5)


def test_a_new_row_is_joined_to_its_nearest_training_rows(fitted, classes) -> None:
    row = classes[0][:1] + 0.05
    larger = fitted.population_.attach(_records(fitted, row))
    train = np.setdiff1d(np.arange(60), fitted.val_rows_)
    cohort, new = classes[0][train, :4], row[0, :4]
    scaled = (cohort - new) / cohort.std(axis=0)
    nearest = np.argsort((scaled**2).sum(axis=1))[:3]
    index = larger.graph["row", "near_blood", "row"].edge_index
    assert sorted(index[0][index[1] == len(train)].tolist()) == sorted(nearest.tolist())
    with torch.no_grad():
        seen = view(larger.graph, larger.schema)
        expected = fitted.model_.float()(seen)[-1:].softmax(dim=1)
    fitted.model_.double()
    assert np.allclose(fitted.predict_proba(row), expected, atol=1e-5)


def _records(fitted, row):
    from mmgraph.data import Records

    return Records(ids=["new"], modalities={"blood": row[:, :4], "scan": row[:, 4:]})


def test_a_missing_modality_is_a_node_that_is_not_there(classes, modalities) -> None:
    X, y = classes
    X = X.copy()
    X[::4, 4:] = np.nan
    model = GraphClassifier(modalities=modalities, **FAST).fit(X, y)
    train = np.setdiff1d(np.arange(60), model.val_rows_)
    assert model.population_.graph["scan"].num_nodes == (train % 4 != 0).sum()
    assert model.population_.graph["blood"].num_nodes == len(train)
    nothing = np.full((2, 6), np.nan)
    assert np.isfinite(model.predict_proba(nothing)).all()


def test_single_unknown_values_are_filled_with_the_mean_of_the_training_rows(classes) -> None:
    X, y = classes
    X = X.copy()
    X[::5, 2] = np.nan
    model = GraphClassifier(**FAST).fit(X, y)
    train = np.setdiff1d(np.arange(60), model.val_rows_)
    mean = np.nanmean(X[train, 2])
    assert model.fill_["table"][2] == pytest.approx(mean)
    query, known = X[:1].copy(), X[:1].copy()
    known[0, 2] = mean
    assert np.array_equal(model.predict_proba(query), model.predict_proba(known))


def test_without_neighbours_no_other_row_counts(classes, modalities) -> None:
    X, y = classes
    model = GraphClassifier(modalities=modalities, **{**FAST, "k": 0}).fit(X, y)
    assert model.k_ == 0
    model.population_.graph["blood"].x[:] = 100.0  # of those that a new row would be joined to
    before = GraphClassifier(modalities=modalities, **{**FAST, "k": 0}).fit(X, y).predict_proba(X)
    assert np.array_equal(model.predict_proba(X), before)
    joined = GraphClassifier(modalities=modalities, **FAST).fit(X, y)
    assert not np.allclose(joined.predict_proba(X), before)


@pytest.mark.parametrize("cls", [GraphClassifier, GraphRegressor])
def test_a_mapping_columns_by_number_and_columns_by_name_are_the_same_table(cls, classes, numbers, modalities) -> None:
    pandas = pytest.importorskip("pandas")
    X, y = classes if cls is GraphClassifier else numbers
    matrices = {name: X[:, columns] for name, columns in modalities.items()}
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    answers = [
        cls(modalities=modalities, **FAST).fit(X, y).predict(X),
        cls(modalities={"blood": [0, 1, 2, 3], "scan": [4, 5]}, **FAST).fit(X, y).predict(X),
        cls(modalities={"blood": list("abcd"), "scan": ["e", "f"]}, **FAST).fit(frame, y).predict(frame),
        cls(**FAST).fit(matrices, y).predict(dict(reversed(matrices.items()))),
    ]
    for other in answers[1:]:
        assert np.array_equal(answers[0], other)


def test_few_rows_have_few_neighbours(classes) -> None:
    X, y = classes
    model = GraphClassifier(epochs=2, random_state=0).fit(X[:6], y[:6])
    assert model.k_ == len(model.population_.ids) - 1
    assert model.predict(X).shape == (60,)
    assert GraphClassifier(epochs=2, random_state=0).fit(X[:3], y[:3]).predict(X[:1]).shape == (1,)


def test_the_same_seed_gives_the_same_model_and_another_another(fitted, classes, modalities) -> None:
    again = clone(fitted).fit(*classes)
    assert np.array_equal(again.predict_proba(classes[0]), fitted.predict_proba(classes[0]))
    other = clone(fitted).set_params(random_state=1).fit(*classes)
    assert not np.array_equal(other.predict_proba(classes[0]), fitted.predict_proba(classes[0]))


def test_it_is_kept_by_pickle(fitted, classes) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(classes[0]), fitted.predict_proba(classes[0]))


def test_pipelines_cross_validation_and_grids(classes, numbers, modalities) -> None:
    steps = make_pipeline(StandardScaler(), GraphClassifier(modalities=modalities, k=3, epochs=25, random_state=0))
    assert cross_val_score(steps, *classes, cv=2).mean() > 0.7
    grid = GridSearchCV(GraphRegressor(**{**FAST, "learning_rate": 0.03}), {"k": [0, 3]}, cv=2).fit(*numbers)
    assert set(grid.best_params_) == {"k"}
    assert grid.best_estimator_.predict(numbers[0]).shape == (60,)


@given(
    st.lists(st.integers(0, 3), min_size=3, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31 - 1),
)
@settings(max_examples=60)
def test_rows_are_held_back_of_every_class_and_two_are_left(labels, share, seed) -> None:
    labels = np.array(labels)
    val = held_out(labels, len(labels), share, np.random.RandomState(seed))
    assert 1 <= len(val) <= len(labels) - 2
    assert len(set(val.tolist())) == len(val)
    left = np.setdiff1d(np.arange(len(labels)), val)
    for one, count in zip(*np.unique(labels, return_counts=True), strict=True):
        assert (labels[val] == one).sum() <= max(1, round(share * count))
        if count > 1:
            assert (labels[left] == one).any()
    numbers = held_out(None, len(labels), share, np.random.RandomState(seed))
    assert 1 <= len(numbers) <= len(labels) - 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "k must be a whole number, at least 0, got -1"),
        ({"k": 2.5}, "k must be a whole number, at least 0, got 2.5"),
        ({"k": True}, "k must be a whole number, at least 0, got True"),
        ({"channels": 0}, "channels must be a whole number, at least 1, got 0"),
        ({"rounds": 0}, "rounds must be a whole number, at least 1, got 0"),
        ({"epochs": 0}, "epochs must be a whole number, at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be a share from 0 to below 1, got 1.0"),
        ({"val": 0}, "val must be a share between 0 and 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"metric": "manhattan"}, "metric must be one of .*got 'manhattan'"),
        ({"modalities": {"blood": "abc"}}, r"modalities\['blood'\] must be a slice, .* got 'abc'"),
        ({"modalities": {"blood": []}}, r"modalities\['blood'\] must be a slice, .* got \[\]"),
        ({"modalities": {"blood": slice(9, 12)}}, r"at least 1 of the 6, got slice\(9, 12"),
        ({"modalities": {"blood": [0, 6]}}, r"modalities\['blood'\] must be columns between 0 and 5, got 6"),
        ({"modalities": {"blood": ["a"]}}, r"must name columns of X, which have no names, got 'a'"),
    ],
)
def test_wrong_parameters_are_named(options, message, classes) -> None:
    with pytest.raises(ConfigError, match=message):
        GraphClassifier(**options).fit(*classes)


def test_wrong_tables_are_named(fitted, classes, modalities) -> None:
    X, y = classes
    matrices = {name: X[:, columns] for name, columns in modalities.items()}
    with pytest.raises(ConfigError, match=r"X is a mapping of \['blood', 'scan'\]; leave modalities out"):
        GraphClassifier(modalities=modalities).fit(matrices, y)
    with pytest.raises(DataError, match="X must hold at least 1 modality, got an empty mapping"):
        GraphClassifier().fit({}, y)
    with pytest.raises(ValueError, match=r"Found array with 2 sample\(s\).*while a minimum of 3 is required"):
        GraphClassifier().fit(X[:2], y[:2])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        GraphClassifier().fit({**matrices, "scan": matrices["scan"][1:]}, y)
    with pytest.raises(ValueError, match=r"X\['scan'\] contains infinity"):
        GraphClassifier().fit({**matrices, "scan": np.full((60, 2), np.inf)}, y)
    with pytest.raises(DataError, match="Modality 'scan' must be present in at least 1 subject"):
        GraphClassifier().fit({**matrices, "scan": np.full((60, 2), np.nan)}, y)
    with pytest.raises(DataError, match="Modality 'scan' must vary among the 48 fitted subjects"):
        GraphClassifier().fit({**matrices, "scan": np.ones((60, 2))}, y)
    with pytest.raises(NotFittedError):
        GraphClassifier().predict(X)
    of_mapping = GraphClassifier(**FAST).fit(matrices, y)
    with pytest.raises(DataError, match=r"X must be a mapping of \['blood', 'scan'\], as in fit, got ndarray"):
        of_mapping.predict(X)
    with pytest.raises(DataError, match=r"X must have the modalities \['blood', 'scan'\], as in fit, got \['blood'\]"):
        of_mapping.predict({"blood": X[:, :4]})
    with pytest.raises(DataError, match=r"X\['scan'\] must have 2 columns, as in fit, got 4"):
        of_mapping.predict({"blood": X[:, :4], "scan": X[:, :4]})
    with pytest.raises(ValueError, match="X has 5 features, but GraphClassifier is expecting 6"):
        fitted.predict(X[:, :5])


def test_an_estimator_can_be_fitted_on_a_table_and_then_on_a_mapping(classes, modalities) -> None:
    X, y = classes
    model = GraphClassifier(**FAST).fit(X, y)
    model.fit({"blood": X[:, :4], "scan": X[:, 4:]}, y)
    assert model.n_features_in_ == 6
    with pytest.raises(DataError, match="must be a mapping"):
        model.predict(X)


def test_a_modality_may_have_the_name_of_the_rows(classes) -> None:
    X, y = classes
    model = GraphClassifier(**FAST).fit({"row": X, "a row": X[:, :2]}, y)
    assert model.population_.schema.anchor == "a a row"
    assert model.population_.schema.modalities == ("row", "a row")
