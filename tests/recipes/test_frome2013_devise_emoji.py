"""What is asked for was not trained on: subgroups of the test are in no other part."""

from dataclasses import replace

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe

RECIPE = load_recipe("frome2013_devise_emoji").module


@pytest.mark.data
def test_the_subgroups_of_the_parts_are_others_and_a_picture_sees_no_words():
    config = RECIPE.Config()
    try:
        built = RECIPE.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"emoji are not here: {error}")
    emoji = built.graph["emoji"]
    parts = [set(emoji.y[emoji[f"{part}_mask"]].tolist()) for part in ("train", "val", "test")]
    assert [len(part) for part in parts] == [70, 10, 20]
    assert not (parts[0] & parts[2]) | (parts[0] & parts[1]) | (parts[1] & parts[2])
    assert built.graph["picture"].num_nodes == built.graph["label"].num_nodes == emoji.num_nodes
    model = RECIPE.make_model(config, built.schema).eval()
    other = built.graph.clone()
    other["label"].x, other["name_en"].x = torch.randn(emoji.num_nodes, 384), torch.randn(emoji.num_nodes, 384)
    assert torch.equal(model(built.graph)["picture"], model(other)["picture"])
    task, objective = RECIPE.make_task(config, built.schema), RECIPE.make_objective(config, built.schema)
    fitted = mg.fit(model, objective, task, built.graph, replace(config.fit, epochs=5))
    assert fitted.evaluate("val")["recall@10 picture>name_en"] > 0.13  # of .064 at chance
