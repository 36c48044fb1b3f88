"""What the language model has read is of training, and it stays as it is."""

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe

RECIPE = load_recipe("mokady2021_clipcap_emoji").module


@pytest.mark.data
def test_the_language_model_has_read_training_alone_and_is_not_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    read = []
    train = RECIPE.decoders.train_language_model
    monkeypatch.setattr(RECIPE.decoders, "train_language_model", lambda t, **o: train(read.extend(t) or t[:60], **o))
    config = RECIPE.Config(read=1)
    try:
        built = RECIPE.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"emoji are not here: {error}")
    store, task = built.graph["emoji"], RECIPE.make_task(config, built.schema)
    rows = mg.load_dataset("emoji").tables["emoji"].to_pylist()
    known = {row["name_en"] for row, there in zip(rows, store.train_mask.tolist(), strict=True) if there}
    others = {row["name_en"] for row, there in zip(rows, store.train_mask.tolist(), strict=True) if not there}
    keywords = {
        word for row, there in zip(rows, store.train_mask.tolist(), strict=True) if there for word in row["keywords_en"]
    }
    assert known <= set(read) <= known | keywords
    assert not (others - keywords - known) & set(read)
    assert task.texts(built.graph["name_en"].tokens[:1]) == [rows[0]["name_en"]]
    torch.manual_seed(0)
    for frozen in (True, False):
        model = RECIPE.make_model(config, built.schema, frozen=frozen)
        RECIPE.make_objective(config, built.schema)(model, built.graph)["total"].backward()
        assert all((weight.grad is None) == frozen for weight in model.decoder.model.parameters())
    RECIPE.language_model.cache_clear()
