import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.preprocessing import StandardScaler

from mmgraph.builders.scaling import Scaling
from mmgraph.errors import ConfigError, DataError


def fit(x, labels=None, labelled=None, select=None, drop_constant=False, **options):
    x = np.asarray(x, dtype=np.float32)
    labelled = x if labelled is None else np.asarray(labelled, dtype=np.float32)
    return Scaling.fit(
        "blood", x, labelled=labelled, labels=labels, select=select, drop_constant=drop_constant, **options
    )


def values(rows, channels, seed=0):
    return np.random.default_rng(seed).lognormal(size=(rows, channels)).astype(np.float32)


@pytest.mark.parametrize("offset", [0, 1e4, -3e5])
def test_standard_equals_sklearn(offset):
    x, new = values(50, 4) + np.float32(offset), values(9, 4, 1) + np.float32(offset)
    theirs = StandardScaler().fit(x.astype(np.float64))
    scaling = fit(x)
    for rows in (x, new, new[:1], new[:0]):
        expected = theirs.transform(rows.astype(np.float64)) if len(rows) else np.empty((0, 4))
        np.testing.assert_allclose(scaling(rows), expected, rtol=1e-6, atol=1e-6)
        assert scaling(rows).dtype == np.float32
    assert scaling.channels == 4
    assert scaling.columns.tolist() == [0, 1, 2, 3]
    assert scaling.sorted.shape == (0, 4)


def slow_rank(fitted, rows):
    """Share of fitted values below, equal ones by half, as a normal quantile within ±2.5; then standardised."""

    def quantiles(matrix):
        out = np.empty(matrix.shape)
        for row, column in np.ndindex(matrix.shape):
            value = matrix[row, column]
            below = sum(float(v < value) + 0.5 * float(v == value) for v in fitted[:, column])
            out[row, column] = np.clip(norm.ppf(below / len(fitted)), -2.5, 2.5)
        return out

    base = quantiles(fitted)
    return (quantiles(rows) - base.mean(axis=0)) / base.std(axis=0)


@settings(max_examples=50)
@given(data=st.data(), rows=st.integers(2, 9))
def test_ranks_equal_a_slow_loop_with_ties_and_unseen_values(data, rows):
    numbers = st.sampled_from([-1e30, -2.0, 0.0, 0.5, 1.0, 7.0])
    column = st.lists(numbers, min_size=rows, max_size=rows).filter(lambda c: len(set(c)) > 1)
    fitted = np.array([data.draw(column), data.draw(column)], dtype=np.float32).T
    new = np.array(data.draw(st.lists(st.tuples(numbers, numbers), max_size=4)), dtype=np.float32).reshape(-1, 2)
    scaling = fit(fitted, by_rank=True)
    np.testing.assert_allclose(scaling(fitted), slow_rank(fitted, fitted), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaling(new), slow_rank(fitted, new), rtol=1e-5, atol=1e-6)
    assert scaling.sorted.shape == (rows, 2)


def test_ranks_are_cut_off_and_blind_to_monotone_change():
    x = values(400, 1)
    scaling = fit(x, by_rank=True)
    far = scaling(np.array([[-1e30], [0.0], [1e30]], dtype=np.float32))
    np.testing.assert_allclose(far * scaling.scale + scaling.mean, [[-2.5], [-2.5], [2.5]], rtol=1e-6)
    np.testing.assert_allclose(fit(np.log(x), by_rank=True)(np.log(x)), scaling(x), rtol=1e-6)


@pytest.mark.parametrize("select", [1, 3, 6])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_selection_equals_sklearn_on_the_labelled_rows(select, offset):
    x = values(60, 6) + np.float32(offset)
    labels = np.arange(60) % 3
    x[:, 4] += labels
    x[:, 1] -= labels * np.float32(0.5)
    theirs = SelectKBest(f_classif, k=select).fit(x[:40].astype(np.float64), labels[:40])
    scaling = fit(x, labels[:40], x[:40], select)
    assert scaling.columns.tolist() == np.flatnonzero(theirs.get_support()).tolist()
    kept = x[:, scaling.columns]
    np.testing.assert_allclose(scaling(x), fit(kept)(kept))
    assert scaling.channels == 6


def test_a_column_that_tells_the_classes_apart_is_chosen_first():
    labels = np.arange(20) % 2
    x = np.c_[values(20, 1), labels, values(20, 1, 1)]
    assert fit(x, labels, select=1).columns.tolist() == [1]


def test_a_column_constant_among_the_labelled_is_chosen_last():
    x, labels = values(20, 2), np.arange(10) % 2
    x[:10, 0] = 3
    assert fit(x, labels, x[:10], 1).columns.tolist() == [1]
    assert fit(x, labels, x[:10], 2).columns.tolist() == [0, 1]


def test_constant_columns_are_refused_by_name_or_left_out():
    x = values(8, 4)
    x[:, [1, 3]] = 7
    with pytest.raises(DataError, match=r"'blood' .*8 fitted.*2 constant columns of 4, e\.g\. \[1, 3\]"):
        fit(x)
    with pytest.raises(DataError, match=r"e\.g\. \['zinc', 'lead'\]"):
        fit(x, names=["iron", "zinc", "salt", "lead"])
    scaling = fit(x, drop_constant=True)
    assert scaling.columns.tolist() == [0, 2]
    np.testing.assert_array_equal(scaling(x), fit(x[:, [0, 2]])(x[:, [0, 2]]))
    selected = fit(x, np.arange(8) % 2, select=1, drop_constant=True)
    assert set(selected.columns) <= {0, 2}


def test_nothing_left_is_refused():
    with pytest.raises(DataError, match=r"3 constant columns of 3"):
        fit(np.ones((5, 3)), drop_constant=True)
    with pytest.raises(DataError, match="the 1 fitted .*2 constant"):
        fit(np.ones((1, 2)), drop_constant=True)
    with pytest.raises(DataError, match="'blood' must be present in at least 1 subject"):
        fit(np.empty((0, 2)))


@pytest.mark.parametrize(
    ("labels", "select", "value"),
    [
        (None, 2, "select=2 needs training labels .*'blood'"),
        (np.zeros(8, dtype=int), 2, "at least 2 classes"),
        (np.arange(8) % 2, 0, "between 1 and the 3 columns of 'blood', got 0"),
        (np.arange(8) % 2, 4, "between 1 and the 3 columns of 'blood', got 4"),
    ],
)
def test_a_selection_that_can_not_be_made_is_refused(labels, select, value):
    with pytest.raises(ConfigError, match=value):
        fit(values(8, 3), labels, select=select)
