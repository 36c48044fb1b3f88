"""The recipe on a small graph: what is held out, what each rival reads, and that walks find communities."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.train import fit

CITES = ("paper", "cites", "paper")
PAPERS = 90


@pytest.fixture(scope="module")
def module():
    return load_recipe("grover2016_node2vec_cora").module


@pytest.fixture
def small(monkeypatch, module):
    """90 papers of three subjects, citing within theirs."""
    chance = torch.Generator().manual_seed(0)
    graph = HeteroData()
    graph["paper"].y = y = torch.arange(PAPERS) % 3
    graph["paper"].x = torch.rand(PAPERS, 12, generator=chance)
    for number, part in enumerate(("train", "val", "test")):
        graph["paper"][f"{part}_mask"] = torch.arange(PAPERS) // 30 == number
    pairs = torch.randint(0, PAPERS, (2, 700), generator=chance)
    pairs = pairs[:, (y[pairs[0]] == y[pairs[1]]) & (pairs[0] != pairs[1])]
    graph[CITES].edge_index = torch.cat([pairs, pairs.flip(0)], dim=1).unique(dim=1)
    schema = mg.Schema(
        nodes={"paper": mg.NodeSpec(modality="text", channels=12)},
        edges={CITES: mg.EdgeSpec()},
        targets={"subject": mg.TargetSpec(node="paper", kind="multiclass", classes=("a", "b", "c"))},
        anchor="paper",
    )
    monkeypatch.setattr(mg, "load_dataset", lambda name, **options: (graph, schema))
    monkeypatch.setattr(module, "PAPERS", PAPERS)
    return graph


def trained(module, epochs=40):
    config = module.Config()
    config = replace(config, channels=16, fit=replace(config.fit, epochs=epochs, learning_rate=0.05))
    graph, schema = module.build(config, 0, 0)
    task = module.make_task(config, schema)
    torch.manual_seed(0)
    return fit(module.make_model(config, schema), module.make_objective(config, schema), task, graph, config.fit)


def test_walks_find_who_cites_whom_and_without_edges_they_are_at_chance(module, small):
    assert trained(module).evaluate("test")["auroc"] > 0.75
    graph, _ = module.build(module.Config(), 0, 0)
    assert not {frozenset(pair) for pair in graph[CITES].edge_index.T.tolist()} & {
        frozenset(pair) for pair in zip(graph["pair"].source.tolist(), graph["pair"].target.tolist(), strict=True)
    }


def test_the_full_model_reads_no_word(module, small):
    config = module.Config()
    graph, schema = module.build(config, 0, 0)
    model = module.make_model(config, schema)
    other = graph.clone()
    other["paper"].x = torch.zeros_like(other["paper"].x)
    assert torch.equal(model(graph), model(other))


def test_deepwalk_walks_without_parameters(module, small):
    config = module.Config()
    _, schema = module.build(config, 0, 0)
    full, rival = module.make_objective(config, schema), module.RIVAL_OBJECTIVES["deepwalk"](config, schema)
    assert (rival.p, rival.q) == (1, 1) != (full.p, full.q)
    assert (rival.length, rival.window, rival.negatives) == (full.length, full.window, full.negatives)
