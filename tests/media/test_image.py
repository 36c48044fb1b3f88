"""Against pictures of which every pixel is known, in each mode and format that Pillow reads."""

import resource
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from mmgraph.errors import DataError
from mmgraph.media.image import decode_image

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGB = Image.fromarray(COLOURS)


def encoded(image, kind, **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def levels(payload, **options):
    found = decode_image(payload, **options)
    assert found.mode == "RGB"
    assert found.info == {}
    return np.asarray(found).astype(int)


def png(width, height, depth, colour, rows, *more):
    """A PNG file by hand: ``more`` are chunks before the pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", head), *more, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "QOI", "WEBP", "JPEG2000"])
def test_lossless_formats_give_their_pixels(kind, tmp_path):
    data = encoded(RGB, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(levels(data), COLOURS)
    file = tmp_path / "picture"
    file.write_bytes(data)
    assert np.array_equal(levels(file), COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "GIF"])
def test_lossy_formats_come_near(kind):
    smooth = Image.fromarray(np.linspace(60, 160, 24 * 24 * 3).reshape(24, 24, 3).astype(np.uint8))
    assert np.abs(levels(encoded(smooth, kind)) - np.asarray(smooth)).max() <= 12


def test_arrays_and_pictures_are_taken_as_they_are():
    assert np.array_equal(levels(COLOURS), COLOURS)
    assert np.array_equal(levels(COLOURS[::2, ::-1]), COLOURS[::2, ::-1])
    assert np.array_equal(levels(RGB), COLOURS)
    assert np.array_equal(levels(COLOURS[:, :, 0]), COLOURS[:, :, :1].repeat(3, axis=2))
    found = decode_image(RGB)
    found.putpixel((0, 0), (1, 2, 3))
    assert RGB.getpixel((0, 0)) == tuple(COLOURS[0, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La"])
def test_what_is_transparent_is_laid_over_white(mode):
    grey = np.array([[0, 100, 200]], dtype=np.uint8)
    alpha = np.array([[0, 128, 255]], dtype=np.uint8)
    bands = [grey] * (len(mode) - 1) + [alpha]
    image = Image.merge({4: "RGBA", 2: "LA"}[len(bands)], [Image.fromarray(band) for band in bands]).convert(mode)
    expected = grey * (alpha / 255) + 255 * (1 - alpha / 255)
    assert np.abs(levels(image) - expected[..., None]).max() <= 1.5
    if mode in ("RGBA", "LA"):
        assert np.abs(levels(encoded(image, "PNG")) - expected[..., None]).max() <= 1
    if mode == "RGBA":
        assert np.abs(levels(np.asarray(image)) - expected[..., None]).max() <= 1


def test_a_palette_and_its_opacities():
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert levels(encoded(image, "PNG")).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    one = levels(encoded(image, "PNG", transparency=1))
    assert one.tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    each = levels(encoded(image, "PNG", transparency=bytes([255, 0, 128])))
    assert each[0, :2].tolist() == [[10, 20, 30], [255, 255, 255]]
    assert np.abs(each[0, 2] - [162, 167, 172]).max() <= 1
    assert levels(encoded(image, "GIF", transparency=2))[0, 2].tolist() == [255, 255, 255]
    assert levels(image.convert("PA"))[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("depth", "colour", "pixel", "key", "other"),
    [
        (8, 0, ">B", (7,), (8,)),
        (8, 2, ">3B", (7, 8, 9), (7, 8, 0)),
        (16, 0, ">H", (0x1234,), (0x1235,)),
        (16, 2, ">3H", (0x8000, 0x1234, 0xFFFF), (0x0000, 0x3400, 0xFF00)),
    ],
)
def test_the_transparent_colour_of_a_png_is_white_and_no_other(depth, colour, pixel, key, other):
    row = struct.pack(pixel, *key) + struct.pack(pixel, *other)
    data = png(2, 1, depth, colour, [row], (b"tRNS", struct.pack(f">{len(key)}H", *key)))
    hidden, seen = levels(data)[0]
    assert hidden.tolist() == [255, 255, 255]
    shown = [
        level >> 8 if depth == 16 and colour == 2 else round(level / 257) if depth == 16 else level for level in other
    ]
    assert seen.tolist() == (shown if colour == 2 else shown * 3)


def test_16_bit_grey_levels_are_divided_by_257():
    grey = np.array([[0, 128, 129, 257, 60000, 65535]], dtype=np.uint16)
    expected = [[0, 0, 1, 1, 233, 255]]
    for kind in ("PNG", "TIFF"):
        assert levels(encoded(Image.fromarray(grey), kind))[..., 0].tolist() == expected
    assert levels(png(6, 1, 16, 0, [grey.astype(">u2").tobytes()]))[..., 2].tolist() == expected
    assert levels(b"P5 6 1 65535\n" + grey.astype(">u2").tobytes())[..., 0].tolist() == expected
    big = Image.frombytes("I;16B", (6, 1), grey.astype(">u2").tobytes())
    assert levels(big)[..., 0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_grey_levels_are_spread(dtype):
    image = Image.fromarray(np.array([[-50, 0, 50, 205]], dtype=dtype))
    assert levels(encoded(image, "TIFF"))[..., 0].tolist() == [[0, 50, 100, 255]]
    assert levels(image)[..., 0].tolist() == [[0, 50, 100, 255]]
    assert levels(Image.fromarray(np.full((1, 2), 7, dtype=dtype)))[..., 0].tolist() == [[0, 0]]


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_grey_levels_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match=f"must be finite, got {bad}"):
        decode_image(Image.fromarray(np.array([[1.0, bad]], dtype=np.float32)))


def test_black_and_white():
    image = Image.fromarray(np.array([[True, False]]))
    assert levels(encoded(image, "PNG"))[..., 0].tolist() == [[255, 0]]
    assert levels(b"P1 2 1\n0 1\n")[..., 0].tolist() == [[255, 0]]


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "TIFF"), ("CMYK", "JPEG"), ("YCbCr", "TIFF"), ("HSV", None)])
def test_other_colour_spaces_are_converted(mode, kind):
    flat = Image.new("RGB", (16, 16), (200, 60, 90)).convert(mode)
    found = levels(encoded(flat, kind) if kind else flat)
    assert np.abs(found - [200, 60, 90]).max() <= 3


def test_lab_is_converted():
    lab = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(RGB, lab[1], lab[0], outputMode="LAB")
    expected = np.asarray(ImageCms.profileToProfile(image, *lab, outputMode="RGB")).astype(int)
    assert np.abs(levels(image) - expected).max() <= 1
    assert np.abs(levels(encoded(image, "TIFF")) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(kind, orientation):
    corner = np.zeros((48, 32, 3), dtype=np.uint8)
    corner[:12, :8] = 255  # upper left, of an upright picture that is 32 wide
    upright = Image.fromarray(corner)
    stored = {  # what turns it into what is stored
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = upright.transpose(stored[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x112] = orientation
    data = encoded(image, kind, exif=exif)
    for payload in (data, Image.open(BytesIO(data)), decode_image(data)):
        found = levels(payload)
        assert found.shape == corner.shape
        assert np.abs(found - corner).mean() < 3
        assert found[2, 2].min() > 200


def test_damaged_exif_leaves_the_picture_as_it_lies():
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0junk", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"):
        assert levels(encoded(RGB, "JPEG", exif=exif)).shape == (5, 7, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_several_counts(kind):
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("black", "white"))
    assert levels(encoded(first, kind, save_all=True, append_images=[second])).max() < 10


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"", "one of avif, bmp, .* got 0 bytes"),
        (b"RIFF\0\0\0\0WAVEfmt ", "got a wav file"),
        (b"ID3\4", "got an mp3 file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "got a text: b'%!PS-Adobe"),
        (b"%PDF-1.7", "got a pdf file"),
        (b"<html>not found</html>", "got a text: b'<html>not found"),
        (b"\0\1\2", r"got 3 bytes of no known kind: b'.x00.x01.x02'"),
        (encoded(RGB, "PNG")[:60], "whole and undamaged, got a png file"),
        (encoded(RGB, "JPEG")[:-40], "whole and undamaged, got a jpeg file: .*truncated"),
        (encoded(RGB, "TIFF")[:40], "whole and undamaged, got a tiff file: cannot identify image file$"),
        (b"\x89PNG\r\n\x1a\n", "got a png file"),
        ("owl.png", "must be bytes, a Path, .* got str"),
        (None, "got NoneType"),
        (np.zeros((2, 2), dtype=np.int64), r"uint8 \[height, width\].*got int64 \[2, 2\]"),
        (np.zeros((2, 2, 2), dtype=np.uint8), r"got uint8 \[2, 2, 2\]"),
        (np.zeros((0, 2), dtype=np.uint8), "1 to 67108864 pixels, got 2 x 0"),
    ],
)
def test_what_is_no_picture_is_refused_by_what_it_is(payload, value):
    with pytest.raises(DataError, match=value):
        decode_image(payload)


def test_one_decoder_alone_is_tried(monkeypatch):
    tried = []
    real = Image.open

    def spied(file, **options):
        tried.append(options)
        return real(file, **options)

    monkeypatch.setattr(Image, "open", spied)
    decode_image(encoded(RGB, "BMP"))
    with pytest.raises(DataError, match="bmp"):
        decode_image(b"BM" + bytes(100))  # what others might take it for does not count
    assert tried == [{"formats": ["BMP"]}] * 2


def test_files_that_run_programs_or_open_others_are_refused_though_pillow_takes_them():
    with pytest.raises(DataError, match="got a text"):
        decode_image(encoded(RGB, "EPS"))
    with pytest.raises(DataError, match="got a pdf"):
        decode_image(encoded(RGB, "PDF"))


def absurd(kind):
    """Headers that claim 60,000 x 60,000 pixels or more."""
    side = 60_000
    data = bytearray(encoded(RGB, kind))
    match kind:
        case "PNG":
            return png(side, side, 8, 2, [b""])
        case "GIF":
            data[6:10] = struct.pack("<HH", side, side)
        case "BMP":
            data[18:26] = struct.pack("<ii", side, side)
        case "QOI":
            data[4:12] = struct.pack(">II", side, side)
        case "PPM":
            return b"P6 60000 60000 255\n" + bytes(99)
        case "TIFF":
            for tag in (256, 257):
                place = data.index(struct.pack("<HH", tag, 4)) if struct.pack("<HH", tag, 4) in data else -1
                place = data.index(struct.pack("<HH", tag, 3)) if place < 0 else place
                data[place : place + 12] = struct.pack("<HHII", tag, 4, 1, side)
        case "JPEG":
            place = data.index(b"\xff\xc0") + 5
            data[place : place + 4] = struct.pack(">HH", side, side)
        case "JPEG2000":
            place = data.index(b"ihdr") + 4
            data[place : place + 8] = struct.pack(">II", side, side)
            place = data.index(b"\xff\x4f\xff\x51") + 8
            data[place : place + 8] = struct.pack(">II", side, side)
        case "WEBP":
            return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\0" * 2
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "QOI", "PPM", "TIFF", "JPEG", "JPEG2000", "WEBP"])
def test_absurd_headers_are_refused_before_anything_is_held(kind):
    decode_image(encoded(RGB, kind))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"must have fewer pixels, got .*exceeds limit"):
        decode_image(absurd(kind))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16  # 64 MiB


def test_large_pictures_are_refused_by_their_header():
    data = png(9_000, 9_000, 8, 0, [b""])  # Pillow alone would warn from 89 million pixels on
    with pytest.raises(DataError, match="1 to 67108864 pixels, got 9000 x 9000"):
        decode_image(data)
    with pytest.raises(DataError, match="1 to 34 pixels, got 7 x 5"):
        decode_image(encoded(RGB, "PNG"), max_pixels=34)
    assert decode_image(encoded(RGB, "PNG"), max_pixels=35).size == (7, 5)
    for payload in (RGB, COLOURS):
        with pytest.raises(DataError, match="got 7 x 5"):
            decode_image(payload, max_pixels=34)


def warning_data():
    """A PNG file that Pillow decodes, and warns of: it says to be an animation of no frames."""
    return png(1, 1, 8, 0, [b"\7"], (b"acTL", struct.pack(">II", 0, 0)))


def test_what_pillow_warns_of_goes_unsaid_and_what_others_warn_of_does_not():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with Image.open(BytesIO(warning_data())) as image:
            assert image.size == (1, 1)
        assert heard  # Pillow alone does
        del heard[:]
        decode_image(warning_data())
        assert heard == []
        before = list(warnings.filters)
        decode_image(warning_data())
        assert list(warnings.filters) == before
        warnings.warn("another", stacklevel=1)
        assert len(heard) == 1


def test_threads_decode_at_once_and_leave_the_filters_as_they_were():
    data = [encoded(RGB, "PNG"), warning_data(), b"\x89PNG\r\n\x1a\n", encoded(RGB.rotate(90), "WEBP", lossless=True)]
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        for turn in range(number, number + 60):
            if turn % 4 == 2:
                with pytest.raises(DataError, match="png"):
                    decode_image(data[2])
            else:
                assert decode_image(data[turn % 4]).size in ((7, 5), (1, 1))
        return number

    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(work, range(8))) == list(range(8))
    assert list(warnings.filters) == before


@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
            lambda shape: st.sampled_from([shape, (*shape, 3), (*shape, 4)])
        ),
    )
)
def test_any_array_is_laid_over_white(array):
    found = levels(array)
    assert found.shape == (*array.shape[:2], 3)
    colours = array[..., None].repeat(3, axis=2) if array.ndim == 2 else array[..., :3]
    alpha = array[..., 3:] / 255 if array.shape[2:] == (4,) else 1.0
    assert np.abs(found - (colours * alpha + 255 * (1 - alpha))).max() <= 1
