"""``mmgraph sweep missing``: what it prints and writes, and how it goes on."""

import contextlib
import json
from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.files import read_json
from mmgraph.sweep import Sweep

WORDS = ["sweep", "missing", "population_wdbc", "--fit.epochs", "3", "--rates", "0", "0.5", "--modalities", "mean"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "sweep"
    assert main([*WORDS, "--how", "leave", "token", "--runs", "1", "--out", str(path)]) == 0
    return path


def test_it_writes_scores_and_a_page(folder: Path) -> None:
    sweep = Sweep.from_json(read_json(folder / "sweep.json"))
    assert (sweep.rates, sweep.how, sweep.modalities) == ((0.0, 0.5), ("leave", "token"), ("mean",))
    assert (sweep.metric, sweep.parts, sweep.runs) == ("auroc", "test", 1)
    assert sweep.about["recipe"] == "population_wdbc"
    page = (folder / "report.html").read_text()
    assert "Modalities missing: A population graph of 569 patients" in page
    assert len(list((folder / "cells").iterdir())) == 4


def test_the_same_command_goes_on_and_more_runs_and_rates_are_added(folder: Path, capsys) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert main([*WORDS, "--how", "leave", "--runs", "2", "--out", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metric"] == "auroc"
    assert [row["rate"] for row in told["rows"]] == [0.0, 0.5]
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}.items() >= before.items()


def test_other_settings_in_the_same_folder_are_named(folder: Path, capsys) -> None:
    assert main([*WORDS, "--channels", "4", "--out", str(folder)]) == 4
    assert "the data or the settings have changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep"], "first word after sweep must be 'missing', got 'nothing'"),
        (["sweep", "--rates"], "first word after sweep must be 'missing', got '--rates'"),
        (["sweep", "found", "population_wdbc"], "followed by 'missing' and a recipe, got 'found population_wdbc'"),
        (["sweep", "missing"], "followed by 'missing' and a recipe, got 'missing'"),
        (["sweep", "missing", "nothing"], "Recipe must be one of"),
    ],
)
def test_errors_are_one_line(words: list[str], message: str, capsys) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_help_shows_examples_and_the_recipe_s_fields(capsys) -> None:
    assert main(["sweep", "--help"]) == 0
    assert "mmgraph sweep missing population_wdbc" in capsys.readouterr().out
    with contextlib.suppress(SystemExit):
        main(["sweep", "missing", "population_wdbc", "--help"])
    shown = capsys.readouterr().out
    for flag in ("--rates", "--how", "--modalities", "--parts", "--runs", "--fit.batch-size", "--modality-dropout"):
        assert flag in shown
