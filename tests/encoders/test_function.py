import numpy as np
import pytest
import torch

from mmgraph.encoders import FeatureCache, Function
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Identity, Modality
from mmgraph.testing import check_frozen


def function(call, *, modality="text", channels=2, **options):
    return Function(call, name="own", revision="7", modality=modality, channels=channels, **options)


def lengths(payloads):
    return [[len(one), len(set(one))] for one in payloads]


def test_what_it_gives_are_the_rows():
    found = function(lengths)(["owl", "deer", "owl"])
    assert found.tolist() == [[3, 3], [4, 3], [3, 3]]
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    "wrap", [list, np.array, torch.tensor, lambda x: np.array(x, dtype=np.float64), lambda x: torch.tensor(x).half()]
)
def test_tensors_arrays_and_lists_are_the_same(wrap):
    found = function(lambda payloads: wrap(lengths(payloads)))(["owl", "deer"])
    assert torch.equal(found, torch.tensor([[3.0, 3.0], [4.0, 3.0]]))


def test_gradients_and_other_devices_stay_behind():
    weight = torch.ones(2, requires_grad=True)
    found = function(lambda payloads: torch.tensor(lengths(payloads)) * weight)(["owl"])
    assert not found.requires_grad


def test_the_contract():
    check_frozen(function(lengths), ["owl", "deer", ""], [{1}, object(), "\ud800" and {"a": b""}], options=None)
    arrays = function(lambda x: np.stack([one.mean(axis=0) for one in x]), modality=Modality.POINTS)
    check_frozen(arrays, [np.eye(2), np.ones((3, 2))], [np.array([object()])], options=None)


def test_it_is_known_by_its_name_and_revision_and_cached_by_them(tmp_path):
    calls = []

    def counted(payloads):
        calls.append(len(payloads))
        return lengths(payloads)

    one = function(counted)
    assert one.identity == Identity(name="own", revision="7", options={"channels": 2})
    assert (one.modality, one.shape) == (Modality.TEXT, (2,))
    cache = FeatureCache(tmp_path)
    for encoder in (one, function(counted)):
        encoder(["owl", "deer", "owl"], cache=cache)
    assert calls == [2]
    Function(counted, name="own", revision="8", modality="text", channels=2)(["owl"], cache=cache)
    assert calls == [2, 1]


def test_different_payloads_have_different_content(tmp_path):
    (tmp_path / "a").write_bytes(b"owl")
    (tmp_path / "b").write_bytes(b"deer")
    payloads = [
        "owl",
        b"owl",
        tmp_path / "a",
        tmp_path / "b",
        np.zeros((2, 3)),
        np.zeros((3, 2)),
        np.zeros(6),
        np.zeros(6, dtype=np.float32),
        torch.ones(6),
        1,
        1.5,
        None,
        [1, "a"],
        {"a": 1, "b": 2},
        {"a": 1, "b": 3},
    ]
    encoder = function(lengths)
    assert len({encoder.content(one) for one in payloads}) == len(payloads)
    assert encoder.content({"b": 2, "a": 1}) == encoder.content({"a": 1, "b": 2})
    assert encoder.content(torch.ones(6)) == encoder.content(np.ones(6, dtype=np.float32))
    assert encoder.content(np.arange(6)[::2]) == encoder.content(np.array([0, 2, 4]))
    (tmp_path / "b").write_bytes(b"owl")
    assert encoder.content(tmp_path / "a") == encoder.content(tmp_path / "b")


def test_content_can_be_given():
    encoder = function(lambda x: [[one.imag, 0] for one in x], content=lambda one: repr(one).encode())
    assert encoder([2j, 3j])[:, 0].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({1}, "a set has no bytes that tell it from others .*; give Function its content"),
        (np.array([None]), "an array must hold numbers, got objects"),
    ],
)
def test_payloads_that_can_not_be_told_apart_are_refused(payload, message):
    with pytest.raises(DataError, match=f"Payload 1 can't be encoded: {message}"):
        function(lengths)(["owl", payload])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="Payload 0 can't be encoded: File '.*nowhere' must be there"):
        function(lengths)([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([[1.0, 2.0]], r"must give \[2, 2\] numbers, got \[1, 2\]"),
        ([[1.0], [2.0]], r"must give \[2, 2\] numbers, got \[2, 1\]"),
        ([1.0, 2.0], r"must give \[2, 2\] numbers, got \[2\]"),
        ([[1.0, 2.0], [1.0]], "own@7 must give rows of numbers, got list"),
        (None, "own@7 must give .*got"),
        ("text", "own@7 must give rows of numbers, got str"),
        ([[1.0, 2.0], [np.nan, 1.0]], r"own@7 must give finite numbers, got nan at \[1, 0\]"),
        (torch.tensor([[1.0, np.inf], [0, 1.0]]), r"own@7 must give finite numbers, got inf at \[0, 1\]"),
    ],
)
def test_what_is_no_matrix_of_finite_numbers_is_refused(result, message):
    with pytest.raises(DataError, match=message):
        function(lambda payloads: result)(["owl", "deer"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"call": 5}, "got 5, 'text' and 2"),
        ({"modality": "smell"}, "a modality of .*'text'.*'smell' and 2"),
        ({"channels": 0}, "'text' and 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        function(**{"call": lengths, **options})
