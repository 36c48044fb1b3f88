"""Answers of the API: the engine's own, said over the wire; and the graph as it becomes."""

import base64
import json

import pyarrow as pa
import pytest

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.engine import Engine
from mmgraph.errors import ConfigError, DataError
from mmgraph.serve import Limits, answer
from mmgraph.serve.answer import EXAMPLES, VALUES, Api

JSON = "application/json"


@pytest.fixture(scope="module")
def api(engine):
    return Api(engine, Limits(), title="shapes")


def ask(api, **question):
    return api.search(json.dumps(question).encode(), JSON)


def test_what_there_is(api, engine):
    found = api.describe()
    assert (found.title, found.anchor) == ("shapes", "thing")
    assert {one.name: one.rows for one in found.nodes} == engine.describe()["nodes"]
    assert {one.name for one in found.nodes if one.searchable} == {"name", "picture", "sound", "table"}
    assert found.columns == {"shape": ["<i>", "bar", "circle", "square"]}
    assert [one.row for one in found.examples] == [0, 1, 3, 4, 6, 8, 9, 11]
    assert len(found.examples) == EXAMPLES
    assert found.limits.max_bytes == 20_000_000


def test_columns_of_too_many_values_are_no_filters():
    assert answer._few([str(number) for number in range(VALUES)]) == sorted(map(str, range(VALUES)))
    assert answer._few([str(number) for number in range(VALUES + 1)]) == []
    assert answer._few(["a", "a", None, ""]) == []
    assert answer._few(["b", None, "a"]) == ["a", "b"]


def test_hits_are_the_engines(api, engine, png, wav):
    payloads = {"text": "a red circle", "image": png("circle", "red"), "audio": wav(500)}
    expected = engine.search(payloads, k=5)
    sent = {name: one if isinstance(one, str) else base64.b64encode(one).decode() for name, one in payloads.items()}
    found = ask(api, **sent, k=5, subgraph=True)
    assert [(one.of, one.id, one.score) for one in found.results] == [(hit.id, hit.id, hit.score) for hit in expected]
    for one, hit in zip(found.results, expected, strict=True):
        assert [(why.query, why.similarity, why.contribution) for why in one.why] == [
            (reason.query, reason.similarity, reason.contribution) for reason in hit.reasons
        ]
        assert one.metadata == hit.metadata
        assert {node: len(rows) for node, rows in one.subgraph.nodes.items()} == {
            node: hit.subgraph[node].num_nodes for node in hit.subgraph.node_types
        }
        for edges in one.subgraph.edges:
            known = engine.built.graph[edges.type].edge_index.T.tolist()
            assert all([s, t] in known for s, t in zip(edges.source, edges.target, strict=True))
            assert len(edges.source) == hit.subgraph[edges.type].num_edges
    assert found.results[0].id == "red circle"
    assert ask(api, text="red").results[0].subgraph is None


def test_likes_of_an_anchor_filters_and_levels(api):
    found = ask(api, id="red circle", k=3, where={"shape": "bar"})
    assert [one.metadata["shape"] for one in found.results] == ["bar"] * 3
    nodes = ask(api, text="a red bar", k=2, level="node").results
    assert (nodes[0].node, nodes[0].of) == ("name", "red bar")
    assert nodes[0].id == str(nodes[0].row)
    assert nodes[0].nodes[0].payload.text == "A red bar"
    around = ask(api, text="A red bar", level="subgraph", hops=2, k=13).results
    assert any(why.walk for one in around for why in one.why)
    assert {node.node for one in around for node in one.nodes} >= {"name"}


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({}, "payload of at least one of"),
        ({"text": "a", "id": "red bar"}, "either payloads= or id="),
        ({"text": "a", "k": 101}, "k must be from 1 to 100, got 101"),
        ({"text": "a", "hops": 4}, "hops must be from 0 to 3, got 4"),
        ({"text": "a", "where": {"colour": "red"}}, r"where must name some of \['shape', 'node'\], got 'colour'"),
        ({"nodes": {"scan": "AA=="}}, "got 'scan'"),
        ({"id": "gold bar"}, "got 'gold bar'"),
        ({"image": base64.b64encode(b"GIF89a").decode()}, "A picture must be whole and undamaged"),
        ({"audio": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()}, "must be a WAV, FLAC, OGG or MP3 file, got a png"),
        ({"text": ""}, "A text must not be empty"),
        ({"text": "a\x00"}, "A text must have no NUL"),
        ({"text": "\ud800"}, "A text must be Unicode"),
    ],
)
def test_questions_that_can_not_be_answered(api, question, message):
    with pytest.raises((ConfigError, DataError), match=message):
        ask(api, **question)


def test_neighbours_and_payloads(api):
    assert api.neighbours(None, "red bar").nodes[0].node == "thing"
    assert len(api.neighbours("shop", "s1", 3).nodes) == 3
    for limit in (0, 61):
        with pytest.raises(ConfigError, match=f"limit must be from 1 to 60, got {limit}"):
            api.neighbours("shop", "s1", limit)
    assert api.payload("name", 0).data == b"A red circle"
    assert api.payload("name", 13) is api.payload("shop", 0) is api.payload("nonsense", 0) is None
    with pytest.raises(ConfigError, match=r"side must be one of \[96, 320, 1024\], got 97"):
        api.payload("picture", 0, 97)


def test_what_others_write_is_taken_up(tmp_path, monkeypatch):
    config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
    films = pa.table({"id": ["a", "b"], "plot": ["A dog runs in the rain.", "Two thieves meet."]})
    Engine.build(build_graph(Source(config, {"films": films}), cache=FeatureCache(tmp_path / "c")), tmp_path / "films")
    api = Api(Engine.open(tmp_path / "films"), Limits(), title="films")
    before = api.shelf()
    Engine.open(tmp_path / "films").add({"c": {"plot": "A dog meets two thieves."}})
    assert api.shelf() is before  # not at each question
    monkeypatch.setattr(answer, "REFRESH_S", 0.0)
    assert ask(api, text="dog thieves", k=1).results[0].id == "c"
    assert {one.name: one.rows for one in api.describe().nodes} == {"film": 3, "plot": 3}
    assert before.rows["film"] == 2  # whoever looks at the graph as it was sees it whole
    assert before.now.rows == {"a": 0, "b": 1}
