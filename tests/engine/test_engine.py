"""Engines in memory and in folders: hits with payloads and reasons, and answers to what can't be."""

import numpy as np
import pytest

from mmgraph.assembly import Built
from mmgraph.engine import Engine
from mmgraph.engine.kept import FEW
from mmgraph.errors import ArtifactError, ConfigError, DataError

QUERIES = [
    {"plot": "a dog in the rain"},
    {"plot": ["a dog", "a cat"], "poster": None},
    {"table": {"year": 1970}, "plot": "moon"},
]


@pytest.fixture
def folder(films, tmp_path):
    films.write(tmp_path / "films")
    return tmp_path / "films"


def told(hits):
    return [(hit.id, hit.score, hit.reasons, hit.metadata) for hit in hits]


def ask(engine, png):
    found = []
    for query in QUERIES:
        given = {name: png(90) if value is None else value for name, value in query.items()}
        for level in ("node", "sample", "subgraph"):
            found.append(told(engine.search(given, k=4, level=level, hops=2, text_weight=0.3)))
    return [*found, told(engine.search(id="rain", k=9))]


def test_an_engine_in_a_folder_answers_as_one_in_memory(films, folder, png):
    expected = ask(Engine(films), png)
    assert ask(Engine.open(folder), png) == expected  # nothing was indexed: all is looked at
    assert not (folder / "search").exists()
    assert ask(Engine.build(films, folder), png) == expected
    assert ask(Engine.open(folder), png) == expected
    assert ask(Engine.build(Built.open(folder), folder, kind="hnsw"), png) == expected  # too few to leave any out


def test_a_hit_carries_subgraph_payloads_and_reasons(films, png):
    hit = Engine(films).search({"poster": png(10), "plot": "a dog in the rain"}, k=1)[0]
    assert (hit.id, hit.node, hit.position, hit.metadata) == ("rain", "film", 0, {"note": "old"})
    assert hit.subgraph["film"].n_id.tolist() == [0, 2]  # the moon comes before it
    assert hit.subgraph["plot"].num_nodes == 3
    assert hit.payload("poster") == hit.payload("image") == png(10)
    assert [hit.payload("plot", number) for number in (0, 1)] == ["A dog runs in the rain.", "Rain falls all night."]
    rain = Engine(films).search({"plot": "rain falls all night"}, k=1)[0]
    assert rain.payload("plot") == "Rain falls all night."  # what was matched comes first
    with pytest.raises(ConfigError, match="'rain' has 2 nodes of 'plot', got number 2"):
        hit.payload("plot", 2)
    with pytest.raises(ConfigError, match="got 'smell'"):
        hit.payload("smell")
    assert hit.why == f"poster 0.50, plot {hit.score - 0.5:.2f}"
    assert hit.to_json()["reasons"][0]["matched"] == [["plot", 0]] or hit.to_json()["reasons"][0]["query"] == "poster"


def test_a_walk_is_told(films):
    hit = Engine(films).search({"about": "stories of space and of pets"}, level="subgraph", k=1)[0]
    assert hit.why == "about 0.50 over by"
    (reason,) = hit.to_json()["reasons"]
    assert reason["walk"] == [{"edge": ["film", "by", "studio"], "source": hit.position, "target": 1}]


def test_an_anchor_finds_others_by_what_hangs_on_it(films):
    hits = Engine(films).search(id="heist")
    same = {hit.id for hit in hits for one in hit.reasons if one.query == "poster" and one.similarity > 0.999}
    assert same == {"storm"}
    assert "heist" not in [hit.id for hit in hits]
    with pytest.raises(DataError, match=r"'storm' must have a node of \['plot'\] to be searched by, got none"):
        Engine(films).search(id="storm", where={"node": "plot"})


def test_matches_are_of_the_node_types_that_are_named(films, png):
    query = {"poster": png(90), "plot": "a dog"}
    hits = Engine(films).search(query, where={"node": "plot"})
    assert {reason.node for hit in hits for reason in hit.reasons} == {"plot"}
    nodes = Engine(films).search(query, level="node", where={"node": ["poster"], "note": "new"})
    assert {(hit.node, hit.metadata["note"]) for hit in nodes} == {("poster", "new")}


def test_words_find_what_vectors_do_not(films):
    engine = Engine(films)
    assert engine.search({"plot": "bank"}, text_weight=1.0, k=1)[0].reasons[0].words == 1.0
    assert engine.search({"plot": "bank"}, k=1)[0].reasons[0].words is None


def test_describe_says_what_there_is(films, folder):
    found = Engine.build(films, folder, text_weight=0.25).describe()
    assert found["modalities"]["plot"] == {"modality": "text", "of": "film", "nodes": 6}
    assert found["fields"]["poster"] == {"nodes": ["poster"], "items": 5, "channels": 580}
    assert (found["anchor"], found["anchors"], found["columns"]) == ("film", 6, ["note"])
    assert (found["kind"], found["model"], found["text_weight"], found["changes"]) == ("exact", "", 0.25, 0)
    assert {"source": "film", "relation": "by", "target": "studio", "edges": 5} in found["edges"]


def test_the_neighbourhood_is_drawn_with_what_hangs_on_it(films):
    engine = Engine(films)
    found = engine.neighbours("rain")
    assert [one.id for one in found.nodes if one.id] == ["rain", "moon", "acme"]
    assert [one.distance for one in found.nodes] == sorted(one.distance for one in found.nodes)
    for edge, source, target in found.edges:
        ends = found.nodes[source].node, found.nodes[target].node
        assert (ends[0].type, ends[1].type) == (edge[0], edge[2])
        assert [ends[0].row, ends[1].row] in films.graph[edge].edge_index.T.tolist()
    assert (("film", "before", "film"), 1) in {(edge, 1) for edge, *_ in found.edges}
    fewer = engine.neighbours("rain", most=3)
    assert (len(fewer.nodes), fewer.more) == (3, len(found.nodes) - 3)
    assert engine.neighbours("rain", hops=0).nodes[0].node == ("film", 0)
    with pytest.raises(ConfigError, match="most must be at least 1, got 0"):
        engine.neighbours("rain", most=0)
    with pytest.raises(DataError, match="got 'sun'"):
        engine.neighbours("sun")


def test_payloads_that_are_not_there_are_refused(films, folder):
    for engine in (Engine(films), Engine.open(folder)):
        assert engine.payload("plot", 2) == "Two thieves meet in a bank."
        with pytest.raises(DataError, match="row of 'plot' must be between 0 and 5, got 6"):
            engine.payload("plot", 6)
        with pytest.raises(DataError, match="got -1"):
            engine.payload("plot", -1)
        with pytest.raises(ConfigError, match="got 'film'"):
            engine.payload("film", 0)


def test_an_index_proposes_what_is_then_scored_exactly(make, png, tmp_path):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    words = ["dog", "cat", "rain", "moon", "bank", "fire", "rocket", "storm", "house", "night"]
    count = 2 * FEW
    films = {
        "id": [f"f{row}" for row in range(count)],
        "plot": [[" ".join(rng.choice(words, 4))] for _ in range(count)],
        **dict.fromkeys(["poster", "year", "note", "next", "studio", "lost"], [None] * count),
    }
    films["year"] = [str(1900 + row % 100) for row in range(count)]
    films["lost"] = ["rain"] * count
    films["poster"] = [png(1)] + [None] * (count - 1)
    built = make(films)
    exact = Engine(built)
    for kind in ("hnsw", "ivf", "ivfpq"):
        engine = Engine.build(built, tmp_path / kind, kind=kind)
        assert engine.now.fields["plot"].near is not None
        assert engine.now.fields["poster"].near is None  # all few of them are looked at
        for query in ({"plot": "dog rain moon"}, {"plot": "a cat", "table": {"year": 1950}}):
            wanted, found = exact.search(query, k=5), engine.search(query, k=5)
            scores = {hit.id: hit.score for hit in exact.search(query, k=count)}
            assert [hit.score for hit in found] == [scores[hit.id] for hit in found]
            assert found[0].score >= wanted[4].score
        assert len(engine.search({"plot": "dog"}, k=count + 5)) == count
        first = engine.search({"plot": "dog rain moon"}, k=3)
        engine.delete([first[0].id])
        engine.add({"new": {"plot": "dog rain moon"}})
        assert engine.search({"plot": "dog rain moon"}, k=1)[0].id == "new"
        assert first[0].id not in [hit.id for hit in engine.search({"plot": "dog rain moon"}, k=count)]
        assert [hit.score for hit in Engine.open(tmp_path / kind).search({"plot": "cat"}, k=3, hops=1)] == [
            hit.score for hit in engine.search({"plot": "cat"}, k=3)
        ]


def test_folders_of_another_graph_are_refused(films, make, tables, folder, tmp_path):
    other = make({name: [*values, None] for name, values in tables.items()} | {"id": [*tables["id"], "extra"]})
    with pytest.raises(ArtifactError, match="must hold the graph that is given, got another"):
        Engine.build(other, folder)
    Engine.build(films, folder)
    other.write(tmp_path / "other")
    (folder / "search").rename(tmp_path / "other" / "search")
    with pytest.raises(ArtifactError, match="must be of the graph beside it, .*; remove it, and index the graph again"):
        Engine.open(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"kind must be one of \['exact', 'hnsw', 'ivf', 'ivfpq'\], got 'tree'"):
        Engine.build(films, folder, kind="tree")
    with pytest.raises(ConfigError, match=r"text_weight must be from 0 to 1, got -0.1"):
        Engine(films, text_weight=-0.1)


def test_what_is_no_engine_and_what_is_damaged_is_refused(films, folder, tmp_path):
    with pytest.raises(ArtifactError):
        Engine.open(tmp_path / "nowhere")
    Engine.build(films, folder)
    state = folder / "search" / "state.json"
    kept = state.read_text()
    for text, message in (("{", "must hold JSON"), ("[]", "must be of the format"), ("{}", "must be of the format")):
        state.write_text(text)
        with pytest.raises(ArtifactError, match=message):
            Engine.open(folder)
    state.write_text(kept.replace('"kind"', '"sort"'))
    with pytest.raises(ArtifactError, match="must say what counts"):
        Engine.open(folder)


def test_a_graph_without_anchors_with_anything_is_searched_in_vain(films):
    import torch

    from mmgraph.schema import view

    none = {"film": torch.zeros(6, dtype=torch.bool), "studio": torch.zeros(2, dtype=torch.bool)}
    empty = Built(
        config=films.config,
        graph=view(films.graph, films.schema, keep=none),
        schema=films.schema,
        keys={"film": [], "studio": []},
        notes={("film", "note"): []},
        encoders=films.encoders,
        kinds=films.kinds,
        payloads=dict.fromkeys(films.payloads, list),
    )
    engine = Engine(empty)
    for level in ("node", "sample", "subgraph"):
        assert engine.search({"plot": "a dog"}, k=3, level=level, text_weight=0.5) == []
