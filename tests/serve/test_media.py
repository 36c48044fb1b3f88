"""Payloads for browsers: safe kinds alone, pictures made smaller, and the parts that players ask for."""

import asyncio
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgraph.errors import DataError
from mmgraph.schema import Modality
from mmgraph.serve.media import SIDES, TEXT, Content, content_of, respond


def picture(kind, size=(8, 8), mode="RGB"):
    file = BytesIO()
    Image.new(mode, size, "red").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp"])
def test_pictures_that_browsers_know_are_given_as_they_are(kind):
    data = picture(kind.upper())
    assert content_of(data, Modality.IMAGE) == Content(data, f"image/{kind}")


def test_others_are_encoded_anew():
    found = content_of(picture("TIFF"), Modality.IMAGE)
    assert found.type == "image/png"
    assert Image.open(BytesIO(found.data)).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("side", SIDES)
def test_pictures_are_made_smaller_and_never_larger(side):
    large = content_of(picture("PNG", (1200, 600)), Modality.IMAGE, side)
    assert Image.open(BytesIO(large.data)).size == (side, side // 2)
    assert large.type == "image/jpeg"
    small = content_of(picture("PNG", (20, 10)), Modality.IMAGE, side)
    assert Image.open(BytesIO(small.data)).size == (20, 10)
    assert small.type == "image/png"


def test_texts_and_sounds(wav):
    assert content_of("<script>", Modality.TEXT) == Content(b"<script>", TEXT)
    assert content_of('{"price": 1}', Modality.TABULAR).type == TEXT
    assert content_of(wav(300), Modality.AUDIO) == Content(wav(300), "audio/wav")


@pytest.mark.parametrize(
    ("payload", "modality", "message"),
    [
        (
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            Modality.IMAGE,
            "A picture must be one of .* a text",
        ),
        (
            b"<html><script>alert(1)</script>",
            Modality.AUDIO,
            "A recording must be one of wav, flac, ogg, mp3, got a text",
        ),
        (picture("PNG"), Modality.AUDIO, "A recording must be one of wav, flac, ogg, mp3, got a png file"),
        (picture("TIFF")[:40], Modality.IMAGE, "A picture must be whole and undamaged"),
        (b"\x00\x01", Modality.SERIES, "must be a text, a picture, a recording or a video to be shown"),
        (None, Modality.TEXT, "got one without a payload"),
    ],
)
def test_what_is_not_what_it_says_is_not_given(payload, modality, message):
    with pytest.raises(DataError, match=message):
        content_of(payload, modality)


def test_of_a_video_the_first_frame():
    av = pytest.importorskip("av")
    file = BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 200, dtype=np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            out.mux(packet)
    found = content_of(file.getvalue(), Modality.VIDEO, 96)
    assert found.type == "image/png"
    assert Image.open(BytesIO(found.data)).size == (32, 32)


def sent(response):
    """What a response sends: status, headers, bytes."""
    messages = []

    async def send(message):
        messages.append(message)

    async def receive():
        await asyncio.sleep(60)

    asyncio.run(response({"type": "http", "method": "GET"}, receive, send))
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, b"".join(one.get("body", b"") for one in messages[1:])


DATA = bytes(range(200))


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-", 206, slice(None)),
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=190-900", 206, slice(190, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=-900", 206, slice(None)),
        ("bytes=1-2,4-5", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("items=1-2", 200, slice(None)),
    ],
)
def test_parts(wanted, status, part):
    got, headers, body = sent(respond(Content(DATA, "audio/wav"), wanted))
    assert (got, body) == (status, DATA[part])
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] == "audio/wav"
    assert headers["accept-ranges"] == "bytes"
    assert "sandbox" in headers["content-security-policy"]
    if status == 206:
        start = DATA.index(body)
        assert headers["content-range"] == f"bytes {start}-{start + len(body) - 1}/200"


@pytest.mark.parametrize("wanted", ["bytes=200-", "bytes=20-10", "bytes=-0"])
def test_parts_that_are_not_there(wanted):
    status, headers, body = sent(respond(Content(DATA, "audio/wav"), wanted))
    assert status == 416
    assert headers["content-range"] == "bytes */200"
    assert b"Range must be within 200 bytes" in body


@given(st.integers(0, 400_000), st.integers(0, 400_000))
def test_large_parts_come_in_pieces(first, last):
    data = np.random.default_rng(0).bytes(300_000)
    status, _, body = sent(respond(Content(data, "audio/wav"), f"bytes={first}-{last}"))
    assert (status == 206) == (first <= min(last, len(data) - 1))
    assert status == 416 or body == data[first : last + 1]
