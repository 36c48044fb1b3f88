"""Names that lead elsewhere, things that are no files, and bytes of each kind."""

import os
import socket
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgraph.errors import DataError
from mmgraph.media.files import describe, kind_of, read_file, read_payload, sniff
from mmgraph.schema import Modality


@pytest.fixture
def root(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret").write_bytes(b"secret")
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "owl").write_bytes(b"owl")
    (folder / "sub" / "cat é\n").write_bytes(b"cat")
    (folder / "empty").touch()
    (folder / "inside").symlink_to("sub/cat é\n")
    (folder / "outside").symlink_to("../secret")
    (folder / "elsewhere").symlink_to(tmp_path / "other", target_is_directory=True)
    (folder / "nowhere").symlink_to("gone")
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    return folder


def test_files_below_the_folder_are_read(root, monkeypatch):
    assert read_payload(root, "owl") == b"owl"
    assert read_payload(root, "./sub//cat é\n") == b"cat"
    assert read_payload(root, "inside") == b"cat"
    monkeypatch.chdir(root.parent)
    assert read_payload(root.relative_to(root.parent), "owl") == b"owl"
    link = root.parent / "link"
    link.symlink_to(root)
    assert read_payload(link, "owl") == b"owl"  # the folder itself may be a link
    assert read_payload(root, "owl", max_bytes=3) == b"owl"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("../secret", r"without '\.\.', got '\.\./secret'"),
        ("sub/../owl", r"without '\.\.'"),
        ("sub/..", r"without '\.\.'"),
        ("/etc/hostname", "from its folder on, .* got '/etc/hostname'"),
        ("sub\\..\\..\\secret", "with '/' between the parts"),
        ("C:secret", "without a drive, got 'C:secret'"),
        ("//host/share", "without a drive"),
        ("owl\0.png", "none of them NUL, got 'owl.x00.png'"),
        ("", "at least one character, none of them NUL, got ''"),
        (None, "got None"),
        ("outside", "'outside' must stay below .*data'; a link leads to .*secret"),
        ("elsewhere/secret", "must stay below .*; a link leads to"),
        ("sub", "must be a file, got a folder, a pipe or a device"),
        (".", "must be a file"),
        ("pipe", "must be a file, got a folder, a pipe or a device"),
        ("gone", "gone' must be there and readable, but No such file"),
        ("nowhere", "must be there and readable"),
        ("circle", "circle"),
        ("owl/more", "owl/more' must be there and readable, but Not a directory"),
        ("empty", "empty' must have 1 to 1073741824 bytes, got 0"),
        ("a" * 300, "File name too long"),
        ("owl\ud800", "surrogates not allowed"),
    ],
)
def test_other_names_are_refused_by_name(root, name, value):
    with pytest.raises(DataError, match=value):
        read_payload(root, name)


def test_large_files_are_refused_before_they_are_read(root):
    with (root / "large").open("wb") as file:
        file.truncate((1 << 30) + 1)  # a hole: it holds nothing
    with pytest.raises(DataError, match="large' must have 1 to 1073741824 bytes, got 1073741825"):
        read_payload(root, "large")
    with pytest.raises(DataError, match="1 to 2 bytes, got 3"):
        read_payload(root, "owl", max_bytes=2)


def test_devices_and_sockets_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'/dev/zero' must be a file"):
        read_file("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(DataError, match="'socket' must be"):
            read_file("socket")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads all files")
def test_files_that_nobody_may_read_are_refused(root):
    (root / "owl").chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read_payload(root, "owl")


def test_no_handle_is_left_open(root):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None  # noqa: PTH208, PTH112
    for name in ("owl", "sub", "pipe", "empty", "gone"):
        try:
            read_payload(root, name)
        except DataError:
            continue
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@given(st.text())
def test_no_name_leads_out(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    with pytest.raises(DataError):
        read_payload(folder, name)


HEADS = {
    b"RIFF\0\0\0\0WAVE": ("wav", Modality.AUDIO),
    b"RF64\xff\xff\xff\xffWAVE": ("wav", Modality.AUDIO),
    b"RIFF\0\n\0\0AVI LIST": ("avi", Modality.VIDEO),
    b"fLaC\0": ("flac", Modality.AUDIO),
    b"OggS\0": ("ogg", Modality.AUDIO),
    b"ID3\4": ("mp3", Modality.AUDIO),
    b"\xff\xfb\x90\x64": ("mp3", Modality.AUDIO),
    b"FORM\0\0\0\0AIFF": ("aiff", Modality.AUDIO),
    b".snd\0": ("au", Modality.AUDIO),
    b"\0\0\0\x20ftypM4A ": ("m4a", Modality.AUDIO),
    b"\0\0\0\x20ftypisom": ("mp4", Modality.VIDEO),
    b"\0\0\0\x14ftypqt  ": ("mp4", Modality.VIDEO),
    b"\x1a\x45\xdf\xa3": ("matroska", Modality.VIDEO),
    b"FLV\1": ("flv", Modality.VIDEO),
    b"\0\0\1\xba": ("mpeg", Modality.VIDEO),
    (b"G" + bytes(187)) * 3: ("mpegts", Modality.VIDEO),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ("asf", Modality.VIDEO),
    b"II+\0": ("tiff", Modality.IMAGE),
    b"MM\0*": ("tiff", Modality.IMAGE),
    b"P5\n": ("ppm", Modality.IMAGE),
    b"\0\0\0\x18ftypheic": ("heif", Modality.IMAGE),
    b"\xff\x4f\xff\x51": ("jpeg2000", Modality.IMAGE),
    b"%PDF-1.7": ("pdf", None),
    b"PK\3\4": ("zip", None),
    b"\x1f\x8b\x08": ("gzip", None),
    b"\xff\xfea\0": ("text", Modality.TEXT),
    b"\xef\xbb\xbf": ("text", Modality.TEXT),
    b"plain \t\r\n text": ("text", Modality.TEXT),
    "é".encode() * 2048 + b"!": ("text", Modality.TEXT),
    b"!" + "é".encode() * 2048: ("text", Modality.TEXT),  # the 4096th byte is half a character
    b"!" + "é".encode() * 2047 + b"\xc3": (None, None),  # here the text itself ends so
    b"caf\xe9": (None, None),
    b"BM is no bitmap": ("text", Modality.TEXT),
    b"a\x01b": (None, None),
    b"": (None, None),
}


@pytest.mark.parametrize("head", HEADS, ids=lambda head: repr(head[:16]))
def test_kinds_by_their_first_bytes(head):
    assert (kind_of(head), sniff(head)) == HEADS[head]


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm", "avif", "jpeg2000", "qoi"])
def test_pictures_that_were_written_are_known(kind):
    file = BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(file, kind)
    assert kind_of(file.getvalue()) == kind
    assert sniff(file.getvalue()) is Modality.IMAGE


def test_messages_name_what_bytes_look_like():
    assert describe(b"") == "0 bytes"
    assert describe(b"ID3\4") == "an mp3 file"
    assert describe(b"\x1a\x45\xdf\xa3") == "a matroska file"
    assert describe(b"RIFF\0\0\0\0AVI ") == "an avi file"
    assert describe(b"<!DOCTYPE html><html><body>") == "a text: b'<!DOCTYPE html><html><bo'"
    assert describe(bytes(100)) == "100 bytes of no known kind: " + repr(bytes(12))
