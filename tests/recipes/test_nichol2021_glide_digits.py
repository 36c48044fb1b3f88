"""What the recipe is made of: a picture that its name alone leads to, and a judge that reads real digits."""

from dataclasses import replace

import pytest
import torch

from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("nichol2021_glide_digits")
    config = recipe.config({"pictures": 50, "limit": 400, "widths": [8, 16], "rounds": 2, "judge": 15})
    try:
        built = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset mnist20k is not here: {error}")
    return recipe.module, config, built


@pytest.mark.data
def test_parts_are_spread_samples_of_those_of_the_dataset(case):
    module, config, built = case
    store = built.graph["picture"]
    assert [int(store[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [400, 50, 50]
    rows = {part: store[f"{part}_mask"].nonzero()[:, 0] for part in ("train", "test")}
    assert rows["train"].max() < 10_000 <= rows["test"].min()
    assert rows["test"].max() - rows["test"].min() > 9_900
    whole = module.build(replace(config, limit=10_000), 0, 0).graph["picture"]
    assert int(whole.train_mask.sum()) == 8996


@pytest.mark.data
def test_the_name_says_the_digit_and_is_all_that_is_read(case):
    module, config, built = case
    model = module.make_model(config, built.schema).eval()
    sources = model.sources(built.graph)
    assert sources.states.shape == (20_000, 1, config.channels)
    assert len(sources.states[:, 0].detach().unique(dim=0)) == 10
    terms = module.make_objective(config, built.schema)(model, _some(built))
    assert terms["total"].isfinite()


def _some(built):
    graph = built.graph.clone()
    keep = torch.zeros_like(graph["picture"].train_mask)
    keep[graph["picture"].train_mask.nonzero()[:8, 0]] = True
    graph["picture"].train_mask = keep
    return graph


@pytest.mark.data
def test_the_judge_learns_from_training_and_reads_pictures(case):
    module, config, built = case
    task = module.make_task(config, built.schema)
    assert task.metrics == ("log_loss", "error", "accepted", "diversity", "frechet")
    real, _ = task.references(built.graph, "test")
    scores = task.evaluate(real, built.graph, "test")
    assert scores["error"] == 0
    assert scores["diversity"] == pytest.approx(1)
    assert scores["accepted"] > 0.2  # of 400 pictures; chance is .1
    assert module.trained_judge(config) is module.trained_judge(config)
