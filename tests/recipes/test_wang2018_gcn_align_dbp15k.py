"""The recipe on two small graphs: what each variant is, and that training and joining find the pairs."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.run import Run
from mmgraph.train import fit

SIDES = ("zh", "en")


@pytest.fixture(scope="module")
def module():
    return load_recipe("wang2018_gcn_align_dbp15k").module


@pytest.fixture
def small():
    """The same facts about 60 entities, which the second graph numbers anew; every second link is known."""
    chance = torch.Generator().manual_seed(0)
    facts, relation = torch.randint(0, 60, (2, 360), generator=chance), torch.randint(0, 5, (360,), generator=chance)
    graph, nodes, edges = HeteroData(), {"link": mg.NodeSpec()}, {}
    graph["link"].num_nodes = 60
    for number, part in enumerate(("train", "val", "test")):
        graph["link"][f"{part}_mask"] = torch.tensor([0, 1, 0, 2])[torch.arange(60) % 4] == number
    for side in SIDES:
        place = torch.randperm(60, generator=chance)
        graph[side].num_nodes = 60
        graph[side, "fact", side].edge_index = place[facts]
        graph[side, "fact", side].edge_attr = relation.float()[:, None]
        graph[side, "of", "link"].edge_index = torch.stack([place, torch.arange(60)])
        nodes[side], edges[side, "of", "link"] = mg.NodeSpec(), mg.EdgeSpec()
        edges[side, "fact", side] = mg.EdgeSpec(channels=1, multiple=True)
    return graph, mg.Schema(nodes=nodes, edges=edges, anchor="link")


def test_each_run_deals_the_links_out_anew(module, monkeypatch):
    asked = []
    monkeypatch.setattr(mg, "load_dataset", lambda name, **options: asked.append((name, options)))
    module.build(module.Config(), 2, 0)
    module.build(module.Config(names=True), 0, 0)
    assert asked == [("dbp15k_zh_en", {"seed": 2, "names": False}), ("dbp15k_zh_en", {"seed": 0, "names": True})]


@pytest.mark.parametrize(
    ("rival", "offsets", "joins", "learned", "bound"),
    [
        ("cosines, no joins", None, False, True, True),
        ("propagation", None, False, False, False),
    ],
)
def test_rivals_lack_what_they_are_called_after(module, small, rival, offsets, joins, learned, bound):
    config = module.Config()
    model, full = module.RIVALS[rival](config, small[1]), module.make_model(config, small[1])
    assert (full.offsets, full.joins) == ("balance", frozenset(config.joins))
    assert (model.offsets, bool(model.joins), bool(model.bound)) == (offsets, joins, bound)
    assert all(gain.requires_grad == learned for gain in model.gains.values())


def test_the_rival_is_two_rounds_of_messages_weighed_by_functionality(module, small):
    graph, schema = small
    torch.manual_seed(0)
    model = module.GCNAlign(replace(module.Config(), channels=4), schema)
    facts = graph["zh", "fact", "zh"]
    ends, numbers = facts.edge_index.T.tolist(), facts.edge_attr[:, 0].tolist()
    triples = [(s, r, o) for (s, o), r in zip(ends, numbers, strict=True)]
    weight = torch.eye(60)
    for s, r, o in triples:
        those = [one for one in triples if one[1] == r]
        weight[s, o] += len({one[2] for one in those}) / len(those)
        weight[o, s] += len({one[0] for one in those}) / len(those)
    degree = weight.sum(dim=1)
    weight = weight / (degree[:, None] * degree).sqrt()
    x = model.entities["zh"].detach()[:60]
    states = weight @ (weight @ x).relu()
    expected = states[graph["zh", "of", "link"].edge_index[0]]
    found = model.project(graph)["joint"]["zh"].states.detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_few_epochs_find_pairs_both_ways(module, small):
    graph, schema = small
    config = replace(module.Config(), joins=(3, 6), fit=replace(module.Config().fit, epochs=8))
    task = module.make_task(config, schema)
    torch.manual_seed(0)
    model = module.make_model(config, schema)
    fitted = fit(model, module.make_objective(config, schema), task, graph, config.fit)
    assert fitted.evaluate("test")["recall@1"] > 0.8
    assert {"recall@1 zh>en", "recall@1 en>zh"} < set(task.metrics)
    assert set(module.CONTROLS) <= set(task.controls)


def test_a_run_is_carried_out_beside_its_controls_and_searched(module, small, monkeypatch, tmp_path):
    recipe = load_recipe("wang2018_gcn_align_dbp15k")
    monkeypatch.setattr(recipe.module, "build", lambda config, run, fold: small)
    config = recipe.config({"runs": 1, "joins": (1,), "channels": 8})
    run = Run.execute(recipe, replace(config, fit=replace(config.fit, epochs=3)), tmp_path)
    assert {"full", *recipe.module.RIVALS, *recipe.module.CONTROLS} == set(run.results.variants)
    scores = {name: run.results.mean(name, "recall@1") for name in run.results.variants}
    assert scores["full"] > 0.8
    assert max(scores[name] for name in recipe.module.CONTROLS) < 0.4
    again = Run.open(tmp_path)
    assert (again.model.found >= 0).any()
    hits = again.search(id=again.ids[0], k=3)
    assert len(hits) == 3
    assert hits[0].subgraph["zh"].num_nodes
