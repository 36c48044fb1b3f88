"""Targets and splits: what is wanted, what is not known, and who is in which part."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.assembly import GraphConfig, Source
from mmgraph.assembly.nodes import read_nodes
from mmgraph.assembly.rejected import Rejected
from mmgraph.assembly.targets import read_split, read_target
from mmgraph.errors import DataError

NAN = float("nan")


def read(cells, *, split=None, targets=None, rejected=0.2, strict=False, **columns):
    """The target of some cells, the parts of a split, and what was set aside."""
    data = {"id": [f"n{row}" for row in range(len(cells))], "y": cells, **columns}
    config = GraphConfig(
        nodes={"film": {"table": "films", "key": "id"}},
        targets={"y": {"column": "y"}} if targets is None else targets,
        split=split,
        limits={"rejected": rejected},
    )
    found = Rejected(strict=strict)
    nodes = {"film": read_nodes(Source(config, {"films": pa.table(data)}), "film", Rejected())}
    answers = {name: read_target(config, name, nodes, found) for name in config.targets}
    parts = {part: np.flatnonzero(mask) for part, mask in read_split(config, nodes, answers, found).items()}
    return answers, parts, found


@pytest.mark.parametrize(
    ("cells", "kind", "classes", "values"),
    [
        (["b", None, "a", " b "], "binary", ("a", "b"), [1, -1, 0, 1]),
        (["10", "9", "9", None], "binary", ("9", "10"), [1, 0, 0, -1]),
        ([3, 1, 2, 1], "multiclass", ("1", "2", "3"), [2, 0, 1, 0]),
        ([1.0, 2.0, NAN, 1.0], "binary", ("1", "2"), [0, 1, -1, 0]),
        ([1234567.0, 1234568.0, 1234567.0, None], "binary", ("1234567", "1234568"), [0, 1, 0, -1]),
        ([True, False, None, True], "binary", ("False", "True"), [1, 0, -1, 1]),
        (["0.5", "1", None, "-2"], "regression", (), [0.5, 1.0, NAN, -2.0]),
        ([0.5, NAN, 2.0, 3.0], "regression", (), [0.5, NAN, 2.0, 3.0]),
        (["a", "1", "0.5", "b"], "multiclass", ("0.5", "1", "a", "b"), [2, 1, 0, 3]),
    ],
)
def test_what_values_are_says_what_the_target_is(cells, kind, classes, values):
    (spec, found), _, rejected = *read(cells)[0].values(), *read(cells)[1:]
    assert (spec.kind, spec.classes) == (kind, classes)
    assert str(found.tolist()) == str(values)
    assert not rejected.items


def test_a_few_bad_cells_make_no_regression_a_classification():
    cells = ["1.5"] * 9 + ["unknown"]
    answers, _, rejected = read(cells, rejected=0.1)
    assert answers["y"][0].kind == "regression"
    assert [(one.row, one.reason) for one in rejected.items] == [(9, "a number is wanted, got 'unknown'")]
    assert read(["1.5", "1.5", "inf"], rejected=0.5)[0]["y"][0].kind == "regression"
    assert read(cells, rejected=0.09)[0]["y"][0].kind == "binary"


def test_kind_and_classes_may_be_given():
    target = {"y": {"column": "y", "classes": ["low", "high"]}}
    answers, _, rejected = read(["high", "low", "mid", None], targets=target)
    assert (answers["y"][0].kind, answers["y"][1].tolist()) == ("binary", [1, 0, -1, -1])
    assert [(one.row, one.reason) for one in rejected.items] == [(2, "one of ['low', 'high'] is wanted, got 'mid'")]
    answers, _, _ = read(["1", "2"], targets={"y": {"column": "y", "kind": "regression"}})
    assert answers["y"][1].tolist() == [1.0, 2.0]
    answers, _, _ = read(["1.5", "2"], targets={"y": {"column": "y", "kind": "multiclass"}})
    assert (answers["y"][0].kind, answers["y"][0].classes) == ("multiclass", ("1.5", "2"))


def test_several_targets_have_attributes_of_their_own():
    targets = {"y": {"column": "y"}, "size": {"column": "size"}}
    answers, _, _ = read(["a", "b"], targets=targets, size=[0.5, 1])
    assert [spec.attribute for spec, _ in answers.values()] == ["y", "y_size"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (pa.nulls(3, pa.string()), "'y' must have an answer in at least one row of 'y', got none"),
        (["a", "a", None], "'y' must have 2 to 1000 classes, got 1 in 'y'"),
        ([f"c{row}" for row in range(1001)], "must have 2 to 1000 classes, got 1001 in 'y'; choose another column"),
    ],
)
def test_targets_that_ask_nothing_are_refused(cells, message):
    with pytest.raises(DataError, match=message):
        read(cells)


def test_no_split_is_no_part():
    assert read(["a", "b"])[1] == {}


@given(st.integers(10, 200), st.integers(0, 3), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_random_parts_hold_their_share_of_all(count, seed, test, val):
    split = {"by": "random", "test": test, "val": val, "seed": seed}
    _, parts, _ = read([str(row % 2) for row in range(count)], split=split)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(count))
    assert len(parts["test"]) == round(count * test)
    assert len(parts["val"]) == round(count * val)
    again = read([str(row % 2) for row in range(count)], split=split)[1]
    assert all((parts[part] == again[part]).all() for part in parts)


def test_stratified_parts_have_like_shares_of_classes():
    cells = ["a"] * 60 + ["b"] * 30 + [None] * 10
    _, parts, _ = read(cells, split={"by": "stratified", "test": 0.2, "val": 0.1})
    assert {part: [sum(rows < 60), sum(rows >= 60)] for part, rows in parts.items()} == {
        "train": [42, 21],
        "val": [6, 3],
        "test": [12, 6],
    }
    with pytest.raises(DataError, match="needs a target with classes, got 'y'; use by = 'random'"):
        read([0.5] * 90, split={"by": "stratified"})


def test_groups_stay_together_and_rows_without_one_are_in_no_part():
    groups = [None if row % 10 == 0 else row % 7 for row in range(100)]
    _, parts, _ = read(["a", "b"] * 50, split={"by": "group", "column": "g", "val": 0.2}, g=groups)
    found = {part: {groups[row] for row in rows} for part, rows in parts.items()}
    assert None not in set().union(*found.values())
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 7
    assert sum(map(len, parts.values())) == 90
    with pytest.raises(DataError, match="2 groups of 'g' can't be split: "):
        read(["a", "b"] * 50, split={"by": "group", "column": "g"}, g=[0, 1] * 50)


def test_the_latest_are_the_test():
    days = [f"2024-01-{day:02}" for day in range(1, 21)]
    order = np.random.default_rng(0).permutation(20)
    cells = [days[row] for row in order]
    cells[3], cells[4] = None, "some day"
    _, parts, rejected = read(["a", "b"] * 10, split={"by": "time", "column": "d"}, d=cells)
    known = sorted(row for row in range(20) if row not in (3, 4))
    by_day = sorted(known, key=lambda row: cells[row])
    assert set(parts["test"]) == set(by_day[-4:])
    assert set(parts["val"]) == set(by_day[-6:-4])
    assert set(parts["train"]) == set(by_day[:-6])
    assert [(one.row, one.column, one.value) for one in rejected.items] == [(4, "d", "some day")]
    assert rejected.seen["films", "d"] == 19


def test_a_column_says_the_part():
    cells = ["train", "TRAIN ", "valid", "dev", "test", None, "holdout", "validation"]
    _, parts, rejected = read(["a", "b"] * 4, split={"by": "column", "column": "p"}, p=cells)
    assert {part: rows.tolist() for part, rows in parts.items()} == {"train": [0, 1], "val": [2, 3, 7], "test": [4]}
    assert [(one.row, one.reason) for one in rejected.items] == [(6, "train, val or test is wanted, got 'holdout'")]
    with pytest.raises(DataError, match="split by 'column' must leave a node in each part, got none for val"):
        read(["a", "b"], split={"by": "column", "column": "p"}, p=["train", "test"])
