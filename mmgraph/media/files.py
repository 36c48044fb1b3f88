"""Files of a dataset, read only where they may be, and what kind of payload their first bytes say they are."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PureWindowsPath

from mmgraph.errors import DataError
from mmgraph.schema import Modality

MAX_BYTES = 1 << 30
_KINDS: dict[str, tuple[Modality | None, bytes]] = {  # the first that fits counts
    "png": (Modality.IMAGE, rb"\x89PNG\r\n\x1a\n"),
    "jpeg": (Modality.IMAGE, rb"\xff\xd8\xff"),
    "gif": (Modality.IMAGE, rb"GIF8[79]a"),
    "webp": (Modality.IMAGE, rb"RIFF.{4}WEBP"),
    "tiff": (Modality.IMAGE, rb"II[*+]\0|MM\0[*+]"),
    "avif": (Modality.IMAGE, rb".{4}ftypavi[fs]"),
    "heif": (Modality.IMAGE, rb".{4}ftyp(hei[cx]|hevc|mif1|msf1)"),
    "jpeg2000": (Modality.IMAGE, rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    "qoi": (Modality.IMAGE, rb"qoif"),
    "bmp": (Modality.IMAGE, rb"BM.{4}\0{4}"),
    "ppm": (Modality.IMAGE, rb"P[1-6][ \t\r\n#]"),
    "wav": (Modality.AUDIO, rb"(RIFF|RF64).{4}WAVE"),
    "aiff": (Modality.AUDIO, rb"FORM.{4}AIF[FC]"),
    "flac": (Modality.AUDIO, rb"fLaC"),
    "ogg": (Modality.AUDIO, rb"OggS"),
    "au": (Modality.AUDIO, rb"\.snd"),
    "m4a": (Modality.AUDIO, rb".{4}ftypM4[AB]"),
    "mp3": (Modality.AUDIO, rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
    "avi": (Modality.VIDEO, rb"RIFF.{4}AVI "),
    "mp4": (Modality.VIDEO, rb".{4}(ftyp|moov|mdat|wide|skip)"),
    "matroska": (Modality.VIDEO, rb"\x1a\x45\xdf\xa3"),
    "flv": (Modality.VIDEO, rb"FLV\x01"),
    "asf": (Modality.VIDEO, rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    "mpeg": (Modality.VIDEO, rb"\0\0\x01\xba"),
    "mpegts": (Modality.VIDEO, rb"G.{187}G.{187}G"),
    "pdf": (None, rb"%PDF-"),
    "zip": (None, rb"PK(\x03\x04|\x05\x06)"),
    "gzip": (None, rb"\x1f\x8b"),
    "text": (Modality.TEXT, rb"\xef\xbb\xbf|\xff\xfe|\xfe\xff"),  # the byte order marks
}
_CONTROLS = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")  # that no text has


def read_payload(root: Path, name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a file below a folder, whatever its name says.

    A name that leads out of the folder, also through a link, is refused before the file is opened; so are what is no
    regular file (a folder, a pipe, a device) and a file that is too large, before they are read.

    Args:
        root: The folder.
        name: Where the file is in it, with ``/`` between the parts.
        max_bytes: The largest file that is read.

    Raises:
        DataError: The name leads elsewhere or nowhere, or the file is empty, too large, or can't be read.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "owl.txt").write_text("owl")
        >>> read_payload(folder, "owl.txt")
        b'owl'
        >>> read_payload(folder, "../owl.txt")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: A file must be named from its folder on, without '..', got '../owl.txt'
    """
    if not name or "\0" in name:
        raise DataError(f"A file must be named by at least one character, none of them NUL, got {name!r}")
    if "\\" in name or PureWindowsPath(name).drive:
        raise DataError(f"A file must be named with '/' between the parts and without a drive, got {name!r}")
    if name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"A file must be named from its folder on, without '..', got {name!r}")
    try:
        folder, path = Path(root).resolve(), (Path(root) / name).resolve()
    except (OSError, RuntimeError, UnicodeEncodeError) as error:  # links in a circle, a name that no file can have
        raise DataError(f"File {name!r} must be below {str(root)!r}, but {error}") from None
    if not path.is_relative_to(folder):
        raise DataError(f"File {name!r} must stay below {str(root)!r}; a link leads to {str(path)!r}")
    return read_file(path, max_bytes=max_bytes)


def read_file(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file that is neither empty nor too large.

    Raises:
        DataError: It is another thing, or can't be read.

    Example:
        >>> read_file(getfixture("tmp_path") / "owl.txt")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: File '...owl.txt' must be there and readable, but No such file or directory
    """
    try:
        # a pipe that nobody writes to must not block
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise DataError(f"{str(path)!r} must be a file, got a folder, a pipe or a device")
            if not 0 < found.st_size <= max_bytes:
                raise DataError(f"File {str(path)!r} must have 1 to {max_bytes} bytes, got {found.st_size}")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(found.st_size)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"File {str(path)!r} must be there and readable, but {error.strerror}") from None


def sniff(data: bytes) -> Modality | None:
    r"""The modality that the first bytes of a file speak of; ``None`` if they are those of no known kind.

    Example:
        >>> sniff(b"fLaC...").value, sniff(b"<html>").value, sniff(b"PK\3\4")
        ('audio', 'text', None)
    """
    kind = kind_of(data)
    return _KINDS[kind][0] if kind else None


def kind_of(data: bytes) -> str | None:
    r"""The kind of file by its first bytes, ``"png"`` or ``"wav"``; bytes that may be a text are ``"text"``.

    Example:
        >>> kind_of(b"GIF89a..."), kind_of(b"plain"), kind_of(b"\x00\x01")
        ('gif', 'text', None)
    """
    for kind, (_, magic) in _KINDS.items():
        if re.match(magic, data, re.DOTALL):
            return kind
    head = data[:4096]
    if not head or _CONTROLS.search(head):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(data) == len(head):  # a character may be cut
            return None
    return "text"


def describe(data: bytes) -> str:
    r"""What bytes look like, for messages.

    Example:
        >>> describe(b"fLaC..."), describe(b""), describe(b"\x00\x01\x02")
        ('a flac file', '0 bytes', "3 bytes of no known kind: b'\\x00\\x01\\x02'")
    """
    if not data:
        return "0 bytes"
    kind = kind_of(data)
    if kind == "text":
        return f"a text: {data[:24]!r}"
    article = "an" if kind and kind[0] in "am" and kind != "matroska" else "a"
    return f"{article} {kind} file" if kind else f"{len(data)} bytes of no known kind: {data[:12]!r}"
