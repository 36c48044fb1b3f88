import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.encoders import Encoder, FeatureCache, Frozen
from mmgraph.encoders.frozen import carry_out, digest_of_folder, digest_of_state
from mmgraph.errors import DataError
from mmgraph.schema import Identity, Modality


class Letters(Frozen[str, str]):
    """Counts letters, and remembers what it was asked for."""

    identity = Identity(name="letters", revision="1")
    modality = Modality.TEXT
    shape = (26,)

    def __init__(self):
        self.asked = []

    def content(self, payload):
        if not isinstance(payload, str):
            raise DataError(f"a text must be a str, got {payload!r}")
        return payload.lower().encode()

    def encode(self, prepared):
        self.asked.append(prepared)
        return torch.tensor([[text.lower().count(chr(97 + place)) for place in range(26)] for text in prepared])


@given(st.lists(st.text("abcAB", max_size=3), max_size=30))
def test_each_payload_is_encoded_once_and_stands_in_its_row(texts):
    letters = Letters()
    found = letters(texts)
    assert found.dtype == torch.float32
    assert found.shape == (len(texts), 26)
    for text, row in zip(texts, found, strict=True):
        assert row[:3].tolist() == [text.lower().count(letter) for letter in "abc"]
    asked = [text.lower() for texts in letters.asked for text in texts]
    assert asked == list(dict.fromkeys(text.lower() for text in texts))


def test_what_is_distinct_keeps_its_first_order():
    letters = Letters()
    letters(["b", "a", "B", "c", "a"])
    assert letters.asked == [["b", "a", "c"]]


def test_features_have_no_gradient():
    class Trained(Letters):
        def encode(self, prepared):
            return torch.ones(len(prepared), 26, dtype=torch.float64, requires_grad=True)

    found = Trained()(["a", "b"])
    assert not found.requires_grad
    assert found.dtype == torch.float32


def test_a_payload_that_can_not_be_encoded_is_named_by_its_place():
    with pytest.raises(DataError, match="Payload 2 can't be encoded: a text must be a str, got None"):
        Letters()(["a", "b", None])


def test_one_payload_is_no_sequence():
    with pytest.raises(DataError, match="got one str"):
        Letters()("abc")


def test_another_shape_is_refused():
    class Wide(Letters):
        shape = (27,)

    with pytest.raises(DataError, match=r"must give \[2, 27\] numbers, got \[2, 26\]"):
        Wide()(["a", "b"])


def test_it_is_no_encoder_of_graphs():
    assert not issubclass(Frozen, Encoder)


def test_the_digest_tells_identities_apart():
    base = {"name": "a", "revision": "1", "options": {"x": 1, "y": None}}
    changed = [{"name": "b"}, {"revision": "2"}, {"options": {"x": 1}}, {"options": {"x": 1, "y": "None"}}]
    digests = {Identity(**{**base, **change}).digest for change in [{}, *changed]}
    assert len(digests) == 5
    assert Identity(**{**base, "options": {"y": None, "x": 1}}).digest == Identity(**base).digest
    assert Identity(**base) == Identity(**base)


def test_the_digest_of_a_folder_sees_names_and_bytes(tmp_path):
    files = {"config.json": b"{}", "weights/a.bin": b"\x00\x01", "weights/b.bin": b""}
    digests = set()
    for number, change in enumerate(
        [{}, {"config.json": b"[]"}, {"weights/b.bin": b"\x00"}, {"weights/c.bin": b""}, {".cache/lock": b"1"}]
    ):
        folder = tmp_path / str(number)
        names = [*(files | change)]
        random.Random(number).shuffle(names)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((files | change)[name])
        digests.add(digest_of_folder(folder))
    assert len(digests) == 4  # a hidden file is none of the model's
    (tmp_path / "0" / "weights" / "b.bin").rename(tmp_path / "0" / "weights" / "d.bin")
    assert digest_of_folder(tmp_path / "0") not in digests


class Digits(Letters):
    """Refuses payloads by content and, once prepared, by what is in them."""

    chunk = 3

    def prepare(self, payload):
        if payload.isdigit():
            raise DataError(f"a digit: {payload}" if payload != "0" else "")
        return payload


@given(st.lists(st.one_of(st.text("ab", max_size=2), st.sampled_from(["1", "0", None])), max_size=20))
def test_attempt_sets_bad_ones_aside_and_keeps_the_rest_in_order(payloads):
    done = Digits().attempt(payloads)
    bad = [row for row, one in enumerate(payloads) if one is None or one.isdigit()]
    assert list(done.rejected) == bad
    assert done.rows.tolist() == [row for row in range(len(payloads)) if row not in bad]
    for row, reason in done.rejected.items():
        wanted = {None: "a text must be a str, got None", "1": "a digit: 1", "0": ""}[payloads[row]]
        assert reason == wanted
    good = [payloads[row] for row in done.rows]
    assert torch.equal(done.features, Letters()(good))
    assert done.made == len({one.lower() for one in good})
    assert done.cached == 0


@given(st.lists(st.text("abc", max_size=2), max_size=20), st.integers(1, 7))
def test_chunks_change_nothing(texts, chunk):
    letters = Letters()
    letters.chunk = chunk
    assert torch.equal(letters(texts), Letters()(texts))
    assert all(0 < len(asked) <= chunk for asked in letters.asked)
    assert [text for asked in letters.asked for text in asked] == list(dict.fromkeys(texts))


def test_payloads_are_read_a_chunk_at_a_time_and_progress_is_told():
    letters, events = Letters(), []
    letters.chunk = 4

    def source():
        for number in range(10):
            events.append(f"read {number}")
            yield "x" * number

    letters.attempt(source(), progress=lambda done: events.append(f"{done} done"))
    assert [event for event in events if "done" in event] == ["4 done", "4 done", "2 done"]
    assert events.index("read 3") < events.index("4 done") < events.index("read 4")


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a", "b", "A", "ab", "1", "0", None, "ba", "c"]), max_size=20), st.integers(1, 9))
def test_whoever_encodes_chunks_and_results_are_the_same(payloads, ahead):
    asked = []

    def through(jobs):
        """Reads some jobs ahead, and carries the last of them out first."""
        while some := list(islice(jobs, ahead)):
            asked.extend(list(job.values()) for job in some)
            with ThreadPoolExecutor(1) as threads:
                yield from [carry_out(Digits(), job, threads) for job in reversed(some)][::-1]

    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        alone = Digits().attempt(payloads, cache=FeatureCache(one))
        done = Digits().attempt(payloads, cache=FeatureCache(other), through=through)
        distinct = {payload.lower().encode() for payload in payloads if payload is not None}
        keys = [hashlib.sha256(text).digest() for text in distinct]
        assert FeatureCache(one).get(Digits.identity, keys) == FeatureCache(other).get(Digits.identity, keys)
    assert torch.equal(done.features, alone.features)
    assert done.rows.tolist() == alone.rows.tolist()
    assert (done.rejected, done.made) == (alone.rejected, alone.made)
    flat = [payload.lower() for job in asked for payload in job]
    assert len(flat) == len(set(flat))  # nothing is encoded twice, though jobs are read ahead


def test_a_bad_payload_that_comes_again_is_prepared_once():
    prepared = []

    class Watched(Digits):
        def prepare(self, payload):
            prepared.append(payload)
            return super().prepare(payload)

    done = Watched().attempt(["1"] * 8 + ["a"])
    assert sorted(done.rejected) == list(range(8))
    assert prepared == ["1", "a"]


def test_nothing_good_is_a_matrix_without_rows():
    done = Digits().attempt(["1", None])
    assert done.features.shape == (0, 26)
    assert (done.rows.tolist(), done.rows.dtype, sorted(done.rejected)) == ([], "int64", [0, 1])


def test_the_first_bad_payload_is_named_even_if_its_reason_is_empty():
    with pytest.raises(DataError, match="^Payload 1 can't be encoded: $"):
        Digits()(["a", "0", None])


def test_an_error_of_another_kind_is_not_hidden():
    class Broken(Letters):
        def prepare(self, payload):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Broken().attempt(["a"])


def test_the_digest_of_a_state_sees_names_types_shapes_and_numbers():
    state = {"a": torch.zeros(2, 3), "b": torch.arange(3)}
    others = [
        {"a": torch.zeros(2, 3)},
        {"a": torch.zeros(2, 3), "c": torch.arange(3)},
        {"a": torch.zeros(3, 2), "b": torch.arange(3)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.arange(3)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([0, 1, 3])},
        {"a": torch.zeros(0, 3), "b": torch.arange(3)},
        {},
    ]
    digests = {digest_of_state(one) for one in [state, *others]}
    assert len(digests) == 8
    assert digest_of_state({"b": torch.arange(6)[::2] // 2, "a": torch.zeros(3, 2).T}) == digest_of_state(state)
    assert len(digest_of_state({"half": torch.ones(2, dtype=torch.bfloat16)})) == 64
