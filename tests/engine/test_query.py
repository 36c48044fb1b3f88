"""Queries that can't be asked, refused by their value; and all the ways in which payloads are given."""

import json

import numpy as np
import pytest

from mmgraph.engine import Engine
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.media import Sound, wav_bytes

WAV = wav_bytes(Sound(np.zeros(9, dtype=np.float32), 8000))


@pytest.fixture(scope="module")
def engine(films):
    return Engine(films)


@pytest.mark.parametrize(
    ("query", "options", "kind", "message"),
    [
        (
            {},
            {},
            ConfigError,
            r"must have a payload of at least one of \['lost', 'plot', 'poster', 'table'\], got none",
        ),
        (None, {}, ConfigError, "needs either payloads= or id="),
        ({"plot": "a"}, {"id": "rain"}, ConfigError, "needs either payloads= or id="),
        (
            {"smell": "a"},
            {},
            ConfigError,
            r"or of \['image', 'tabular', 'text'\] where one node type has it, got 'smell'",
        ),
        ({"audio": b"a"}, {}, ConfigError, "got 'audio'"),
        ({"text": "a"}, {}, ConfigError, r"got 'text', which \['plot', 'lost'\] have; name one"),
        ({"about": "a"}, {}, ConfigError, "'about' can't be searched by: it must have x, and hang on what is searched"),
        ({"plot": "dog"}, {"k": 0}, ConfigError, "Option 'k' must be a whole number at least 1, got 0"),
        ({"plot": "dog"}, {"k": 1.5}, ConfigError, "Option 'k' must be a whole number at least 1, got 1.5"),
        ({"plot": "dog"}, {"hops": 9}, ConfigError, "Option 'hops' must be a whole number from 0 to 8, got 9"),
        ({"plot": "dog"}, {"level": "graph"}, ConfigError, r"\['node', 'sample', 'subgraph'\], got 'graph'"),
        ({"plot": "dog"}, {"text_weight": 2}, ConfigError, "text_weight must be from 0 to 1, got 2"),
        ({"plot": "dog"}, {"where": {"age": 1}}, ConfigError, r"some of \['note', 'node'\], got 'age'"),
        ({"plot": "dog"}, {"where": {"node": "smell"}}, ConfigError, "'node' must name some of .*, got 'smell'"),
        ({"plot": []}, {}, ConfigError, "The query's 'plot' must be at least 1 payload, got an empty list"),
        ({"plot": ["dog"] * 65}, {}, ConfigError, "at most 64 payloads, got 65"),
        ({"plot": "   "}, {}, DataError, "The query's 'plot' can't be read: A text must not be empty"),
        ({"plot": "ξψ"}, {}, DataError, "The query's 'plot' says nothing to search by: its features are all zero"),
        ({"plot": "x" * 20_000_000}, {}, DataError, "at most 1048576 characters, got 20000000"),
        ({"plot": b"\xff\xfe\x00"}, {}, DataError, "The query's 'plot' can't be read: A text must be UTF-8"),
        ({"plot": 7}, {}, DataError, "The query's 'plot' can't be read: a text must be a str, got int"),
        ({"poster": b"\x89PNG" + bytes(20_000_000)}, {}, DataError, "The query's 'poster' can't be read: "),
        ({"poster": WAV}, {}, DataError, "a wav file"),
        ({"poster": b""}, {}, DataError, "must have 1 to 268435456 bytes, got 0"),
        ({"table": "{"}, {}, DataError, "The query's 'table' can't be read: tabular must be JSON"),
        ({"table": {"month": 1}}, {}, DataError, r"columns must be among \['year'\], got 'month'"),
        ({"table": {"year": "x"}}, {}, DataError, "column 'year' must be a number, got 'x'"),
        (None, {"id": "dog-7"}, DataError, "Id must be one of the 6 of 'film', got 'dog-7'"),
    ],
)
def test_queries_that_can_not_be_are_refused_by_value(engine, query, options, kind, message):
    with pytest.raises(kind, match=message):
        engine.search(query, **options)


def test_a_missing_file_is_no_payload(engine, tmp_path):
    with pytest.raises(DataError, match=r"The query's 'poster' can't be read: File '.*none.png' must be there"):
        engine.search({"poster": tmp_path / "none.png"})


def test_payloads_are_given_as_text_bytes_paths_rows_and_json(engine, png, tmp_path):
    (tmp_path / "poster.png").write_bytes(png(90))
    (tmp_path / "plot.txt").write_text("A rocket flies to the moon.")
    posters = [engine.search({name: one}) for name in ("poster", "image") for one in (png(90), tmp_path / "poster.png")]
    assert [[(hit.id, hit.score) for hit in hits] for hits in posters] == [
        [(hit.id, hit.score) for hit in posters[0]]
    ] * 4
    assert {hit.id for hit in posters[0][:2]} == {"heist", "storm"}
    plots = [engine.search({"plot": one})[0].id for one in (tmp_path / "plot.txt", b"A rocket flies to the moon.")]
    assert plots == ["moon", "moon"]
    rows = [engine.search({"table": one})[0].id for one in ({"year": 1972}, json.dumps({"year": 1972}), (1972,))]
    assert rows == [rows[0]] * 3


def test_a_modality_means_the_node_type_at_the_anchor(films):
    fewer = Engine(films)
    del fewer.now.fields["lost"]
    assert fewer.search({"text": "rocket"}, level="subgraph")[0].reasons[0].query == "plot"


def test_a_row_of_what_is_known_alone_is_a_query(engine):
    hits = engine.search({"table": {}})  # nothing known: most like those of which nothing is known
    assert all(hit.reasons[0].query == "table" for hit in hits)


def test_more_hits_than_there_are(engine):
    assert len(engine.search({"plot": "dog"}, k=10**9)) == 5  # one film has no plot


def test_an_encoder_that_is_gone_is_said(make, films, tmp_path):
    built = make(encoders={"plot": films.encoder("plot"), "lost": films.encoder("plot")})
    built.write(tmp_path / "out")
    with pytest.raises(ArtifactError, match="was given as an object"):
        Engine.open(tmp_path / "out").search({"plot": "dog"})
