import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.encoders import Encoder, Frozen
from mmgraph.encoders.frozen import digest_of_folder
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
