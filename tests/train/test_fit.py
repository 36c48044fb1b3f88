"""One fit: early stopping on validation alone, and a kill that changes nothing."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.objectives import Supervised
from mmgraph.train.fit import CHECKPOINT
from mmgraph.train.module import AtomicCheckpointIO

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
import torch
from conftest import build, make_model
import mmgraph as mg
from mmgraph.objectives import Supervised

population = build(0, 0)
torch.manual_seed(0)
task = mg.NodeClassification(population.schema)
config = mg.FitConfig(epochs={epochs}, patience=None, checkpoint_every=1)
model = make_model(population.schema)
fitted = mg.fit(model, Supervised(task.target), task, population.graph, config, folder=Path(sys.argv[1]))
torch.save({{"weights": fitted.model.state_dict(), "epoch": fitted.best_epoch}}, sys.argv[2])
"""


def _task(population: mg.Population) -> mg.NodeClassification:
    return mg.NodeClassification(population.schema)


def _fit(model, population, config, **options):
    task = _task(population)
    return mg.fit(model, Supervised(task.target), task, population.graph, config, **options)


def test_fit_learns_and_keeps_the_best_epoch_on_validation(model, population) -> None:
    fitted = _fit(model, population, mg.FitConfig(epochs=60, patience=None))
    losses = [entry["val_log_loss"] for entry in fitted.history]
    assert len(losses) == 60
    assert fitted.best_epoch == min(range(60), key=losses.__getitem__)
    assert fitted.best_score == min(losses)
    assert fitted.evaluate("val")["log_loss"] == pytest.approx(fitted.best_score, abs=1e-6)
    assert fitted.evaluate("test")["accuracy"] > 0.7
    assert not fitted.model.training


def test_patience_stops_after_so_many_epochs_without_a_better_one(model, population) -> None:
    fitted = _fit(model, population, mg.FitConfig(epochs=500, patience=5, learning_rate=0.05))
    assert len(fitted.history) == fitted.best_epoch + 1 + 5


def test_monitor_with_higher_is_better_keeps_the_highest(model, population) -> None:
    fitted = _fit(model, population, mg.FitConfig(epochs=30, patience=None, monitor="auroc"))
    assert fitted.best_score == max(entry["val_auroc"] for entry in fitted.history)


def test_keep_last_ends_with_the_weights_of_the_last_epoch(model, population) -> None:
    fitted = _fit(model, population, mg.FitConfig(epochs=60, patience=None, learning_rate=0.05, keep="last"))
    losses = [entry["val_log_loss"] for entry in fitted.history]
    assert min(losses) < losses[-1] == fitted.best_score
    assert fitted.best_epoch == 59
    assert fitted.evaluate("val")["log_loss"] == pytest.approx(losses[-1], abs=1e-6)


def test_labels_and_features_of_the_test_part_change_neither_weights_nor_history(population, make_model) -> None:
    def run(graph):
        torch.manual_seed(0)
        task = _task(population)
        return mg.fit(make_model(population.schema), Supervised(task.target), task, graph, mg.FitConfig(epochs=15))

    graph = population.graph
    other = graph.clone()
    test = graph["subject"].test_mask
    other["subject"].y = torch.where(test, 1 - graph["subject"].y, graph["subject"].y)
    for name in ("blood", "scan"):
        owner = graph[name, "of", "subject"].edge_index[1]
        other[name].x = torch.where(test[owner][:, None], torch.randn_like(graph[name].x), graph[name].x)
    first, second = run(graph), run(other)
    assert first.history == second.history
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name])


def test_same_seed_same_weights_and_the_state_of_chance_outside_is_left_alone(population, make_model) -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        model = make_model(population.schema)
        before = torch.get_rng_state()
        fitted = _fit(model, population, mg.FitConfig(epochs=5))
        assert torch.equal(before, torch.get_rng_state())
        weights.append(fitted.model.state_dict())
        torch.rand(1)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_fit_killed_and_resumed_equals_one_left_alone(tmp_path: Path) -> None:
    here, epochs = str(Path(__file__).parent), 150
    script = tmp_path / "fit.py"
    script.write_text(textwrap.dedent(SCRIPT).format(here=here, epochs=epochs))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder: str, out: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(script), str(tmp_path / folder), str(tmp_path / out)], env=env)

    assert start("alone", "alone.pt").wait(timeout=120) == 0
    checkpoint = tmp_path / "killed" / CHECKPOINT
    process = start("killed", "killed.pt")
    deadline = time.monotonic() + 90
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert not (tmp_path / "killed.pt").exists()
    stopped = AtomicCheckpointIO().load_checkpoint(checkpoint)["epoch"]
    assert stopped < epochs - 1
    assert start("killed", "killed.pt").wait(timeout=120) == 0
    alone, killed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", "killed"))
    assert alone["epoch"] == killed["epoch"]
    for name, weight in alone["weights"].items():
        assert torch.equal(weight, killed["weights"][name]), name


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_damaged_checkpoint_is_named(damage: bytes, model, population, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(damage)
    with pytest.raises(ArtifactError, match=rf"{CHECKPOINT}' is damaged .*remove it to train from the start"):
        _fit(model, population, mg.FitConfig(epochs=2), folder=tmp_path)


@pytest.mark.parametrize("cut", [slice(0, -500), slice(0, 20), slice(1, None)])
def test_truncated_checkpoint_is_named(cut: slice, model, population, tmp_path: Path) -> None:
    _fit(model, population, mg.FitConfig(epochs=2, checkpoint_every=1), folder=tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[cut])
    with pytest.raises(ArtifactError, match="is damaged"):
        _fit(model, population, mg.FitConfig(epochs=4), folder=tmp_path)


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_found(model, population, tmp_path: Path) -> None:
    _fit(model, population, mg.FitConfig(epochs=1, checkpoint_every=1), folder=tmp_path)
    path = tmp_path / CHECKPOINT
    data = path.read_bytes()
    for position in range(0, len(data), len(data) // 23):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ArtifactError, match="is damaged"):
            _fit(model, population, mg.FitConfig(epochs=2), folder=tmp_path)


def test_checkpoint_of_another_model_is_named(model, population, tmp_path: Path) -> None:
    _fit(model, population, mg.FitConfig(epochs=1, checkpoint_every=1), folder=tmp_path)
    other = mg.Model(
        schema=population.schema, encoder=model.encoder, fusion=model.fusion, head=torch.nn.Linear(8, 2, bias=False)
    )
    with pytest.raises(ArtifactError, match=r"is of another model \(they differ in"):
        _fit(other, population, mg.FitConfig(epochs=2), folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"patience": -1}, "patience must be at least 1, got -1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 .* got 0.0"),
        ({"weight_decay": -1.0}, "got 0.01 and -1.0"),
        ({"monitor": "loss"}, "Metric must be one of .*'auroc'.* got 'loss'"),
    ],
)
def test_config_errors_name_the_value(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mg.FitConfig(**options)


def test_weight_decay_acts_on_matrices_alone(model, population) -> None:
    from mmgraph.train.module import Module

    task = _task(population)
    config = mg.FitConfig(weight_decay=0.3)
    decayed, free = (
        Module(model, Supervised(task.target), task, population.graph, config).configure_optimizers().param_groups
    )
    assert decayed["weight_decay"] == 0.3
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert free["weight_decay"] == 0.0
    assert all(parameter.dim() == 1 for parameter in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


def test_loggers_get_what_the_history_gets(model, population, tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path)
    fitted = _fit(model, population, mg.FitConfig(epochs=3, patience=None), loggers=[logger])
    written = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    place = written[0].split(",").index("val_log_loss")
    logged = [float(line.split(",")[place]) for line in written[1:] if line.split(",")[place]]
    assert logged == [pytest.approx(row["val_log_loss"]) for row in fitted.history]
    assert len(logged) == 3


def test_an_objective_that_is_not_finite_is_named(model, population) -> None:
    class Broken(Supervised):
        def forward(self, model, graph):
            total = model(graph).sum() * float("nan")
            return {"total": total, "broken": total}

    task = _task(population)
    with pytest.raises(DataError, match=r"must be finite, got \{'total': nan, 'broken': nan\} in epoch 0; lower"):
        mg.fit(model, Broken(task.target), task, population.graph, mg.FitConfig(epochs=2))
