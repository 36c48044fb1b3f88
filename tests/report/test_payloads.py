"""Payloads said and drawn: every modality, what is broken, and how large a page may grow."""

import base64
import io
import json
import re
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from mmgraph.errors import DataError
from mmgraph.media.audio import Sound, decode_audio, wav_bytes
from mmgraph.report.cards import Item
from mmgraph.report.payloads import CELLS, TEXT, Budget, clean, decode, line, said, scatter, shown, wave
from mmgraph.schema import Modality


def png(width: int = 40, height: int = 20, **options) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


def wav(seconds: float, rate_hz: int = 16_000) -> bytes:
    return wav_bytes(Sound(np.sin(np.arange(round(seconds * rate_hz)) / 9).astype(np.float32), rate_hz))


def data_of(html: str) -> list[bytes]:
    return [base64.b64decode(one, validate=True) for one in re.findall(r'src="data:[a-z/]+;base64,([^"]*)"', html)]


def draw(item: Item, budget: Budget | None = None) -> str:
    return str(shown(item, Budget() if budget is None else budget))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item(Modality.TEXT, "two\n words"), "two words"),
        (Item(Modality.TEXT, "une élève".encode()), "une élève"),
        (Item(Modality.SYMBOL, "TP53"), "TP53"),
        (Item(Modality.IMAGE, png()), "40 × 20 pixels"),
        (Item(Modality.IMAGE, "photos/a.png"), "photos/a.png"),
        (Item(Modality.AUDIO, wav(1.5)), "1.5 s at 16000 Hz"),
        (Item(Modality.VIDEO, png()), "40 × 20 pixels"),
        (Item(Modality.TABULAR, '{"age": 30, "kg": null, "m": 1.23456}'), "age 30, kg —, m 1.235"),
        (Item(Modality.TABULAR, "[1, 2]"), "0 1, 1 2"),
        (Item(Modality.SERIES, "[1, 2, null]"), "3 steps"),
        (Item(Modality.SERIES, "[[1, 2], [3, 4]]"), "2 steps of 2 columns"),
        (Item(Modality.POINTS, "[[1, 2, 3], [3, 4, 5]]"), "2 points in 3 dimensions"),
        (Item(None, png()), "40 × 20 pixels"),
        (Item(None, b"plain"), "plain"),
        (Item(None, b"PK\3\4"), "can't be read: its kind can't be told, a zip file"),
        (Item(None, None), "can't be read: nothing is kept of it"),
        (Item(None, None, np.ones((3, 4))), "features [3, 4]"),
        (Item(None, None, np.array([1.0, 0.5]), ("age", "kg")), "age 1, kg 0.5"),
        (Item(Modality.IMAGE, b"RIFF....WAVEfmt "), "can't be read: A picture must be one of"),
        (Item(Modality.AUDIO, b"broken"), "can't be read: a recording must be a WAV"),
        (Item(Modality.SERIES, "[1, [2]]"), "can't be read: it must be numbers in JSON"),
        (Item(Modality.SERIES, "[1e400, 1" + "0" * 400 + "]"), "can't be read: it must be numbers in JSON"),
        (Item(Modality.SERIES, "[]"), "can't be read: it must be a list of numbers or of lists of numbers, got '[]'"),
        (Item(Modality.SERIES, "7"), "can't be read: it must be a list of numbers or of lists of numbers, got '7'"),
        (Item(Modality.TABULAR, "{"), "can't be read: it must be numbers in JSON"),
    ],
)
def test_payloads_are_said_in_a_few_words(item, expected):
    assert said(item, limit=200).startswith(expected)


def test_an_animation_has_frames():
    frames = [Image.new("RGB", (8, 6), (shade, 0, 0)) for shade in (0, 90, 180)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=1000)
    assert said(Item(Modality.VIDEO, file.getvalue())) == "8 × 6 pixels"  # a frame, as a build keeps them
    with pytest.raises(DataError, match="A video must be one of"):
        decode(Item(Modality.VIDEO, b"not a video"))


def test_pictures_are_made_smaller_and_encoded_anew():
    hidden = png(600, 300, format="JPEG", comment=b"<script>steal()</script>")
    assert b"steal" in hidden
    html = draw(Item(Modality.IMAGE, hidden))
    (data,) = data_of(html)
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (256, 128), "RGB")
    assert b"steal" not in data
    assert 'alt="picture, 600 × 300 pixels"' in html


def test_small_pictures_keep_their_pixels():
    (data,) = data_of(draw(Item(Modality.IMAGE, png())))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(png()))))


def test_recordings_are_cut_and_encoded_anew():
    hidden = wav(20.0, 44_100) + b"LIST" + struct.pack("<I", 8) + b"<script>"
    html = draw(Item(Modality.AUDIO, hidden))
    (data,) = data_of(html)
    sound = decode_audio(data, rate_hz=None)
    assert (sound.rate_hz, sound.duration_s) == (16_000, 6.0)
    assert b"<script>" not in data
    assert "20.0 s at 44100 Hz, the first 6 s of it here" in html
    assert 'preload="none"' in html
    assert 'aria-label="waveform, 20.0 s at 44100 Hz"' in html
    (whole,) = data_of(short := draw(Item(Modality.AUDIO, wav(1.0, 8_000))))
    assert whole == wav(1.0, 8_000)
    assert "the first" not in short


def test_the_outline_of_a_recording_is_its_least_and_greatest_samples():
    samples = np.array([0.0, 1.0, -1.0, 0.5], dtype=np.float32).repeat(100)
    found = str(wave(Sound(samples, 8000), "x"))
    parts = re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", found)
    assert len(parts) == 160
    tops = [float(top) for top, _ in parts]
    assert (tops[0], tops[60], tops[100], tops[-1]) == (32.0, 0.0, 64.0, 16.0)
    assert len(re.findall("M", str(wave(Sound(samples[:3], 8000), "x")))) == 3


def test_texts_are_escaped_cut_and_know_their_direction():
    text = "<script>alert(1)</script> & שלום" + "x" * 1700 + "\ud800\x1b"
    html = draw(Item(Modality.TEXT, text))
    assert html.startswith('<p class="text" dir="auto">&lt;script&gt;alert(1)&lt;/script&gt; &amp; שלום')
    assert "… 1,734 characters in all" in html
    assert html.count("x") < TEXT
    assert clean("a\n\tb\x00\x7f\x85\ud800\ufffe") == "a\n\tb" + "\ufffd" * 5


def test_cells_are_a_table_with_their_names():
    html = draw(Item(Modality.TABULAR, json.dumps({"<b>": "<i>", **{f"c{n}": n for n in range(50)}})))
    assert '<th scope="row" dir="auto">&lt;b&gt;</th><td dir="auto">&lt;i&gt;</td>' in html
    assert html.count("<tr>") == CELLS
    assert "and 11 more" in html


def test_lines_go_from_the_least_to_the_greatest_with_gaps():
    found = str(line(np.array([[0.0, 1.0], [np.nan, 1.0], [4.0, 1.0], [2.0, 1.0]]), "4 steps"))
    paths = re.findall(r'class="run c(\d)" d="([^"]*)"', found)
    assert paths[0] == ("0", "M2.0 61.0M159.3 3.0L238.0 32.0")
    assert paths[1][1].count("L") == 3
    assert 'aria-label="4 steps"' in found
    assert str(line(np.full((3, 1), np.nan), "none")).count("<path") == 0
    long = re.findall(r'd="([^"]*)"', str(line(np.arange(10_000.0)[:, None], "long")))[0]
    assert long.startswith("M2.0 61.0L")
    assert long.endswith("L238.0 3.0")
    assert len(re.findall("[ML]", long)) == 240


def test_points_keep_their_proportions():
    found = str(scatter(np.array([[0.0, 0.0, 9.0], [2.0, 1.0, 9.0], [np.inf, 1.0, 9.0]]), "3 points"))
    assert 'd="M4.0 96.0h0M96.0 50.0h0"' in found
    assert "none of them finite" in str(scatter(np.full((2, 2), np.nan), "2 points"))


@given(
    st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=2, max_size=2), min_size=1, max_size=6)
)
@example([[1.7e308, 0.0], [-1.7e308, 5e-324]])
@example([[1.0, 0.0], [1.0, 2.225073858507e-311]])
def test_any_numbers_can_be_drawn(rows):
    values = np.array(rows)
    for html in (str(line(values, "x")), str(scatter(values, "x"))):
        assert "nan" not in html
        assert "inf" not in html
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", html):
            assert 0 <= float(x) <= 240
            assert 0 <= float(y) <= 100


@pytest.mark.parametrize(
    ("modality", "features", "tag"),
    [
        (Modality.IMAGE, np.random.default_rng(0).normal(size=(3, 4, 5)), "<img"),
        (Modality.IMAGE, np.array([[[True, False]]]), "<img"),
        (Modality.AUDIO, np.full((9, 4), np.nan), "<img"),
        (Modality.SERIES, np.ones((9, 2)), "<svg"),
        (Modality.POINTS, np.ones((9, 3)), "<svg"),
        (Modality.TEXT, np.arange(5), "<svg"),
        (None, np.ones((2, 2, 2, 2)), '<p class="note">features [2, 2, 2, 2]</p>'),
    ],
)
def test_features_stand_in_for_payloads_that_are_not_kept(modality, features, tag):
    assert tag in draw(Item(modality, None, features))


def test_levels_go_from_black_to_white():
    (data,) = data_of(draw(Item(Modality.IMAGE, None, np.array([[[-2.0, 0.0, 2.0, np.nan]]]))))
    assert np.asarray(Image.open(io.BytesIO(data)).convert("L")).tolist() == [[0, 128, 255, 255]]


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("payload", [b"\x00\xff<script>", b"\xff\xd8\xff<script>", b""])
def test_what_cant_be_read_says_why_and_harms_nothing(modality, payload):
    html = draw(Item(modality, payload))
    assert 'class="broken"' in html
    assert "can’t be read: " in html
    assert "<script>" not in html


@pytest.mark.parametrize(("cap", "side"), [(200_000, 128), (20_000, 64), (100, None)])
def test_large_pictures_are_made_smaller_then_left_out(cap, side):
    budget = Budget(cap)
    html = draw(Item(Modality.IMAGE, png(400, 400)), budget)
    assert [Image.open(io.BytesIO(data)).size[0] for data in data_of(html)] == ([side] if side else [])
    assert (budget.smaller, budget.dropped) == ((1, 0) if side else (0, 1))
    assert ("left out: the page is full" in html) == (side is None)


def test_long_recordings_are_made_shorter_then_left_out():
    for cap, heard_s in ((200_000, 4.0), (40_000, 1.5), (100, None)):
        budget = Budget(cap)
        html = draw(Item(Modality.AUDIO, wav(10.0)), budget)
        assert [decode_audio(data, rate_hz=None).duration_s for data in data_of(html)] == ([heard_s] if heard_s else [])
        assert ("left out: the page is full" in html) == (heard_s is None)
        assert '<path class="wave"' in html


@given(st.lists(st.integers(1, 500), max_size=8), st.integers(0, 2000))
def test_a_budget_is_kept_and_small_ones_stay(sizes, total):
    cap = Budget(sizes=sizes).within(total).cap
    assert sum(min(size, cap) for size in sizes) <= max(total, 0) or not sizes
    if sum(sizes) <= total:
        assert cap == float("inf")
    elif total:
        assert sum(min(size, cap + 1) for size in sizes) > total - len(sizes)
