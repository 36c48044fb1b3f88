"""Payloads as a browser may have them: pictures and sounds as such, all else as plain text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response, StreamingResponse

from mmgraph.errors import DataError
from mmgraph.media import decode_image, decode_video
from mmgraph.media.files import describe, kind_of
from mmgraph.schema import Modality
from mmgraph.serve.answers import refuse

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = (96, 320, 1024)  # pixels of small pictures
PICTURES = {name: f"image/{name}" for name in ("png", "jpeg", "gif", "webp", "bmp", "avif")}
SOUNDS = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg"}
TEXT = "text/plain; charset=utf-8"
CHUNK = 1 << 16
HEADERS: Mapping[str, str] = {
    "Cache-Control": "private, max-age=300",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Accept-Ranges": "bytes",
}
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class Content(NamedTuple):
    """Bytes, and what kind they are."""

    data: bytes
    type: str


def content_of(payload: str | bytes | None, modality: Modality | None, side: int | None = None) -> Content:
    """What a browser may have of a payload; a picture on request made smaller, of a video its first frame.

    A picture of a kind that browsers do not know is encoded anew. What is not what its node says, is not given.

    Args:
        payload: A text, or the bytes of a file.
        modality: What its node says it is.
        side: One of ``SIDES``: the longest that a side of a picture may be.

    Raises:
        DataError: There is no payload, it is of another kind, or damaged.

    Example:
        >>> content_of("<b>a mug</b>", Modality.TEXT)
        Content(data=b'<b>a mug</b>', type='text/plain; charset=utf-8')
        >>> content_of(b"<svg onload=...>", Modality.IMAGE)
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: A picture must be one of avif, ..., got a text: b'<svg onload=...>'
    """
    if payload is None:
        raise DataError("The node must stand for something that can be shown, got one without a payload")
    if isinstance(payload, str):
        return Content(payload.encode("utf-8", "replace"), TEXT)
    kind = kind_of(payload) or ""
    if modality is Modality.AUDIO:
        if kind not in SOUNDS:
            raise DataError(f"A recording must be one of {', '.join(SOUNDS)}, got {describe(payload)}")
        return Content(payload, SOUNDS[kind])
    if modality is Modality.VIDEO:
        return _encoded(next(iter(decode_video(payload, max_frames=1))), side)
    if modality is Modality.IMAGE:
        known = side is None and kind in PICTURES
        return Content(payload, PICTURES[kind]) if known else _encoded(decode_image(payload), side)
    raise DataError(f"A payload must be a text, a picture, a recording or a video to be shown, got {describe(payload)}")


def _encoded(picture: Image, side: int | None) -> Content:
    """A picture as PNG; as JPEG if it was made smaller."""
    is_large = side is not None and max(picture.size) > side
    if side is not None and is_large:
        picture.thumbnail((side, side))
    file = BytesIO()
    picture.save(file, "JPEG" if is_large else "PNG", **({"quality": 88} if is_large else {}))
    return Content(file.getvalue(), "image/jpeg" if is_large else "image/png")


def respond(content: Content, wanted: str | None = None) -> Response:
    """An answer with the bytes, or with the part that a ``Range`` header asks for: players jump to it.

    Sent in pieces, so that a slow reader does not make the server hold a second copy.

    Args:
        content: All of it.
        wanted: ``bytes=first-last``, ``bytes=first-`` or ``bytes=-length``; other forms get all.
    """
    size, (first, last) = len(content.data), (0, len(content.data) - 1)
    found = _RANGE.fullmatch(wanted.replace(" ", "")) if wanted else None
    is_part = found is not None and found[1] + found[2] != ""
    if found is not None and is_part:
        first = int(found[1]) if found[1] else max(0, size - int(found[2]))
        last = min(last, int(found[2])) if found[1] and found[2] else last
        if first > last:
            refusal = refuse(416, f"Range must be within {size} bytes, got {found[0]!r}")
            refusal.headers["Content-Range"] = f"bytes */{size}"
            return refusal
    headers = {**HEADERS, "Content-Length": str(last - first + 1)}
    if is_part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"

    async def pieces() -> AsyncIterator[memoryview]:
        view = memoryview(content.data)[first : last + 1]
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]

    return StreamingResponse(pieces(), 206 if is_part else 200, headers=headers, media_type=content.type)
