"""The description for machines is what the server does."""

import json

import pytest

from mmgraph.serve import Limits
from mmgraph.serve.openapi import document

ROOT = json.loads(document(Limits()))
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}
TYPES["null"] = type(None)


def check(value, schema):
    """Whether a value is what a schema says; knows all words that the description uses."""
    known = {"$ref", "type", "anyOf", "enum", "items", "prefixItems", "properties", "required", "additionalProperties"}
    known |= {"minimum", "maximum", "minItems", "maxItems", "title", "description", "default"}
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        check(value, ROOT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        assert any(fits(value, one) for one in schema["anyOf"]), (value, schema)
    if "type" in schema:
        assert isinstance(value, TYPES[schema["type"]]), (value, schema)
        assert not (isinstance(value, bool) and schema["type"] in ("integer", "number"))
    assert "enum" not in schema or value in schema["enum"]
    assert "minimum" not in schema or value >= schema["minimum"]
    assert "minItems" not in schema or schema["minItems"] <= len(value) <= schema["maxItems"]
    for item, one in zip(value, schema["prefixItems"], strict=True) if "prefixItems" in schema else ():
        check(item, one)
    for item in value if "items" in schema else ():
        check(item, schema["items"])
    if "properties" in schema or "additionalProperties" in schema:
        assert set(schema.get("required", ())) <= set(value)
        for name, item in value.items():
            rest = schema.get("additionalProperties", False)
            assert name in schema.get("properties", {}) or rest is not False, name
            check(item, schema.get("properties", {}).get(name, rest if isinstance(rest, dict) else {}))


def fits(value, schema):
    try:
        check(value, schema)
    except AssertionError:
        return False
    return True


def answered(address, ask, path, method="get", expected=200, **options):
    """The body of an answer that is described under a path."""
    described = ROOT["paths"][path.partition(" ")[2] or path][method]["responses"][str(expected)]["content"]
    status, headers, body = ask(address + path.partition(" ")[0], method.upper(), **options)
    assert status == expected, body
    kind = headers["Content-Type"].partition(";")[0]
    assert kind in described
    if kind == "application/json":
        check(json.loads(body), described[kind]["schema"])
    return body


def test_every_path_answers_as_described(address, ask, png):
    search, near, payload = "/api/v1/search", "/api/v1/node/{id}/neighbours", "/api/v1/payload/{node}/{row}"
    answered(address, ask, "/api/v1/describe")
    served = answered(address, ask, "/api/v1/openapi.json")
    assert set(json.loads(served)["paths"]) == set(ROOT["paths"])
    for question in ({"text": "a red bar", "subgraph": True}, {"id": "red bar", "level": "subgraph", "hops": 2}):
        check(question, {"$ref": "#/components/schemas/Question"})
        answered(address, ask, search, "post", json=question)
    answered(address, ask, search, "post", 400, json={"k": 0})
    for node in ("red%20bar", "s1?type=shop", "3?type=picture&limit=5"):
        path = f"/api/v1/node/{node.partition('?')[0]}/neighbours?{node.partition('?')[2]}"
        answered(address, ask, f"{path} {near}")
    answered(address, ask, f"/api/v1/node/gold/neighbours {near}", expected=404)
    answered(address, ask, f"/api/v1/node/s1/neighbours?type=shop&limit=0 {near}", expected=400)
    for node in ("name", "picture", "sound", "table"):
        answered(address, ask, f"/api/v1/payload/{node}/1 {payload}")
    answered(address, ask, f"/api/v1/payload/sound/1 {payload}", expected=206, headers={"Range": "bytes=0-9"})
    answered(address, ask, f"/api/v1/payload/sound/1 {payload}", expected=416, headers={"Range": "bytes=99999999-"})
    answered(address, ask, f"/api/v1/payload/picture/1?side=7 {payload}", expected=400)
    answered(address, ask, f"/api/v1/payload/picture/99 {payload}", expected=404)


def test_a_wrong_answer_would_be_seen():
    good = {"error": "a", "what": "b", "do": "c"}
    refusal = {"$ref": "#/components/schemas/Refusal"}
    assert fits(good, refusal)
    for bad in ({**good, "more": 1}, {"error": "a", "what": "b"}, {**good, "do": None}, []):
        assert not fits(bad, refusal)
    assert not fits({"k": 0}, {"$ref": "#/components/schemas/Question"})
    assert not fits({"level": "galaxy"}, {"$ref": "#/components/schemas/Question"})


@pytest.mark.parametrize("path", ROOT["paths"])
def test_each_has_words_and_refusals(path):
    for described in ROOT["paths"][path].values():
        assert described["summary"].endswith(".")
        assert {"403", "413", "429", "503", "504"} <= set(described["responses"])
        names = {one["name"] for one in described.get("parameters", ()) if one["in"] == "path"}
        assert names == {part[1:-1] for part in path.split("/") if part.startswith("{")}
