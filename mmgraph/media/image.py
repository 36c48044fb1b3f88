"""Pictures: bytes, arrays and what Pillow has opened to 8-bit RGB."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgraph.errors import DataError
from mmgraph.media.files import describe, kind_of, read_file

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 1 << 26
FORMATS = {  # rasters that Pillow reads by itself: none runs a program or opens another file
    "avif": "AVIF",
    "bmp": "BMP",
    "gif": "GIF",
    "jpeg": "JPEG",
    "jpeg2000": "JPEG2000",
    "png": "PNG",
    "ppm": "PPM",
    "qoi": "QOI",
    "tiff": "TIFF",
    "webp": "WEBP",
}
_TRANSPARENT = ("LA", "La", "P", "PA", "RGBA", "RGBa")  # a palette may hold opacities


def decode_image(payload: bytes | Path | Image | np.ndarray, *, max_pixels: int = MAX_PIXELS) -> Image:
    """A picture as 8-bit RGB, the way a person would see it on white paper.

    Of animations the first frame. Transparency is laid over white, EXIF orientation applied; CMYK, YCbCr and LAB are
    converted, embedded colour profiles are not. 16-bit grey levels are divided by 257; 32-bit ones (TIFF, arrays of
    Pillow), which have no common range, are spread from their least to their greatest. Other 16-bit colours keep their
    upper 8 bits.

    Args:
        payload: The bytes of an AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, QOI, TIFF or WebP file, the path of one, a
            picture of Pillow, or an array ``[height, width]`` or ``[height, width, 3 | 4]`` of uint8.
        max_pixels: The largest picture that is decoded; its header is read before anything is.

    Returns:
        A new picture of mode RGB without metadata.

    Raises:
        DataError: It is empty, truncated or damaged, of another kind, too large, or has grey levels that are not
            finite.

    Example:
        >>> decode_image(np.full((2, 3), 255, dtype=np.uint8)).getpixel((0, 0))
        (255, 255, 255)
        >>> decode_image(b"RIFF....WAVEfmt ")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: A picture must be one of avif, bmp, ..., webp, got a wav file
    """
    from PIL import Image

    if isinstance(payload, Path):
        payload = read_file(payload)
    if isinstance(payload, np.ndarray):
        return to_rgb(_from_array(payload, max_pixels))
    if isinstance(payload, Image.Image):
        with guarded("a picture of Pillow"):
            check_size(payload.size, max_pixels)
            return to_rgb(payload)
    if not isinstance(payload, bytes):
        got = type(payload).__name__
        raise DataError(f"A picture must be bytes, a Path, a picture of Pillow or an array, got {got}")
    kind = kind_of(payload)
    if kind not in FORMATS:
        raise DataError(f"A picture must be one of {', '.join(FORMATS)}, got {describe(payload)}")
    with guarded(describe(payload)), Image.open(BytesIO(payload), formats=[FORMATS[kind]]) as picture:
        check_size(picture.size, max_pixels)
        return to_rgb(picture)


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuses pictures without pixels, and those of too many.

    Raises:
        DataError: It is one of them.
    """
    width, height = size
    if not 0 < width * height <= max_pixels:
        raise DataError(f"A picture must have 1 to {max_pixels} pixels, got {width} x {height}")


def to_rgb(picture: Image) -> Image:
    """A picture of any mode in 8-bit RGB, upright, over white, without metadata.

    Raises:
        DataError: Its grey levels are not finite.
    """
    from PIL import Image

    picture.load()
    turn = _orientation(picture)
    if picture.mode.startswith(("I", "F")):
        rgb = _from_levels(picture).convert("RGB")
    elif picture.mode in _TRANSPARENT or "transparency" in picture.info:
        seen = picture.convert("LA") if picture.mode == "La" else _with_8_bit_key(picture)
        seen = seen.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    else:
        rgb = picture.convert("RGB")
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}  # an orientation would be applied twice
    return rgb


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Whatever goes wrong in Pillow is a damaged picture, and what it warns of goes unsaid."""
    from PIL.Image import DecompressionBombError

    try:
        with _quiet():
            yield
    except DataError:
        raise
    except DecompressionBombError as error:
        raise DataError(f"A picture must have fewer pixels, got {what}: {error}") from None
    except Exception as error:  # decoders raise nearly every kind
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = re.sub(r" ?<_io.BytesIO object at \w+>", "", reason)
        raise DataError(f"A picture must be whole and undamaged, got {what}: {reason}") from None


def _from_array(array: np.ndarray, max_pixels: int) -> Image:
    from PIL import Image

    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise DataError(
            "An array of a picture must be uint8 [height, width] or [height, width, 3 | 4], "
            f"got {array.dtype} {list(array.shape)}"
        )
    check_size((array.shape[1], array.shape[0]), max_pixels)
    return Image.fromarray(np.ascontiguousarray(array))


def _from_levels(picture: Image) -> Image:
    """16-bit and 32-bit grey levels in 8 bit."""
    from PIL import Image

    levels = np.asarray(picture)  # [height, width]
    key = picture.info.get("transparency")
    opaque = levels != key if isinstance(key, int) else np.ones(levels.shape, dtype=bool)
    if picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM"):
        scaled = np.divide(levels, 257, dtype=np.float32)
    else:
        levels = levels.astype(np.float64)
        if not np.isfinite(levels).all():
            raise DataError(f"Grey levels of a picture must be finite, got {levels[~np.isfinite(levels)][0]}")
        scaled = (levels - levels.min()) * (255 / (np.ptp(levels) or 1))
    return Image.fromarray(np.where(opaque, scaled.round().clip(0, 255), 255).astype(np.uint8))


def _with_8_bit_key(picture: Image) -> Image:
    """Of 16-bit PNG files Pillow keeps the upper 8 bits, but all 16 of the colour that is transparent."""
    key = picture.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        picture = picture.copy()
        picture.info["transparency"] = tuple(level >> 8 for level in key)
    return picture


def _orientation(picture: Image) -> Any:
    """How to turn a picture upright; ``None`` for not at all, also where EXIF is damaged."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    try:
        value = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the metadata's parsers raise nearly every kind
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(value) if isinstance(value, int) else None


_OURS = r"PIL\.\w+"
_SILENCE = ("ignore", None, Warning, re.compile(_OURS), 0)
_lock = threading.Lock()
_at_work = 0
_silenced: list[Any] = []  # the lists of filters that got the silence


@contextmanager
def _quiet() -> Iterator[None]:
    """Nobody hears what Pillow warns of; others are heard.

    ``warnings.catch_warnings`` swaps the filters of all threads, and may put them back in the wrong order. Here the
    first decoder at work adds one filter, and the last one takes it away.
    """
    global _at_work
    with _lock:
        _at_work += 1
        if list(warnings.filters[:1]) != [_SILENCE]:
            warnings.filterwarnings("ignore", module=_OURS)
            _silenced.append(warnings.filters)
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            while _silenced and not _at_work:
                filters = _silenced.pop()
                if _SILENCE in filters:
                    filters.remove(_SILENCE)
