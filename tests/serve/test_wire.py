"""Questions: the same from JSON and from a form, and what is no question is said."""

import base64
import json

import pytest

from mmgraph.errors import DataError
from mmgraph.serve.wire import Question, read_question

FORM = "multipart/form-data; boundary=x"


def form(**fields):
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in fields.items()
    ]
    return b"".join(parts) + b"--x--"


def test_json_and_form_ask_the_same():
    picture, row = b"\x89PNG\r\n--y", '{"price": 3}'
    asked = {
        "text": "ein Bär",
        "image": base64.b64encode(picture).decode(),
        "nodes": {"table": row, "scan": base64.b64encode(b"\x00").decode()},
        "k": 3,
        "where": {"shape": "bar", "n": None},
        "level": "subgraph",
        "hops": 2,
        "subgraph": True,
    }
    one = read_question(json.dumps(asked).encode(), "application/json; charset=utf-8", texts=["table"])
    fields = {"text": "ein Bär".encode(), "image": picture, "node.table": row.encode(), "node.scan": b"\x00", "k": b"3"}
    rest = {"where": b'{"shape": "bar", "n": null}', "level": b"subgraph", "hops": b"2", "subgraph": b"true"}
    other = read_question(form(**fields, **rest), FORM, texts=["table"])
    assert one.payloads == {"text": "ein Bär", "image": picture, "table": row, "scan": b"\x00"} == other.payloads
    left_out = {"text", "image", "nodes"}
    assert one.question.model_dump(exclude=left_out) == other.question.model_dump(exclude=left_out)
    assert one.question.where == {"shape": "bar", "n": None}
    assert (one.question.k, one.question.level, one.question.hops, one.question.subgraph) == (3, "subgraph", 2, True)


def test_defaults():
    assert read_question(b"{}", "application/json").question == Question() == Question(k=10, hops=1, level="sample")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{}", "text/plain", "Content-Type must be application/json or multipart/form-data, got 'text/plain'"),
        (b"{}", "", "Content-Type must be .* got ''"),
        (b"{", "application/json", "The body must be JSON, but "),
        (b"[" * 100_000, "application/json", "The body must be JSON, but "),
        (b"\xff", "application/json", "The body must be JSON, but "),
        (b"[]", "application/json", "The body: Input should be a valid dictionary"),
        (b'{"k": 1.5}', "application/json", "k: Input should be a valid integer, .* got 1.5"),
        (b'{"nonsense": 1}', "application/json", "nonsense: Extra inputs are not permitted, got 1"),
        (b'{"where": {"a": [1]}}', "application/json", r"where.a.*: .*, got \[1\]"),
        (
            b'{"level": "galaxy"}',
            "application/json",
            "level: Input should be 'node', .*, got galaxy",
        ),
        (b'{"image": "data:image/png;base64,AA=="}', "application/json", "image must be base64, but .*; leave 'data:"),
        (b'{"image": "AAA"}', "application/json", "image must be base64"),
        (b'{"image": "\xc3\xa4"}', "application/json", "image must be base64"),
        (b'{"text": "a", "nodes": {"text": "b"}}', "application/json", "must be given once, got 'text' twice"),
        (form(k=b"many"), FORM, "k: Input should be a valid integer.*, got many"),
        (form(text=b"\xff"), FORM, "text must be UTF-8, but invalid start byte at byte 0"),
        (form(where=b"shape=bar"), FORM, "where must be JSON"),
        (form(colour=b"red"), FORM, "colour: Extra inputs are not permitted, got red"),
        (form(**{"image": b"a", "node.image": b"b"}), FORM, "A field must be there once, got 'image' twice"),
    ],
)
def test_what_is_no_question_is_said(body, kind, message):
    with pytest.raises(DataError, match=message):
        read_question(body, kind)
