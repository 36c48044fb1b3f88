"""Minibatches of one large graph: the same losses, gradients and answers as the whole, and seeds alone are asked."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.data import ModalityDropout
from mmgraph.encoders import Raw, Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.fusion import Concat
from mmgraph.layers import GCN, Gated, Layer, Mean, Smooth, Stack
from mmgraph.linker import LEARNED, Linker
from mmgraph.objectives import Links, Supervised
from mmgraph.schema import Schema, TargetSpec
from mmgraph.scorers import DistMult
from mmgraph.tasks import LinkPrediction, NodeClassification, Task
from mmgraph.testing import check_no_leak, fake_graph, fake_knowledge
from mmgraph.train import Place
from mmgraph.train.batched import check_batched, check_drawn, part_batches, predict, rounds, target_of, training_batches
from mmgraph.train.fit import CHECKPOINT
from mmgraph.train.module import AtomicCheckpointIO, Module

NEAR = [("subject", "near", "subject")]
WITHIN = [("scan", "next", "scan"), ("text", "next", "text")]
LAYERS = {
    "star": ({}, 0),
    "mean": ({"between": lambda: Mean(4, 4, relations=NEAR)}, 1),
    "two rounds": ({"between": lambda: Stack(Mean(4, 4, relations=NEAR), Mean(4, 4, relations=NEAR))}, 2),
    "degrees of neighbours": ({"between": lambda: Stack(GCN(4, 4, relations=NEAR), GCN(4, 4, relations=NEAR))}, 2),
    "within": ({"within": lambda: Gated(4, relations=WITHIN, rounds=2)}, 2),
    "degrees within": (
        {"within": lambda: GCN(4, 4, relations=WITHIN), "between": lambda: Smooth(relations=NEAR, rounds=2)},
        3,
    ),
    "answers spread": ({"after": lambda: Smooth(relations=NEAR, rounds=4)}, 0),
}


def make(schema: Schema, layers: dict, *, dropout: float = 0.0) -> mg.Model:
    torch.manual_seed(0)
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    return mg.Model(
        schema=schema,
        encoder=Table(widths, 4, dropout=dropout),
        fusion=Concat(dict.fromkeys(widths, 4), 4),
        head=nn.Linear(4, 2),
        **{name: build() for name, build in layers.items()},
    )


def star(graph, schema: Schema):
    """The same subjects, joined by nothing."""
    graph = graph.clone()
    for edge in [edge for edge in schema.edges if edge[1] != "of"]:
        del graph[edge]
    return graph, schema.model_copy(update={"edges": {e: s for e, s in schema.edges.items() if e[1] == "of"}})


def sample(name: str, regime: str = "transductive", subjects: int = 60):
    graph, schema = fake_graph(subjects, regime=regime, seed=3)
    graph, schema = star(graph, schema) if name == "star" else (graph, schema)
    layers, hops = LAYERS[name]
    return graph, schema, layers, hops


def loss_and_gradients(model, objective, graph):
    model.zero_grad()
    total = objective(model, graph)["total"]
    total.backward()
    return total.detach(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden"])
def test_loss_and_gradients_of_all_seeds_at_once_are_those_of_the_whole_view(name, regime) -> None:
    graph, schema, layers, hops = sample(name, regime)
    task, model = NodeClassification(schema), make(schema, layers)
    view = task.view(graph, "train")
    (batch,) = training_batches(task, view, mg.FitConfig(batch_size=100, hops=hops))
    whole = loss_and_gradients(model, Supervised(task.target), view)
    alone = loss_and_gradients(model, Supervised(task.target), batch)
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_the_loss_of_a_batch_is_that_of_its_seeds_in_the_whole_view(name) -> None:
    graph, schema, layers, hops = sample(name)
    task, model = NodeClassification(schema), make(schema, layers)
    view = task.view(graph, "train")
    with torch.no_grad():
        each = nn.functional.cross_entropy(model(view), view["subject"].y, ignore_index=-1, reduction="none")
        seen = []
        for batch in training_batches(task, view, mg.FitConfig(batch_size=7, hops=hops)):
            rows = batch["subject"].n_id[batch["subject"].y >= 0]
            assert 1 <= len(rows) <= 7
            loss = Supervised(task.target)(model, batch)["total"]
            torch.testing.assert_close(loss, each[rows].mean(), rtol=1e-5, atol=1e-6)
            seen += rows.tolist()
    assert sorted(seen) == (view["subject"].y >= 0).nonzero().flatten().tolist()


def test_a_batch_is_smaller_than_the_view_and_holds_only_what_a_view_holds() -> None:
    graph, schema, _, _ = sample("mean", subjects=200)
    task = NodeClassification(schema)
    view = task.view(graph, "train")
    batch = next(iter(training_batches(task, view, mg.FitConfig(batch_size=4, hops=1))))
    assert batch.num_nodes < view.num_nodes / 3
    assert {name: set(batch[name].keys()) for name in schema.nodes} == {
        name: set(view[name].keys()) for name in schema.nodes
    }
    assert {edge: set(batch[edge].keys()) for edge in schema.edges} == {
        edge: set(view[edge].keys()) for edge in schema.edges
    }
    bare = next(iter(training_batches(task, view, mg.FitConfig(batch_size=4, hops=0))))
    assert bare["subject"].num_nodes == 4  # nobody is there to be read
    assert bare["scan", "of", "subject"].edge_index.shape[1] == bare["scan"].num_nodes > 0


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_answers_in_batches_are_those_at_once(name, part) -> None:
    graph, schema, layers, hops = sample(name, "cohort_hidden")
    task, model = NodeClassification(schema), make(schema, layers).eval()
    view = task.view(graph, part)
    at_once = predict(model, task, view, part, mg.FitConfig())
    batched = predict(model, task, view, part, mg.FitConfig(batch_size=5, hops=hops))
    assert len(at_once) == int(graph["subject"][f"{part}_mask"].sum())
    torch.testing.assert_close(batched, at_once, rtol=1e-5, atol=1e-5)


def test_no_batch_of_a_part_shows_a_label_or_a_row_beyond_the_reach() -> None:
    graph, schema, _, _ = sample("mean", "cohort_hidden")
    task = NodeClassification(schema)
    view = task.view(graph, "test")
    for batch in part_batches(task, view, "test", mg.FitConfig(batch_size=4, hops=1)):
        store = batch["subject"]
        assert (store.y == -1)[~store.train_mask].all()
        assert int(store.test_mask.sum()) <= 4
        assert not (store.train_mask | store.val_mask).any()


def fit(name: str, config: mg.FitConfig, *, graph=None, regime="transductive", dropout=0.0, **options):
    whole, schema, layers, hops = sample(name, regime)
    task = NodeClassification(schema)
    config = replace(config, hops=hops) if config.batch_size else config
    model = make(schema, layers, dropout=dropout)
    return mg.fit(model, Supervised(task.target), task, whole if graph is None else graph, config, **options)


@pytest.mark.parametrize("name", ["star", "two rounds"])
def test_one_batch_of_all_rows_trains_like_the_whole_view(name) -> None:
    config = mg.FitConfig(epochs=8, patience=None, learning_rate=0.02)
    whole, batched = fit(name, config), fit(name, replace(config, batch_size=1000))
    assert whole.best_epoch == batched.best_epoch
    for a, b in zip(whole.history, batched.history, strict=True):
        assert a.keys() == b.keys()
        assert b == pytest.approx(a, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(batched.predict(), whole.predict(), rtol=1e-4, atol=1e-5)


def test_training_in_batches_learns_and_logs_the_mean_over_the_seeds_of_an_epoch() -> None:
    fitted = fit("mean", mg.FitConfig(epochs=40, batch_size=8, patience=None))
    assert fitted.evaluate("test")["accuracy"] > 0.7
    assert fitted.history[-1]["train_total"] < fitted.history[0]["train_total"] / 2
    assert len(fitted.history) == 40  # an epoch is a pass
    frozen = fit("mean", mg.FitConfig(epochs=1, batch_size=7, learning_rate=1e-12))
    view = frozen.task.view(frozen.graph, "train")
    whole = Supervised(frozen.task.target)(frozen.model, view)["total"]
    assert frozen.history[0]["train_total"] == pytest.approx(float(whole.detach()), rel=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_another_order() -> None:
    config = mg.FitConfig(epochs=3, batch_size=8, patience=None)
    one, same, other = (fit("mean", replace(config, seed=seed), dropout=0.2) for seed in (1, 1, 2))
    assert one.history == same.history != other.history
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, same.model.state_dict()[name])


def test_each_epoch_has_another_order_that_the_seed_decides() -> None:
    graph, schema, _, _ = sample("mean")
    task = NodeClassification(schema)
    view = task.view(graph, "train")

    def epochs(seed: int) -> list[list[int]]:
        loader = training_batches(task, view, mg.FitConfig(batch_size=6, hops=1, seed=seed))
        return [
            [row for batch in loader for row in batch["subject"].n_id[batch["subject"].y >= 0].tolist()]
            for _ in range(3)
        ]

    first = epochs(0)
    assert len({tuple(order) for order in first}) == 3
    assert len({tuple(sorted(order)) for order in first}) == 1
    assert first == epochs(0) != epochs(1)


def test_modality_nodes_that_are_joined_over_anchors_have_all_their_edges() -> None:
    """A layer that divides by the degree of sources reads the edges of the farthest node, too."""
    graph, schema, _, _ = sample("degrees within")
    scans = graph["scan"].num_nodes
    index = torch.randint(0, scans, (2, 4 * scans), generator=torch.Generator().manual_seed(0)).unique(dim=1)
    graph["scan", "next", "scan"].edge_index = index
    task = NodeClassification(schema)
    model = make(schema, {"within": lambda: GCN(4, 4, relations=WITHIN)})
    view = task.view(graph, "test")
    at_once = predict(model, task, view, "test", mg.FitConfig())
    torch.testing.assert_close(predict(model, task, view, "test", mg.FitConfig(batch_size=2, hops=1)), at_once)


@pytest.mark.parametrize("batch_size", [None, 6])
def test_neither_training_nor_the_choice_of_the_epoch_sees_how_answers_spread(batch_size) -> None:
    config = mg.FitConfig(epochs=6, batch_size=batch_size, patience=None, learning_rate=0.02)
    graph, *_ = sample("answers spread")
    bare = graph.clone()
    bare[NEAR[0]].edge_index, bare[NEAR[0]].edge_weight = graph[NEAR[0]].edge_index[:, :0], torch.zeros(0)
    spread, plain = fit("answers spread", config), fit("answers spread", config, graph=bare)
    assert spread.history == plain.history
    assert spread.best_epoch == plain.best_epoch
    same = zip(spread.model.state_dict().values(), plain.model.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in same)
    assert not torch.allclose(spread.predict("val"), plain.predict("val"), atol=1e-3)


def test_labels_of_rows_that_are_no_seeds_change_nothing() -> None:
    graph, *_ = sample("two rounds")
    other = graph.clone()
    rest = ~graph["subject"].train_mask & ~graph["subject"].val_mask
    other["subject"].y = torch.where(rest, 1 - graph["subject"].y.clamp_min(0), graph["subject"].y)
    config = mg.FitConfig(epochs=4, batch_size=6, patience=None)
    first, second = fit("two rounds", config), fit("two rounds", config, graph=other)
    assert first.history == second.history

    task = first.task
    view = task.view(graph, "train")
    for batch in training_batches(task, view, mg.FitConfig(batch_size=6, hops=2)):
        store = batch["subject"]
        seeds = int((store.y >= 0).sum())
        assert 1 <= seeds <= 6
        assert torch.equal(store.y[:seeds], graph["subject"].y[store.n_id[:seeds]])
        assert store.train_mask.nonzero().flatten().tolist() == list(range(seeds))


@pytest.mark.parametrize("regime", ["cohort_hidden", "single_query"])
def test_training_in_batches_is_blind_to_the_test_part(regime) -> None:
    graph, schema, layers, _ = sample("mean", regime)
    task = NodeClassification(schema)
    other = graph.clone()
    test = graph["subject"].test_mask
    for name in schema.modalities:
        row, owner = graph[name, "of", "subject"].edge_index
        other[name].x[row[test[owner]]] += 9.0
    config = mg.FitConfig(epochs=4, batch_size=6, patience=None)
    assert fit("mean", config, regime=regime).history == fit("mean", config, graph=other, regime=regime).history

    class Batched(nn.Module):
        """The model as it is in training: on the first batch of what it is shown."""

        def forward(self, view):
            return predict(inner, task, view, "train", mg.FitConfig(batch_size=5, hops=1))

    inner = make(schema, layers).eval()
    view, changed = task.view(graph, "train"), task.view(other, "train")
    assert torch.equal(Batched()(view), Batched()(changed))
    check_no_leak(inner, task, graph, schema)


def test_a_regression_hides_labels_as_nan() -> None:
    graph, schema, _, _ = sample("star")
    target = TargetSpec(node="subject", kind="regression")
    graph["subject"].y = graph["subject"].y.float().where(graph["subject"].y >= 0, float("nan"))

    class Regression(NodeClassification):
        def __init__(self, schema):
            self.schema, self.name, self.target, self.node = schema, "diagnosis", target, target.node

    task = Regression(schema.model_copy(update={"targets": {"diagnosis": target}}))
    view = task.view(graph, "train")
    store = view["subject"]
    (batch,) = training_batches(task, view, mg.FitConfig(batch_size=100))
    assert int(batch["subject"].y.isfinite().sum()) == int(store.y.isfinite().sum())
    few = next(iter(training_batches(task, view, mg.FitConfig(batch_size=2))))
    assert few["subject"].y.isfinite().sum() == 2


def test_a_transform_draws_from_seed_epoch_and_batch() -> None:
    schema = sample("mean")[1]
    seen: list[tuple] = []

    class Watched(ModalityDropout):
        def __call__(self, graph, generator):
            left = super().__call__(graph, generator)
            seen.append((generator.initial_seed(), left["scan"].num_nodes, graph["scan"].num_nodes))
            return left

    dropout = Watched(schema, rate=0.5)
    for config in (mg.FitConfig(epochs=3, patience=None), mg.FitConfig(epochs=3, batch_size=10, patience=None)):
        seen.clear()
        first = fit("mean", config, transform=dropout)
        steps, again = len(seen), list(seen)
        seen.clear()
        assert fit("mean", config, transform=dropout).history == first.history
        assert seen == again
        assert len({seed for seed, *_ in again}) == steps == (3 if config.batch_size is None else 12)
        assert sum(left for _, left, _ in again) < sum(before for *_, before in again)


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
import torch
import mmgraph as mg
from mmgraph.data import ModalityDropout
from test_batched import fit, sample

config = mg.FitConfig(epochs={epochs}, patience=None, checkpoint_every=1, batch_size=9, schedule="one_cycle")
options = dict(dropout=0.2, transform=ModalityDropout(sample("mean")[1], rate=0.3), folder=Path(sys.argv[1]))
fitted = fit("mean", config, **options)
torch.save({{"weights": fitted.model.state_dict(), "epoch": fitted.best_epoch}}, sys.argv[2])
"""


def test_a_batched_fit_killed_and_resumed_equals_one_left_alone(tmp_path: Path) -> None:
    epochs, script = 120, tmp_path / "batched_fit.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), epochs=epochs))
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
    assert AtomicCheckpointIO().load_checkpoint(checkpoint)["epoch"] < epochs - 1
    assert start("killed", "killed.pt").wait(timeout=120) == 0
    alone, killed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", "killed"))
    assert alone["epoch"] == killed["epoch"]
    for name, weight in alone["weights"].items():
        assert torch.equal(weight, killed["weights"][name]), name


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.1] * 4), ("cosine", [0.1, 0.05 * (1 + 0.5**0.5), 0.05, 0.05 * (1 - 0.5**0.5)])],
)
@pytest.mark.parametrize("batch_size", [None, 10])
def test_the_learning_rate_of_each_epoch(schedule, expected, batch_size, monkeypatch) -> None:
    rates: dict[int, set[float]] = {}
    step = Module.training_step

    def watched(self, view, batch_idx):
        rates.setdefault(self.current_epoch, set()).add(self.optimizers().param_groups[0]["lr"])
        return step(self, view, batch_idx)

    monkeypatch.setattr(Module, "training_step", watched)
    config = mg.FitConfig(epochs=4, patience=None, learning_rate=0.1, schedule=schedule, batch_size=batch_size)
    fit("star", config)
    assert all(len(rates[epoch]) == 1 for epoch in range(4))
    assert [max(rates[epoch]) for epoch in range(4)] == pytest.approx(expected)


def test_one_cycle_rises_and_falls_step_by_step(monkeypatch) -> None:
    rates, momenta = [], []
    step = Module.training_step

    def watched(self, view, batch_idx):
        (group,) = [one for one in self.optimizers().param_groups if one["weight_decay"]]
        rates.append(group["lr"])
        momenta.append(group["betas"][0])
        return step(self, view, batch_idx)

    monkeypatch.setattr(Module, "training_step", watched)
    fit("star", mg.FitConfig(epochs=5, patience=None, learning_rate=0.1, schedule="one_cycle", batch_size=10))
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=len(rates), pct_start=0.2)
    expected = []
    for _ in rates:
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < len(rates):
            cycle.step()
    assert rates == pytest.approx(expected)
    assert rates[0] < 0.005
    assert max(rates) == pytest.approx(0.1)
    assert momenta[rates.index(max(rates))] == pytest.approx(0.85)


@pytest.mark.parametrize(("optimizer", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_that_is_asked_for(optimizer, kind, monkeypatch) -> None:
    found = []
    step = Module.training_step

    def watched(self, view, batch_idx):
        found.append((type(self.optimizers().optimizer), [g["weight_decay"] for g in self.optimizers().param_groups]))
        return step(self, view, batch_idx)

    monkeypatch.setattr(Module, "training_step", watched)
    fit("star", mg.FitConfig(epochs=1, patience=None, optimizer=optimizer, weight_decay=0.3))
    assert found == [(kind, [0.3, 0.0])]


def test_rounds_are_counted_through_wrappers() -> None:
    class Twice(Layer):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, features, edges):
            return self.layer(features, edges)

    inner = Stack(Mean(4, 4, relations=NEAR), Smooth(relations=NEAR, rounds=3))
    assert [rounds(one) for one in (Stack(), inner, Twice(inner), nn.Linear(1, 1))] == [0, 4, 4, 0]
    schema = fake_graph()[1]
    assert {name: rounds(make(schema, layers)) for name, (layers, _) in LAYERS.items()} == {
        name: hops for name, (_, hops) in LAYERS.items()
    }


@pytest.mark.parametrize("hops", [0, 1])
def test_fewer_hops_than_rounds_are_refused(hops: int) -> None:
    graph, schema, layers, _ = sample("two rounds")
    task, model = NodeClassification(schema), make(schema, layers)
    with pytest.raises(
        ConfigError, match=rf"hops must be at least 2, the rounds of messages .* got {hops}; with fewer"
    ):
        mg.fit(model, Supervised(task.target), task, graph, mg.FitConfig(epochs=1, batch_size=4, hops=hops))
    alone, bare = star(graph, schema)
    check_batched(model, NodeClassification(bare).view(alone, "train"), mg.FitConfig())


def test_a_task_without_a_target_is_refused() -> None:
    class Else(Task):
        metrics = ()

        def view(self, graph, part): ...
        def answers(self, outputs, view, part): ...
        def evaluate(self, predictions, graph, part="test", *, metrics=None): ...

    with pytest.raises(ConfigError, match=r"needs a task with a target, .* got Else; give an objective"):
        target_of(Else())


def test_no_label_to_learn_from_is_named() -> None:
    graph, schema, layers, _ = sample("star")
    graph["subject"].y = torch.full_like(graph["subject"].y, -1)
    task = NodeClassification(schema)
    with pytest.raises(DataError, match="must have at least 1 sample, got none"):
        mg.fit(make(schema, layers), Supervised(task.target), task, graph, mg.FitConfig(batch_size=4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"hops": -1}, "hops must be at least 0, got -1"),
        ({"optimizer": "sgd"}, r"optimizer must be one of \['adam', 'adamw', 'adagrad'\], got 'sgd'"),
        ({"candidates": -1}, "candidates must be at least 0, got -1"),
        ({"fan_out": (3,)}, r"fan_out needs a batch_size, got fan_out=\(3,\) without one"),
        ({"fan_out": (), "batch_size": 4}, r"counts of at least 1, or -1 for all, a hop, got \(\)"),
        ({"fan_out": [2, 0], "batch_size": 4}, r"counts of at least 1, or -1 for all, a hop, got \(2, 0\)"),
        ({"keep": "first"}, "keep must be 'best' or 'last', got 'first'"),
        ({"schedule": "linear"}, "schedule must be 'constant', 'cosine' or 'one_cycle', got 'linear'"),
    ],
)
def test_config_errors_name_the_value(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mg.FitConfig(**options)


def asked(questions: int = 40, pictures: int = 12):
    """Questions about pictures, two of them about nothing, and answers that the picture gives."""
    generator = torch.Generator().manual_seed(0)
    graph = HeteroData()
    about = torch.randint(0, pictures, (questions,), generator=generator)
    graph["question"].x, graph["picture"].x = torch.empty(questions, 0), torch.empty(pictures, 0)
    graph["text"].x = torch.randn(questions, 2, generator=generator)
    graph["image"].x = torch.randn(pictures, 3, generator=generator)
    graph["text", "of", "question"].edge_index = torch.arange(questions).expand(2, -1)
    graph["image", "of", "picture"].edge_index = torch.arange(pictures).expand(2, -1)
    joined = torch.stack([about, torch.arange(questions)])[:, 2:]
    graph["picture", "asked_by", "question"].edge_index = joined
    graph["question", "asks_about", "picture"].edge_index = joined.flip(0)
    graph["question"].y = (graph["image"].x[about, 0] > 0).long()
    part = torch.randperm(questions, generator=generator) % 4
    for name, numbers in {"train": [0, 1], "val": [2], "test": [3]}.items():
        graph["question"][f"{name}_mask"] = torch.isin(part, torch.tensor(numbers))
    schema = Schema.infer(graph, anchor="question")
    widths = {"text": 2, "image": 3}
    torch.manual_seed(0)
    model = mg.Model(
        schema=schema, encoder=Table(widths, 4), fusion=Concat(dict.fromkeys(widths, 4), 4), head=nn.Linear(4, 2)
    )
    return graph, model, NodeClassification(schema), about


@pytest.mark.parametrize("by", [None, "picture"])
@pytest.mark.parametrize("hops", [0, 1])
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_modality_over_a_relation_is_in_the_batch(by, hops, part) -> None:
    graph, model, task, _ = asked()
    view = task.view(graph, part)
    at_once = predict(model, task, view, part, mg.FitConfig())
    batched = predict(model, task, view, part, mg.FitConfig(batch_size=3, batch_by=by, hops=hops))
    torch.testing.assert_close(batched, at_once, rtol=1e-5, atol=1e-6)


def test_a_batch_by_picture_holds_its_questions_and_it_once() -> None:
    graph, _, task, about = asked()
    rows = graph["question"].train_mask.nonzero().flatten()
    alone = [int(row) for row in rows if row < 2]
    whole = {int(picture): set(rows[about[rows] == picture].tolist()) - {0, 1} for picture in about.unique()}
    groups = [group for group in whole.values() if group] + [{row} for row in alone]
    view, seen = task.view(graph, "train"), []
    batches = training_batches(task, view, mg.FitConfig(batch_size=3, batch_by="picture"))
    assert len(batches) == -(-len(groups) // 3)
    for batch in batches:
        found = set(batch["question"].n_id[batch["question"].y >= 0].tolist())
        inside = [group for group in groups if group <= found]
        assert set().union(*inside) == found
        assert len(inside) <= 3
        assert len(found) == batch["question"].num_nodes  # no question that is not asked
        assert batch["image"].num_nodes == len({int(about[row]) for row in found - {0, 1}})
        seen += inside
    assert len(seen) == len(groups)


def test_validation_in_batches_by_picture_is_that_at_once() -> None:
    graph, model, task, _ = asked()
    config = mg.FitConfig(epochs=3, learning_rate=1e-12, batch_size=2, batch_by="picture", patience=None)
    fitted = mg.fit(model, Supervised(task.target), task, graph, config)
    at_once = predict(fitted.model, task, task.view(graph, "val"), "val", mg.FitConfig())
    score = task.evaluate(at_once, graph, "val", metrics=["log_loss"])["log_loss"]
    assert [epoch["val_log_loss"] for epoch in fitted.history] == pytest.approx([score] * 3, rel=1e-5)
    trained = mg.fit(model, Supervised(task.target), task, graph, replace(config, learning_rate=0.05, epochs=60))
    assert trained.evaluate("train")["accuracy"] > 0.9


@pytest.mark.parametrize("by", ["image", "question", "sound"])
def test_a_type_that_is_not_joined_to_the_labelled_nodes_is_refused(by) -> None:
    graph, _, task, _ = asked()
    with pytest.raises(ConfigError, match=rf"that one edge type joins to 'question', got '{by}' with \[\]"):
        training_batches(task, task.view(graph, "train"), mg.FitConfig(batch_size=3, batch_by=by))


def test_batch_by_needs_a_batch_size() -> None:
    with pytest.raises(ConfigError, match="batch_by needs a batch_size, got batch_by='picture'"):
        mg.FitConfig(batch_by="picture")


def facts(*, depth=1, width=4, **options):
    """A knowledge graph, and a linker whose entities hear from those that facts join them with."""
    graph, schema = fake_knowledge(60, facts=240)
    relations = [edge for edge in schema.edges if edge[1] != "of"]
    torch.manual_seed(0)
    layers = [Mean(width, width, relations=relations) for _ in range(depth)]
    scorer = DistMult(width)
    return LinkPrediction(schema), graph, Linker(schema=schema, scorer=scorer, between=Stack(*layers), **options)


def carried():
    torch.manual_seed(0)
    return {"encoder": Raw(["text"]), "fusion": Concat({"text": 5, LEARNED: 4}, 4)}


@pytest.mark.parametrize("options", [dict, carried])
@pytest.mark.parametrize("objective", [Links(), Links("binary"), Links(penalty=0.1)])
def test_with_all_neighbours_and_entities_a_step_is_that_beside_the_whole_graph(options, objective) -> None:
    task, graph, linker = facts(hide_asked=True, depth=2, **options())
    view, config = task.view(graph, "train"), mg.FitConfig(batch_size=16)
    drawn = training_batches(task, view, replace(config, fan_out=(-1, -1), candidates=4000), labelled=False)
    whole = training_batches(task, view, config, labelled=False)
    assert len(drawn) == len(whole) > 4
    for one, other in zip(drawn, whole, strict=True):
        assert int(one["query"].train_mask.sum()) == int(other["query"].train_mask.sum())
        losses = [objective(linker, batch)["total"] for batch in (one, other)]
        torch.testing.assert_close(*losses)
        for mine, its in zip(*(torch.autograd.grad(loss, list(linker.parameters())) for loss in losses), strict=True):
            torch.testing.assert_close(mine, its)


def test_training_on_drawn_neighbours_learns_and_is_as_its_seed(monkeypatch) -> None:
    options = {"epochs": 15, "batch_size": 32, "patience": None, "monitor": "mrr", "weight_decay": 0.0}
    config = mg.FitConfig(fan_out=(3,), candidates=20, learning_rate=0.03, **options)
    drawn, states = [], Linker.states

    def seen(self, batch):
        if self.training:
            drawn.append("candidates" in batch["query"] and batch["entity"].num_nodes <= 60)
        return states(self, batch)

    def train(seed):
        task, graph, linker = facts(width=32)
        return mg.fit(linker, Links(), task, graph, replace(config, seed=seed)).history

    monkeypatch.setattr(Linker, "states", seen)
    history = train(0)
    assert history[-1]["train_total"] < 0.9 * history[0]["train_total"]
    assert drawn
    assert all(drawn)
    assert train(0) == history != train(1)


def test_a_fit_on_drawn_neighbours_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = {"batch_size": 32, "patience": None, "monitor": "mrr", "fan_out": (2,), "candidates": 8, "keep": "last"}
    task, graph, linker = facts(**carried(), forget=0.3)
    config = mg.FitConfig(epochs=4, checkpoint_every=2, **options)
    expected = mg.fit(linker, Links(), task, graph, config).model.state_dict()
    for epochs in (2, 4):
        fitted = mg.fit(
            facts(**carried(), forget=0.3)[2], Links(), task, graph, replace(config, epochs=epochs), folder=tmp_path
        )
    assert len(fitted.history) == 4
    assert all(torch.equal(weight, fitted.model.state_dict()[name]) for name, weight in expected.items())


def test_two_processes_share_the_questions_that_neighbours_are_drawn_for() -> None:
    task, graph, linker = facts()
    view, config = task.view(graph, "train"), mg.FitConfig(batch_size=34, fan_out=(2,), candidates=4)
    steps = [
        list(training_batches(task, view, config, place=Place(rank, 2, rank, 2), labelled=False)) for rank in (0, 1)
    ]
    assert len(steps[0]) == len(steps[1])
    found = sum(int(batch["query"].train_mask.sum()) for own in steps for batch in own)
    assert found == int(view["query"].train_mask.sum())
    for own in steps:
        for batch in own:
            assert Links()(linker, batch)["total"].isfinite()


def test_fewer_hops_drawn_than_rounds_are_refused_and_drawing_for_nodes() -> None:
    task, graph, linker = facts(depth=2)
    config = mg.FitConfig(epochs=1, batch_size=4, fan_out=(3,), monitor="mrr")
    with pytest.raises(ConfigError, match=r"fan_out must have at least 2 hops, the rounds .* got \(3,\); with fewer"):
        mg.fit(linker, Links(), task, graph, config)
    check_drawn(linker, task, replace(config, fan_out=(3, 2)))
    graph, schema, layers, _ = sample("star")
    nodes = NodeClassification(schema)
    with pytest.raises(ConfigError, match="fan_out draws what is around questions .* got NodeClassification"):
        mg.fit(make(schema, layers), Supervised(nodes.target), nodes, graph, config)
