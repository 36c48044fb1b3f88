"""A tenth of the pairs to write from, and one encoder for both stages."""

from dataclasses import replace

import pytest
import torch

from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("aligned_captioner_emoji")
    config = recipe.config({})
    config = replace(config, align=replace(config.align, epochs=2))
    try:
        return recipe.module, config, *recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset emoji is not here: {error}")


@pytest.mark.data
def test_a_tenth_of_training_is_learned_from_and_the_other_parts_are_whole(case):
    module, config, graph, _ = case
    whole = module.read({"kind": "hashed_text"}).graph["emoji"]
    store = graph["emoji"]
    assert int(store.train_mask.sum()) == round(config.share * int(whole.train_mask.sum()))
    assert not (store.train_mask & ~whole.train_mask).any()
    for part in ("val", "test"):
        assert torch.equal(store[f"{part}_mask"], whole[f"{part}_mask"])
    other, _ = module.build(config, 1, 0)
    assert not torch.equal(other["emoji"].train_mask, store.train_mask)


@pytest.mark.data
def test_the_encoder_that_was_aligned_is_that_of_the_translator(case, monkeypatch):
    module, config, _, schema = case
    seen = []
    monkeypatch.setattr(module, "align", lambda config, pictures: seen.append(pictures))
    torch.manual_seed(0)
    model = module.make_model(config, schema)
    assert seen == [model.encoder]
    module.RIVALS["from_scratch"](config, schema)
    assert len(seen) == 1


@pytest.mark.data
def test_alignment_changes_the_encoder(case):
    module, config, _, schema = case
    torch.manual_seed(0)
    scratch = module.RIVALS["from_scratch"](config, schema).encoder.state_dict()
    torch.manual_seed(0)
    aligned = module.make_model(config, schema).encoder.state_dict()
    assert scratch.keys() == aligned.keys()
    assert any(not torch.equal(scratch[name], aligned[name]) for name in scratch)
