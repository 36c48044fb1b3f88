"""What the recipe is made of: one picture a character, its name alone to go by, and a space to look pictures up in."""

import pytest
import torch

from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("glyph_pictures")
    config = recipe.config({"limit": 300, "text": 32, "channels": 16, "hidden": [16]})
    return recipe.module, config, recipe.module.build(config, 0, 0)


def test_the_name_is_all_that_is_read(case):
    module, config, built = case
    model = module.make_model(config, built.schema).eval()
    sources = model.sources(built.graph)
    assert list(model.paths) == ["name"]
    assert sources.states.shape[1:] == (1, config.channels)
    assert sources.present.all()
    assert module.make_objective(config, built.schema)(model, built.graph)["total"].isfinite()
    made = model.generate(built.graph, torch.tensor([0, 1]))
    assert (made.shape, made.dtype) == ((2, 1, 32, 32), torch.uint8)


def test_each_character_has_one_picture_at_most_and_is_its_own_nearest(case):
    module, config, built = case
    task = module.make_task(config, built.schema)
    payload, row = task.references(built.graph, "test")
    assert len(row) == len(row.unique())
    made = payload.new_zeros(int(built.graph["character"].test_mask.sum()), *payload.shape[1:]).index_copy(
        0, row, payload
    )
    scores = task.evaluate(made, built.graph, "test")
    assert scores["error"] == 0
    assert scores["retrieval@1"] > 0.9  # all but those that look alike


def test_the_space_knows_where_the_ink_is_and_not_how_much(case):
    module, _, _ = case
    dark = torch.full((1, 1, 32, 32), 255, dtype=torch.uint8)
    dark[..., 8:16, 8:12] = 0
    pale = dark.clone()
    pale[dark == 0] = 200
    torch.testing.assert_close(module.shape_of(dark), module.shape_of(pale))
    assert module.shape_of(dark).shape == (1, 256)
    assert module.shape_of(dark) @ module.shape_of(dark.transpose(2, 3)).T < 0.6
