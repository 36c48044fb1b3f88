import json

import pytest
import torch

from mmgraph.cli.main import main
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.pretrained import from_pretrained, share
from mmgraph.recipe import load_recipe
from mmgraph.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    recipe = load_recipe("population_wdbc")
    path = tmp_path_factory.mktemp("runs") / "run"
    Run.execute(recipe, recipe.config({"runs": 1, "fit": {"epochs": 3}}), path)
    return path


def test_a_run_is_shared_without_its_recipe(folder, tmp_path, capsys):
    assert main(["push", str(folder), str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'model'}\n"
    run = Run.open(folder)
    loaded = from_pretrained(tmp_path / "model", schema=run.schema)
    with torch.no_grad():
        assert torch.equal(loaded(run.graph), run.model(run.graph))
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"# {run.recipe.title.rstrip('.')}" in card
    assert "Made by the recipe `population_wdbc` with mmgraph " in card
    for variant in run.results.variants:
        assert f"| {variant} | " in card
    assert json.loads(card.split("```json\n")[1].split("```")[0])["fit"]["epochs"] == 3
    assert 'dataset": {"type": "wdbc", "name": "wdbc"}' in card


def test_a_saved_model_is_shared_as_it_is(folder, tmp_path):
    share(folder, str(tmp_path / "one"))
    assert share(tmp_path / "one", str(tmp_path / "two")) == str(tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_run_goes_to_the_hub(folder, tmp_path, monkeypatch):
    seen = []

    def push(made, target, **options):
        seen.append((from_pretrained(made), target, options))
        return "abc"

    monkeypatch.setattr("mmgraph.pretrained.runs.push", push)
    assert share(folder, "hub:me/wdbc", revision="trial", private=True) == "hub:me/wdbc@abc"
    share(folder, str(tmp_path / "one"))
    assert share(tmp_path / "one", "hub:me/wdbc") == "hub:me/wdbc@abc"
    (first, target, options), (second, *_) = seen
    assert (target, options) == ("hub:me/wdbc", {"revision": "trial", "private": True})
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_no_run_is_told(tmp_path, capsys):
    with pytest.raises(ArtifactError, match=r"run.json' must exist"):
        share(tmp_path, str(tmp_path / "model"))
    assert main(["push", str(tmp_path), str(tmp_path / "model")]) == 4
    assert "was the run finished?" in capsys.readouterr().err


def test_options_of_the_hub_are_refused_for_folders(folder, tmp_path):
    with pytest.raises(ConfigError, match="revision and private are of repositories on the hub, .* got '.*model'"):
        share(folder, str(tmp_path / "model"), private=True)


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit):
        main(["push", "--help"])
    assert "scores beside its controls" in capsys.readouterr().out
