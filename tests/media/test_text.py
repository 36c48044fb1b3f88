"""What is a text, and by which message everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import DataError
from mmgraph.media.text import decode_text

TEXTS = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])).filter(str.strip)


@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_every_text_comes_back(text, encoding):
    assert decode_text(text.encode(encoding)) == text
    assert decode_text(text) == text


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert decode_text("\ufeffowl") == "owl"
    assert decode_text(b"\xef\xbb\xbfowl") == "owl"
    assert decode_text(b"\xfe\xff\0o\0w\0l") == "owl"
    assert decode_text(b"\xff\xfeo\0w\0l\0") == "owl"


def test_white_space_and_line_ends_stay():
    assert decode_text(b" a\r\nb\t") == " a\r\nb\t"


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("élève".encode("latin-1"), r"UTF-8, or UTF-16 .* got b'.xe9' at byte 0 of 5 bytes of no known kind"),
        (b"\xff\xd8\xff\xe0", "got b'.xff' at byte 0 of a jpeg file"),
        (b"abc\xe2\x82", "got b'.xe2.x82' at byte 3"),
        (b"\xff\xfea", "got b'a' at byte 2 of a text"),
        ("owl".encode("utf-32"), "no NUL, got one at character 0"),
        (b"a\0b", "no NUL, got one at character 1"),
        ("a\0b", "no NUL, got one at character 1"),
        ("ab\ud800", r"must be Unicode, got '.ud800' at character 2"),
        (b"", "must not be empty, got ''; leave a missing text out"),
        (" \n\t\u2003", "must not be empty"),
        (b"\xef\xbb\xbf", "must not be empty"),
        (None, "must be str or bytes, got NoneType"),
        (7, "got int"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(payload, value):
    with pytest.raises(DataError, match=value):
        decode_text(payload)


def test_endless_texts_are_refused_before_they_are_decoded():
    assert len(decode_text(b"a" * (1 << 20))) == 1 << 20
    with pytest.raises(DataError, match="at most 1048576 characters, got 1048577; cut it into parts"):
        decode_text("a" * ((1 << 20) + 1))
    with pytest.raises(DataError, match="at most 3 characters, got 4"):
        decode_text(b"\xef\xbb\xbfabcd", max_chars=3)
    assert decode_text("🐈🐈🐈".encode(), max_chars=3) == "🐈🐈🐈"
    with pytest.raises(DataError, match="at most 3 characters, got 13 bytes"):
        decode_text(b"\xff" * 13, max_chars=3)
