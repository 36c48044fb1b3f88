import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.data import Split, stratified_split
from mmgraph.errors import ConfigError, DataError

PARTS = ("train", "val", "test")


@settings(max_examples=100)
@given(
    counts=st.lists(st.integers(8, 40), min_size=2, max_size=4),
    unknown=st.integers(0, 5),
    test=st.floats(0.2, 0.5),
    val=st.floats(0.2, 0.5),
    seed=st.integers(0, 3),
)
def test_parts_are_disjoint_and_stratified(counts, unknown, test, val, seed):
    labels = np.repeat([*range(len(counts)), -1], [*counts, unknown])
    np.random.default_rng(0).shuffle(labels)
    split = stratified_split(labels, test=test, val=val, seed=seed)
    rows = np.concatenate([getattr(split, part) for part in PARTS])
    assert sorted(rows) == np.flatnonzero(labels >= 0).tolist()  # each once, no unlabelled one
    total = len(rows)
    assert abs(len(split.test) - test * total) < 1
    assert abs(len(split.val) - val * (total - len(split.test))) < 1
    for part in PARTS:
        chosen = getattr(split, part)
        assert chosen.tolist() == sorted(chosen)
    rest = np.array(counts) - np.bincount(labels[split.test], minlength=len(counts))
    for whole, part in ((np.array(counts), split.test), (rest, split.val)):
        share = len(part) / whole.sum()
        assert (np.abs(np.bincount(labels[part], minlength=len(counts)) - share * whole) < 1).all()


def test_a_seed_gives_one_split_and_each_its_own():
    labels = np.arange(60) % 3
    splits = [stratified_split(labels, seed=seed) for seed in range(10)]
    for seed, split in enumerate(splits):
        again = stratified_split(labels.tolist(), seed=seed)
        assert all(np.array_equal(getattr(split, part), getattr(again, part)) for part in PARTS)
    for part in PARTS:
        assert len({tuple(getattr(split, part)) for split in splits}) == 10


@pytest.mark.parametrize(
    ("labels", "options", "error", "value"),
    [
        (None, {}, DataError, "got None"),
        ([0, 1] * 9, {"test": 0}, ConfigError, "test must be a share between 0 and 1, got 0"),
        ([0, 1] * 9, {"test": 1.0}, ConfigError, "test .*got 1.0"),
        ([0, 1] * 9, {"val": -0.25}, ConfigError, "val .*got -0.25"),
        ([0, 1] * 9, {"val": float("nan")}, ConfigError, "val .*got nan"),
        ([1] * 9, {}, DataError, r"at least 2 classes, got \[1\] in 9 labelled rows"),
        ([1] * 9 + [-1] * 3, {}, DataError, r"got \[1\] in 9"),
        ([-1] * 9, {}, DataError, r"got \[\] in 0"),
        ([0] * 9 + [4] * 2, {}, DataError, "at least 3 rows.*got 2 of class 4"),
        ([0, 1, 2] * 3, {"test": 0.1}, DataError, "9 labelled rows of 3 classes .*test=0.1, val=0.2"),
        ([0] * 97 + [5] * 3, {"test": 0.1, "val": 0.1}, DataError, "class 5 .*3 rows.* none in (val|test)"),
    ],
)
def test_what_can_not_be_split_is_refused_by_value(labels, options, error, value):
    with pytest.raises(error, match=value):
        stratified_split(labels, **options)


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        (([], [1], [2]), r"Split.train .*got \[\]"),
        (([0], [], [2]), r"Split.val .*got \[\]"),
        (([0], [1], []), r"Split.test .*got \[\]"),
        (([0], [1], [[2]]), r"Split.test .*got \[\[2\]\]"),
        (([0, 1], [2, 1], [3]), "row 1 in train and val"),
        (([0, 1], [2], [3, 0]), "row 0 in train and test"),
        (([0, 5, 5], [2], [3]), "row 5 in train and train"),
    ],
)
def test_a_wrong_split_is_refused_by_value(parts, value):
    with pytest.raises(DataError, match=value):
        Split(*parts)


def test_rows_outside_the_table_are_refused():
    Split([0], [1], [2]).check(3)
    with pytest.raises(DataError, match=r"Split.test must be rows between 0 and 1, got 2"):
        Split([0], [1], [2]).check(2)
    with pytest.raises(DataError, match=r"Split.val .*got -1"):
        Split([0], [-1], [2]).check(3)


@settings(max_examples=50)
@given(folds=st.integers(2, 5), seed=st.integers(0, 5), classes=st.integers(2, 3))
def test_folds_partition_the_pool_and_leave_the_test(folds, seed, classes):
    labels = np.arange(70) % classes
    labels[::7] = -1
    split = stratified_split(labels, seed=seed)
    pool = np.sort(np.concatenate([split.train, split.val]))
    dealt = [split.fold(labels, number, folds, seed=seed) for number in range(folds)]
    assert sorted(np.concatenate([one.val for one in dealt])) == pool.tolist()
    for number, one in enumerate(dealt):
        assert np.array_equal(one.test, split.test)
        assert sorted([*one.train, *one.val]) == pool.tolist()
        counts = np.bincount(labels[one.val], minlength=classes)
        assert (np.abs(counts - np.bincount(labels[pool]) / folds) < 1).all()
        again = split.fold(labels, number, folds, seed=seed)
        assert np.array_equal(again.val, one.val)
    assert not np.array_equal(split.fold(labels, 0, folds, seed=seed + 1).val, dealt[0].val)


def test_one_fold_is_the_split_itself():
    split = Split([0, 1], [2], [3])
    assert split.fold(None, 0, 1) is split


def test_folds_that_can_not_be_dealt_are_refused():
    labels = np.array([0, 1, 0, 1, 0, 0, 0])
    split = Split([0, 1, 2, 3], [4, 5], [6])
    for number, folds, value in [(3, 3, "between 0 and 2, got 3"), (-1, 3, "got -1"), (1, 1, "between 0 and 0, got 1")]:
        with pytest.raises(ConfigError, match=value):
            split.fold(labels, number, folds)
    with pytest.raises(DataError, match="labels, got None"):
        split.fold(None, 0, 2)
    with pytest.raises(DataError, match="at least 3 rows, one a fold, got 2"):
        split.fold(labels, 0, 3)
