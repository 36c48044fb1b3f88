"""What the recipe starts from: each category of a photo counts once, and nothing else has been learned."""

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.recipe import load_recipe

OWNER, CATEGORY = [0, 0, 0, 1], [0, 0, 1, 1]


@pytest.fixture
def scene():
    module = load_recipe("coco_mini_scene_graphs").module
    torch.manual_seed(0)
    graph, words = HeteroData(), torch.randn(2, 4)
    for part in ("train", "val", "test"):
        graph["photo"][f"{part}_mask"] = torch.tensor([True, True])
    graph["photo"].num_nodes = 2
    graph["caption"].x = torch.randn(3, 4)
    graph["caption", "of", "photo"].edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
    graph["object", "in", "photo"].edge_index = torch.tensor([[0, 1, 2, 3], OWNER])
    for relation in module.SPATIAL:
        graph[relation].edge_index = torch.tensor([[0, 2], [1, 0]])
    alike = torch.tensor([[2.0], [2.0], [1.0], [1.0]])
    x = torch.cat([words[CATEGORY], torch.rand(4, 5), alike.log()], dim=1)
    return module, words, *module.scene_graph(graph, x)


def test_each_category_counts_once(scene):
    module, words, graph, schema = scene
    model = module.make_model(module.Config(), schema)
    seen = model.project(graph)["joint"]
    expected = torch.stack([words.sum(dim=0), words[1]])
    torch.testing.assert_close(nn.functional.normalize(seen["object"].states), nn.functional.normalize(expected))
    captions = torch.stack([graph["caption"].x[:2].mean(dim=0), graph["caption"].x[2]])
    torch.testing.assert_close(seen["caption"].states, captions)


def test_relations_count_once_they_are_learned_and_the_untrained_rival_learns_nothing(scene):
    module, _, graph, schema = scene
    config = module.Config()
    model = module.make_model(config, schema)
    module.make_objective(config, schema)(model, graph)["total"].backward()
    assert all(bool((linear.weight.grad != 0).any()) for linear in model.within.neighbour.values())
    assert bool((model.encoder.count.weight.grad != 0).any())
    assert not any(weight.requires_grad for weight in module.RIVALS["untrained"](config, schema).parameters())
