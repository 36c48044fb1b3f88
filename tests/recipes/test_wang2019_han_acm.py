"""What the recipe joins: papers of one author, as the source ships them, and some papers of one subject."""

from dataclasses import replace

import pytest
import torch
from scipy.sparse import load_npz

from mmgraph.data.manifest import data_roots
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture
def case():
    module = load_recipe("wang2019_han_acm").module
    try:
        return module, *module.build(module.Config(), 0, 0)
    except DataError as error:
        pytest.skip(f"dataset acm is not here: {error}")


@pytest.mark.data
def test_neighbours_are_those_that_the_source_ships(case):
    module, graph, _ = case
    for relation in module.RELATIONS:
        edges = graph[relation]
        loops = edges.edge_index[0] == edges.edge_index[1]
        assert int(loops.sum()) == 4019  # each paper counts among its own neighbours
    assert int(graph["paper", "PSP", "paper"].edge_index[1].bincount().max()) == 32
    shipped = [path for root in data_roots() for path in root.glob("acm/raw/*/data/acm/pap.npz")]
    if not shipped:
        pytest.skip("pap.npz is not here")
    theirs = load_npz(shipped[0]).tocoo()
    key = {row * 4019 + column for row, column in zip(theirs.row.tolist(), theirs.col.tolist(), strict=True)}
    index = graph["paper", "PAP", "paper"].edge_index
    assert set((index[0] * 4019 + index[1]).tolist()) == key


@pytest.mark.data
def test_runs_draw_other_neighbours_within_a_subject(case):
    module, graph, schema = case
    other, _ = module.build(module.Config(), 1, 0)
    assert not torch.equal(graph["paper", "PSP", "paper"].edge_index, other["paper", "PSP", "paper"].edge_index)
    small = replace(module.Config(), channels=8, heads=2)
    assert module.make_model(small, schema)(graph).shape == (4019, 3)
