"""Studies: the same trials whether killed or not, pruning, failures, and what is refused."""

import json
import math
import sys
from dataclasses import asdict

import numpy as np
import optuna
import pytest
from filelock import FileLock

from mmgraph.errors import ConfigError, DataError, MissingPackageError
from mmgraph.recipe import load_recipe
from mmgraph.tune import Choice, Range, study, tune
from mmgraph.tune.study import FIRST

EPOCHS = 4
SPACE = {"fit.learning_rate": Range(1e-6, 0.3, log=True), "channels": Range(2, 9), "relations": Choice([True, False])}


def curve(config) -> list[float]:
    """How a made-up model learns: best at a learning rate of 0.03, and better with more channels."""
    goal = -((math.log10(config.fit.learning_rate) + 1.5) ** 2) + config.channels / 10 - config.relations
    return [goal - 5 * 0.5**epoch for epoch in range(EPOCHS)]


@pytest.fixture
def quick(monkeypatch):
    """A validation score that takes no time; gives what was asked for."""
    asked: list = []

    def score(recipe, config, watch) -> float:
        asked.append(config)
        for epoch, value in enumerate(curve(config)):
            watch(epoch, -value)  # the monitored score is a loss
        return curve(config)[-1]

    monkeypatch.setattr(study, "validation_score", score)
    return asked


def test_a_study_finds_what_is_best(recipe, quick, tmp_path) -> None:
    tuned = tune(recipe, SPACE, trials=16, folder=tmp_path / "study")
    done = [one for one in tuned.trials if one.state == "complete"]
    assert len(tuned.trials) == 16
    assert [one.number for one in tuned.trials] == list(range(16))
    assert tuned.best.score == max(one.score for one in done)
    for one in done:
        assert one.score == curve(study.changed(recipe.config({}), one.values))[-1]
    assert tuned.config == study.changed(recipe.config({}), tuned.best.values)
    best = json.loads((tmp_path / "study" / "best.json").read_text())
    assert recipe.config(best) == tuned.config
    told = json.loads((tmp_path / "study" / "study.json").read_text())
    assert told["trials"] == [asdict(one) for one in tuned.trials]
    assert (told["metric"], told["best"]) == ("accuracy", tuned.best.number)


@pytest.mark.parametrize("at", [1, 12])
def test_a_killed_study_goes_on_and_ends_with_the_same_trials(recipe, quick, tmp_path, monkeypatch, at) -> None:
    whole = tune(recipe, SPACE, trials=15, folder=tmp_path / "whole", seed=7)
    score, count = study.validation_score, []

    def killed(recipe, config, watch) -> float:
        count.append(1)
        if len(count) > at:
            watch(0, 1.0)
            raise KeyboardInterrupt
        return score(recipe, config, watch)

    with monkeypatch.context() as patched:
        patched.setattr(study, "validation_score", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                tune(recipe, SPACE, trials=15, folder=tmp_path / "killed", seed=7)
            count.extend([1] * 100)  # the second time it is killed at once
    assert tune(recipe, SPACE, trials=15, folder=tmp_path / "killed", seed=7).trials == whole.trials
    assert {one.state for one in whole.trials} == {"complete", "pruned"}


def test_trials_can_be_added_and_a_study_that_is_whole_tries_nothing(recipe, quick, tmp_path) -> None:
    whole = tune(recipe, SPACE, trials=12, folder=tmp_path / "whole")
    quick.clear()
    first = tune(recipe, SPACE, trials=4, folder=tmp_path / "parts")
    assert first.trials == whole.trials[:4]
    assert len(quick) == 4
    assert tune(recipe, SPACE, trials=2, folder=tmp_path / "parts").trials == first.trials
    assert len(quick) == 4
    assert tune(recipe, SPACE, trials=12, folder=tmp_path / "parts").trials == whole.trials


def test_another_seed_tries_other_settings(recipe, quick, tmp_path) -> None:
    one, two = (tune(recipe, SPACE, trials=3, folder=tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert all(a.values != b.values for a, b in zip(one.trials, two.trials, strict=True))


def test_trials_worse_than_the_median_of_the_others_are_stopped(recipe, quick, tmp_path) -> None:
    tuned = tune(recipe, SPACE, trials=16, folder=tmp_path, seed=3)
    curves = [curve(study.changed(recipe.config({}), one.values)) for one in tuned.trials]
    for one in tuned.trials:
        before = [curves[other.number] for other in tuned.trials[: one.number] if other.state == "complete"]
        below = len(before) >= FIRST and any(
            max(curves[one.number][: epoch + 1]) < np.median([other[epoch] for other in before])
            for epoch in range(EPOCHS)
        )
        known = any(other.values == one.values and other.state == "complete" for other in tuned.trials[: one.number])
        assert one.state == ("pruned" if below and not known else "complete"), one
    assert any(one.state == "pruned" for one in tuned.trials)
    free = tune(recipe, SPACE, trials=8, folder=tmp_path / "free", seed=3, prune=False)
    assert {one.state for one in free.trials} == {"complete"}


def test_a_metric_of_which_less_is_better(text, quick, tmp_path) -> None:
    path = tmp_path / "less.py"
    path.write_text(text.replace('"accuracy"', '"brier"'))
    tuned = tune(load_recipe(path), SPACE, trials=6, folder=tmp_path / "study", prune=False)
    assert tuned.best.score == min(one.score for one in tuned.trials)
    assert tuned.table().columns[-1]._cells[0] == f"{tuned.best.score:.4f}"


def test_settings_that_were_tried_are_not_trained_again(recipe, quick, tmp_path) -> None:
    tuned = tune(recipe, {"relations": Choice([True, False])}, trials=6, folder=tmp_path)
    assert len(quick) == 2
    assert len(tuned.trials) == 6
    scores = {one.values["relations"]: one.score for one in tuned.trials}
    assert all(one.score == scores[one.values["relations"]] for one in tuned.trials)


def test_trials_that_fail_are_told_and_the_study_goes_on(recipe, monkeypatch, tmp_path) -> None:
    def score(recipe, config, watch) -> float:
        if config.channels > 5:
            raise DataError("The objective must be finite,\n got nan")
        return float("nan") if config.channels == 5 else 0.5

    monkeypatch.setattr(study, "validation_score", score)
    tuned = tune(recipe, {"channels": Choice([3, 5, 7])}, trials=8, folder=tmp_path)
    reasons = {one.values["channels"]: (one.state, one.score, one.reason) for one in tuned.trials}
    assert reasons[3] == ("complete", 0.5, "")
    assert reasons[5] == ("failed", None, "accuracy on validation must be finite, got nan")
    assert reasons[7] == ("failed", None, "The objective must be finite, got nan")
    assert tuned.best.values == {"channels": 3}
    with pytest.raises(ConfigError, match="None of 2 trials could be carried through; the first failed: The objective"):
        tune(recipe, {"channels": Choice([7, 8])}, trials=2, folder=tmp_path / "none")


def test_a_fault_of_the_code_is_no_failed_trial(recipe, monkeypatch, tmp_path) -> None:
    def broken(*args) -> float:
        raise ZeroDivisionError("a fault")

    with monkeypatch.context() as patched:
        patched.setattr(study, "validation_score", broken)
        with pytest.raises(ZeroDivisionError, match="a fault"):
            tune(recipe, SPACE, trials=2, folder=tmp_path)
    monkeypatch.setattr(study, "validation_score", lambda *args: 0.5)
    assert [one.state for one in tune(recipe, SPACE, trials=2, folder=tmp_path).trials] == ["complete"] * 2


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """A study of real fits."""
    config = recipe.config({"runs": 2, "fit": {"epochs": 20, "learning_rate": 0.01}})
    folder = tmp_path_factory.mktemp("trained")
    return tune(recipe, SPACE, trials=9, folder=folder, config=config, seed=1), config


def test_real_fits_are_stopped_by_their_curves_on_validation(trained, recipe) -> None:
    tuned, config = trained
    states = [one.state for one in tuned.trials]
    assert states[:FIRST] == ["complete"] * FIRST
    assert "pruned" in states
    score = study.validation_score(recipe, study.changed(config, tuned.best.values))
    assert tuned.best.score == score
    assert tuned.config.fit.epochs == 20


def test_pictures_of_the_study(trained) -> None:
    tuned, _ = trained
    paths = tuned.draw()
    assert [path.name for path in paths] == ["history.png", "importance.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in paths)


def test_the_best_settings_are_carried_out_beside_their_controls(trained, recipe, tmp_path) -> None:
    from mmgraph.run import Run

    tuned, _ = trained
    best = recipe.config(json.loads((tuned.folder / "best.json").read_text()))
    run = Run.execute(recipe, best, tmp_path / "run")
    scores = [cell.val_metrics["accuracy"] for cell in run.results.cells if cell.variant == "full"]
    assert tuned.best.score == pytest.approx(np.mean(scores))
    assert "no_graph" in run.results.variants


def test_optuna_is_left_as_it_was(recipe, quick, tmp_path) -> None:
    level = optuna.logging.get_verbosity()
    tune(recipe, SPACE, trials=1, folder=tmp_path)
    assert optuna.logging.get_verbosity() == level


def test_a_folder_of_another_study_is_refused(recipe, quick, tmp_path) -> None:
    tune(recipe, SPACE, trials=1, folder=tmp_path)
    others = {
        "seed": {"seed": 1},
        "prune": {"prune": False},
        "config": {"config": recipe.config({"dropout": 0.5})},
    }
    for name, options in others.items():
        with pytest.raises(ConfigError, match=rf"holds a study with other settings \(it has another {name}\)"):
            tune(recipe, SPACE, trials=1, folder=tmp_path, **options)
    with pytest.raises(ConfigError, match=r"another space\); choose another folder"):
        tune(recipe, {**SPACE, "channels": Range(2, 8)}, trials=1, folder=tmp_path)


def test_two_processes_do_not_tune_in_one_folder(recipe, quick, tmp_path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ConfigError, match="is being tuned in by another process"):
        tune(recipe, SPACE, trials=1, folder=tmp_path)


def test_wrong_arguments_are_named_before_a_folder_is_made(recipe, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "study"
    with pytest.raises(ConfigError, match="trials must be at least 1, got 0"):
        tune(recipe, SPACE, trials=0, folder=folder)
    with pytest.raises(ConfigError, match="got 'depth'"):
        tune(recipe, {"depth": Range(1, 2)}, folder=folder)
    with pytest.raises(ConfigError, match="Recipe must be one of .*got 'nothing'"):
        tune("nothing", SPACE, folder=folder)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"package 'optuna'.*pip install 'mmgraph\[tune\]'"):
        tune(recipe, SPACE, folder=folder)
    assert not folder.exists()
