"""The recipe's transformations, and the two objectives on sounds that rise or fall."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.tasks import NodeClassification
from mmgraph.train import fit

LENGTHS = (5, 12, 1, 9)


@pytest.fixture(scope="module")
def module():
    return load_recipe("patrick2021_gdt_fsdd").module


@pytest.fixture
def mel():
    """Four recordings of other lengths; frame t of recording i reads 100 i + t."""
    mel = 100.0 * torch.arange(4)[:, None, None] + torch.arange(12.0).expand(4, 2, -1)
    for row, length in enumerate(LENGTHS):
        mel[row, :, length:] = torch.nan
    return mel


def of(mel):
    graph = HeteroData()
    graph["recording"].mel = mel
    return graph


def test_what_is_there_runs_the_other_way(module, mel):
    found = module.played_backwards(mel)
    for row, length in enumerate(LENGTHS):
        assert torch.equal(found[row, :, :length], mel[row, :, :length].flip(1))
        assert bool(found[row, :, length:].isnan().all())
    torch.testing.assert_close(module.played_backwards(found), mel, equal_nan=True)
    graph, schema = of(mel), spoken(4)[1]
    reverse, kind = module.make_objective(module.Config(), schema).objectives[1].transforms["reversal"]
    changed = reverse(graph, torch.Generator())
    assert kind == "distinctive"
    torch.testing.assert_close(changed["recording"].mel, found, equal_nan=True)
    assert graph["recording"].mel is mel


def spoken(count=120):
    """Recordings whose pitch rises; the odd ones are played backwards."""
    chance = torch.Generator().manual_seed(0)
    time = torch.arange(16.0) / 16
    start, bands = 10 * torch.rand(count, 1, generator=chance), torch.arange(40.0)[None, :, None]
    pitch = (start + 24 * time)[:, None]  # [rows, 1, frames]
    mel = -((bands - pitch) ** 2) / 8 + 0.3 * torch.randn(count, 40, 16, generator=chance)
    backwards = torch.arange(count) % 2
    graph = of(torch.where(backwards[:, None, None] == 1, mel.flip(2), mel))
    graph["utterance"].x, graph["utterance"].backwards = torch.empty(count, 0), backwards
    for number, part in enumerate(("train", "val", "test")):
        graph["utterance"][f"{part}_mask"] = (torch.arange(count) // 2 % 4 - 1).clamp_min(0) == number
    graph["recording"].num_nodes = count
    graph["recording", "of", "utterance"].edge_index = torch.arange(count).expand(2, -1).contiguous()
    schema = mg.Schema(
        nodes={"utterance": mg.NodeSpec(channels=0), "recording": mg.NodeSpec(modality="audio", attributes=("mel",))},
        edges={("recording", "of", "utterance"): mg.EdgeSpec()},
        targets={
            "reversed": mg.TargetSpec(node="utterance", attribute="backwards", kind="binary", classes=("no", "yes"))
        },
        anchor="utterance",
    )
    return graph, schema


def test_a_cut_leaves_what_lies_between(module, mel):
    graph, schema = spoken(4)
    graph["recording"].mel = mel
    objective = module.make_objective(replace(module.Config(), cut=0.4), schema).objectives[1]
    cut, kind = objective.transforms["cut"]
    assert kind == "invariant"
    chance, starts = torch.Generator().manual_seed(0), set()
    for _ in range(50):
        found = cut(graph, chance)["recording"].mel
        for row, length in enumerate(LENGTHS):
            kept = found[row, 0][~found[row, 0].isnan()] - 100 * row
            assert 0.2 * length <= len(kept) <= length
            assert torch.equal(kept, kept[0] + torch.arange(float(len(kept))))
            assert 0 <= kept[0] <= 0.4 * length
            assert kept[-1] < length
            starts.add((row, int(kept[0])))
    assert {start for row, start in starts if row == 1} == {0, 1, 2, 3, 4}


def test_only_who_is_told_the_direction_knows_it(module):
    graph, schema = spoken()
    config = replace(module.Config(), channels=16)
    config = replace(config, fit=replace(config.fit, epochs=12, batch_size=None, learning_rate=0.01))
    scores = {}
    for name, make in {"distinctive": module.make_objective, **module.RIVAL_OBJECTIVES}.items():
        torch.manual_seed(0)
        objective = make(config, schema)
        assert objective.objectives[1].transforms["reversal"][1] == name
        task = NodeClassification(schema, "reversed")
        scores[name] = fit(module.make_model(config, schema), objective, task, graph, config.fit).evaluate("test")
    assert scores["distinctive"]["accuracy"] > scores["invariant"]["accuracy"]


def test_the_probe_does_not_shape_the_embedding(module):
    graph, schema = spoken(20)
    config = replace(module.Config(), channels=8)
    model = module.make_model(config, schema)
    labels = module.make_objective(config, schema).objectives[0](model, graph)["total"]
    labels.backward()
    touched = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert touched
    assert all(name.startswith("head.") for name in touched)
    states, present = model.project(graph)["own"]["recording"]
    assert present.all()
    assert states.shape == model.embed(graph).shape
