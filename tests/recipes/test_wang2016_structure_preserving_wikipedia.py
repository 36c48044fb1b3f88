"""What the branches end in: shares of classes whose cosine is the chance to mean the same."""

import pytest
import torch
from torch.nn import functional as F

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe

RECIPE = load_recipe("wang2016_structure_preserving_wikipedia").module


def test_the_cosine_of_two_branches_is_the_chance_of_one_class():
    one, other = torch.randn(6, 10), torch.randn(6, 10)
    image, text = RECIPE.Shares(0)(one), RECIPE.Shares(1)(other)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(6))
    chance = (one.softmax(1) * other.softmax(1)).sum(1)
    torch.testing.assert_close(F.cosine_similarity(image, text), chance)


@pytest.mark.data
def test_parts_are_the_shipped_ones_and_nothing_is_fitted_on_the_test():
    config = RECIPE.Config()
    try:
        graph, schema = RECIPE.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset wikipedia is not here: {error}")
    article = graph["article"]
    assert [int(article[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [1738, 435, 693]
    assert int(article.train_mask[2173:].sum()) == int(article.val_mask[2173:].sum()) == 0
    other, _ = RECIPE.build(config, 0, 1)
    assert torch.equal(other["article"].test_mask, article.test_mask)
    assert not torch.equal(other["article"].val_mask, article.val_mask)
    torch.testing.assert_close(graph["text"].x[article.train_mask].mean(0), torch.zeros(10), atol=1e-4, rtol=0)
    task = RECIPE.make_task(config, schema)
    objective, model = RECIPE.make_objective(config, schema), RECIPE.make_model(config, schema)
    seen = task.view(graph, "train")
    assert (seen["article"].y[~article.train_mask] == -1).all()
    assert objective(model, seen)["total"].isfinite()
    fit = mg.FitConfig(epochs=2, batch_size=256, optimizer="adamw", learning_rate=3e-3, monitor="class_map")
    assert mg.fit(model, objective, task, graph, fit).best_score > 0.2  # of .12 at chance
