"""Forms as browsers and curl send them (RFC 7578), from a body that is in memory already."""

from __future__ import annotations

import re
from email.message import Message
from email.utils import collapse_rfc2231_value

from mmgraph.errors import DataError

MAX_PARTS = 64
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


def parts_of(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    r"""The fields of a form, in order: name and bytes. File names are not read: nothing is written by them.

    Args:
        body: The whole body.
        content_type: Its header: ``multipart/form-data; boundary=…``.

    Raises:
        DataError: It is no such form, cut off, or has too many fields.

    Example:
        >>> body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\na red mug\r\n--x--\r\n'
        >>> parts_of(body, "multipart/form-data; boundary=x")
        [('text', b'a red mug')]
    """
    boundary = str(_message(f"Content-Type: {content_type}").get_param("boundary", ""))
    if not _BOUNDARY.fullmatch(boundary) or boundary.endswith(" "):
        raise DataError(f"A form must name its boundary, of 1 to 70 characters, got {content_type[:80]!r}")
    line = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + line, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise DataError(f"A form must have at most {MAX_PARTS} fields; send fewer")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise DataError("A form must end with its boundary and '--', got one that is cut off; send it again")
    return [_field(piece) for piece in pieces[1:-1]]


def _field(piece: bytes) -> tuple[str, bytes]:
    head, found, data = piece.partition(b"\r\n\r\n")
    if not found or len(head) > 4096:
        raise DataError("A field of a form must have a head of at most 4096 bytes and an empty line after it")
    message = _message(head.decode("utf-8", "replace").strip())
    name = collapse_rfc2231_value(message.get_param("name", "", "content-disposition"))  # of letters beyond ASCII
    if message.get_content_disposition() != "form-data" or not name:
        raise DataError(f"A field of a form must say its name, got {head[:80]!r}")
    return name, data


def _message(head: str) -> Message:
    message = Message()
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        message[name.strip()] = re.sub(r"[\r\n]", " ", value.strip())
    return message
