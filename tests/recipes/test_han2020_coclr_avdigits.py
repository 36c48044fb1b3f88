"""The recipe on made-up data: classes that look two ways and sound two ways, and what co-training makes of them."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.train import fit


@pytest.fixture(scope="module")
def module():
    return load_recipe("han2020_coclr_avdigits").module


@pytest.fixture
def styles():
    """240 samples of three classes, each of which has two styles of picture and, apart from that, two of sound."""
    chance = torch.Generator().manual_seed(0)
    graph = HeteroData()
    graph["sample"].x = torch.empty(240, 0)
    graph["sample"].y = digit = torch.arange(240) % 3
    for number, part in enumerate(("train", "val", "test")):
        graph["sample"][f"{part}_mask"] = (torch.arange(240) // 3 % 4 - 1).clamp_min(0) == number
    edges = {}
    for name in ("image", "audio"):
        centres = 3 * torch.nn.functional.normalize(torch.randn(3, 2, 12, generator=chance), dim=2)
        style = torch.randint(2, (240,), generator=chance)
        graph[name].x = centres[digit, style] + 0.6 * torch.randn(240, 12, generator=chance)
        graph[name, "of", "sample"].edge_index = torch.arange(240).expand(2, -1).contiguous()
        edges[name, "of", "sample"] = mg.EdgeSpec()
    schema = mg.Schema(
        nodes={"sample": mg.NodeSpec(channels=0), **{name: mg.NodeSpec(channels=12) for name in ("image", "audio")}},
        edges=edges,
        targets={"digit": mg.TargetSpec(node="sample", kind="multiclass", classes=("0", "1", "2"))},
        anchor="sample",
    )
    return graph, schema


def test_neighbours_join_the_styles_of_a_class(module, styles):
    graph, schema = styles
    config = replace(module.Config(), channels=8, hidden=32, k=5, warm_up=10, every=2)
    config = replace(config, fit=replace(config.fit, epochs=80, batch_size=None, learning_rate=0.01))
    scores = {}
    for name, make in {"full": module.make_objective, "alone": module.make_alone}.items():
        torch.manual_seed(0)
        model, task = module.make_model(config, schema), module.make_task(config, schema)
        fitted = fit(model, make(config, schema), task, graph, config.fit)
        scores[name] = fitted.evaluate("test")["class_map"]
        found = [(epoch["train_precision_image"] + epoch["train_precision_audio"]) / 2 for epoch in fitted.history]
        if name == "full":
            assert found[0] == 0  # nobody takes turns yet
            assert found[-1] > found[12] + 0.1
        else:
            assert max(found) == 0
    assert scores["full"] > scores["alone"] + 0.05


def test_training_reads_no_label(module, styles):
    graph, schema = styles
    config = replace(module.Config(), channels=8, hidden=16)
    torch.manual_seed(0)
    model, objective = module.make_model(config, schema).eval(), module.make_objective(config, schema).eval()
    total = objective(model, graph)["total"]
    graph["sample"].y = graph["sample"].y.flip(0)
    assert objective(model, graph)["total"] == total
    graph["sample"].y = torch.full((240,), -1)
    terms = objective(model, graph)
    assert terms["total"] == total
    assert terms["precision_image"] == terms["precision_audio"] == 0
    assert objective.k == config.k
    assert module.make_alone(config, schema).k == 0


def test_features_are_centred_on_training(module, styles):
    graph, _ = styles
    x, train = graph["image"].x.clone(), graph["sample"].train_mask
    graph["image", "of", "sample"].edge_index = torch.stack([torch.arange(240).flip(0), torch.arange(240)])
    module._centre(graph, "image")
    known = x[train.flip(0)] - x[train.flip(0)].mean(dim=0)
    torch.testing.assert_close(graph["image"].x[train.flip(0)], known / known.std(), atol=1e-5, rtol=1e-5)
