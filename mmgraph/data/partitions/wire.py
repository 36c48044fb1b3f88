"""What goes over a socket: a few JSON fields and arrays, never objects."""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmgraph.errors import MMGraphError

VERSION = 1
MAGIC = b"mmgp"
MOST_HEAD = 1 << 20
MOST_BYTES = 1 << 34
KINDS = "biufc"

_HEAD = struct.Struct("<4sI")


class WireError(MMGraphError, ConnectionError):
    """What came over a socket is no message of this protocol."""


@dataclass(frozen=True, eq=False)
class Message:
    """A request to a part, or its answer.

    Attributes:
        fields: What is asked, or ``{"error": …}``; JSON.
        arrays: Of numbers.
    """

    fields: dict[str, Any]
    arrays: Sequence[np.ndarray]


def send(link: socket.socket, message: Message) -> None:
    """Writes a message; the bytes of the arrays are not copied.

    Raises:
        OSError: The other end is gone.
    """
    arrays = [np.ascontiguousarray(array) for array in message.arrays]
    head = {**message.fields, "arrays": [[array.dtype.str, list(array.shape)] for array in arrays]}
    data = json.dumps(head, separators=(",", ":")).encode()
    link.sendall(_HEAD.pack(MAGIC, len(data)) + data)
    for array in arrays:
        if array.nbytes:
            link.sendall(array.reshape(-1).view(np.uint8).data)


def receive(link: socket.socket) -> Message | None:
    """Reads a message; None where the other end has ended after its last.

    Raises:
        WireError: It is not one, or larger than any may be.
        OSError: The other end is gone in the middle of it.
    """
    start = bytearray(_HEAD.size)
    if not _fill(link, memoryview(start), may_end=True):
        return None
    magic, size = _HEAD.unpack(start)
    if magic != MAGIC or size > MOST_HEAD:
        raise WireError(
            f"A message must begin with {MAGIC!r} and at most {MOST_HEAD} bytes of JSON, got {bytes(start)!r}"
        )
    data = bytearray(size)
    _fill(link, memoryview(data))
    try:
        fields = json.loads(data)
        kinds = [(_dtype(dtype), tuple(map(_size, shape))) for dtype, shape in fields.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"A message must say what its arrays are, but {error!r}") from None
    total = sum(dtype.itemsize * math.prod(shape) for dtype, shape in kinds)
    if total > MOST_BYTES:
        raise WireError(f"A message must have at most {MOST_BYTES} bytes, got {total}; ask for less at once")
    arrays = []
    for dtype, shape in kinds:
        array = np.empty(shape, dtype)
        if array.nbytes:
            _fill(link, array.reshape(-1).view(np.uint8).data)
        arrays.append(array)
    return Message(fields, arrays)


def _fill(link: socket.socket, out: memoryview, *, may_end: bool = False) -> bool:
    got = 0
    while got < len(out):
        count = link.recv_into(out[got:])
        if count == 0:
            if may_end and got == 0:
                return False
            raise ConnectionResetError("the other end has closed the connection in the middle of a message")
        got += count
    return True


def _dtype(name: Any) -> np.dtype:
    dtype = np.dtype(str(name))
    if dtype.kind not in KINDS or dtype.hasobject or dtype.subdtype is not None:
        raise ValueError(f"dtype {name!r}")
    return dtype


def _size(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 1 << 48:
        raise ValueError(f"size {number!r}")
    return number
