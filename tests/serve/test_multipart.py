"""Forms: as aiohttp writes them, and as nobody should."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import DataError
from mmgraph.serve.multipart import MAX_PARTS, parts_of

FIELDS = st.lists(
    st.tuples(st.text("abcäöü.", min_size=1, max_size=8), st.binary(max_size=200)), min_size=1, max_size=5
)


def written(fields):
    """A form by another library, and its content type."""
    form = aiohttp.FormData()
    for name, data in fields:
        form.add_field(name, data, filename="a.png", content_type="image/png")
    payload = form()
    return asyncio.run(payload.as_bytes()), payload.headers["Content-Type"]


@given(FIELDS)
def test_what_another_library_writes_is_read(fields):
    assert parts_of(*written(fields)) == fields


def test_boundaries_in_quotes_and_a_preamble():
    body = b"preamble\r\n--a b\r\ncontent-disposition: form-data; name=k\r\n\r\n3\r\n--a b--\r\nepilogue"
    assert parts_of(body, 'Multipart/Form-Data; charset=utf-8; boundary="a b"') == [("k", b"3")]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"", "multipart/form-data", "A form must name its boundary, of 1 to 70 characters, got 'multipart/form-data'"),
        (b"", f"multipart/form-data; boundary={'x' * 71}", "must name its boundary"),
        (b"", "multipart/form-data; boundary=ä", "must name its boundary"),
        (b"nothing", "multipart/form-data; boundary=x", "must end with its boundary and '--'"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb', "multipart/form-data; boundary=x", "cut off"),
        (b"--x\r\n\r\nb\r\n--x--", "multipart/form-data; boundary=x", "must say its name, got b''"),
        (
            b"--x\r\nContent-Disposition: attachment; name=a\r\n\r\nb\r\n--x--",
            "multipart/form-data; boundary=x",
            "its name",
        ),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n--x--", "multipart/form-data; boundary=x", "an empty line"),
        (b"--x\r\nA: " + b"b" * 5000 + b"\r\n\r\nb\r\n--x--", "multipart/form-data; boundary=x", "at most 4096 bytes"),
    ],
)
def test_what_is_no_form_is_said(body, kind, message):
    with pytest.raises(DataError, match=message):
        parts_of(body, kind)


def test_there_are_not_too_many_fields():
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    assert len(parts_of(part * MAX_PARTS + b"--x--", "multipart/form-data; boundary=x")) == MAX_PARTS
    with pytest.raises(DataError, match=f"at most {MAX_PARTS} fields"):
        parts_of(part * (MAX_PARTS + 1) + b"--x--", "multipart/form-data; boundary=x")


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data):
    with suppress(DataError):
        parts_of(b"--x" + data + b"\r\n--x--", "multipart/form-data; boundary=x")
