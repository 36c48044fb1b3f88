"""The scene graph as it is read, and that captions are read by nobody."""

import pytest
import torch

from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("caption_coco_mini")
    config = recipe.config({})
    try:
        built = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset coco_mini is not here: {error}")
    torch.manual_seed(0)
    return recipe.module, config, built, recipe.module.make_model(config, built.schema).eval()


@pytest.mark.data
def test_each_object_of_a_photo_is_read_once_and_no_caption_is(case):
    _, _, built, model = case
    graph = built.graph
    with torch.no_grad():
        sources = model.sources(graph)
    counts = torch.bincount(graph["object", "in", "photo"].edge_index[1], minlength=graph["photo"].num_nodes)
    assert torch.equal(sources.present.sum(dim=1), counts)
    assert int((counts == 0).sum()) == 83
    other = graph.clone()
    other["caption"].tokens = other["caption"].tokens.flip(0)
    with torch.no_grad():
        assert torch.equal(model.sources(other).states, sources.states)


@pytest.mark.data
def test_the_rival_does_without_the_relations(case):
    module, config, built, _ = case
    graph = built.graph.clone()
    torch.manual_seed(0)
    alone = module.RIVALS["alone"](config, built.schema).eval()
    with torch.no_grad():
        before = alone.sources(graph).states
        for relation in module.SPATIAL:
            graph[relation].edge_index = graph[relation].edge_index[:, :0]
        assert torch.equal(alone.sources(graph).states, before)
