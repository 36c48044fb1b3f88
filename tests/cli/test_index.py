"""``mmgraph index``: what it makes and says, and that a search uses it."""

import json

import pytest

from mmgraph.cli import main
from mmgraph.engine import Engine


@pytest.fixture
def films(tmp_path, monkeypatch):
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "films.csv").write_text(
        "id,plot,kind,next\na,A dog runs in the rain.,pets,b\n"
        "b,Two thieves meet.,crime,\nc,A dog meets two thieves.,pets,\n"
    )
    (tmp_path / "graph.toml").write_text(
        '[nodes.film]\ntable = "films.csv"\nkey = "id"\ncolumns = { plot = "text", kind = "keep" }\n'
        '[[edges]]\ntype = ["film", "before", "film"]\ncolumn = "next"\n'
    )
    assert main(["build", str(tmp_path / "graph.toml"), "-o", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def test_it_says_what_can_be_searched(films, capsys):
    capsys.readouterr()
    assert main(["index", str(films), "--text-weight", "0.5"]) == 0
    assert capsys.readouterr().out.startswith(f"{films}: 3 of film can be searched by 3 of plot (exact, ")
    assert Engine.open(films).state.text_weight == 0.5
    assert main(["search", str(films), "--text", "thieves", "-k", "1", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert hit["reasons"][0]["words"] == 1.0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--text-weight", "2"], 2, "text_weight must be from 0 to 1, got 2.0"),
        (["--model", "/nowhere"], 4, "run.json' must exist"),
    ],
)
def test_what_can_not_be_is_one_line(films, capsys, words, code, said):
    capsys.readouterr()
    assert main(["index", str(films), *words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_without_a_graph_is_refused(tmp_path, capsys):
    assert main(["index", str(tmp_path)]) == 4
    assert "must exist" in capsys.readouterr().err
