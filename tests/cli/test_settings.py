"""``--config FILE``, and what ``mmgraph run`` does with it and with ``--track``."""

import json
import re
import sys

import pytest

from mmgraph.cli import main
from mmgraph.cli.settings import settings
from mmgraph.files import read_json
from mmgraph.recipe import load_recipe

WORDS = ["run", "population_wdbc", "--runs", "1"]


@pytest.fixture
def recipe():
    return load_recipe("population_wdbc")


@pytest.fixture
def write(tmp_path):
    def write(value) -> str:
        path = tmp_path / "mine.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    return write


def test_a_file_changes_the_fields_that_it_names(recipe, write) -> None:
    path = write({"channels": 8, "fit": {"epochs": 5}, "population": {"k": 3, "metric": "cosine"}})
    for words in (["--config", path], [f"--config={path}"], ["--runs", "2", "--config", path, "--json"]):
        found = settings(recipe, words)
        assert (found.channels, found.runs, found.fit.epochs) == (8, 10, 5)
        assert (found.fit.weight_decay, found.population.k, found.population.metric) == (5e-3, 3, "cosine")
    assert settings(recipe, ["--runs", "2"]) == recipe.module.Config()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], r"must hold a JSON object of the fields of population_wdbc, got \[1\]"),
        ({"depth": 1}, "Config has the fields .*, got 'depth'; take it out of the file"),
        ({"fit": {"depth": 1}}, "got 'fit.depth'; take it out of the file"),
        ({"fit": {"epochs": "many"}}, "fit.epochs: Input should be a valid integer, .*got 'many'"),
        ({"fit": 3}, "Config of population_wdbc: fit: .*got 3"),
        ({"fit": {"epochs": 0}}, "epochs must be at least 1, got 0"),
    ],
)
def test_wrong_files_are_named(write, capsys, value, message) -> None:
    assert main([*WORDS, "--config", write(value)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_file_that_is_not_there_or_no_json_is_named(write, tmp_path, capsys) -> None:
    assert main([*WORDS, "--config", str(tmp_path / "none.json")]) == 4
    assert "none.json' must exist" in capsys.readouterr().err
    assert main([*WORDS, "--config", write("{")]) == 4
    assert "must hold JSON" in capsys.readouterr().err
    assert main([*WORDS, "--config"]) == 2
    assert "--config must be followed by the path of a JSON file, got nothing" in capsys.readouterr().err


def test_a_run_takes_its_settings_from_the_file_and_flags_change_them(write, tmp_path, capsys) -> None:
    path = write({"runs": 3, "fit": {"epochs": 2}, "channels": 4})
    out = tmp_path / "run"
    assert main([*WORDS, "--config", path, "--out", str(out), "--track", "tensorboard"]) == 0
    config = read_json(out / "run.json")["config"]
    assert (config["runs"], config["fit"]["epochs"], config["channels"]) == (1, 2, 4)
    variants = {cell["variant"].replace(":", "_") for cell in read_json(out / "results.json")["cells"]}
    assert {path.name for path in (out / "tracking").iterdir()} == {f"000-{name}" for name in variants}


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_made(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main([*WORDS, "--out", str(tmp_path / "run"), "--track", "tensorboard"]) == 5
    assert "pip install 'mmgraph[track]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_help_shows_both_flags(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "population_wdbc", "--help"])
    shown = capsys.readouterr().out
    assert "--config" in shown
    assert "--track {None,tensorboard,mlflow}" in shown
