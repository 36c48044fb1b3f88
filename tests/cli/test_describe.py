"""``mmgraph describe``: tables that fit, JSON that says the same, a page when asked for."""

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.cli import main
from mmgraph.data import Collection, CollectionWriter
from mmgraph.describe import describe
from mmgraph.testing import fake_graph


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    rows = {
        "id": [f"film {n}" for n in range(20)],
        "plot": [f"[bold]A plot[/bold] of \x1b[31m colours, number {n}" if n % 5 else None for n in range(20)],
        "genre": [f"g{n % 9 if n != 6 else 0}" for n in range(20)],
        "next": [f"film {(n + 1) % 20}" for n in range(20)],
        "part": ["train"] * 12 + ["val"] * 4 + ["test"] * 4,
        "note": ["kept " * 60] * 20,
        "kg": ["heavy", *(str(n) for n in range(19))],
    }
    config = GraphConfig(
        name="films",
        nodes={
            "film": {"table": "films", "key": "id", "columns": {"plot": "text", "kg": "numeric", "note": "keep"}},
        },
        edges=[{"type": ("film", "is_followed_by_the_other", "film"), "column": "next"}],
        targets={"genre": {"column": "genre"}},
        split={"by": "column", "column": "part"},
    )
    folder = tmp_path_factory.mktemp("describe") / "films"
    build_graph(Source(config, {"films": pa.table(rows)})).write(folder)
    return folder


def test_all_tables_are_printed_plain_and_within_100_columns(folder, capsys):
    assert main(["describe", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "\x1b" not in printed
    for said in (
        "films: 20 × film",
        "film is_followed_by_the_other film",
        "and 3 more",
        "set aside: 1",
        "a number is wanted",
        "[bold]A plot[/bold] of",
        "train",
        "20.0%",
        "100.0%",
        "hashed_text@",
        "warning: The class 'g6' of 'genre' is in the part 'val', but not in 'train'",
    ):
        assert said in printed, said
    found = describe(Collection(folder))
    (relation,) = found.relations
    assert f"{relation.homophily['genre'].expected:.1%}" in printed


def test_json_says_the_same(folder, capsys):
    assert main(["describe", str(folder), "--json", "--previews", "2"]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed == json.loads(json.dumps(asdict(describe(Collection(folder), previews=2))))
    assert len(printed["previews"]) == 2


def test_a_page_is_written_only_when_asked_for(folder, tmp_path, capsys):
    before = sorted(folder.rglob("*"))
    page = tmp_path / "pages" / "films.html"
    assert main(["describe", str(folder), "-n", "0", "--html", str(page), "--cards", "3"]) == 0
    assert f"page: {page}" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").count("<article") == 3
    assert main(["describe", str(folder), "--json", "--html", str(page)]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(page)
    assert sorted(folder.rglob("*")) == before


def test_a_collection_of_samples_is_described_too(tmp_path, capsys):
    with CollectionWriter(tmp_path / "talks", fake_graph(10)[1]) as writer:
        writer.extend([fake_graph(10 + n)[0] for n in range(4)], split="train")
    assert main(["describe", str(tmp_path / "talks")]) == 0
    printed = capsys.readouterr().out
    for said in ("talks: 4 × sample", "each has", "features [3]", "targets", "set aside: 0"):
        assert said in printed, said


def test_an_empty_collection_is_described_too(tmp_path, capsys):
    with CollectionWriter(tmp_path / "none"):
        pass
    assert main(["describe", str(tmp_path / "none")]) == 0
    assert "nodes: none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["/nowhere"], 4, "/nowhere"),
        (["FOLDER", "--cards", "-1"], 2, "cards and previews must be at least 0, got -1 and 4"),
    ],
)
def test_errors_are_one_line_with_a_code(words, code, said, folder, capsys):
    assert main(["describe", *(str(folder) if word == "FOLDER" else word for word in words)]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["describe", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for said in ("mmgraph describe", "--html", "--cards", "--previews", "--json"):
        assert said in printed
