"""``mmgraph tune``: what it prints and writes, how it goes on, and what it refuses."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.cli import tune as command
from mmgraph.cli.settings import settings
from mmgraph.files import read_json
from mmgraph.recipe import load_recipe

WORDS = ["tune", "population_wdbc", "--runs", "1", "--fit.epochs", "3", "--range", "fit.learning_rate=1e-3..1e-1:log"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "study"
    assert main([*WORDS, "--choose", "channels=4,8", "--trials", "2", "--out", str(path)]) == 0
    return path


def test_it_writes_the_study_the_best_settings_and_a_picture(folder: Path) -> None:
    told, best = read_json(folder / "study.json"), read_json(folder / "best.json")
    assert (told["recipe"], told["metric"], len(told["trials"])) == ("population_wdbc", "auroc", 2)
    assert set(told["trials"][0]["values"]) == {"fit.learning_rate", "channels"}
    chosen = told["trials"][told["best"]]
    assert best["channels"] == chosen["values"]["channels"]
    assert best["fit"]["learning_rate"] == chosen["values"]["fit.learning_rate"]
    assert (best["runs"], best["fit"]["epochs"]) == (1, 3)
    assert (folder / "history.png").exists()
    config = settings(load_recipe("population_wdbc"), ["--config", str(folder / "best.json")])
    assert asdict(config) == best


def test_the_same_command_goes_on_and_says_what_comes_next(folder: Path, capsys) -> None:
    before = read_json(folder / "study.json")["trials"]
    assert main([*WORDS, "--choose", "channels=4,8", "--trials", "3", "--out", str(folder)]) == 0
    assert read_json(folder / "study.json")["trials"][:2] == before
    shown = capsys.readouterr().out
    assert "auroc on validation" in shown
    assert "3 trials: 3 complete" in shown
    assert "on validation, mean of 1 runs: fit.learning_rate=" in shown
    assert "The test part was not looked at." in shown
    assert f"mmgraph run population_wdbc --config {folder / 'best.json'}" in shown


def test_trials_as_json(folder: Path, capsys) -> None:
    assert main([*WORDS, "--choose", "channels=4,8", "--trials", "2", "--out", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metric"] == "auroc"
    assert told["best"]["score"] == max(one["score"] for one in told["trials"])


def test_other_settings_in_the_same_folder_are_named(folder: Path, capsys) -> None:
    assert main([*WORDS, "--choose", "channels=4,16", "--out", str(folder)]) == 2
    assert "it has another space" in capsys.readouterr().err


def test_what_is_tried_decides_where_it_goes_if_nobody_says(monkeypatch, tmp_path) -> None:
    folders = []

    def stop(recipe, space, *, folder, **options):
        folders.append(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "tune", stop)
    for words in (WORDS, WORDS, [*WORDS, "--seed", "1"], [*WORDS, "--choose", "channels=4"], [*WORDS, "--trials", "9"]):
        assert main(words) == 130
    assert folders[0] == folders[1] == folders[4]
    assert len(set(folders)) == 3
    assert str(folders[0]).startswith("runs/tune-population_wdbc-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune"], "The first word after tune must be a recipe, got 'nothing'"),
        (["tune", "--trials"], "The first word after tune must be a recipe, got '--trials'"),
        (["tune", "nothing"], "Recipe must be one of"),
        (["tune", "population_wdbc"], "There must be at least 1 field to tune, got none"),
        (["tune", "population_wdbc", "--range", "channels"], "--range must read FIELD=..., got 'channels'"),
        (["tune", "population_wdbc", "--range", "channels=3"], "A range must read LOW..HIGH or LOW..HIGH:log"),
        (["tune", "population_wdbc", "--choose", "depth=3"], "A field to tune must be one of"),
        (["tune", "population_wdbc", "--choose", "channels="], "A choice must have at least 1 value, got none"),
        (["tune", "population_wdbc", "--range", "population.metric=1..2"], "A range needs a field of numbers"),
        (
            ["tune", "population_wdbc", "--choose", "channels=4", "--range", "channels=1..9"],
            "A field must be tuned in one way, got 'channels' twice",
        ),
        (["tune", "population_wdbc", "--choose", "channels=4", "--trials", "0"], "trials must be at least 1, got 0"),
    ],
)
def test_errors_are_one_line(words: list[str], message: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_shows_examples_and_the_recipe_s_fields(capsys) -> None:
    assert main(["tune", "--help"]) == 0
    assert "mmgraph tune population_wdbc --range" in capsys.readouterr().out
    with contextlib.suppress(SystemExit):
        main(["tune", "population_wdbc", "--help"])
    shown = capsys.readouterr().out
    for flag in ("--range", "--choose", "--trials", "--config", "--prune", "--fit.batch-size", "--population.k"):
        assert flag in shown
