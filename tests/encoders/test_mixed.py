import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgraph.encoders import Columns, FeatureCache, Frozen, Function, HashedText, Mixed, encode
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.audio import Sound, decode_audio, wav_bytes
from mmgraph.media.image import decode_image
from mmgraph.schema import Identity, Modality

PICTURE = Image.new("RGB", (4, 3), (200, 100, 0))
SOUND = Sound(np.linspace(-0.5, 0.5, 160, dtype=np.float32), 16_000)


def png(picture):
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


class Colour(Frozen):
    identity = Identity(name="colour", revision="1")
    modality = Modality.IMAGE
    shape = (3,)

    def __init__(self):
        self.asked = []

    def content(self, payload):
        return decode_image(payload).tobytes()

    def prepare(self, payload):
        return decode_image(payload)

    def encode(self, prepared):
        self.asked.append(len(prepared))
        return torch.stack([torch.tensor(np.asarray(one), dtype=torch.float32).mean(dim=(0, 1)) for one in prepared])


def loudness(sounds):
    return [
        [len(sound.samples), sound.rate_hz, float(np.abs(sound.samples).max())] for sound in map(decode_audio, sounds)
    ]


@pytest.fixture
def encoders():
    return {
        "text": Function(
            lambda texts: [[len(one), one.count("a"), 0] for one in texts],
            name="letters",
            revision="1",
            modality="text",
            channels=3,
        ),
        "image": Colour(),
        "audio": Function(
            loudness,
            name="loudness",
            revision="1",
            modality="audio",
            channels=3,
            content=lambda one: decode_audio(one).samples.tobytes(),
        ),
        Modality.TABULAR: Columns.fit([{"age": 1}, {"age": 3}], columns={"age": "numeric"}),
    }


def test_every_payload_goes_to_its_encoder_and_back_to_its_place(tmp_path, encoders):
    (tmp_path / "sound.txt").write_bytes(wav_bytes(SOUND))  # names say nothing
    (tmp_path / "picture").write_bytes(png(PICTURE))
    (tmp_path / "text.png").write_text("an owl")
    colour = [200, 100, 0]
    cases = [
        ("a", "text", [1, 1, 0]),
        (PICTURE, "image", colour),
        ({"age": 3}, "tabular", [1, 0]),
        (SOUND, "audio", [160, 16_000, 0.5]),
        (png(PICTURE), "image", colour),
        (bytearray(png(PICTURE)), "image", colour),
        (np.asarray(PICTURE), "image", colour),
        (tmp_path / "picture", "image", colour),
        (wav_bytes(SOUND), "audio", [160, 16_000, 0.5]),
        (tmp_path / "sound.txt", "audio", [160, 16_000, 0.5]),
        (tmp_path / "text.png", "text", [6, 1, 0]),
        (b"banana", "text", [6, 3, 0]),
        (("text", b"banana"), "text", [6, 3, 0]),
        (("text", tmp_path / "text.png"), "text", [6, 1, 0]),
        (str(tmp_path / "picture"), "text", [len(str(tmp_path / "picture")), str(tmp_path / "picture").count("a"), 0]),
        ("https://a", "text", [9, 1, 0]),
        ((Modality.TEXT, "aa"), "text", [2, 2, 0]),
        (("tabular", (1,)), "tabular", [-1, 0]),
        (("image", np.asarray(PICTURE)), "image", colour),
    ]
    found = encode([payload for payload, _, _ in cases], encoders)
    assert found.rejected == {}
    assert found.modalities == [modality for _, modality, _ in cases]
    for vector, (payload, _, wanted) in zip(found.vectors, cases, strict=True):
        np.testing.assert_allclose(vector, wanted, atol=1e-3, err_msg=repr(payload)[:60])


@given(st.permutations(["a", "bb", {"age": 3}, {"age": None}, PICTURE, SOUND, "a", PICTURE, b"\0\1"]))
def test_any_order_gives_the_same_vectors(payloads):
    colour = Colour()
    encoders = {
        "text": Function(lambda x: [[len(one)] for one in x], name="n", revision="1", modality="text", channels=1),
        "image": colour,
        "audio": Function(
            lambda x: [[one.rate_hz] for one in x],
            name="rate",
            revision="1",
            modality="audio",
            channels=1,
            content=lambda one: one.samples.tobytes(),
        ),
        "tabular": Columns.fit([{"age": 1}, {"age": 3}], columns={"age": "numeric"}),
    }
    found = encode(iter(payloads), encoders)
    for payload, vector in zip(payloads, found.vectors, strict=True):
        if isinstance(payload, bytes):
            assert vector is None
        elif isinstance(payload, str):
            assert vector.tolist() == [len(payload)]
        elif isinstance(payload, dict):
            assert vector.tolist() == ([0, 1] if payload["age"] is None else [1, 0])
        else:
            assert vector.tolist() == ([200, 100, 0] if payload is PICTURE else [16_000])
    assert list(found.rejected) == [payloads.index(b"\0\1")]
    assert colour.asked == [1]  # equal ones once, in one batch


def test_a_cache_is_shared_by_all(tmp_path, encoders):
    cache = FeatureCache(tmp_path)
    for _ in range(2):
        encode(["a", PICTURE, {"age": 1}, SOUND], encoders, cache=cache)
    assert encoders["image"].asked == [1]
    assert len(list(tmp_path.glob("*.sqlite"))) == 4


def test_bad_ones_are_set_aside_with_their_reason(tmp_path, encoders):
    bad = {
        1: (png(PICTURE)[:50], "image"),
        2: (b"\0\1\2", None),
        4: (tmp_path, None),
        5: (tmp_path / "nowhere", None),
        6: (np.zeros((2, 2)), None),
        7: ({"weight": 3}, "tabular"),
        8: (5, None),
        9: (("smell", "rose"), None),
        10: (("a", "b", "c"), None),
        11: (None, None),
    }
    payloads = [bad[place][0] if place in bad else "a" for place in range(12)]
    found = encode(payloads, encoders)
    assert list(found.rejected) == list(bad)
    assert [place for place, vector in enumerate(found.vectors) if vector is None] == list(bad)
    assert {place: found.modalities[place] for place in bad} == {
        place: modality for place, (_, modality) in bad.items()
    }
    assert "this can't be told: 3 bytes of no known kind" in found.rejected[2]
    assert "pass (modality, payload)" in found.rejected[2]
    assert "must be a file, got another thing" in found.rejected[4]
    assert "must be a file, got nothing" in found.rejected[5]
    assert "this can't be told: ndarray [2, 2] of float64" in found.rejected[6]
    assert "must have the columns ['age']" in found.rejected[7]
    assert "this can't be told: int" in found.rejected[8]
    assert "must begin with one of" in found.rejected[9]
    assert "got 'smell'" in found.rejected[9]
    assert "tuple" in found.rejected[10]
    assert found.matrix().shape == (2, 3)


def test_a_matrix_needs_one_width(encoders):
    found = encode(["a", PICTURE, b"\0", "bb"], encoders)
    assert found.matrix().tolist() == [[1, 1, 0], [200, 100, 0], [2, 0, 0]]
    with pytest.raises(DataError, match=r"one width, got text: \[3\], tabular: \[2\]; encode each"):
        encode(["a", {"age": 1}], encoders).matrix()
    with pytest.raises(DataError, match="must be a vector, got none of 1 payloads"):
        encode([b"\0"], encoders).matrix()
    with pytest.raises(DataError, match=r"got image: \[2, 2\]"):
        Mixed([torch.zeros(2, 2)], [Modality.IMAGE], {}).matrix()


def test_no_payloads_are_no_vectors(encoders):
    assert encode([], encoders) == Mixed([], [], {})


def test_encoders_that_are_missing_or_of_another_modality_are_refused(encoders):
    text = {"text": HashedText.fit(["a"], channels=2)}
    with pytest.raises(ConfigError, match=r"an encoder for 'image', which payload 1 is, got encoders for \['text'\]"):
        encode(["a", PICTURE], text)
    with pytest.raises(ConfigError, match="The encoder for 'image' must encode it, got hashed_text@.*'text'"):
        encode(["a"], {"image": text["text"]})
    with pytest.raises(ConfigError, match="encoders must be by modality, .*got 'smell'"):
        encode(["a"], {"smell": text["text"]})


@pytest.mark.parametrize(("one", "what"), [("a", "str"), (b"a", "bytes"), ({"age": 1}, "dict")])
def test_one_payload_is_no_sequence(encoders, one, what):
    with pytest.raises(DataError, match=f"got one {what}; wrap it"):
        encode(one, encoders)
