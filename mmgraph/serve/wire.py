"""What goes over the wire: questions and answers of the API, checked by pydantic, from which its OpenAPI is made."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mmgraph.errors import DataError
from mmgraph.serve.multipart import parts_of

Scalar = str | int | float | bool | None
Kind = Literal["text", "image", "audio", "data", "none"]
Level = Literal["node", "sample", "subgraph"]
MEDIA = ("text", "image", "audio")
NODE = "node."  # what the name of a form's field starts with that names a node type


class Wire(BaseModel):
    """A part of a question or an answer: unknown words are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(Wire):
    """What to search for: one payload or several, of any modality, and which hits are wanted."""

    text: str | None = Field(None, description="A text.")
    image: str | None = Field(None, description="The bytes of a picture, in base64.")
    audio: str | None = Field(None, description="The bytes of a recording (WAV, FLAC, OGG, MP3), in base64.")
    nodes: dict[str, str] = Field(
        {}, description="Node type: a text, or bytes in base64; where several types have one modality."
    )
    k: Annotated[int, Field(ge=1)] = Field(10, description="How many hits.")
    where: dict[str, Scalar] = Field({}, description="Metadata that a hit must have: column: value.")
    id: str | None = Field(None, description="Instead of payloads: the key of an anchor, whose likes are found.")
    level: Level = Field("sample", description="What is found: nodes, anchors, or anchors by all that is around them.")
    hops: Annotated[int, Field(ge=0)] = Field(1, description="Radius of subgraphs, in edges.")
    subgraph: bool = Field(False, description="Whether hits carry their subgraph.")


class Shown(Wire):
    """What a node stands for, in a form that can be shown."""

    kind: Kind
    text: str = Field("", description="The text, or what there is in a few words.")
    url: str | None = Field(None, description="Where its bytes are, if they can be shown or played.")


class Node(Wire):
    """A node of the graph."""

    node: str = Field(description="Its type.")
    row: int = Field(description="Its row among those of its type.")
    id: str = Field(description="Its key; its row where its type has none.")
    label: str = Field(description="What to call it.")
    modality: str | None
    payload: Shown
    face: str | None = Field(description="Where a picture of it is, if one hangs on it.")


class EdgeSet(Wire):
    """The edges of one type in a subgraph, by the rows of their ends in the whole graph."""

    type: tuple[str, str, str]
    source: list[int]
    target: list[int]


class Subgraph(Wire):
    """The graph around a hit."""

    nodes: dict[str, list[int]] = Field(description="Node type: rows in the whole graph.")
    edges: list[EdgeSet]


class Why(Wire):
    """What one payload of the question gave to the score of a hit."""

    query: str
    node: str = Field(description="The type of what it was found by.")
    similarity: float = Field(description="Their cosine, -1 to 1.")
    contribution: float = Field(description="What it gave to the score.")
    walk: list[str] = Field(description="The relations from the hit to it; none if it hangs on the hit.")


class Result(Wire):
    """One hit, with the nodes that hang on it."""

    node: str = Field(description="The type of what was found.")
    row: int
    id: str
    of: str = Field(description="Its key; of a modality node the key of what it hangs on.")
    label: str
    score: float
    metadata: dict[str, JsonValue]
    why: list[Why]
    nodes: list[Node]
    subgraph: Subgraph | None


class Results(Wire):
    """The hits, the best first."""

    results: list[Result]
    took_ms: float


class Edge(Wire):
    """An edge between two nodes of a neighbourhood, by their places in ``nodes``."""

    source: int
    target: int
    relation: str


class Neighbourhood(Wire):
    """A node, which comes first, and what is joined to it."""

    nodes: list[Node]
    edges: list[Edge]
    left_out: int = Field(description="How many neighbours are not here, because there are too many.")


class NodeType(Wire):
    """A type of nodes."""

    name: str
    modality: str | None
    rows: int
    searchable: bool = Field(description="Whether a payload of this type can be searched by.")


class EdgeType(Wire):
    """A type of edges."""

    source: str
    relation: str
    target: str
    edges: int


class Allowed(Wire):
    """The largest that is taken."""

    max_bytes: int
    max_k: int
    max_hops: int


class Description(Wire):
    """What there is to search."""

    title: str
    anchor: str
    nodes: list[NodeType]
    edges: list[EdgeType]
    examples: list[Node] = Field(description="Some anchors to start from.")
    columns: dict[str, list[Scalar]] = Field(description="Metadata to filter by, and their values.")
    limits: Allowed


class Refusal(Wire):
    """Why there is no answer."""

    error: str = Field(description="The kind of error, one word.")
    what: str = Field(description="What must hold, and what was got.")
    do: str = Field(description="What to do.")


@dataclass(frozen=True)
class Asked:
    """A question whose payloads are bytes and texts.

    Args:
        payloads: Node type, or modality that one node type has → payload.
        question: All else.
    """

    payloads: Mapping[str, str | bytes]
    question: Question


def read_question(body: bytes, content_type: str, *, texts: Collection[str] = ()) -> Asked:
    r"""Reads a question from the body of a request.

    Args:
        body: JSON, or a form with the fields ``text``, ``image``, ``audio`` (texts or files), ``node.TYPE`` (the same,
            for a node type), ``where`` (JSON), and the rest of :class:`Question`.
        content_type: Which of them it is.
        texts: The node types whose payloads are texts.

    Raises:
        DataError: It is neither, or a field is not what it must be.

    Example:
        >>> read_question(b'{"text": "a mug", "k": 3}', "application/json").payloads
        {'text': 'a mug'}
        >>> read_question(b'{"k": 0}', "application/json")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: k: Input should be greater than or equal to 1, got 0
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _of_form(parts_of(body, content_type), {*texts, "text"})
    if kind != "application/json":
        raise DataError(f"Content-Type must be application/json or multipart/form-data, got {kind[:80]!r}")
    question = _question(_json(body, "The body"))
    given = {name: value for name in MEDIA if (value := getattr(question, name)) is not None}
    if twice := sorted(set(given) & set(question.nodes)):
        raise DataError(f"A payload must be given once, got {twice[0]!r} twice")
    payloads = {
        name: value if name in {*texts, "text"} else _bytes(value, name)
        for name, value in {**given, **question.nodes}.items()
    }
    return Asked(payloads, question)


def _of_form(fields: Sequence[tuple[str, bytes]], texts: Collection[str]) -> Asked:
    payloads: dict[str, str | bytes] = {}
    rest: dict[str, Any] = {}
    for place, data in fields:
        name = place.removeprefix(NODE)
        if name in payloads or name in rest:
            raise DataError(f"A field must be there once, got {name[:80]!r} twice")
        if name in MEDIA or place != name:
            payloads[name] = _text(data, name) if name in texts else data
        else:
            rest[name] = _json(data, name) if name == "where" else _text(data, name)
    return Asked(payloads, _question(rest))


def _question(fields: Any) -> Question:
    try:
        return Question.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "The body"
        raise DataError(f"{place[:80]}: {first['msg']}, got {str(first['input'])[:80]}") from None


def _json(data: bytes, what: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} must be JSON, but {str(error)[:120]}") from None


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{what[:80]} must be UTF-8, but {error.reason} at byte {error.start}") from None


def _bytes(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{what[:80]} must be base64, but {error}; leave 'data:…,' out") from None
