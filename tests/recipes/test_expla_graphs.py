"""The recipe on made-up pairs: signs along the way decide, and who is not there is no trouble."""

from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.tasks import control_graph

RELATIONS = ("causes", "not_causes", "synonym_of", "antonym_of")
WIDTHS = {"belief": 6, "argument": 6, "name": 6, "denial": 2, "mention": 3}


@pytest.fixture(scope="module")
def module():
    return load_recipe("expla_graphs").module


@pytest.fixture
def pairs():
    """120 chains of three concepts; two facts of a kind agree, and one denial turns the stance round."""
    chance = torch.Generator().manual_seed(0)
    count, graph = 120, HeteroData()
    graph["pair"].num_nodes, graph["concept"].num_nodes = count, 3 * count
    owner = torch.arange(3 * count) // 3
    for node, width in WIDTHS.items():
        whose = "concept" if node in ("name", "mention") else "pair"
        rows = graph[whose].num_nodes
        graph[node].x = 0.1 * torch.randn(rows, width, generator=chance)
        graph[node, "of", whose].edge_index = torch.arange(rows).expand(2, -1).clone()
    place = torch.arange(3 * count) % 3
    graph["mention"].x[:, 0], graph["mention"].x[:, 1] = (place != 1).float(), (place == 1).float()
    kinds = torch.randint(4, (count, 2), generator=chance)
    for number, name in enumerate(RELATIONS):
        pair, step = (kinds == number).nonzero().T
        source = 3 * pair + step
        graph["concept", name, "concept"].edge_index = torch.stack([source, source + 1])
    graph["concept", "explains", "pair"].edge_index = torch.stack([torch.arange(3 * count), owner])
    graph["pair", "explained_by", "concept"].edge_index = torch.stack([owner, torch.arange(3 * count)])
    graph["pair"].y = ((kinds % 2).sum(dim=1) % 2 == 0).long()
    for number, part in enumerate(("train", "val", "test")):
        graph["pair"][f"{part}_mask"] = torch.tensor([0, 0, 1, 2])[torch.arange(count) % 4] == number
    nodes = {node: mg.NodeSpec(channels=width) for node, width in WIDTHS.items()}
    schema = mg.Schema(
        nodes={"pair": mg.NodeSpec(), "concept": mg.NodeSpec(), **nodes},
        edges=dict.fromkeys(graph.edge_types, mg.EdgeSpec()),
        targets={"stance": mg.TargetSpec(node="pair", kind="binary", classes=("counter", "support"))},
        anchor="pair",
    )
    schema.check(graph)
    return graph, schema


def made(module, schema, *, named):
    make = module.RIVALS["named"] if named else module.make_model
    return make(module.Config(), schema).eval()


def test_it_learns_that_denials_cancel(module, pairs):
    graph, schema = pairs
    config = replace(module.Config(), channels=16, dropout=0.0)
    task = mg.NodeClassification(schema)
    fit = replace(config.fit, epochs=25, learning_rate=0.01, batch_size=20)
    torch.manual_seed(0)
    fitted = mg.fit(module.make_model(config, schema), mg.Supervised(task.target), task, graph, fit)
    assert fitted.evaluate("test")["accuracy"] > 0.85


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("control", ["no_graph", "without:name", "without:belief", "without:argument"])
def test_it_works_without_a_part(module, pairs, control, named):
    graph, schema = pairs
    torch.manual_seed(0)
    model = made(module, schema, named=named)
    assert model(control_graph(control, graph, schema)).isfinite().all()


@pytest.mark.parametrize("named", [False, True])
def test_a_pair_is_answered_by_its_own_graph_alone(module, pairs, named):
    graph, schema = pairs
    torch.manual_seed(0)
    model = made(module, schema, named=named)
    before = model(graph)
    graph["name" if named else "mention"].x[:3] += 5.0
    after = model(graph)
    assert not torch.equal(before[0], after[0])
    torch.testing.assert_close(before[1:], after[1:])
