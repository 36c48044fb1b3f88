"""The score of a trial: the mean over the runs' validation parts, whatever the test part holds."""

import numpy as np
import pytest
import torch

import mmgraph as mg
from mmgraph.errors import ConfigError
from mmgraph.recipe import load_recipe
from mmgraph.train.experiment import experiment
from mmgraph.train.fit import Fitted
from mmgraph.tune.validation import validation_score


def test_it_is_the_mean_of_the_full_model_s_scores_on_validation(recipe) -> None:
    config = recipe.config({"runs": 2, "folds": 2})
    asked = {**experiment(recipe.module, config), "controls": []}
    cells = mg.evaluate(**asked).cells
    assert validation_score(recipe, config) == np.mean([cell.val_metrics["accuracy"] for cell in cells])


def test_nothing_is_predicted_for_the_test_part(recipe, monkeypatch) -> None:
    asked = []
    predict = Fitted.predict
    monkeypatch.setattr(Fitted, "predict", lambda self, part="test": (asked.append(part), predict(self, part))[1])
    validation_score(recipe, recipe.config({}))
    assert set(asked) == {"val"}


def test_poisoned_labels_of_the_test_part_change_nothing(recipe, text, tmp_path) -> None:
    poison = "    store = graph[schema.anchor]\n    store.y[store.test_mask] = 1 - store.y[store.test_mask]\n"
    path = tmp_path / "poisoned.py"
    path.write_text(text.replace("    return graph, schema\n", poison + "    return graph, schema\n"))
    poisoned = load_recipe(path)
    clean, (bad, _) = recipe.module.build(None, 0, 0)[0], poisoned.module.build(None, 0, 0)
    assert not torch.equal(clean["subject"].y, bad["subject"].y)
    for options in ({}, {"channels": 8, "dropout": 0.5}):
        assert validation_score(poisoned, poisoned.config(options)) == validation_score(recipe, recipe.config(options))


def test_the_first_fit_is_watched_now_and_then(recipe) -> None:
    seen: list[tuple[int, float]] = []
    config = recipe.config({"runs": 2, "folds": 2, "fit": {"epochs": 40, "patience": None}})
    validation_score(recipe, config, lambda epoch, score: seen.append((epoch, score)))
    assert [epoch for epoch, _ in seen] == list(range(0, 40, 2))
    asked = {**experiment(recipe.module, config), "controls": [], "runs": 1, "folds": 1}
    history = mg.evaluate(**asked).cells[0].history
    assert [score for _, score in seen] == pytest.approx([entry["val_log_loss"] for entry in history][::2])


def test_a_metric_that_the_task_does_not_know_is_named(text, tmp_path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(text.replace('"accuracy"', '"bleu"'))
    odd = load_recipe(path)
    with pytest.raises(ConfigError, match=r"METRIC must be one of \['accuracy', .*, got 'bleu'"):
        validation_score(odd, odd.config({}))
