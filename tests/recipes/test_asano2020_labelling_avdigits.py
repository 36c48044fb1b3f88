"""What the recipe is made of: labels that are shared or not, and a probe that shapes nothing."""

import pytest
import torch

import mmgraph as mg
from mmgraph.recipe import load_recipe


@pytest.mark.data
def test_the_probe_reads_features_and_does_not_shape_them(load_or_skip):
    load_or_skip("avdigits")
    recipe = load_recipe("asano2020_labelling_avdigits")
    module, config = recipe.module, recipe.config({})
    built = module.build(config, 0, 0)
    torch.manual_seed(0)
    model, task = module.make_model(config, built.schema), module.make_task(config, built.schema)
    small = mg.schema.view(
        built.graph,
        built.schema,
        keep={"sample": torch.arange(3000) % 50 == 0},
        labels={"digit": torch.ones(3000, dtype=torch.bool)},
    )
    for make, groups in ((module.make_objective, 1), (module.make_alone, 2)):
        objective = make(config, built.schema)
        terms = objective(model, small)
        labels = objective.objectives[0].labels
        assert labels.shape == (groups, 3000, 1)
        train = small["sample"].n_id[small["sample"].train_mask]
        assert (labels[:, train] >= 0).all()
        assert int((labels >= 0).sum()) == groups * len(train)
    model.zero_grad()
    terms["probe"].backward()
    moved = {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None}
    assert moved == {"probe"}
    answers = task.answers(model.eval()(small), small, "test")
    assert answers.shape[1:] == (3, 10)
