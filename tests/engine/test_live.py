"""Graphs with changes: any sequence of writes gives what building it anew gives."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from mmgraph.engine import Engine
from mmgraph.errors import ConfigError, DataError

PLOTS = ["a dog", "a cat sleeps", "rain falls", "a bank", "the moon"]
ids = st.sampled_from(["rain", "heist", "moon", "new", "newer"])
write = st.one_of(
    st.tuples(st.just("put"), ids, st.lists(st.sampled_from(PLOTS), max_size=2), st.integers(0, 255), st.none() | ids),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("compact")),
)


class Model:
    """What the films are, by plain lists."""

    def __init__(self, png, tables):
        names = ("plot", "poster", "year", "note", "studio", "lost")
        self.png, self.films = png, {}
        for row, id in enumerate(tables["id"]):
            self.films[id] = {name: tables[name][row] for name in names}
        pairs = zip(tables["id"], tables["next"], strict=True)
        self.before = {(id, later) for id, later in pairs if later is not None}

    def put(self, id, plots, shade, later):
        old = self.films.pop(id, None)
        film = {"plot": plots, "poster": self.png(shade), "year": "1990", "note": old["note"] if old else None}
        self.films[id] = {**film, "studio": old["studio"] if old else None, "lost": None}
        if later is not None and later in self.films:
            self.before.add((id, later))
        return old is not None

    def delete(self, id):
        del self.films[id]
        self.before = {pair for pair in self.before if id not in pair}

    def table(self):
        """As the graph is built from: one later film each, the others are left to `edges`."""
        rows = list(self.films.items())
        return {"id": [id for id, _ in rows], **{name: [film[name] for _, film in rows] for name in rows[0][1]}}


def check(engine, model, films, make):
    table = {**model.table(), "next": [None] * len(model.films)}
    fresh = make(table, encoders={node: films.encoder(node) for node in films.payloads})
    places = {id: row for row, id in enumerate(fresh.ids)}
    pairs = [[places[a], places[b]] for a, b in sorted(model.before)]
    assert list(engine.built.ids) == list(fresh.ids)
    assert sorted(engine.built.graph["film", "before", "film"].edge_index.T.tolist()) == sorted(pairs)
    mine, theirs = engine.built.graph, fresh.graph
    assert sorted(mine["film", "by", "studio"].edge_index.T.tolist()) == sorted(
        theirs["film", "by", "studio"].edge_index.T.tolist()
    )
    engine.built.schema.check(mine)
    assert list(engine.built.notes["film", "note"]) == list(fresh.notes["film", "note"])
    for query in ({"plot": "a dog in the rain"}, {"poster": model.png(9), "plot": "a cat"}, {"table": {"year": 1980}}):
        for weight in (0.0, 0.5):
            found = engine.search(query, k=9, text_weight=weight)
            wanted = Engine(fresh).search(query, k=9, text_weight=weight)
            assert [(hit.id, hit.metadata) for hit in found] == [(hit.id, hit.metadata) for hit in wanted]
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=1e-6)
            for hit in found:
                for reason in hit.reasons:
                    node, row = reason.matched[0]
                    value = engine.payload(node, row)
                    film = model.films[hit.id]
                    expected = [json.dumps({"year": float(film["year"])})] if node == "table" else film[node]
                    assert value in expected if isinstance(expected, list) else value == expected


@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(write, max_size=6), st.booleans())
@example(
    [
        ("compact",),
        ("put", "newer", [], 0, "heist"),
        ("put", "newer", [], 0, "moon"),
        ("delete", "moon"),
        ("put", "moon", [], 0, None),
    ],
    False,
)
def test_any_writes_give_what_building_anew_gives(films, make, png, tables, tmp_path_factory, writes, reopened):
    engine, model = Engine.build(films, tmp_path_factory.mktemp("films") / "films"), Model(png, tables)
    for what, *how in writes:
        if what == "compact":
            engine.compact()
        elif what == "delete" and how[0] in model.films and len(model.films) > 3:
            model.delete(*how)
            engine.delete(how)
        elif what == "put":
            id, plots, shade, later = how
            joins = [(("film", "before", "film"), id, later)] if later in model.films and later != id else []
            was = model.put(id, plots, shade, later if joins else None)
            film = {"poster": png(shade), "table": {"year": 1990.0}, **({"plot": plots} if plots else {})}
            (engine.update if was else engine.add)({id: film}, edges=joins)
    check(Engine.open(engine.folder) if reopened else engine, model, films, make)


@pytest.fixture
def engine(films, tmp_path):
    return Engine.build(films, tmp_path / "films")


def test_an_update_keeps_edges_and_columns(engine):
    engine.update({"rain": {"plot": "Snow falls."}})
    hit = engine.search({"plot": "snow falls"}, k=1)[0]
    assert (hit.id, hit.metadata, hit.payload("plot")) == ("rain", {"note": "old"}, "Snow falls.")
    assert [one.id for one in engine.neighbours("rain").nodes if one.id] == ["rain", "moon", "acme"]
    assert all(reason.node != "poster" for one in engine.search(id="rain") for reason in one.reasons)
    engine.update({"rain": {"plot": "Snow falls.", "note": "white"}})
    assert engine.search({"plot": "snow falls"}, k=1)[0].metadata == {"note": "white"}


def test_what_was_added_by_path_stays_when_the_file_is_gone(engine, png, tmp_path):
    file = tmp_path / "poster.png"
    file.write_bytes(png(33))
    engine.add({"new": {"image": [file, png(34)], "note": "fresh"}})
    file.unlink()
    hit = Engine.open(engine.folder).search({"poster": png(33)}, k=1)[0]
    assert (hit.id, hit.metadata, hit.payload("poster"), hit.payload("poster", 1)) == (
        "new",
        {"note": "fresh"},
        png(33),
        png(34),
    )


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda engine: engine.add({"rain": {"plot": "a"}}), DataError, "Keys must be new, got 'rain'"),
        (lambda engine: engine.update({"sun": {"plot": "a"}}), DataError, "Keys must be there, got 'sun'"),
        (lambda engine: engine.delete(["rain", "sun"]), DataError, "got 'sun'"),
        (lambda engine: engine.delete(["rain", "rain"]), DataError, r"must differ, got \['rain', 'rain'\]"),
        (lambda engine: engine.add({" ": {}}), DataError, "A key must be a str that is not empty, got ' '"),
        (lambda engine: engine.add({"a": {"smell": "b"}}), ConfigError, "got 'smell'"),
        (lambda engine: engine.add({"a": {"about": "b"}}), ConfigError, "'about' can't be searched by"),
        (lambda engine: engine.add({"a": {"poster": b"no"}}), DataError, "A new 'poster' can't be read"),
        (
            lambda engine: engine.add({"a": {"plot": " "}}),
            DataError,
            "The new 'plot' of 'a' can't be read: A text must not be",
        ),
        (
            lambda engine: engine.add({"a": {}}, edges=[(("film", "likes", "film"), "a", "rain")]),
            ConfigError,
            r"must be of one of the types \[.*\], got \('film', 'likes', 'film'\)",
        ),
        (
            lambda engine: engine.add({"a": {}}, edges=[(("film", "by", "studio"), "a", "cine")]),
            DataError,
            "got 'cine', which is no 'studio'",
        ),
        (lambda engine: engine.compact(kind="tree"), ConfigError, "got 'tree'"),
    ],
)
def test_changes_that_can_not_be_change_nothing(engine, change, kind, message):
    before = sorted(path.name for path in Path(engine.folder / "search").iterdir())
    with pytest.raises(kind, match=message):
        change(engine)
    assert len(engine.built.ids) == 6
    assert sorted(path.name for path in Path(engine.folder / "search").iterdir()) == before
    assert not engine.refresh()


def test_an_engine_in_memory_does_not_change(films):
    for change in (lambda e: e.add({"a": {}}), lambda e: e.delete(["rain"]), Engine.compact, Engine.refresh):
        with pytest.raises(ConfigError, match="must have a folder to be changed, got one in memory"):
            change(Engine(films))


def test_nothing_to_change_writes_nothing(engine):
    state = (engine.folder / "search" / "state.json").read_bytes()
    engine.add({})
    engine.delete([])
    assert (engine.folder / "search" / "state.json").read_bytes() == state
