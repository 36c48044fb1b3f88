"""The declaration: what it accepts, and each contradiction by its value."""

import pytest

from mmgraph.assembly import GraphConfig, read_config
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Modality

FILM = {"table": "films.csv", "key": "id", "columns": {"plot": "text", "poster": "image", "year": "numeric"}}
PERSON = {"table": "people.csv", "key": "id", "columns": {"bio": "text", "name": "keep"}}


def config(**fields):
    return GraphConfig(**{"nodes": {"film": FILM, "person": PERSON}, "anchor": "film", **fields})


def test_toml_and_python_say_the_same(tmp_path):
    (tmp_path / "graph.toml").write_text(
        """
        name = "films"
        anchor = "film"
        root = "data"
        [nodes.film]
        table = "films.csv"
        key = "id"
        [nodes.film.columns]
        plot = "text"
        year = "numeric"
        stills = { modality = "image", separator = ";", node = "still", encoder = "small" }
        [[edges]]
        type = ["film", "has_genre", "genre"]
        column = "genres"
        separator = "|"
        [targets.rating]
        column = "rating"
        [split]
        by = "group"
        column = "series"
        [encoders.small]
        kind = "gradients"
        channels = 16
        [limits]
        rejected = 0.5
        """
    )
    stills = {"modality": "image", "separator": ";", "node": "still", "encoder": "small"}
    expected = GraphConfig(
        name="films",
        anchor="film",
        root="data",
        nodes={
            "film": {
                "table": "films.csv",
                "key": "id",
                "columns": {"plot": "text", "year": "numeric", "stills": stills},
            }
        },
        edges=[{"type": ["film", "has_genre", "genre"], "column": "genres", "separator": "|"}],
        targets={"rating": {"column": "rating"}},
        split={"by": "group", "column": "series"},
        encoders={"small": {"kind": "gradients", "options": {"channels": 16}}},
        limits={"rejected": 0.5},
    )
    assert read_config(tmp_path / "graph.toml") == expected
    assert GraphConfig(**expected.model_dump(mode="json", exclude_defaults=True)) == expected


def test_modality_nodes_are_named_by_columns_and_may_be_shared():
    columns = {
        "plot": "text",
        "tagline": {"modality": "text", "node": "plot"},
        "year": "numeric",
        "genre": "category",
        "out": {"modality": "datetime", "node": "times"},
        "poster": "image",
        "title": "keep",
    }
    made = GraphConfig(nodes={"film": {**FILM, "columns": columns}})
    assert made.anchor == "film"
    assert made.modality_nodes == {
        "plot": ("film", ("plot", "tagline")),
        "table": ("film", ("year", "genre")),
        "times": ("film", ("out",)),
        "poster": ("film", ("poster",)),
    }
    assert made.modality("table") is Modality.TABULAR
    assert made.modality("poster") is Modality.IMAGE


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": {}}, r"anchor must be one of \[\], got 'film'"),
        ({"anchor": ""}, r"anchor must name one of the node types \['film', 'person'\], got none"),
        ({"anchor": "flim"}, r"anchor must be one of \['film', 'person'\], got 'flim'"),
        ({"nodes": {"film": FILM, "": PERSON}}, "a node type must have a name, got ''"),
        ({"edgse": []}, r"edgse: Extra inputs are not permitted, got \[\]"),
        ({"nodes": {"film": {**FILM, "columns": {"plot": "txet"}}}}, r"nodes.film.columns.plot.modality: .*got 'txet'"),
        ({"nodes": {"film": {"key": "id"}}}, "nodes.film.table: Field required"),
        (
            {"nodes": {"film": {**FILM, "columns": {"person": "text"}}, "person": PERSON}},
            "'person' has the name of a node",
        ),
        ({"nodes": {"film": FILM, "person": {**PERSON, "columns": {"plot": "text"}}}}, r"plot"),
        (
            {"nodes": {"film": {**FILM, "columns": {"year": {"modality": "numeric", "encoder": "x"}}}}},
            "column 'year' is numeric: it has no separator and no encoder",
        ),
        (
            {"nodes": {"film": {**FILM, "columns": {"a": {"modality": "series", "separator": ";"}}}}},
            "column 'a' is series: a cell is one payload",
        ),
        (
            {"nodes": {"film": {**FILM, "columns": {"a": {"modality": "text", "separator": ""}}}}},
            "column 'a': a separator must have a character",
        ),
        ({"targets": {"y": {"column": "x", "node": "plot"}}}, r"target 'y' must be on one of .*got 'plot'"),
        (
            {"targets": {"y": {"column": "year"}}},
            "column 'year' of 'film' has the answers of target 'y': it can't be a",
        ),
        ({"split": {"by": "chance"}}, "split.by: .*got 'chance'"),
        ({"split": {"by": "time"}}, "by='time' needs a column"),
        ({"split": {"by": "random", "test": 0.6, "val": 0.4}}, "must leave a share for training, got 0.6 and 0.4"),
        ({"split": {"by": "random", "test": 0}}, "split.test: .*got 0"),
        ({"split": {"by": "stratified"}}, r"needs a target of the anchor, one of \[\]"),
        (
            {"split": {"by": "stratified"}, "targets": {"a": {"column": "a"}, "b": {"column": "b"}}},
            r"needs a target of the anchor, one of \['a', 'b'\]",
        ),
        (
            {"split": {"by": "stratified", "column": "b"}, "targets": {"b": {"column": "b", "node": "person"}}},
            r"needs a target of the anchor, one of \[\]",
        ),
        ({"limits": {"rejected": 2}}, "limits.rejected: .*got 2"),
        ({"encoders": {"a": {"width": 3}}}, "encoders.a.kind: .*got None"),
    ],
)
def test_what_contradicts_itself_is_refused_by_value(fields, message):
    with pytest.raises(ConfigError, match=message):
        config(**fields)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([{}], "edges.0.type: Field required"),
        (
            [{"type": ["film", "by", "person"]}],
            "exactly one of table, column, nearest and order must be given, got none",
        ),
        (
            [{"type": ["film", "by", "film"], "column": "a", "order": "b"}],
            r"must be given, got \['column', 'order'\]",
        ),
        (
            [{"type": ["film", "by", "person"], "table": "t", "source": "a"}],
            "table, source and target must be given together",
        ),
        ([{"type": ["film", "by", "person"], "column": "t", "source": "a", "target": "b"}], "must be given together"),
        (
            [{"type": ["film", "by", "person"], "column": "a", "symmetric": True}],
            "join nodes of one type, got .*'person'",
        ),
        ([{"type": ["film", "by", "person"], "order": "a"}], "join nodes of one type"),
        ([{"type": ["film", "by", "person"], "column": "a", "weight": "w"}], "weight needs table"),
        ([{"type": ["film", "by", "film"], "order": "a", "separator": "w"}], "separator needs column"),
        ([{"type": ["film", "by", "person"], "column": "a", "by": "w"}], "by needs order"),
        ([{"type": ["film", "by", "person"], "column": "a", "separator": ""}], "must have a character"),
        (
            [{"type": ["film", "by", "film"], "column": "a", "symmetric": True, "inverse": "b"}],
            "symmetric edges are their own inverse",
        ),
        ([{"type": ["flim", "by", "person"], "column": "a"}], "must start at a node type with a table"),
        (
            [{"type": ["film", "by", "persn"], "table": "t", "source": "a", "target": "b"}],
            "must end at a node type with a",
        ),
        ([{"type": ["film", "of", "person"], "column": "a"}], "the relation 'of' is kept for modality nodes"),
        ([{"type": ["film", "by", "person"], "column": "a", "inverse": "of"}], "the relation 'of' is kept"),
        ([{"type": ["film", "has", "plot"], "column": "a"}], "'plot' is a modality node, it can't be a value's too"),
        (
            [{"type": ["film", "like", "film"], "nearest": "bio"}],
            r"a modality node of 'film', one of \['plot', 'poster', 'ta",
        ),
        ([{"type": ["film", "like", "film"], "nearest": "plot", "k": 0}], "edges.0.k: .*got 0"),
        (
            [{"type": ["film", "by", "person"], "column": "a"}, {"type": ["film", "by", "person"], "column": "b"}],
            r"each relation must be declared once, got \['film', 'by', 'person'\] again",
        ),
        (
            [
                {"type": ["film", "by", "person"], "column": "a", "inverse": "made"},
                {"type": ["person", "made", "film"], "column": "b"},
            ],
            r"declared once, got \['person', 'made', 'film'\] again",
        ),
    ],
)
def test_relations_that_contradict_themselves_are_refused_by_value(edges, message):
    with pytest.raises(ConfigError, match=message):
        config(edges=edges)


@pytest.mark.parametrize("origin", [{"column": "y"}, {"order": "y"}, {"order": "a", "by": "y"}])
def test_answers_make_no_edges(origin):
    with pytest.raises(ConfigError, match="column 'y' of 'film' has the answers of target 'y': edge .* can't be made"):
        config(targets={"y": {"column": "y"}}, edges=[{"type": ["film", "near", "film"], **origin}])


def test_answers_may_be_kept():
    assert config(nodes={"film": {**FILM, "columns": {"y": "keep"}}}, targets={"y": {"column": "y"}})


@pytest.mark.parametrize(
    ("data", "message"), [(None, "must be a file that declares a graph, but "), (b"a = ", "TOML"), (b"\xff", "TOML")]
)
def test_a_file_that_is_no_declaration(tmp_path, data, message):
    path = tmp_path / "graph.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=f"graph.toml' must be .*{message}" if data else message):
        read_config(path)
