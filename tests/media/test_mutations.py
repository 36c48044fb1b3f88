"""Damaged and hostile files: each is decoded or refused with a DataError, with no other error, warning or feast."""

import random
import resource
import struct
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmgraph.errors import DataError
from mmgraph.media.image import decode_image
from mmgraph.media.text import decode_text

PICTURES = ("png", "jpeg", "gif", "bmp", "webp", "tiff", "tiff_lzw", "tiff_jpeg", "ppm", "avif", "jpeg2000", "qoi")
SOUNDS = ("wav", "flac", "ogg", "mp3")
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def picture(kind):
    rng = np.random.default_rng(0)
    smooth = np.linspace(0, 200, 24 * 16 * 3).reshape(16, 24, 3) + rng.integers(0, 40, (16, 24, 3))
    image = Image.fromarray(smooth.astype(np.uint8))
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "a maker"
    options = {
        "gif": {"save_all": True, "append_images": [image.rotate(90)], "transparency": 3},
        "jpeg": {"exif": exif},
        "png": {"exif": exif},
        "webp": {"exif": exif, "save_all": True, "append_images": [image.rotate(90)]},
        "tiff_lzw": {"compression": "tiff_lzw"},
        "tiff_jpeg": {"compression": "jpeg"},
    }.get(kind, {})
    file = BytesIO()
    (image.quantize(32) if kind == "gif" else image).save(file, kind.split("_")[0], **options)
    return file.getvalue()


def sound(kind):
    soundfile = pytest.importorskip("soundfile")
    tone = (np.sin(np.arange(1600) / 5) / 2).astype(np.float32)
    file = BytesIO()
    soundfile.write(file, tone, 8000, format=kind.upper())
    return file.getvalue()


def mutated(source, other, rng):
    """A file with one to four wounds."""
    data = bytearray(source)
    for _ in range(rng.randint(1, 4)):
        place = min(int(rng.expovariate(1 / 60)), len(data) - 1) if rng.random() < 0.6 else rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                data = data[: max(place, 1)]
            case 2:  # the head of another file
                data = bytearray(other[: rng.randint(1, 64)]) + data[place:]
            case 3:  # a part twice, or elsewhere
                part = data[place : place + rng.randint(1, 64)]
                where = rng.randrange(len(data))
                data[where:where] = part
            case 4:  # an absurd length, width, offset or count
                data[place : place + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
            case 5:
                data[place : place + 8] = rng.randbytes(8)
    return bytes(data)


def outcomes(decode, sources, count, seed):
    """How many of mutated files were decoded and how many refused, and the first that was neither."""
    rng = random.Random(seed)
    decoded = refused = 0
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for number in range(count):
            data = mutated(sources[number % len(sources)], rng.choice(sources), rng)
            try:
                decode(data)
                decoded += 1
            except DataError as error:
                refused += len(str(error)) < 500
            except BaseException as error:
                raise AssertionError(f"{number}: {type(error).__name__} {error}: {data[:80]!r}") from error
    assert [str(one.message) for one in heard] == []
    assert decoded + refused == count
    return decoded, refused


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("seed", range(4))
def test_mutated_pictures_are_decoded_or_refused(seed):
    sources = [picture(kind) for kind in PICTURES]
    for source in sources:
        decode_image(source)
    before = peak_bytes()
    decoded, refused = outcomes(lambda data: decode_image(data, max_pixels=1 << 20), sources, 750, seed)
    assert decoded > 50
    assert refused > 50
    assert peak_bytes() - before < 1 << 28


def test_mutated_texts_are_decoded_or_refused():
    text = "Une élève 🐈 à l'école.\n" * 20
    sources = [text.encode(), text.encode("utf-8-sig"), text.encode("utf-16"), picture("png")]
    decoded, refused = outcomes(decode_text, sources, 1000, seed=0)
    assert decoded > 50
    assert refused > 50


@pytest.mark.parametrize("kind", SOUNDS)
def test_mutated_sounds_are_decoded_or_refused(kind):
    audio = pytest.importorskip("mmgraph.media.audio")
    sources = [sound(kind), sound("wav")]
    before = peak_bytes()
    decoded, refused = outcomes(lambda data: audio.decode_audio(data, max_s=60.0), sources, 250, seed=0)
    assert decoded < 225
    assert refused > 25
    assert peak_bytes() - before < 1 << 28
