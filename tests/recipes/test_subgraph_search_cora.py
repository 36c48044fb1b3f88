"""The recipe on a small graph: what each rival reads, what is trained, and that no label is."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.functional import readout
from mmgraph.recipe import load_recipe
from mmgraph.train import fit

CITES = ("paper", "cites", "paper")


@pytest.fixture(scope="module")
def module():
    return load_recipe("subgraph_search_cora").module


@pytest.fixture
def small():
    """90 papers of three subjects in a split, citing within theirs."""
    chance = torch.Generator().manual_seed(0)
    graph = HeteroData()
    graph["paper"].y = y = torch.arange(90) % 3
    likely = 0.1 + 0.15 * F.one_hot(y, 3).repeat_interleave(10, dim=1)
    graph["paper"].x = (torch.rand(90, 30, generator=chance) < likely).float()
    for number, part in enumerate(("train", "val", "test")):
        graph["paper"][f"{part}_mask"] = torch.arange(90) // 30 == number
    pairs = torch.randint(0, 90, (2, 300), generator=chance)
    pairs = pairs[:, (y[pairs[0]] == y[pairs[1]]) & (pairs[0] != pairs[1])]
    graph[CITES].edge_index = torch.cat([pairs, pairs.flip(0)], dim=1).unique(dim=1)
    schema = mg.Schema(
        nodes={"paper": mg.NodeSpec(modality="text", channels=30)},
        edges={CITES: mg.EdgeSpec()},
        targets={"subject": mg.TargetSpec(node="paper", kind="multiclass", classes=("a", "b", "c"))},
        anchor="paper",
    )
    return graph, schema


def test_features_are_words_by_their_rarity_and_the_rest_trains(module, small, monkeypatch):
    x = small[0]["paper"].x.clone()
    small[0]["paper"].test_mask[5] = True  # one of those for training
    monkeypatch.setattr(mg, "load_dataset", lambda name: small)
    graph, _ = module.build(module.Config(), 0, 0)
    rarity = [torch.log(90 / max(x[:, word].sum(), torch.tensor(1.0))) for word in range(30)]
    expected = torch.stack([F.normalize(x[row] * torch.stack(rarity), dim=0) for row in range(90)])
    torch.testing.assert_close(graph["paper"].x, expected)
    paper = graph["paper"]
    assert torch.equal(paper.train_mask, ~(paper.val_mask | paper.test_mask))


@pytest.mark.parametrize(
    ("rival", "options"),
    [
        ("walk readout, untrained", {"weights": "walk", "hops": 2}),
        ("mean readout, untrained", {"weights": "mean", "hops": 2}),
        ("mean readout, centre removed", {"weights": "mean", "hops": 2, "centre": False}),
        ("centre text alone", {"hops": 0}),
    ],
)
def test_rivals_are_readouts_of_the_words(module, small, rival, options):
    graph, schema = small
    found = module.RIVALS[rival](module.Config(), schema)(graph)["paper"]
    expected = F.normalize(readout(graph["paper"].x, graph[CITES].edge_index, **options), dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not list(module.RIVALS[rival](module.Config(), schema).parameters())
    assert rival in module.RIVAL_OBJECTIVES


def test_training_reads_no_label_and_nothing_beyond_the_radius(module, small):
    graph, schema = small
    config = replace(module.Config(), channels=8)
    objective, losses = module.make_objective(config, schema).eval(), []
    torch.manual_seed(0)
    model = module.make_model(config, schema)
    for labels in (graph["paper"].y, graph["paper"].y.flip(0), torch.full((90,), -1)):
        graph["paper"].y = labels
        losses.append(objective(model, graph)["total"])
    assert losses[0] == losses[1] == losses[2]
    grad = torch.zeros(90)
    x = graph["paper"].x = graph["paper"].x.requires_grad_()
    model.embed(graph)[7].sum().backward()
    grad = x.grad.abs().sum(dim=1) > 0
    near = readout(torch.eye(90), graph[CITES].edge_index, hops=2, weights="sum")[7] > 0
    assert torch.equal(grad, near)


def test_a_few_epochs_beat_the_papers_own_words(module, small):
    graph, schema = small
    config = replace(module.Config(), channels=8, words=0.2, citations=0.2)
    task, scores = module.make_task(config, schema), {}
    torch.manual_seed(0)
    for name, make in {"full": module.make_model, "words": module.RIVALS["centre text alone"]}.items():
        model = make(config, schema)
        if name == "full":
            short = replace(config.fit, epochs=10)
            fit(model, module.make_objective(config, schema), task, graph, short)
        view = task.view(graph, "test")
        with torch.no_grad():
            answers = task.answers(model.eval()(view), view, "test")
        scores[name] = task.evaluate(answers, graph, "test")["class_precision@10"]
    assert scores["full"] > scores["words"] + 0.1
