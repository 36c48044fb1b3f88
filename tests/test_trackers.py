"""Trackers: what a cell leaves behind, live and after a kill; no cell twice; nothing left behind in the process."""

import json
import logging
import os
import shutil
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

import mmgraph as mg
from mmgraph.errors import ConfigError, MissingPackageError
from mmgraph.model import classifier
from mmgraph.testing import fake_graph
from mmgraph.trackers import TRACKERS, MLflow, TensorBoard, open_tracker
from mmgraph.train.results import Cell
from mmgraph.train.trial import Trial

FAST = mg.FitConfig(epochs=4, checkpoint_every=2)
KINDS = list(TRACKERS)


def evaluate(folder: Path | None, tracker, **options):
    options = {"runs": 1, "controls": ["no_graph", "majority"], "config": FAST, **options}
    return mg.evaluate(
        lambda run, fold: fake_graph(40, seed=run), classifier, folder=folder, tracker=tracker, **options
    )


def curves(tracker, title: str) -> dict[str, list[tuple[int, float]]]:
    """Name → (step, value), as the tracker's own reader gives it."""
    if isinstance(tracker, MLflow):
        client, (run,) = tracker._connect(), tracker._runs(title)
        names = client.get_run(run.info.run_id).data.metrics
        points = {name: client.get_metric_history(run.info.run_id, name) for name in names}
        return {name: [(point.step, point.value) for point in found] for name, found in points.items()}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracker.folder / title)).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def titles(tracker) -> list[str]:
    if isinstance(tracker, MLflow):
        found = tracker._connect().search_runs([tracker._experiment])
        return sorted(one.info.run_name for one in found)
    return sorted(path.name for path in tracker.folder.iterdir())


def check_curves(tracker, cell: Cell) -> None:
    found = curves(tracker, f"{cell.run:03d}-{cell.variant}")
    for name in {name for entry in cell.history for name in entry if name != "epoch"}:
        expected = [(entry["epoch"], entry[name]) for entry in cell.history]
        assert [step for step, _ in found[name]] == [step for step, _ in expected]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in expected])
    for part, scores in {"val": cell.val_metrics, "test": cell.metrics}.items():
        for name, score in scores.items():
            assert found[f"{part}/{name}"] == [(max(0, cell.best_epoch), pytest.approx(score))]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Opens a tracker; MLflow's tables, which take it a second and more to make, are made once."""
    blank = tmp_path_factory.mktemp("blank")
    MLflow(blank)._connect()

    def opened(kind: str, folder: Path, **options):
        if kind == "mlflow" and not folder.exists():
            folder.mkdir(parents=True)
            shutil.copy(blank / "mlflow.db", folder / "mlflow.db")
        return open_tracker(kind, folder, **options)

    return opened


@pytest.fixture(scope="module", params=KINDS)
def done(request, tmp_path_factory, opened):
    """An experiment of two runs, watched from its start."""
    folder = tmp_path_factory.mktemp("experiment")
    tracker = opened(request.param, folder / "tracking", name="mine", config={"channels": 16, "fit": {}})
    return folder, tracker, evaluate(folder, tracker, runs=2)


def test_each_cell_is_a_run_with_its_curves_and_scores(done) -> None:
    _, tracker, results = done
    names = ("full", "majority", "no_graph")
    assert titles(tracker) == [f"{run:03d}-{name}" for run in range(2) for name in names]
    for cell in results.cells:
        check_curves(tracker, cell)


def test_settings_versions_and_digests_are_there(done) -> None:
    _, tracker, results = done
    cell = results.cells[0]
    if isinstance(tracker, MLflow):
        (run,) = tracker._runs("000-full")
        settings, facts = run.data.params, run.data.tags
        assert run.info.status == "FINISHED"
        assert (settings["channels"], settings["variant"], settings["fit.epochs"]) == ("16", "full", "4")
        assert facts["parts"] == str(list(cell.parts))
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        events = EventAccumulator(str(tracker.folder / "000-full")).Reload()
        start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        found = HParamsPluginData.FromString(start).session_start_info.hparams
        assert (found["channels"].number_value, found["variant"].string_value) == (16, "full")
        assert found["fit.epochs"].number_value == 4
        text = events.Tensors("record/text_summary")[0].tensor_proto.string_val[0].decode()
        facts = json.loads(text.removeprefix("```json\n").removesuffix("\n```"))
    assert facts["data_sha256"] == cell.data_sha256
    assert facts["versions.mmgraph"] == mg.__version__


def test_what_is_finished_is_not_logged_again(done) -> None:
    folder, tracker, results = done
    before = state(tracker)
    again = open_tracker(next(k for k, t in TRACKERS.items() if isinstance(tracker, t)), tracker.folder, name="mine")
    assert evaluate(folder, again, runs=2).rows() == results.rows()
    assert state(tracker) == before


def state(tracker) -> list:
    if isinstance(tracker, MLflow):
        return sorted(
            (one.info.run_name, one.info.run_id) for one in tracker._connect().search_runs([tracker._experiment])
        )
    return sorted((str(path), path.stat().st_mtime_ns) for path in tracker.folder.rglob("*"))


@pytest.mark.parametrize("kind", KINDS)
def test_cells_that_were_finished_without_a_tracker_are_added(kind, done, opened, tmp_path) -> None:
    folder, _, results = done
    tracker = opened(kind, tmp_path / "later")
    evaluate(folder, tracker, runs=2)
    for cell in results.cells:
        check_curves(tracker, cell)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_fit_goes_on_and_its_curves_are_whole(kind, opened, tmp_path, monkeypatch) -> None:
    """Killed after the sixth of eight epochs: the next process sees the epochs from its checkpoint on."""
    tracker, config = opened(kind, tmp_path / "tracking"), mg.FitConfig(epochs=8, checkpoint_every=2)
    whole = evaluate(None, None, controls=[], config=config)
    log = type(tracker).log

    def killed(self, metrics, fold, epoch):
        log(self, metrics, fold, epoch)
        if epoch == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(tracker), "log", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path, tracker, controls=[], config=config)
    assert titles(tracker) == ["000-full"]
    assert not tracker._finished("000-full")
    tracker = open_tracker(kind, tmp_path / "tracking")
    results = evaluate(tmp_path, tracker, controls=[], config=config)
    assert [entry["val_log_loss"] for entry in results.cells[0].history] == [
        entry["val_log_loss"] for entry in whole.cells[0].history
    ]
    check_curves(tracker, results.cells[0])
    assert titles(tracker) == ["000-full"]


def test_curves_are_written_while_a_cell_is_trained_and_not_again_at_its_end(tmp_path, monkeypatch) -> None:
    begun, tracker = [], TensorBoard(tmp_path)
    begin = TensorBoard._begin
    monkeypatch.setattr(TensorBoard, "_begin", lambda self, title: (begun.append(title), begin(self, title)))
    evaluate(None, tracker, runs=1)
    assert begun == ["000-full", "000-no_graph", "000-majority"]


def test_folds_have_curves_of_their_own(tmp_path) -> None:
    tracker = TensorBoard(tmp_path)
    evaluate(None, tracker, folds=2, controls=[])
    found = curves(tracker, "000-full")
    assert {"val_log_loss", "fold1/val_log_loss"} <= set(found)
    assert len(found["fold1/val_log_loss"]) == 4


def test_names_that_trackers_refuse_are_changed(opened, tmp_path) -> None:
    cell = Cell(
        run=0, variant="a/b: 'c'", metrics={"recall@1 image>text": 0.5, "nothing": float("nan")}, val_metrics={},
        seconds=0.0, data_sha256="", parts=(1, 1, 1), test_sha256=""
    )  # fmt: skip
    tracker = opened("mlflow", tmp_path / "tracking")
    tracker.finish(cell, FAST)
    assert titles(tracker) == ["000-a_b_ _c_"]
    assert curves(tracker, "000-a_b_ _c_") == {"test/recall_1 image_text": [(0, 0.5)], "seconds": [(0, 0.0)]}


def test_mlflow_leaves_nothing_behind_in_the_process(tmp_path, monkeypatch) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    address, environment = mlflow.get_tracking_uri(), dict(os.environ)
    threads, level = set(threading.enumerate()), logging.getLogger("mlflow").level
    evaluate(None, MLflow("tracking"), controls=[])
    assert mlflow.get_tracking_uri() == address
    assert dict(os.environ) == environment
    assert set(threading.enumerate()) == threads
    assert logging.getLogger("mlflow").level == level
    assert [path.name for path in tmp_path.iterdir()] == ["tracking"]
    assert mlflow.active_run() is None


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("mlflow", "alembic")]
)
def test_a_missing_package_is_told_before_anything_is_made(kind, package, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"package '{package}'.*pip install 'mmgraph\[track\]'"):
        open_tracker(kind, tmp_path / "tracking")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"Tracker must be one of \['tensorboard', 'mlflow'\], got 'wandb'"):
        open_tracker("wandb", tmp_path)


def test_an_experiment_that_fails_lets_its_tracker_go(opened, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Trial, "cell", lambda *args: (_ for _ in ()).throw(RuntimeError("broken")))
    tracker = opened("mlflow", tmp_path / "tracking")
    with pytest.raises(RuntimeError, match="broken"):
        evaluate(None, tracker, controls=[])
    (run,) = tracker._runs("000-full")
    assert run.info.status == "KILLED"


def test_a_recipe_s_run_is_watched(tmp_path) -> None:
    from mmgraph.recipe import load_recipe

    recipe = load_recipe("population_wdbc")
    config = recipe.config({"runs": 1, "fit": {"epochs": 2}})
    tracker = TensorBoard(tmp_path / "run" / "tracking", config=asdict(config))
    run = mg.Run.execute(recipe, config, tmp_path / "run", tracker=tracker)
    assert titles(tracker) == sorted(f"000-{name.replace(':', '_')}" for name in run.results.variants)
