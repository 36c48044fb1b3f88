import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.data import Records
from mmgraph.errors import DataError

NAN = float("nan")


def make(**changes):
    fields = {
        "ids": ["ann", "bob", "eve"],
        "modalities": {"blood": [[1.0, 2.0], [3.0, 4.0], [NAN, NAN]], "scan": np.array([[5.0], [6.0], [7.0]])},
        "labels": [0, 1, -1],
        "classes": ["healthy", "ill"],
        "phenotypes": {"age": [60.0, NAN, 70.0], "site": ["a", "b", None]},
        "names": {"blood": ["iron", "zinc"], "scan": ["grey"]},
        "target": "diagnosis",
    }
    return Records(**{**fields, **changes})


def test_records_hold_what_they_are_given():
    records = make()
    assert len(records) == 3
    assert records.ids == ("ann", "bob", "eve")
    assert records.modalities["blood"].dtype == np.float32
    assert records.labels.dtype == np.int64
    assert records.classes == ("healthy", "ill")
    assert records.names == {"blood": ("iron", "zinc"), "scan": ("grey",)}
    assert records.present("blood").tolist() == [True, True, False]
    assert records.present("scan").tolist() == [True, True, True]


def test_ids_become_text():
    assert make(ids=[1, 2, 3]).ids == ("1", "2", "3")


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"ids": []}, "at least 1 subject, got none"),
        ({"modalities": {}, "names": {}}, "at least 1 modality, got none"),
        ({"ids": ["ann", "bob", "ann"]}, "'ann' in rows 0 and 2"),
        ({"ids": [1, "1", 2]}, "'1' in rows 0 and 1"),
        ({"ids": ["ann", "bob"]}, r"\[2 subjects, channels\], got \[3, 2\]"),
        ({"modalities": {"scan": [5.0, 6.0, 7.0]}, "names": {}}, r"'scan' .*got \[3\]"),
        ({"modalities": {"scan": np.empty((3, 0))}, "names": {}}, r"'scan' .*got \[3, 0\]"),
        ({"modalities": {"scan": [["5"], ["six"], ["7"]]}, "names": {}}, "'scan' .*numbers.*'six'"),
        ({"modalities": {"scan": [[5], [6, 7], [8]]}, "names": {}}, "'scan' .*numbers"),
        ({"modalities": {"scan": [[5], [None], [{}]]}, "names": {}}, "'scan' .*numbers"),
        (
            {"modalities": {"scan": [[1, 2], [NAN, 1], [0, 0]]}, "names": {}},
            "'scan' .*got nan for subject 'bob' in column 0",
        ),
        (
            {"modalities": {"scan": [[1, 2], [0, 1], [0, -np.inf]]}, "names": {}},
            "got -inf for subject 'eve' in column 1",
        ),
        ({"modalities": {"scan": [[1], [np.inf], [1]]}, "names": {}}, "got inf for subject 'bob' in column 0"),
        ({"labels": [0, 1]}, r"one a subject, \[3\], got \[2\]"),
        ({"labels": [[0], [1], [0]]}, r"\[3\], got \[3, 1\]"),
        ({"labels": [0, 1, NAN]}, "class numbers, got nan for subject 'eve'"),
        ({"labels": [0, np.inf, 1]}, "class numbers, got inf for subject 'bob'"),
        ({"labels": [0, 0.5, 1]}, "class numbers, got 0.5 for subject 'bob'"),
        ({"labels": ["healthy", "ill", "ill"]}, "class numbers, got healthy for subject 'ann'"),
        ({"labels": [0, None, 1]}, "class numbers, got None for subject 'bob'"),
        ({"modalities": {"scan": np.array([[1], [1e300], [1]])}, "names": {}}, "got inf for subject 'bob'"),
        ({"labels": [0, 2, 1]}, r"between -1 \(unknown\) and 1 .*\['healthy', 'ill'\].*got 2 for subject 'bob'"),
        ({"labels": [0, -2, 1]}, "got -2 for subject 'bob'"),
        ({"classes": []}, "and -1 .*got 0 for subject 'ann'"),
        ({"phenotypes": {"age": [1.0, 2.0]}}, r"'age' .*\[3\], got \(2,\)"),
        ({"phenotypes": {"age": [[1.0], [2.0], [3.0]]}}, r"'age' .*got \(3, 1\)"),
        ({"names": {"blood": ["iron"]}}, r"names\['blood'\] .*got 1 names"),
        ({"names": {"gene": ["a"]}}, r"names\['gene'\] .*got 1 names"),
    ],
)
def test_what_can_not_be_used_is_refused_by_value(changes, value):
    with pytest.raises(DataError, match=value):
        make(**changes)


def test_whole_numbers_may_be_written_as_floats_and_flags():
    assert make(labels=[0.0, 1.0, -1.0]).labels.tolist() == [0, 1, -1]
    assert make(labels=np.array([True, False, True])).labels.tolist() == [1, 0, 1]


def test_an_unknown_category_stays_unknown():
    for unknown in (None, NAN):
        values = make(phenotypes={"site": ["a", unknown, unknown]}).phenotypes["site"]
        assert values[0] == "a"
        assert values[1] is unknown
    assert make(phenotypes={"age": [1, 2, 3]}).phenotypes["age"].tolist() == [1, 2, 3]


def test_take_moves_every_row_together():
    records = make().take([2, 0])
    assert records.ids == ("eve", "ann")
    assert records.labels.tolist() == [-1, 0]
    np.testing.assert_array_equal(records.modalities["blood"], np.array([[NAN, NAN], [1, 2]], dtype=np.float32))
    assert records.modalities["scan"].tolist() == [[7], [5]]
    assert records.phenotypes["age"].tolist() == [70, 60]
    assert records.phenotypes["site"].tolist() == [None, "a"]
    assert (records.classes, records.names, records.target) == (make().classes, make().names, "diagnosis")
    assert make(labels=None).take([1]).labels is None


def test_take_refuses_to_take_twice_or_nothing():
    with pytest.raises(DataError, match="'bob' in rows 0 and 1"):
        make().take([1, 1])
    with pytest.raises(DataError, match="got none"):
        make().take([])


def test_labels_can_be_left_out():
    records = make()
    assert records.without_labels().labels.tolist() == [-1, -1, -1]
    assert records.labels.tolist() == [0, 1, -1]
    assert make(labels=None).without_labels().labels is None


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().ids = ("x",)


CHANGES = {
    "id": {"ids": ["ann", "bob", "eva"]},
    "value": {"modalities": {"blood": [[1.0, 2.0], [3.0, 4.5], [NAN, NAN]], "scan": [[5.0], [6.0], [7.0]]}},
    "absent row": {"modalities": {"blood": [[1.0, 2.0], [NAN, NAN], [3.0, 4.0]], "scan": [[5.0], [6.0], [7.0]]}},
    "swapped values": {"modalities": {"blood": [[2.0, 1.0], [3.0, 4.0], [NAN, NAN]], "scan": [[5.0], [6.0], [7.0]]}},
    "name of a modality": {
        "modalities": {"blud": [[1.0, 2.0], [3.0, 4.0], [NAN, NAN]], "scan": [[5.0], [6.0], [7.0]]},
        "names": {"blud": ["iron", "zinc"], "scan": ["grey"]},
    },
    "label": {"labels": [0, 1, 1]},
    "no labels": {"labels": None},
    "classes": {"classes": ["ill", "healthy"]},
    "phenotype": {"phenotypes": {"age": [60.0, NAN, 71.0], "site": ["a", "b", None]}},
    "category": {"phenotypes": {"age": [60.0, NAN, 70.0], "site": ["a", "b", "c"]}},
    "phenotypes": {"phenotypes": {"age": [60.0, NAN, 70.0]}},
    "names": {"names": {"blood": ["iron", "zync"], "scan": ["grey"]}},
    "target": {"target": "prognosis"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_changes_with_every_change(change):
    assert make(**CHANGES[change]).sha256 != make().sha256


def test_the_digests_of_all_changes_differ():
    assert len({make(**change).sha256 for change in CHANGES.values()}) == len(CHANGES)


def test_the_digest_stays_otherwise():
    records, fields = make(), dataclasses.asdict(make())
    assert make().sha256 == records.sha256
    for name in ("modalities", "phenotypes", "names"):
        fields[name] = dict(reversed(fields[name].items()))
    fields["modalities"]["blood"] = np.asfortranarray(fields["modalities"]["blood"].astype(np.float64))
    assert Records(**fields).sha256 == records.sha256
    assert records.take([0, 1, 2]).sha256 == records.sha256
    assert records.take([1, 0, 2]).sha256 != records.sha256


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.5, NAN, np.inf]), min_size=2, max_size=2), min_size=1, max_size=5))
def test_a_row_is_present_absent_or_refused(rows):
    whole = [not any(map(np.isnan, row)) for row in rows]
    fine = [(here and np.isfinite(row).all()) or np.isnan(row).all() for row, here in zip(rows, whole, strict=True)]
    ids = range(len(rows))
    if all(fine):
        assert Records(ids=ids, modalities={"m": rows}).present("m").tolist() == whole
    else:
        with pytest.raises(DataError, match=f"subject '{fine.index(False)}'"):
            Records(ids=ids, modalities={"m": rows})
