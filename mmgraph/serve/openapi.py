"""The API described for machines: OpenAPI 3.1, made of the same models that check what goes over the wire."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mmgraph.serve.answers import DO, NAMES
from mmgraph.serve.graph import API
from mmgraph.serve.limits import Limits
from mmgraph.serve.media import PICTURES, SIDES, SOUNDS
from mmgraph.serve.wire import Description, Neighbourhood, Question, Refusal, Results

EVERYWHERE = (403, 408, 413, 429, 500, 503, 504)  # what the guard may say


def document(limits: Limits) -> bytes:
    """The description, as JSON.

    Example:
        >>> sorted(json.loads(document(Limits()))["paths"])[0]
        '/api/v1/describe'
    """
    models = [(model, "validation") for model in (Description, Neighbourhood, Question, Refusal, Results)]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    version = "1"
    found = {
        "openapi": "3.1.0",
        "info": {"title": "mmgraph search", "version": version, "description": _lead(limits)},
        "paths": {
            f"{API}/describe": {"get": _read("What there is to search.", Description)},
            f"{API}/search": {"post": _search()},
            f"{API}/node/{{id}}/neighbours": {"get": _neighbours(limits)},
            f"{API}/payload/{{node}}/{{row}}": {"get": _payload()},
            f"{API}/openapi.json": {"get": _read("This description.", None)},
        },
        "components": {"schemas": schemas["$defs"]},
    }
    return json.dumps(found, ensure_ascii=False).encode()


def _lead(limits: Limits) -> str:
    return (
        f"Payloads in, parts of a graph out. At most {limits.max_bytes:,} bytes a request, {limits.rate:g} requests a "
        f"second of one client, {limits.burst} at once. Ids and node types are percent-encoded, slashes too."
    )


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _read(summary: str, answer: type[BaseModel] | None, *, errors: tuple[int, ...] = ()) -> dict[str, Any]:
    schema = {"type": "object"} if answer is None else _reference(answer)
    return {
        "summary": summary,
        "responses": {"200": {"description": "It.", "content": {"application/json": {"schema": schema}}}}
        | _refusals(*errors),
    }


def _refusals(*statuses: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(Refusal)}}
    return {
        str(status): {"description": f"{NAMES[status]}: {DO[status]}.", "content": content}
        for status in sorted({*statuses, *EVERYWHERE})
    }


def _search() -> dict[str, Any]:
    fields = Question.model_json_schema()["properties"]
    form = {name: field for name, field in fields.items() if name not in ("image", "audio", "nodes", "where")}
    files = {name: {"type": "string", "format": "binary"} for name in ("image", "audio")}
    where = {"where": {"type": "string", "description": "JSON: column: value."}}
    rest = {"type": "string", "format": "binary", "description": "node.TYPE: a payload of that node type."}
    shape = {"type": "object", "properties": {**form, **files, **where}, "additionalProperties": rest}
    body = {
        "required": True,
        "content": {"application/json": {"schema": _reference(Question)}, "multipart/form-data": {"schema": shape}},
    }
    return {"requestBody": body, **_read("What is most like the payloads.", Results, errors=(400, 501))}


def _parameter(name: str, place: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": about}


def _neighbours(limits: Limits) -> dict[str, Any]:
    many = {"type": "integer", "minimum": 1, "maximum": limits.max_nodes}
    return {
        "parameters": [
            _parameter("id", "path", {"type": "string"}, "The node's key; its row where its type has none."),
            _parameter("type", "query", {"type": "string"}, "The node's type; the anchor's if it is left out."),
            _parameter("limit", "query", many, "Most nodes."),
        ],
        **_read("A node, and what is joined to it.", Neighbourhood, errors=(400, 404)),
    }


def _payload() -> dict[str, Any]:
    kinds = [*PICTURES.values(), *SOUNDS.values(), "text/plain"]
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    part = {"description": "The part that Range asked for.", "content": content}
    return {
        "summary": "What a modality node stands for.",
        "parameters": [
            _parameter("node", "path", {"type": "string"}, "The node's type."),
            _parameter("row", "path", {"type": "integer", "minimum": 0}, "Its row."),
            _parameter("side", "query", {"enum": list(SIDES)}, "Longest side of a picture that is made smaller."),
        ],
        "responses": {"200": {"description": "It.", "content": content}, "206": part} | _refusals(400, 404, 415, 416),
    }
