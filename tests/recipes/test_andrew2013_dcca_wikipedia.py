"""What the recipe adds to an aligner: canonical correlation of its views, fitted to training anchors alone."""

import pytest
import torch
from torch import nn

from mmgraph import encoders, functional
from mmgraph.recipe import load_recipe
from mmgraph.testing import fake_graph


@pytest.fixture
def case():
    torch.manual_seed(0)
    graph, schema = fake_graph(60)
    kind = load_recipe("andrew2013_dcca_wikipedia").module.Canonical
    spaces = {"joint": {"scan": nn.Linear(3, 2), "text": nn.Linear(5, 2)}}
    model = kind(schema=schema, encoder=encoders.Raw(["scan", "text"]), spaces=spaces, channels=2, ridge=0.1)
    return graph, model


def test_views_are_brought_together_by_what_was_fitted_to_training(case):
    graph, model = case
    raw = model.train().project(graph)["joint"]
    found = model.eval().project(graph)["joint"]
    rows = graph["subject"].train_mask & raw["scan"].present & raw["text"].present
    fitted = functional.cca([raw[name].states[rows].detach() for name in raw], channels=2, ridge=0.1)
    for view, name in enumerate(raw):
        there = raw[name].present
        torch.testing.assert_close(found[name].states[there], fitted.project(raw[name].states, view)[there])
        assert (found[name].states[~there] == 0).all()


def test_a_query_without_training_anchors_is_placed_in_the_same_space(case):
    graph, model = case
    found = model.eval()(graph)
    del graph["subject"].train_mask
    for name, vectors in model(graph).items():
        torch.testing.assert_close(vectors, found[name], equal_nan=True)
