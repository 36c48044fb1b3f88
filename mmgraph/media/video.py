"""Videos and animations: bytes to a few frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from mmgraph.errors import ConfigError, DataError
from mmgraph.media.files import describe, kind_of, read_file
from mmgraph.media.image import FORMATS, check_size, guarded, to_rgb
from mmgraph.optional import require

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_DECODED = 1 << 18  # frames that are decoded to find those that are wanted: two hours and a half at 29 Hz
_ANIMATIONS = ("gif", "webp", "png", "avif")
_DEMUXERS = {  # containers that hold all that they show: none names another file or an address
    "asf": "asf",
    "avi": "avi",
    "flv": "flv",
    "matroska": "matroska",
    "mp4": "mp4",
    "mpeg": "mpeg",
    "mpegts": "mpegts",
    "ogg": "ogg",
}
_PLAIN_DELAY_S = 0.1  # of animations that give none, as browsers do
_SLACK_S = 1e-6

Frame = TypeVar("Frame")


def decode_video(
    payload: bytes | Path, *, rate_hz: float = 1.0, max_frames: int = 64, max_pixels: int = 1 << 24
) -> list[Image]:
    """The frames that are shown at the times ``0, 1 / rate_hz, 2 / rate_hz, …`` from the first one on.

    Videos through PyAV; animations (GIF, WebP, PNG, AVIF) through Pillow. Frames are upright where the file says how
    to turn them. A rate above that of the video gives frames more than once. Decoding ends with the last frame that
    is wanted; a video cut short after whole frames may give those.

    Args:
        payload: The bytes of an MP4 or MOV, Matroska or WebM, AVI, MPEG, FLV, ASF or Ogg file, or of an animation, or
            the path of one.
        rate_hz: Frames a second.
        max_frames: How many frames there are at most.
        max_pixels: The largest frame that is decoded.

    Returns:
        Pictures of mode RGB, at least one.

    Raises:
        DataError: It is empty, damaged, of another kind, has no picture, too large ones, or far too many.
        ConfigError: The rate is not positive, or no frame is wanted.
        MissingPackageError: av is not installed (animations don't need it).

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> first, second = (Image.fromarray(np.full((4, 6), grey, dtype=np.uint8)) for grey in (0, 255))
        >>> file = BytesIO()
        >>> first.save(file, "GIF", save_all=True, append_images=[second], duration=1000)
        >>> [frame.getpixel((0, 0)) for frame in decode_video(file.getvalue(), rate_hz=2)]
        [(0, 0, 0), (0, 0, 0), (255, 255, 255), (255, 255, 255)]
    """
    if not 0 < rate_hz < math.inf or max_frames < 1:
        raise ConfigError(f"rate_hz must be positive and max_frames at least 1, got {rate_hz} and {max_frames}")
    if isinstance(payload, Path):
        payload = read_file(payload)
    if not isinstance(payload, bytes):
        raise DataError(f"A video must be bytes or a Path, got {type(payload).__name__}")
    kind = kind_of(payload)
    if kind in _ANIMATIONS:
        return _decode_animation(payload, FORMATS[kind], rate_hz, max_frames, max_pixels)
    if kind in _DEMUXERS:
        return _decode_video(payload, _DEMUXERS[kind], rate_hz, max_frames, max_pixels)
    raise DataError(f"A video must be one of {', '.join([*_DEMUXERS, *_ANIMATIONS])}, got {describe(payload)}")


def shown_at(
    frames: Iterable[tuple[float, Frame | None]], rate_hz: float, count: int, convert: Callable[[Frame], Any]
) -> list[Any]:
    """Converts what is shown at the times ``0, 1 / rate_hz, …``, at most ``count`` times, at least once.

    Args:
        frames: Each frame with the time from which on it is shown, from 0 on; at last ``None`` with the end.
        rate_hz: How often a second.
        count: How many are converted at most.
        convert: What is done to a frame.

    Raises:
        DataError: There is no frame, or there are far too many.

    Example:
        >>> shown_at([(0.0, "a"), (0.4, "b"), (1.2, "c"), (2.1, None)], 1.0, 9, str.upper)
        ['A', 'B', 'C']
    """
    found: list[Any] = []
    shown: Frame | None = None
    for number, (time_s, frame) in enumerate(frames):
        if number > MAX_DECODED:
            raise DataError(f"A video must give its frames within {MAX_DECODED} decoded ones; ask for a higher rate_hz")
        while shown is not None and len(found) < count and len(found) / rate_hz < time_s - _SLACK_S:
            found.append(convert(shown))
        if len(found) == count:
            return found
        if frame is None and shown is not None and not found:  # a still picture, shown for no time
            found.append(convert(shown))
        shown = frame
    if not found:
        raise DataError("A video must have at least 1 frame, got none")
    return found


def _decode_video(data: bytes, demuxer: str, rate_hz: float, max_frames: int, max_pixels: int) -> list[Image]:
    if demuxer == "mp4" and _is_cut(data):
        raise DataError(f"A video must be whole, got {describe(data)} that ends before its header says")
    av = require("av", extra="video")
    try:
        with av.open(BytesIO(data), format=demuxer, io_open=_refuse, metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"A video must have pictures, got {describe(data)} without")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            check_size((stream.codec_context.width, stream.codec_context.height), max_pixels)
            return shown_at(_frames(container, stream, max_pixels), rate_hz, max_frames, _upright)
    except DataError:
        raise
    except Exception as error:  # demuxers and codecs raise nearly every kind
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"A video must be whole and undamaged, got {describe(data)}: {reason}") from None


def _frames(container: Any, stream: Any, max_pixels: int) -> Iterator[tuple[float, Any]]:
    step = float(1 / stream.average_rate) if stream.average_rate else _PLAIN_DELAY_S
    first: float | None = None
    end = 0.0
    for frame in container.decode(stream):
        check_size((frame.width, frame.height), max_pixels)
        if frame.is_corrupt:
            raise DataError(f"A video must be undamaged, got a corrupt frame at {end:g} s")
        if first is None:
            first = frame.time or 0.0
        start = end if frame.time is None else max(frame.time - first, 0.0)
        yield start, frame
        end = start + (float(frame.duration * frame.time_base) if frame.duration else step)
    yield end, None


def _upright(frame: Any) -> Image:
    from PIL.Image import Transpose

    picture = frame.to_image()
    turns = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
    turn = turns.get(round(frame.rotation) % 360)
    return picture if turn is None else picture.transpose(turn)


def _refuse(url: str, *_: object) -> NoReturn:
    raise DataError(f"A video must be one file, got one that names another, {url!r}")


def _is_cut(data: bytes) -> bool:
    """Whether the boxes of an MP4 file reach beyond its end."""
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4])
        if size == 1:  # it stands behind the name
            size = int.from_bytes(data[place + 8 : place + 16])
        if size < 8:  # 0: to the end of the file; others are the demuxer's to judge
            return False
        place += size
    return place > len(data)


def _decode_animation(data: bytes, fmt: str, rate_hz: float, max_frames: int, max_pixels: int) -> list[Image]:
    from PIL import Image

    with guarded(describe(data)), Image.open(BytesIO(data), formats=[fmt]) as picture:
        check_size(picture.size, max_pixels)
        return shown_at(_pages(picture, max_pixels), rate_hz, max_frames, to_rgb)


def _pages(picture: Any, max_pixels: int) -> Iterator[tuple[float, Any]]:
    """Each frame of an animation, loaded, with its time."""
    time_s = 0.0
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        check_size(picture.size, max_pixels)
        picture.load()
        yield time_s, picture.copy()
        time_s += picture.info.get("duration", 0) / 1000 or _PLAIN_DELAY_S
    yield time_s, None
