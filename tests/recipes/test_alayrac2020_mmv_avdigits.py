"""What the recipe is made of: recordings and names that no loss compares, and the way that joins them."""

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("alayrac2020_mmv_avdigits")
    config = recipe.config({})
    try:
        built = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset avdigits is not here: {error}")
    rows = {"sample": torch.arange(3000) % 25 == 0}
    labels = {"digit": built.graph["sample"].train_mask}
    return recipe.module, config, built.schema, mg.schema.view(built.graph, built.schema, keep=rows, labels=labels)


@pytest.mark.data
def test_no_loss_compares_a_recording_with_a_name(case):
    module, config, schema, graph = case
    torch.manual_seed(0)
    makes = ((module.make_model, module.make_objective), (module.make_shared, module.make_shared_objective))
    for make_model, make_objective in makes:
        terms = make_objective(config, schema)(make_model(config, schema), graph)
        assert set(terms) == {"total", "image_audio", "image_text"}


@pytest.mark.data
def test_each_pair_meets_in_its_own_space(case):
    module, config, schema, graph = case
    torch.manual_seed(0)
    model = module.make_model(config, schema)
    assert {space: set(views) for space, views in model.project(graph).items()} == {
        "fine": {"image", "audio"},
        "coarse": {"image", "audio", "text"},
    }
    module.make_objective(config, schema)(model, graph)["image_audio"].backward()
    grads = {name: weight.grad for name, weight in model.projections.named_parameters()}
    assert {name.split(".")[0] for name, grad in grads.items() if grad is not None} == {"[fine]"}


@pytest.mark.data
def test_unbridged_recordings_learn_nothing(case):
    module, config, schema, graph = case
    torch.manual_seed(0)
    model = module.make_model(config, schema)
    module.make_unbridged(config, schema)(model, graph)["total"].backward()
    of_audio = [weight for name, weight in model.named_parameters() if "audio" in name]
    of_image = [weight for name, weight in model.named_parameters() if "image" in name]
    assert of_audio
    assert all(weight.grad is None or not weight.grad.any() for weight in of_audio)
    assert any(weight.grad is not None and weight.grad.any() for weight in of_image)


@pytest.mark.data
def test_names_are_there_to_be_found_and_the_other_views_do_not_see_them(case):
    module, config, schema, graph = case
    torch.manual_seed(0)
    model, task = module.make_model(config, schema).eval(), module.make_task(config, schema)
    before = model(graph)
    changed = graph.clone()
    changed["text"].x = torch.randn_like(changed["text"].x)
    after = model(changed)
    assert torch.equal(before["image"], after["image"])
    assert torch.equal(before["audio"], after["audio"])
    assert not torch.equal(before["text"], after["text"])
    assert task.answers(before, graph, "test").isfinite().all()
