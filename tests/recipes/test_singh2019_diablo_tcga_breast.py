"""The tumours that are asked about have no proteins, in validation as at the test; the lack itself says nothing."""

import numpy as np
import pytest
import torch

from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("singh2019_diablo_tcga_breast")


@pytest.fixture(scope="module")
def built(recipe):
    try:
        return [recipe.module.build(recipe.module.Config(), 3, fold) for fold in (0, 1)]
    except DataError as error:
        pytest.skip(f"dataset tcga_breast is not here: {error}")


def test_only_training_has_proteins(built):
    for graph, schema in built:
        store = graph["subject"]
        owner = graph["protein", "of", "subject"].edge_index[1]
        assert torch.equal(owner, store.train_mask.nonzero().flatten())
        assert [int(store[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [120, 30, 70]
        assert torch.equal(store.test_mask.nonzero().flatten(), torch.arange(150, 220))
        assert not schema.relations("subject")
        schema.check(graph)


def test_folds_deal_the_training_part_out(built):
    parts = [set(graph["subject"].val_mask.nonzero().flatten().tolist()) for graph, _ in built]
    assert not parts[0] & parts[1]


def test_the_answer_is_a_mean_over_what_is_there(recipe, built):
    graph, schema = built[0]
    model = recipe.module.make_model(recipe.module.Config(), schema).eval()
    parts, present = model.parts(graph)
    said = torch.stack([parts[name] * present[name][:, None] for name in parts]).sum(dim=0)
    count = torch.stack([present[name] for name in parts]).sum(dim=0)
    torch.testing.assert_close(model(graph), said / count[:, None])
    assert set(np.unique(count)) == {2, 3}


def test_training_loses_proteins_by_chance(recipe, built):
    graph, schema = built[0]
    drop = recipe.module.make_transform(recipe.module.Config(), schema)
    left = drop(graph, torch.Generator().manual_seed(0))
    assert 40 < left["protein"].num_nodes < 80
    assert left["mrna"].num_nodes == left["mirna"].num_nodes == 220
