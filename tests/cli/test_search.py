"""``mmgraph search`` of a built graph: by payloads and by id, at all levels, as a table and as JSON."""

import json

import pytest

from mmgraph.cli import main


@pytest.fixture
def films(tmp_path, monkeypatch):
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "films.csv").write_text(
        "id,plot,kind,year,next\na,A dog runs in the rain.,pets,1950,b\n"
        "b,Two thieves meet.,crime,1972,\nc,A dog meets two thieves.,pets,1999,\n"
    )
    (tmp_path / "graph.toml").write_text(
        '[nodes.film]\ntable = "films.csv"\nkey = "id"\ncolumns = { plot = "text", kind = "keep", year = "numeric" }\n'
        '[[edges]]\ntype = ["film", "before", "film"]\ncolumn = "next"\n'
    )
    assert main(["build", str(tmp_path / "graph.toml"), "-o", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def found(films, capsys, *words):
    capsys.readouterr()
    assert main(["search", str(films), *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_says_id_similarity_metadata_and_reasons(films, capsys):
    hits = found(films, capsys, "--text", "a dog runs in the rain", "-k", "2")
    assert [hit["id"] for hit in hits] == ["a", "c"]
    assert hits[0]["metadata"] == {"kind": "pets"}
    (reason,) = hits[0]["reasons"]
    assert reason["contribution"] == hits[0]["similarity"] == pytest.approx(1.0, abs=0.01)
    assert (reason["query"], reason["matched"], reason["walk"]) == ("plot", [["plot", 0]], [])


def test_payloads_ids_and_filters(films, capsys, tmp_path):
    (tmp_path / "query.txt").write_text("Two thieves meet.")
    by_file = found(films, capsys, "--payload", f"plot=@{tmp_path / 'query.txt'}", "-k", "1")
    assert [hit["id"] for hit in by_file] == ["b"]
    row = found(films, capsys, "--payload", 'table={"year": 1972}', "plot=a dog", "-k", "9")
    assert {reason["query"] for hit in row for reason in hit["reasons"]} == {"table", "plot"}
    pets = found(films, capsys, "--id", "b", "--where", "kind=pets")
    assert {hit["id"] for hit in pets} == {"a", "c"}
    both = found(films, capsys, "--text", "a dog", "--where", "kind=pets", "kind=crime", "node=plot")
    assert len(both) == 3


def test_levels_and_hops(films, capsys):
    nodes = found(films, capsys, "--text", "a dog", "--level", "node", "-k", "9")
    assert {hit["node"] for hit in nodes} == {"plot"}
    around = found(films, capsys, "--text", "a dog runs in the rain", "--level", "subgraph", "--where", "kind=crime")
    assert around[0]["reasons"][0]["walk"] == [{"edge": ["film", "before", "film"], "source": 0, "target": 1}]


def test_the_table_says_why(films, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    capsys.readouterr()
    assert main(["search", str(films), "--text", "a dog runs in the rain", "-k", "1"]) == 0
    out = capsys.readouterr().out
    assert "subgraphs most like a dog runs in the rain" in out
    assert "plot 1.00" in out
    assert main(["search", str(films), "--id", "a", "-k", "1"]) == 0
    assert "subgraphs most like a" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "must have a payload of at least one of ['plot', 'table'], got none"),
        (["--features", "x.json"], 2, "got --features, which is for runs"),
        (["--text", "a dog", "--id", "a"], 2, "needs either payloads= or id="),
        (["--id", "z"], 3, "Id must be one of the 3 of 'film', got 'z'"),
        (["--audio", "a.wav"], 2, "got 'audio'"),
        (["--text", "ξψ"], 3, "says nothing to search by"),
        (["--text", "a dog", "--where", "age=3"], 2, "got 'age'"),
        (["--text", "a dog", "--where", "kind"], 2, "must be name=value, got 'kind'"),
        (["--text", "a dog", "-k", "0"], 2, "'k' must be a whole number at least 1, got 0"),
        (["--payload", "table={"], 3, "tabular must be JSON"),
    ],
)
def test_what_can_not_be_is_one_line(films, capsys, words, code, said):
    capsys.readouterr()
    assert main(["search", str(films), *words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
