"""Texts: bytes to characters."""

from __future__ import annotations

import codecs

from mmgraph.errors import DataError
from mmgraph.media.files import describe

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def decode_text(payload: bytes | str, *, max_chars: int = 1 << 20) -> str:
    r"""A text of Unicode characters that is neither empty nor endless; nothing is guessed and nothing replaced.

    Bytes must be UTF-8, or UTF-16 with a byte order mark. The mark is not part of the text; all else is, also white
    space and line ends.

    Args:
        payload: The text, or the bytes of a text file.
        max_chars: The longest text that is taken, in characters.

    Raises:
        DataError: Bytes of another encoding or no text at all, a NUL or half a surrogate pair, white space alone, or
            too many characters.

    Example:
        >>> decode_text("une élève".encode("utf-16"))
        'une élève'
        >>> decode_text("une élève".encode("latin-1"))
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: A text must be UTF-8, ..., got b'\xe9' at byte 4 of 9 bytes of no known kind: ...
    """
    if isinstance(payload, bytes):
        payload = _decode(payload, max_chars)
    if not isinstance(payload, str):
        raise DataError(f"A text must be str or bytes, got {type(payload).__name__}")
    text = payload.removeprefix("\ufeff")
    if len(text) > max_chars:
        raise DataError(f"A text must have at most {max_chars} characters, got {len(text)}; cut it into parts")
    if not text or text.isspace():
        raise DataError(f"A text must not be empty, got {text[:12]!r}; leave a missing text out: it is no node")
    if "\0" in text:
        raise DataError(f"A text must have no NUL, got one at character {text.index(chr(0))}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"A text must be Unicode, got {text[error.start]!r} at character {error.start}") from None
    return text


def _decode(data: bytes, max_chars: int) -> str:
    mark, encoding = next((pair for pair in _MARKS.items() if data.startswith(pair[0])), (b"", "utf-8"))
    if len(data) > len(mark) + 4 * max_chars:  # no character takes more bytes
        raise DataError(f"A text must have at most {max_chars} characters, got {len(data)} bytes; cut it into parts")
    body = data[len(mark) :]
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"A text must be UTF-8, or UTF-16 with a byte order mark, got {body[error.start : error.end]!r} "
            f"at byte {len(mark) + error.start} of {describe(data)}"
        ) from None
