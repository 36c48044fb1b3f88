"""What the recipe is made of: two views that are asked for, names that only help, and new pairs at each step."""

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("clip_avdigits")
    config = recipe.config({"names": 0.5})
    try:
        built = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset avdigits is not here: {error}")
    rows = {"sample": torch.arange(3000) % 25 == 0}
    labels = {"digit": built.graph["sample"].train_mask}
    return recipe.module, config, built.schema, mg.schema.view(built.graph, built.schema, keep=rows, labels=labels)


@pytest.mark.data
def test_names_are_in_training_alone_and_the_rivals_go_without_or_take_the_digit(case):
    module, config, schema, graph = case
    named = graph["text", "of", "sample"].edge_index[1]
    assert graph["sample"].train_mask[named].all()
    torch.manual_seed(0)
    full, bare = module.make_model(config, schema), module.make_without_names(config, schema)
    objective = module.make_objective(config, schema)
    assert {"image_audio", "image_text", "audio_text"} < {
        "_".join(sorted(name.split("_"), key=("image", "audio", "text").index)) if "_" in name else name
        for name in objective(full, graph)
    }
    assert set(objective(bare, graph)) == {"total", "image_audio"}
    torch.manual_seed(0)
    by_digit = module.make_same_digit(config, schema)
    full.eval()
    assert float(by_digit(full, graph)["total"].detach()) != float(objective(full, graph)["total"].detach())
    answers = module.make_task(config, schema).answers(full(graph), graph, "test")
    assert answers.isfinite().all()
    assert answers.shape[1:] == (2, config.channels)


@pytest.mark.data
def test_pictures_are_dealt_out_anew_within_their_digit_unless_it_is_said(case):
    module, config, schema, graph = case
    dealt = module.make_transform(config, schema)(graph, torch.Generator().manual_seed(0))
    (_, before), (_, after) = (one["image", "of", "sample"].edge_index for one in (graph, dealt))
    y, train = graph["sample"].y, graph["sample"].train_mask
    assert (y[before] == y[after]).all()
    assert (before != after).any()
    assert torch.equal(before[~train[before]], after[~train[before]])
    assert dealt["audio", "of", "sample"].edge_index is graph["audio", "of", "sample"].edge_index
    assert module.make_transform(load_recipe("clip_avdigits").config({"anew": False}), schema) is None
