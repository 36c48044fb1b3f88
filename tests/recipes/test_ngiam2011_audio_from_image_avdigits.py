"""The recipe's mel bands, and that what is made from a picture sounds like its digit."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.train import fit


@pytest.fixture(scope="module")
def module():
    return load_recipe("ngiam2011_audio_from_image_avdigits").module


def test_neither_level_nor_length_nor_silence_changes_what_is_spoken(module):
    mel = -4 + torch.randn(40, 20, generator=torch.Generator().manual_seed(0))
    found = module.spoken(mel)
    assert found.shape == (module.BANDS, module.STEPS)
    assert module.SILENCE <= found.min() < found.max() <= 0
    torch.testing.assert_close(module.spoken(mel + 3), found)
    slow = mel.repeat_interleave(3, dim=1)
    torch.testing.assert_close(module.spoken(slow), found, atol=1e-4, rtol=0)
    silence = torch.full((40, 5), -23.0)
    around = torch.cat([silence, mel, silence, torch.full((40, 9), torch.nan)], dim=1)
    torch.testing.assert_close(module.spoken(around), found)


def paired(module, count=120):
    """Pictures' features and mel bands of three digits."""
    chance = torch.Generator().manual_seed(0)
    digit = torch.arange(count) % 3
    looks, sounds = (
        torch.randn(3, 8, generator=chance),
        torch.randn(3, module.BANDS, module.STEPS, generator=chance) - 5,
    )
    graph = HeteroData()
    graph["sample"].x, graph["sample"].y = torch.empty(count, 0), digit
    for number, part in enumerate(("train", "val", "test")):
        graph["sample"][f"{part}_mask"] = (torch.arange(count) // 3 % 4 - 1).clamp_min(0) == number
    graph["image"].x = looks[digit] + 0.3 * torch.randn(count, 8, generator=chance)
    graph["audio"].mel = sounds[digit] + 0.5 * torch.randn(count, module.BANDS, module.STEPS, generator=chance)
    graph["audio"].num_nodes = count
    for node in ("image", "audio"):
        graph[node, "of", "sample"].edge_index = torch.arange(count).expand(2, -1).contiguous()
    schema = mg.Schema(
        nodes={
            "sample": mg.NodeSpec(channels=0),
            "image": mg.NodeSpec(modality="image", channels=8),
            "audio": mg.NodeSpec(modality="audio", attributes=("mel",)),
        },
        edges=dict.fromkeys([("image", "of", "sample"), ("audio", "of", "sample")], mg.EdgeSpec()),
        targets={"digit": mg.TargetSpec(node="sample", kind="multiclass", classes=("0", "1", "2"))},
        anchor="sample",
    )
    return graph, schema


def test_a_sound_is_made_from_its_picture(module):
    graph, schema = paired(module)
    config = replace(module.Config(), channels=16, hidden=(16, 16), dropout=0.0)
    config = replace(config, fit=replace(config.fit, epochs=15, batch_size=16, learning_rate=0.01))
    task = module.make_task(config, schema)
    torch.manual_seed(0)
    model, objective = module.make_model(config, schema), module.make_objective(config, schema)
    fitted = fit(model, objective, task, graph, config.fit)
    said = task.evaluate(fitted.predict("test"), graph, "test", metrics=["error"])
    noise = 0.25 / (0.25 + 2 / 3)  # the share of the variance that no picture tells
    assert said["error"] < noise + 0.2
    assert "accepted" in task.metrics
    assert task.controls == ("no_source", "shuffled_sources", "nearest", "mean")
