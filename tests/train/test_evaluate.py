"""Experiments: cells, controls, folds, rivals, and resuming."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mmgraph as mg
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.objectives import Supervised
from mmgraph.tasks import default_controls
from mmgraph.train.evaluate import WEIGHTS

FAST = mg.FitConfig(epochs=3)


def test_every_control_stands_beside_the_full_model(build, make_model) -> None:
    results = mg.evaluate(build, make_model, runs=2, config=FAST)
    expected = default_controls(build(0, 0).schema)
    assert expected == (
        "no_graph", "shuffled_edges", "without:blood", "without:scan", "flat_linear", "late_linear", "majority"
    )  # fmt: skip
    assert results.variants == ("full", *expected)
    assert results.runs == 2
    assert results.resplit
    assert len(results.cells) == 2 * 8
    for cell in results.cells:
        assert set(cell.metrics) == {
            "accuracy",
            "balanced_accuracy",
            "f1",
            "f1_macro",
            "f1_weighted",
            "auroc",
            "brier",
            "ece",
            "log_loss",
            "correlation",
            "mae",
        }
        assert cell.parts == (33, 9, 18)
        assert np.allclose(np.sum(cell.probabilities, axis=1), 1, atol=1e-4)
        assert len(cell.labels) == 18


def test_scores_are_those_of_the_probabilities_written_down(build, make_model) -> None:
    results = mg.evaluate(build, make_model, runs=1, config=FAST, controls=["majority"])
    for cell in results.cells:
        predicted = np.argmax(cell.probabilities, axis=1)
        assert cell.metrics["accuracy"] == pytest.approx(np.mean(predicted == np.array(cell.labels)))


def test_one_run_equals_a_fit_by_hand(build, make_model) -> None:
    results = mg.evaluate(build, make_model, runs=2, config=FAST, controls=[])
    population = build(1, 0)
    torch.manual_seed(1)
    model = make_model(population.schema)
    task = mg.NodeClassification(population.schema)
    fitted = mg.fit(model, Supervised(task.target), task, population.graph, mg.FitConfig(epochs=3, seed=1))
    assert results.values("full", "log_loss")[1] == fitted.evaluate("test")["log_loss"]


def test_a_transform_is_made_of_each_run_s_schema_and_changes_training(build, make_model) -> None:
    seen = []

    def make_transform(schema):
        seen.append(schema)
        return mg.ModalityDropout(schema, rate=0.5)

    options = {"runs": 1, "config": FAST, "controls": ["no_graph", "majority"]}
    plain, changed = (mg.evaluate(build, make_model, **options, make_transform=one) for one in (None, make_transform))
    assert seen == [build(0, 0).schema] * 2  # the full model's, and the one without a graph
    assert plain.values("full", "log_loss") != changed.values("full", "log_loss")
    population = build(0, 0)
    torch.manual_seed(0)
    model, task = make_model(population.schema), mg.NodeClassification(population.schema)
    dropout = mg.ModalityDropout(population.schema, rate=0.5)
    fitted = mg.fit(model, Supervised(task.target), task, population.graph, FAST, transform=dropout)
    assert changed.values("full", "log_loss")[0] == fitted.evaluate()["log_loss"]


def test_folds_average_their_probabilities(build, make_model) -> None:
    def fold_of(number: int):
        return lambda run, fold: build(run, number)

    both = mg.evaluate(build, make_model, runs=1, folds=2, config=FAST, controls=["flat_linear"])
    alone = [mg.evaluate(fold_of(n), make_model, runs=1, config=FAST, controls=[]).cells[0] for n in (0, 1)]
    mean = np.mean([cell.probabilities for cell in alone], axis=0)
    assert np.allclose(both.cells[0].probabilities, mean, atol=2e-6)
    val = np.mean([cell.val_metrics["log_loss"] for cell in alone])
    assert both.cells[0].val_metrics["log_loss"] == pytest.approx(val)


def test_folds_must_share_the_test_part(build, make_model) -> None:
    with pytest.raises(DataError, match="The folds of run 0 must have the same test part"):
        mg.evaluate(lambda run, fold: build(run + fold, 0), make_model, runs=1, folds=2, config=FAST)


def test_rivals_are_trained_as_the_full_model_is(build, make_model) -> None:
    results = mg.evaluate(build, make_model, runs=1, config=FAST, controls=[], rivals={"twin": make_model})
    full, twin = results.cells
    assert (full.variant, twin.variant) == ("full", "twin")
    assert full.metrics == twin.metrics


def test_objective_can_be_replaced(build, make_model) -> None:
    seen = []

    def make_objective(schema: mg.Schema):
        seen.append(schema)
        return Supervised(schema.targets["label"], class_weight=torch.tensor([1.0, 9.0]))

    other = mg.evaluate(build, make_model, runs=1, config=FAST, controls=[], make_objective=make_objective)
    plain = mg.evaluate(build, make_model, runs=1, config=FAST, controls=[])
    assert len(seen) == 1
    assert other.cells[0].metrics != plain.cells[0].metrics


def test_a_second_call_runs_only_what_is_missing(tmp_path: Path, build, make_model) -> None:
    first = mg.evaluate(build, make_model, runs=2, config=FAST, folder=tmp_path)
    removed = tmp_path / "cells" / "001-without_blood.json"
    cell = json.loads(removed.read_text())
    removed.unlink()
    kept = tmp_path / "cells" / "000-full.json"
    made = kept.stat().st_mtime_ns
    second = mg.evaluate(build, make_model, runs=2, config=FAST, folder=tmp_path)
    assert kept.stat().st_mtime_ns == made
    again = json.loads(removed.read_text())
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in cell.items() if k != "seconds"}
    assert [c.metrics for c in first.cells] == [c.metrics for c in second.cells]
    assert (tmp_path / WEIGHTS).exists()
    assert not (tmp_path / "fits").exists()


def test_a_folder_of_other_data_is_refused(tmp_path: Path, build, make_model) -> None:
    mg.evaluate(build, make_model, runs=1, config=FAST, controls=[], folder=tmp_path)
    with pytest.raises(ArtifactError, match=r"000-full.json' must be of the graph .*use another folder"):
        mg.evaluate(lambda run, fold: build(run + 1, 0), make_model, runs=1, config=FAST, controls=[], folder=tmp_path)


def test_a_damaged_cell_is_named(tmp_path: Path, build, make_model) -> None:
    mg.evaluate(build, make_model, runs=1, config=FAST, controls=[], folder=tmp_path)
    path = tmp_path / "cells" / "000-full.json"
    path.write_text("{")
    with pytest.raises(ArtifactError, match=r"000-full.json' must hold JSON"):
        mg.evaluate(build, make_model, runs=1, config=FAST, controls=[], folder=tmp_path)
    path.write_text('{"run": 0}')
    with pytest.raises(ArtifactError, match="A cell of results must have the fields of Cell"):
        mg.evaluate(build, make_model, runs=1, config=FAST, controls=[], folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "runs and folds must be at least 1, got runs=0, folds=1"),
        ({"folds": 0}, "got runs=5, folds=0"),
        ({"controls": ["noise"]}, r"Controls must be among .*'majority'.*, got \['noise'\]"),
        ({"rivals": {"majority": None}}, r"must not have the name of a control, got \['majority'\]"),
        ({"metric": "mrr"}, "metric must be one of .*'auroc'.*, got 'mrr'"),
    ],
)
def test_errors_name_the_value(options: dict, message: str, build, make_model) -> None:
    with pytest.raises(ConfigError, match=message):
        mg.evaluate(build, make_model, config=FAST, **options)


def test_one_class_is_refused_before_anything_is_trained(records) -> None:
    with pytest.raises(DataError, match=r"at least 2 classes, got \[0\] in 60 labelled rows"):
        mg.stratified_split(np.zeros(60, dtype=int))


def test_noise_in_place_of_features_scores_at_chance() -> None:
    from mmgraph.testing import fake_records

    def build(run: int, fold: int) -> mg.Population:
        records = fake_records(subjects=160, signal=0.0, missing=0.0, seed=run)
        return mg.Population.fit(records, mg.stratified_split(records.labels, seed=run), mg.PopulationConfig(k=5))

    results = mg.evaluate(build, mg.classifier, runs=12, config=mg.FitConfig(epochs=30), controls=["no_graph"])
    for variant in results.variants:
        assert abs(results.mean(variant, "auroc") - 0.5) < 0.1, variant


def test_a_rival_may_be_trained_in_another_way(build, make_model) -> None:
    made = []

    def objective(name):
        def make(schema):
            made.append(name)
            return mg.Supervised(schema.target(next(iter(schema.targets))))

        return make

    results = mg.evaluate(
        build,
        make_model,
        runs=1,
        config=mg.FitConfig(epochs=2),
        controls=(),
        rivals={"other_model": make_model},
        make_objective=objective("own"),
        rival_objectives={"other_way": objective("another")},
    )
    assert set(results.variants) == {"full", "other_way", "other_model"}
    assert sorted(made) == ["another", "own", "own"]
