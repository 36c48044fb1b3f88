"""Whole graphs: against a plain reference on random tables, with all that is wrong in one, and as one would expect."""

import io
from decimal import Decimal

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from mmgraph.assembly import GraphConfig, Source, TooManyRejectedError, build_graph
from mmgraph.encoders import FeatureCache, Function
from mmgraph.errors import ConfigError, DataError


class Forgetful(FeatureCache):
    """A cache that keeps nothing."""

    def get(self, identity, keys):
        return {}

    def put(self, identity, features):
        pass


LENGTH = Function(
    lambda texts: [[len(text)] for text in texts], name="length", revision="1", modality="text", channels=1
)
SMALL = {"deadline": None, "max_examples": 60, "suppress_health_check": [HealthCheck.function_scoped_fixture]}

word = st.one_of(st.none(), st.sampled_from(["", " ", "owl", "a cat", "ox", "é"]))
key = st.one_of(st.none(), st.sampled_from(["k0", "k1", "k2", "k3", "k4", " k1 ", "zz"]))
row = st.tuples(key, st.lists(word, max_size=4), word, key, st.lists(key, max_size=3))


def reference(rows, pairs):
    """Nodes, `of` edges and relations, one by one; and what is wrong, as (table, row, column)."""
    keys, kept, wrong = [], [], []
    for number, (name, *_) in enumerate(rows):
        name = name and name.strip()
        if not name or name in keys:
            wrong.append(("films", number, ""))
        else:
            keys.append(name)
            kept.append((number, rows[number]))
    texts, of = [], []
    for node, (_, (_, lines, title, _, _)) in enumerate(kept):
        for text in [*(lines or []), title]:
            if text is not None and text.strip():
                texts.append(text)
                of.append(node)
    next_, cast = [], []
    people = sorted({one.strip() for _, (*_, names) in kept for one in names or [] if one})
    for node, (number, (_, _, _, after, names)) in enumerate(kept):
        if after is not None:
            if after.strip() in keys:
                next_.append((node, keys.index(after.strip())))
            else:
                wrong.append(("films", number, "next"))
        for one in names or []:
            if one and (node, people.index(one.strip())) not in cast:
                cast.append((node, people.index(one.strip())))
    likes = []
    for number, ends in enumerate(pairs):
        ends = [end and end.strip() for end in ends]
        if all(end in keys for end in ends):
            pair = tuple(keys.index(end) for end in ends)
            likes += [pair] if pair not in likes else []
        else:
            wrong.append(("pairs", number, ""))
    return keys, texts, of, next_, people, cast, likes, sorted(wrong)


@settings(**SMALL)
@given(st.lists(row, min_size=1, max_size=8), st.lists(st.tuples(key, key), max_size=6))
def test_random_tables_give_the_graph_of_a_plain_reference(rows, pairs):
    keys, texts, of, next_, people, cast, likes, wrong = reference(rows, pairs)
    kinds = [pa.string(), pa.list_(pa.string()), pa.string(), pa.string(), pa.list_(pa.string())]
    names = ["id", "lines", "title", "next", "cast"]
    films = pa.table({name: pa.array([one[place] for one in rows], kinds[place]) for place, name in enumerate(names)})
    made = pa.table({name: pa.array([one[place] for one in pairs], pa.string()) for place, name in enumerate("ab")})
    text = {"modality": "text", "node": "text"}
    config = GraphConfig(
        nodes={"film": {"table": "films", "key": "id", "columns": {"lines": text, "title": text}}},
        edges=[
            {"type": ["film", "before", "film"], "column": "next", "inverse": "after"},
            {"type": ["film", "with", "person"], "column": "cast"},
            {"type": ["film", "like", "film"], "table": "pairs", "source": "a", "target": "b"},
        ],
        limits={"rejected": 1},
    )
    source = Source(config, {"films": films, "pairs": made})
    if not keys:
        with pytest.raises(DataError, match="at least one row that can be used"):
            build_graph(source, encoders={"text": LENGTH})
        return
    built = build_graph(source, encoders={"text": LENGTH}, cache=Forgetful())
    graph = built.graph
    assert built.keys == {"film": keys, "person": people}
    assert list(built.payloads["text"]()) == texts
    assert graph["text"].x.flatten().tolist() == [len(text) for text in texts]
    assert graph["text", "of", "film"].edge_index.tolist() == [list(range(len(of))), of]
    assert graph["film", "before", "film"].edge_index.T.tolist() == [list(pair) for pair in next_]
    assert graph["film", "after", "film"].edge_index.T.tolist() == [[b, a] for a, b in next_]
    assert graph["film", "with", "person"].edge_index.T.tolist() == [list(pair) for pair in cast]
    assert graph["film", "like", "film"].edge_index.T.tolist() == [list(pair) for pair in likes]
    assert sorted((one.table, one.row, one.column) for one in built.rejected) == wrong


BAD = b"""\xef\xbb\xbfid,plot,poster,year,next
a,caf\xe9,a.png,1999,b
b,fine,missing.png,n/a,a
c,too,few
d,ok,,2001,zz
a,twice,a.png,2002,
,no key,a.png,2003,
e,long long long,../a.png,inf,e
f,last,cut.png,2004,d
"""


@pytest.fixture
def bad(tmp_path, png):
    (tmp_path / "films.csv").write_bytes(BAD)
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "cut.png").write_bytes(png(1)[:30])
    columns = {"plot": "text", "poster": "image", "year": "numeric"}
    return {
        "nodes": {"film": {"table": "films.csv", "key": "id", "columns": columns}},
        "edges": [{"type": ["film", "before", "film"], "column": "next"}],
        "limits": {"rejected": 1, "characters": 10},
    }


WRONG = [
    (0, "plot", "a"),
    (1, "poster", "b"),
    (1, "year", "b"),
    (2, "", ""),
    (3, "next", "d"),
    (4, "", ""),
    (5, "", ""),
    (6, "plot", "e"),
    (6, "poster", "e"),
    (6, "year", "e"),
    (7, "poster", "f"),
]


def test_all_that_is_bad_is_set_aside_by_row_and_column(build, bad, tmp_path):
    built = build(bad, root=tmp_path, encoders={"plot": LENGTH})
    assert sorted((one.row, one.column, one.key) for one in built.rejected) == WRONG
    assert {one.table for one in built.rejected} == {"films.csv"}
    assert built.keys["film"] == ["a", "b", "d", "e", "f"]
    assert built.graph["plot", "of", "film"].edge_index[1].tolist() == [1, 2, 4]
    assert built.graph["poster", "of", "film"].edge_index[1].tolist() == [0]
    assert built.graph["table", "of", "film"].edge_index[1].tolist() == [0, 2, 4]
    assert built.graph["film", "before", "film"].edge_index.T.tolist() == [[0, 1], [1, 0], [3, 3], [4, 2]]


def test_too_many_bad_cells_are_an_error_that_lists_them(build, bad, tmp_path):
    bad["limits"]["rejected"] = 0.1
    with pytest.raises(TooManyRejectedError, match=r"At most 10.0% of .* may be set aside, got ") as error:
        build(bad, root=tmp_path, encoders={"plot": LENGTH})
    assert sorted((one.row, one.column, one.key) for one in error.value.items) == WRONG
    bad["limits"]["rejected"] = 0.75
    assert build(bad, root=tmp_path, encoders={"plot": LENGTH})


def test_strict_makes_the_first_an_error(build, bad, tmp_path):
    with pytest.raises(DataError, match=r"Table 'films.csv', row 2: a row must have 5 cells, got 3; mend it"):
        build(bad, root=tmp_path, encoders={"plot": LENGTH}, strict=True)
    lines = BAD.split(b"\n")
    (tmp_path / "films.csv").write_bytes(b"\n".join([*lines[:3], b""]))
    with pytest.raises(DataError, match=r"row 0 \(a\), column 'plot': A text must be UTF-8"):
        build(bad, root=tmp_path, encoders={"plot": LENGTH}, strict=True)


def test_keys_are_equal_whatever_file_they_stand_in(build, tmp_path):
    (tmp_path / "films.csv").write_text("id,maker\n1,10.0\n2,\n3,20\n")
    parquet.write_table(pa.table({"id": pa.array([10, 20]), "film": pa.array([1.0, 3.0])}), tmp_path / "makers.parquet")
    (tmp_path / "likes.jsonl").write_text('{"a": 1, "b": "2", "w": 0.5}\n{"a": "3", "b": 1.0, "w": "2"}\n')
    parquet.write_table(
        pa.table({"a": pa.array([Decimal("1.00")]), "b": pa.array(["20"]).dictionary_encode()}), tmp_path / "c.parquet"
    )
    built = build(
        {
            "nodes": {"film": {"table": "films.csv", "key": "id"}, "maker": {"table": "makers.parquet", "key": "id"}},
            "anchor": "film",
            "edges": [
                {"type": ["film", "by", "maker"], "column": "maker", "inverse": "made"},
                {"type": ["maker", "first", "film"], "column": "film"},
                {"type": ["film", "like", "film"], "table": "likes.jsonl", "source": "a", "target": "b", "weight": "w"},
                {"type": ["film", "with", "maker"], "table": "c.parquet", "source": "a", "target": "b"},
            ],
        },
        root=tmp_path,
    )
    pairs = {edge[1]: built.graph[edge].edge_index.T.tolist() for edge in built.graph.edge_types}
    assert pairs == {
        "by": [[0, 0], [2, 1]],
        "made": [[0, 0], [1, 2]],
        "first": [[0, 0], [1, 2]],
        "like": [[0, 1], [2, 0]],
        "with": [[0, 1]],
    }
    assert built.graph["film", "like", "film"].edge_weight.tolist() == [0.5, 2.0]
    assert built.schema.edges["film", "like", "film"].weighted
    assert not built.rejected


def test_targets_on_several_types_and_a_split_of_the_anchor(build):
    built = build(
        {
            "nodes": {"film": {"table": "films", "key": "id"}, "person": {"table": "people", "key": "id"}},
            "anchor": "film",
            "targets": {
                "good": {"column": "good"},
                "score": {"column": "score"},
                "job": {"column": "job", "node": "person"},
            },
            "edges": [{"type": ["film", "by", "person"], "column": "by"}],
            "split": {"by": "random", "test": 0.25, "val": 0.25},
        },
        {
            "films": {
                "id": list("abcd"),
                "good": [True, False, None, True],
                "score": [0.5, 1, None, 2],
                "by": [1, 2, 1, 2],
            },
            "people": {"id": [1, 2], "job": ["x", "y"]},
        },
    )
    assert built.graph["film"].y.tolist() == [1, 0, -1, 1]
    assert str(built.graph["film"].y_score.tolist()) == "[0.5, 1.0, nan, 2.0]"
    assert built.graph["person"].y.tolist() == [0, 1]
    assert [built.graph["film"][f"{part}_mask"].sum().item() for part in ("train", "val", "test")] == [2, 1, 1]
    assert "train_mask" not in built.graph["person"]
    assert built.schema.targets["good"].classes == ("False", "True")
    assert built.schema.targets["score"].kind == "regression"
    assert built.schema.targets["job"].node == "person"


def test_the_nearest_are_joined_by_what_hangs_on_them(build):
    texts = ["a", "b", "aaaaaaaa", "bbbbbbbb", None]
    fields = {
        "nodes": {"film": {"table": "films", "columns": {"t": "text"}}},
        "edges": [{"type": ["film", "like", "film"], "nearest": "t", "k": 1, "metric": "euclidean"}],
    }
    built = build(fields, {"films": {"t": texts}}, encoders={"t": LENGTH})
    assert sorted(built.graph["film", "like", "film"].edge_index.T.tolist()) == [[0, 1], [1, 0], [2, 3], [3, 2]]
    fields["nodes"]["film"]["columns"]["t"] = {"modality": "text", "encoder": "tokens"}
    with pytest.raises(ConfigError, match=r"needs vectors of 't', \[rows, channels\]"):
        build(fields, {"films": {"t": texts}})


def test_moments_with_zones_and_decimals_are_read(build):
    times = pa.array([0, 3600_000, 7200_000], pa.timestamp("ms", "Europe/Berlin"))
    nanoseconds = pa.array([1, 2, 1_000_000_001], pa.timestamp("ns"))
    prices = pa.array([Decimal("1.50"), None, Decimal("2.25")])
    table = pa.table({"time": times, "fine": nanoseconds, "price": prices, "sold": [True, False, None]})
    columns = {"time": "datetime", "fine": "datetime", "price": "numeric", "sold": "category"}
    fields = {
        "nodes": {"sale": {"table": "sales", "columns": columns}},
        "edges": [{"type": ["sale", "then", "sale"], "order": "time"}],
    }
    built = build(fields, {"sales": table})
    assert not built.rejected
    assert {"sold=True", "sold=False"} <= set(built.schema.nodes["table"].names)
    assert built.graph["sale", "then", "sale"].edge_index.tolist() == [[0, 1], [1, 2]]


def test_what_is_kept_is_a_string(build):
    fields = {"nodes": {"film": {"table": "films", "columns": {"n": "keep", "s": "keep"}}}}
    table = {"n": [1, None, 3], "s": pa.array([b"\xff", b"a", None])}
    built = build(fields, {"films": table})
    assert built.notes == {("film", "n"): ["1", None, "3"], ("film", "s"): ["\ufffd", "a", None]}


def test_no_bar_is_shown_unless_asked(build, capsys):
    fields = {"nodes": {"film": {"table": "films", "columns": {"t": "text"}}}}
    table = {"t": ["a"] * 300}
    build(fields, {"films": table}, encoders={"t": LENGTH})
    assert capsys.readouterr() == ("", "")
    build(fields, {"films": table}, encoders={"t": LENGTH}, progress=True)
    out, error = capsys.readouterr()
    assert out == ""  # what a command prints is its own
    assert "t (text)" in error
    assert "300/300" in error


def test_a_dataset_is_built_by_its_name(monkeypatch, tmp_path):
    source = Source(
        GraphConfig(nodes={"film": {"table": "films", "columns": {"t": "text"}}}), {"films": pa.table({"t": ["a"]})}
    )
    monkeypatch.setattr("mmgraph.assembly.graph.dataset_names", lambda: ["films", "numbers"])
    monkeypatch.setattr("mmgraph.assembly.graph.load_dataset", lambda name: source if name == "films" else [1, 2])
    built = build_graph("films", encoders={"t": LENGTH}, cache=FeatureCache(tmp_path))
    assert built.graph["t"].num_nodes == 1
    with pytest.raises(ConfigError, match="'numbers' is not made of payloads: load it with load_dataset"):
        build_graph("numbers")
    with pytest.raises(DataError, match="'nothing' must be a file that declares a graph"):
        build_graph("nothing")


def test_rows_and_lists_of_pictures_from_parquet(build, png, tmp_path):
    table = pa.table({"pictures": [[{"bytes": png(1), "path": None}, {"bytes": png(2), "path": "x.png"}], [], None]})
    file = io.BytesIO()
    parquet.write_table(table, file)
    (tmp_path / "a.parquet").write_bytes(file.getvalue())
    built = build({"nodes": {"a": {"table": "a.parquet", "columns": {"pictures": "image"}}}}, root=tmp_path)
    assert built.graph["pictures", "of", "a"].edge_index.tolist() == [[0, 1], [0, 0]]
    assert list(built.payloads["pictures"]()) == [png(1), png(2)]


def test_a_folder_of_pictures_is_a_graph(build, png, tmp_path):
    for name in ("cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(png(len(name)))
    (tmp_path / "graph.toml").write_text(
        '[nodes.photo]\ntable = "photos"\nkey = "path"\ncolumns = { path = { modality = "image", node = "picture" } }\n'
        '[targets.animal]\ncolumn = "folder"\n'
    )
    built = build_graph(tmp_path / "graph.toml", cache=FeatureCache(tmp_path / "cache"))
    assert built.keys["photo"] == ["photos/cat/a.png", "photos/cat/b.png", "photos/dog/c.png", "photos/dog/d.png"]
    assert built.graph["photo"].y.tolist() == [0, 0, 1, 1]
    assert built.schema.targets["animal"].classes == ("cat", "dog")
    assert built.graph["picture"].num_nodes == 4


def test_series_and_points_and_symbols(build):
    table = pa.table(
        {
            "beat": pa.array([[1.0, 2.0, 3.0, 2.0], [float("nan"), 1.0, 0.0, 1.0], [3.0, 1.0]]),
            "cloud": ["[[0, 0, 1], [1, 0, 0], [0, 1, 0]]", "broken", None],
            "tags": [["a", "b"], ["a"], []],
        }
    )
    fields = {
        "nodes": {"x": {"table": "x", "columns": {"beat": "series", "cloud": "points", "tags": "symbol"}}},
        "limits": {"rejected": 1},
    }
    built = build(fields, {"x": table})
    assert {node: built.graph[node].num_nodes for node in ("beat", "cloud", "tags")} == {
        "beat": 2,
        "cloud": 1,
        "tags": 3,
    }
    assert [(one.column, one.row) for one in built.rejected] == [("beat", 1), ("cloud", 1)]
    assert built.graph["tags", "of", "x"].edge_index[1].tolist() == [0, 0, 1]
    assert all(
        torch.is_tensor(value)
        for node in built.graph.node_types
        for value in built.graph[node].to_dict().values()
        if not isinstance(value, int)
    )
