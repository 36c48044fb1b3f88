"""What the recipe is made of: codes of the training part alone, names that are read, and a judge that sees pixels."""

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("ramesh2021_dalle_digits")
    config = recipe.config({"limit": 128, "pictures": 60, "epochs": 2, "judge": 1, "codes": 8, "depth": 1})
    try:
        built = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset mnist20k is not here: {error}")
    return recipe.module, config, built


@pytest.mark.data
def test_a_picture_is_a_text_of_49_signs_and_the_name_is_all_that_is_read(case):
    module, config, built = case
    store, codes = built.graph["picture"], built.graph["image"].codes
    masks = [store[f"{part}_mask"] for part in ("train", "val", "test")]
    assert [int(mask.sum()) for mask in masks] == [128, 60, 60]
    assert codes.shape == (248, 49)
    assert (int(codes.min()) >= 2, int(codes.max()) < 10) == (True, True)
    assert len(built.schema.nodes["image"].vocabulary) == 10
    torch.manual_seed(0)
    model = module.make_model(config, built.schema).eval()
    sources = model.sources(built.graph)
    assert sources.states.shape == (248, 1, config.channels)
    digits = store.y
    alike = [sources.states[digits == digit] for digit in range(10)]
    assert all(torch.equal(some, some[:1].expand_as(some)) for some in alike)  # nothing but the name is in it


@pytest.mark.data
def test_what_is_made_is_rendered_and_judged(case, tmp_path):
    module, config, built = case
    torch.manual_seed(0)
    model = module.make_model(config, built.schema).eval()
    task = module.make_task(config, built.schema)
    view = task.view(built.graph, "val")
    with torch.no_grad():
        said = task.answers(model(view), view, "val")
    found = task.evaluate(said, built.graph, "val", metrics=["accepted", "diversity"])
    assert 0 <= found["accepted"] <= 1
    assert 0 < found["diversity"] <= 1
    assert all(path.is_file() for path in task.sheet(said, built.graph, "val", tmp_path))
    terms = module.make_objective(config, built.schema)(model, built.graph)
    assert float(terms["total"].detach()) < 3  # nats a sign; ten signs at random have log 10
    judge = module.trained_judge(config)
    assert isinstance(judge, mg.Model)
    assert module.trained_judge(config) is judge
