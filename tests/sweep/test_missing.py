"""The sweep: honest and nested losses, strategies that share them, cells that survive a kill."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import mmgraph as mg
from mmgraph.data import fill
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.files import read_json
from mmgraph.model import classifier
from mmgraph.objectives import Supervised
from mmgraph.schema import Schema
from mmgraph.sweep import STRATEGIES, Sweep, draw_missing, missing, sweep_missing
from mmgraph.tasks import NodeClassification
from mmgraph.testing import fake_graph
from mmgraph.train import Cell

FAST = mg.FitConfig(epochs=4, patience=None, learning_rate=0.05)


def build(run: int, fold: int, regime="cohort_hidden"):
    return fake_graph(60, regime=regime, seed=run)


def make_model(schema: Schema) -> mg.Model:
    return classifier(schema, channels=4, dropout=0.1)


def sweep(**options) -> Sweep:
    given = {"rates": (0, 0.5), "modalities": ["scan"], "runs": 1, "config": FAST, **options}
    return sweep_missing(given.pop("build", build), given.pop("make_model", make_model), **given)


def has(graph, name: str) -> torch.Tensor:
    mask = torch.zeros(graph["subject"].num_nodes, dtype=torch.bool)
    mask[graph[name, "of", "subject"].edge_index[1]] = True
    return mask


@pytest.mark.parametrize("parts", ["test", "all"])
@pytest.mark.parametrize("modality", ["scan", "all"])
def test_losses_are_nested_and_of_those_who_have_the_modality_in_that_part(parts, modality) -> None:
    graph, schema = fake_graph(100)
    before = {name: torch.zeros(100, dtype=torch.bool) for name in schema.modalities}
    for rate in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        lost = draw_missing(graph, schema, modality, rate, parts=parts, seed=4)
        assert set(lost) == ({"scan"} if modality == "scan" else {"scan", "text"})
        for name, mask in lost.items():
            assert not (before[name] & ~mask).any()
            may = has(graph, name) & (graph["subject"].test_mask if parts == "test" else True)
            assert not (mask & ~may).any()
            if modality == "scan":
                assert int(mask.sum()) == -(-int(may.sum()) * rate // 1)
            before[name] = mask
    if modality == "all":  # each keeps the last of those it has
        left = sum((has(graph, name) & ~before[name]).int() for name in schema.modalities)
        some = has(graph, "scan") | has(graph, "text")
        assert (left[some] >= 1).all()
        if parts == "all":
            assert (left[some] == 1).all()
            assert before["scan"].any()
            assert before["text"].any()


def test_draws_differ_over_seeds_and_modalities_and_are_the_same_again() -> None:
    graph, schema = fake_graph(100)
    draw = [draw_missing(graph, schema, name, 0.5, seed=seed)[name] for seed in (0, 1) for name in ("scan", "text")]
    again = draw_missing(graph, schema, "scan", 0.5, seed=0)["scan"]
    assert torch.equal(draw[0], again)
    assert not torch.equal(draw[0], draw[2])
    assert not torch.equal(draw[0], draw[1])


def test_every_point_has_a_cell_and_rate_0_has_one_for_all() -> None:
    found = sweep(rates=(0.5, 0, 0.5), modalities=None, how=("leave", "mean"), runs=2)
    assert found.rates == (0.0, 0.5)
    assert found.modalities == ("scan", "text", "all")
    points = ("|0", "scan|0.5", "text|0.5", "all|0.5")
    names = ["majority", *(f"{how}|{point}" for how in ("leave", "mean") for point in points)]
    assert [(cell.run, cell.variant) for cell in found.cells] == [(run, name) for run in (0, 1) for name in names]
    assert len(found.rows()) == 12
    assert all(cell.parts == found.cells[0].parts for cell in found.cells)


def test_a_cell_is_a_fit_by_hand_judged_on_what_is_missing() -> None:
    found = sweep(how=("leave",))
    graph, schema = build(0, 0)
    task = NodeClassification(schema)
    torch.manual_seed(0)
    fitted = mg.fit(make_model(schema), Supervised(task.target), task, graph, FAST)
    assert found.mean("scan", 0, "leave") == fitted.evaluate()["accuracy"]
    lost = draw_missing(graph, schema, "scan", 0.5, parts="test", seed=0)
    there = replace(fitted, graph=mg.drop_modalities(graph, schema, lost))
    (cell,) = [one for one in found.cells if one.variant == "leave|scan|0.5"]
    assert cell.metrics == there.evaluate()
    assert cell.val_metrics == fitted.evaluate("val")


def test_missing_in_all_parts_is_missing_in_training() -> None:
    found = sweep(how=("mean",), parts="all", rates=(0.5,))
    graph, schema = build(0, 0)
    graph = mg.drop_modalities(graph, schema, draw_missing(graph, schema, "scan", 0.5, seed=0))

    class Mean(NodeClassification):
        def view(self, graph, part):
            return fill(super().view(graph, part), self.schema, "mean")

    task = Mean(schema)
    torch.manual_seed(0)
    fitted = mg.fit(make_model(schema), Supervised(task.target), task, graph, FAST)
    (cell,) = [one for one in found.cells if one.variant == "mean|scan|0.5"]
    assert cell.metrics == fitted.evaluate()
    assert cell.val_metrics == fitted.evaluate("val")


@pytest.mark.parametrize("parts", ["test", "all"])
def test_strategies_share_who_loses_what(parts, monkeypatch) -> None:
    drawn: dict[tuple, list] = {}
    draw = missing.draw_missing

    def watched(graph, schema, modality, rate, **options):
        lost = draw(graph, schema, modality, rate, **options)
        drawn.setdefault((modality, rate, options["seed"]), []).append(lost[modality])
        return lost

    monkeypatch.setattr(missing, "draw_missing", watched)
    sweep(parts=parts, runs=2)
    assert {len(masks) for masks in drawn.values()} == {len(STRATEGIES)}
    assert all(torch.equal(masks[0], one) for masks in drawn.values() for one in masks)
    (first, second) = (masks[0] for masks in drawn.values())
    assert not torch.equal(first, second)  # the runs differ


def test_only_the_token_s_model_has_tokens_and_they_learn() -> None:
    seen = {}
    fit = missing.Trial.fit
    with pytest.MonkeyPatch.context() as patch:
        for parts in ("test", "all"):

            def watched(self, graphs, ways, folder, parts=parts):
                fitted = fit(self, graphs, ways, folder)
                seen[parts, self.task.how, ways.make_transform is not None] = fitted[0].model
                return fitted

            patch.setattr(missing.Trial, "fit", watched)
            sweep(parts=parts, rates=(0.5,))
    for parts in ("test", "all"):
        tokens = [value for name, value in seen[parts, "token", True].state_dict().items() if ".token." in name]
        assert len(tokens) == 2
        assert (tokens[0] != 0).any()  # scan's
        assert ".token." not in "".join(seen[parts, "leave", True].state_dict())  # dropout
        assert (parts, "leave", False) in seen
        assert (parts, "mean", False) in seen


def test_a_step_with_tokens_takes_data_away_and_fills_all_that_lacks() -> None:
    graph, schema = build(0, 0)
    shared = missing._Shared(make_model, FAST, None, "test", 0.5, None)
    steps = {}
    for parts in ("test", "all"):
        make = missing._transform("token", shared._replace(parts=parts))
        steps[parts] = make(schema)(graph, torch.Generator().manual_seed(0))
    for name in schema.modalities:
        assert int((~steps["all"][name].filled).sum()) == graph[name].num_nodes
        assert int((~steps["test"][name].filled).sum()) < graph[name].num_nodes
        for step in steps.values():
            assert has(step, name).all()


def test_tokens_start_from_the_same_weights() -> None:
    graph, schema = build(0, 0)
    view = fill(graph, schema, "token")
    torch.manual_seed(0)
    plain = make_model(schema).state_dict()
    torch.manual_seed(0)
    model = missing._with_tokens(make_model, view)(schema)
    assert model.encoder.encoder.training
    renamed = {name.replace("encoder.encoder.", "encoder."): value for name, value in model.state_dict().items()}
    assert all(torch.equal(renamed[name], value) for name, value in plain.items())


@pytest.mark.parametrize("how", STRATEGIES)
def test_training_sees_nothing_of_the_test_part(how) -> None:
    """Other test payloads, and a test part that lacks them, leave the scores on validation as they are."""

    def other(run: int, fold: int):
        graph, schema = build(run, fold)
        for name in schema.modalities:
            row, owner = graph[name, "of", "subject"].edge_index
            graph[name].x[row[graph["subject"].test_mask[owner]]] += 5.0
        return graph, schema

    for parts in ("test", "all"):
        one, two = (sweep(how=(how,), parts=parts, build=made) for made in (build, other))
        assert [cell.val_metrics for cell in one.cells[1:]] == [cell.val_metrics for cell in two.cells[1:]]


def test_batches_give_what_the_whole_view_gives() -> None:
    config = replace(FAST, batch_size=1000, hops=1)
    model = lambda schema: classifier(schema, channels=4, dropout=0.0)  # noqa: E731
    for how, parts in (("token", "all"), ("neighbours", "test")):  # without a draw a row, which would follow its order
        options = {"how": (how,), "parts": parts, "make_model": model}
        whole, batched = (sweep(config=one, **options) for one in (FAST, config))
        for a, b in zip(whole.cells, batched.cells, strict=True):
            assert b.metrics["log_loss"] == pytest.approx(a.metrics["log_loss"], rel=1e-3)


def test_folds_are_averaged() -> None:
    found = sweep(how=("leave",), folds=2, rates=(0.5,))
    alone = sweep(how=("leave",), rates=(0.5,))
    (a,), (b,) = ([cell for cell in one.cells if cell.variant == "leave|scan|0.5"] for one in (found, alone))
    assert a.metrics == b.metrics  # both folds are the same here
    assert a.data_sha256 != b.data_sha256


@pytest.mark.parametrize("parts", ["test", "all"])
def test_a_killed_sweep_goes_on_and_gives_the_same(parts, tmp_path: Path) -> None:
    alone = sweep(parts=parts, how=("leave", "token"), folder=tmp_path / "alone")
    calls = []

    def dying(schema):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return make_model(schema)

    with pytest.raises(KeyboardInterrupt):
        sweep(parts=parts, how=("leave", "token"), folder=tmp_path / "killed", make_model=dying)
    done = {path.name: path.read_bytes() for path in (tmp_path / "killed" / "cells").iterdir()}
    assert 0 < len(done) < 4
    again = sweep(parts=parts, how=("leave", "token"), folder=tmp_path / "killed")
    assert again.rows() == alone.rows()
    assert {name: (tmp_path / "killed" / "cells" / name).read_bytes() for name in done} == done
    assert not (tmp_path / "killed" / "fits").exists()
    assert Sweep.from_json(read_json(tmp_path / "killed" / "sweep.json")).rows() == alone.rows()

    def never(schema):
        raise AssertionError("all is there")

    assert sweep(parts=parts, how=("leave",), folder=tmp_path / "killed", make_model=never).how == ("leave",)


def test_a_point_that_was_lost_is_made_again_alone(tmp_path: Path) -> None:
    first = sweep(how=("leave",), folder=tmp_path)
    (path,) = (tmp_path / "cells").glob("*0.5.json")
    kept = next((tmp_path / "cells").glob("*%7C0.json"))
    before = kept.stat().st_mtime_ns
    path.unlink()
    assert sweep(how=("leave",), folder=tmp_path).rows() == first.rows()
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "options",
    [{"parts": "all"}, {"dropout": 0.3}, {"config": mg.FitConfig(epochs=3)}, {"about": {"recipe": "b"}}, {"folds": 2}],
)
def test_cells_of_other_settings_are_named(options: dict, tmp_path: Path) -> None:
    sweep(how=("leave",), rates=(0,), folder=tmp_path)
    with pytest.raises(ArtifactError, match="the data or the settings have changed: use another folder"):
        sweep(how=("leave",), rates=(0,), folder=tmp_path, **options)


def test_cells_keep_no_predictions(tmp_path: Path) -> None:
    found = sweep(how=("leave",), folder=tmp_path)
    assert all(isinstance(cell, Cell) and not cell.probabilities and not cell.history for cell in found.cells)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": ()}, r"rates must be between 0 and 1, and at least one, got \[\]"),
        ({"rates": (0, 1.5)}, r"rates must be .* got \[0.0, 1.5\]"),
        ({"how": ("leave", "magic")}, r"how must be some of .* got \['leave', 'magic'\]"),
        ({"how": ("leave", "leave")}, "each once"),
        ({"how": ()}, r"each once, got \[\]"),
        ({"parts": "train"}, "parts must be 'test' or 'all', got 'train'"),
        ({"runs": 0}, "runs=0, folds=1"),
        ({"dropout": 0.0}, "dropout must be above 0 and at most 1, got 0.0"),
        ({"modalities": ["sound"]}, r"among \['scan', 'text', 'all'\], got \['sound'\]"),
        ({"modalities": []}, "got none"),
        ({"metric": "beauty"}, "metric must be one of .* got 'beauty'"),
    ],
)
def test_errors_name_the_value(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(**options)


def test_tokens_need_an_encoder() -> None:
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(torch.zeros(2))

        def forward(self, graph):
            return self.scores.expand(graph["subject"].num_nodes, 2)

    with pytest.raises(ConfigError, match="token needs a model with an Encoder at .encoder, got Bare; leave 'token'"):
        sweep(how=("token",), make_model=lambda schema: Bare())
    assert sweep(how=("leave",), make_model=lambda schema: Bare()).mean("scan", 0.5, "leave") > 0


def test_a_target_that_is_not_the_anchor_s_is_refused() -> None:
    def elsewhere(run, fold):
        graph, schema = build(run, fold, "transductive")
        rows = graph["scan"].num_nodes
        for name in ("train", "val", "test"):
            graph["scan"][f"{name}_mask"] = torch.ones(rows, dtype=torch.bool)
        graph["scan"].y = torch.zeros(rows, dtype=torch.long)
        target = schema.targets["diagnosis"].model_copy(update={"node": "scan"})
        return graph, schema.model_copy(update={"targets": {"diagnosis": target}})

    with pytest.raises(ConfigError, match="must be of the anchor 'subject', got one of 'scan'"):
        sweep(build=elsewhere)
