"""``mmgraph build``: what it writes and prints, and how it fails."""

import pytest

from mmgraph.assembly import Built
from mmgraph.assembly.rejected import read_rejected
from mmgraph.cli import main


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A declaration with one bad cell in ten."""
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "cache"))
    rows = [f"f{row},{row if row != 7 else 'n/a'},f{(row + 1) % 10},k{row % 2}" for row in range(10)]
    (tmp_path / "films.csv").write_text("id,year,next,kind\n" + "\n".join(rows))
    (tmp_path / "graph.toml").write_text(
        '[nodes.film]\ntable = "films.csv"\nkey = "id"\ncolumns = { year = "numeric" }\n'
        '[[edges]]\ntype = ["film", "before", "film"]\ncolumn = "next"\n'
        '[targets.kind]\ncolumn = "kind"\n[limits]\nrejected = 0.2\n'
    )
    return tmp_path


def run(films, *words):
    return main(["build", str(films / "graph.toml"), "-o", str(films / "out"), *words])


def test_it_writes_the_graph_and_counts_what_there_is(films, capsys):
    assert run(films) == 0
    out, error = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "10 film" in lines
    assert any(line.startswith("9 table by columns@") for line in lines)
    assert "10 film – before – film" in lines
    assert any(line.startswith("1 set aside, listed in") for line in lines)
    assert "1 films.csv · year: a number is wanted, got 'n/a'" in lines
    assert f"graph: {films / 'out'}" in lines
    assert error == ""  # no bars where nobody looks
    assert Built.open(films / "out").graph["film"].y.tolist() == [0, 1] * 5
    assert [one.row for one in read_rejected(films / "out" / "about" / "rejected.parquet")] == [7]
    before = {file: file.read_bytes() for file in (films / "out").rglob("*") if file.is_file()}
    assert run(films) == 0  # an older graph is written over, by the same bytes
    assert before == {file: file.read_bytes() for file in (films / "out").rglob("*") if file.is_file()}


def test_features_are_kept_where_one_says(films):
    assert run(films, "--cache", str(films / "mine")) == 0
    assert list((films / "mine").glob("*.sqlite"))
    assert not (films / "cache").exists()


def test_strict_stops_at_the_first(films, capsys):
    assert run(films, "--strict") == 3
    assert "Table 'films.csv', row 7 (f7), column 'year': a number is wanted, got 'n/a'" in capsys.readouterr().err
    assert not (films / "out").exists()


def test_too_many_bad_cells_are_listed_all_the_same(films, capsys):
    text = (films / "graph.toml").read_text()
    (films / "graph.toml").write_text(text.replace("0.2", "0.05"))
    assert run(films) == 3
    error = capsys.readouterr().err
    listed = films / "out.rejected.parquet"
    assert "At most 5.0% of column 'year' of table 'films.csv' may be set aside, got 1 of 10" in error
    assert f"all of them are listed in '{listed}'" in error
    assert [(one.row, one.value) for one in read_rejected(listed)] == [(7, "n/a")]
    assert not (films / "out").exists()


def test_another_folder_is_not_written_over(films, capsys):
    (films / "out").mkdir()
    (films / "out" / "letter.txt").write_text("dear")
    assert run(films) == 2
    assert "must be a new folder, or that of a graph, got something else" in capsys.readouterr().err
    assert (films / "out" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.toml", "-o", "out"], 3, "'nowhere.toml' must be a file that declares a graph"),
        (["nothing", "-o", "out"], 3, "'nothing' must be "),
        (
            ["graph.toml", "-o", "out", "--with", "task=all"],
            2,
            "--with is for datasets, got ['task=all'] for 'graph.toml'",
        ),
        (["glyphs", "-o", "out", "--with", "task"], 2, "--with must be name=value, got 'task'"),
        (["glyphs", "-o", "out", "--with", "nonsense=1"], 2, "'glyphs' can't be made with {'nonsense': 1}"),
    ],
)
def test_what_is_no_declaration_is_said(tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    assert main(["build", *words]) == code
    assert message in capsys.readouterr().err


def test_a_declaration_that_contradicts_itself_is_a_wrong_option(films, capsys):
    (films / "graph.toml").write_text('[nodes.film]\ntable = "films.csv"\ncolumns = { year = "nmeric" }\n')
    assert run(films) == 2
    assert "nodes.film.columns.year.modality: " in capsys.readouterr().err
