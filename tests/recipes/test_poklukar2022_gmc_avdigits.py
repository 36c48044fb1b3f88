"""The objective of the recipe, against a slow loop and against graphs that lack a modality."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mmgraph as mg
from mmgraph import encoders, fusion
from mmgraph.data import drop_modalities
from mmgraph.recipe import load_recipe
from mmgraph.testing import fake_graph


@pytest.fixture
def aligned():
    module = load_recipe("poklukar2022_gmc_avdigits").module
    return lambda schema, alignment=0.5: module.Aligned(mg.Supervised(*schema.targets.values()), alignment, 0.2)


@pytest.fixture
def model_of():
    def make(schema):
        torch.manual_seed(0)
        widths = {name: schema.nodes[name].channels for name in schema.modalities}
        join = fusion.Gated(dict.fromkeys(widths, 4), 4)
        return mg.Model(schema=schema, encoder=encoders.Table(widths, 4), fusion=join, head=nn.Linear(4, 2))

    return make


def slow_contrast(alone, whole, temperature):
    both = [*alone, *whole]
    losses = []
    for row in range(len(both)):
        like = [
            math.exp(float(F.cosine_similarity(both[row], other, dim=0)) / temperature)
            if other is not both[row]
            else 0.0
            for other in both
        ]
        losses.append(-math.log(like[(row + len(whole)) % len(both)] / sum(like)))
    return sum(losses) / len(losses)


def without(graph, schema, gone):
    return drop_modalities(graph, schema, {gone: torch.ones(graph[schema.anchor].num_nodes, dtype=torch.bool)})


def test_the_terms_compare_whole_samples_with_those_that_lack_a_modality(aligned, model_of):
    graph, schema = fake_graph(12)
    model = model_of(schema)
    _, present = model.parts(graph)
    rows = torch.stack(list(present.values())).all(dim=0)
    assert 2 <= int(rows.sum()) < len(rows)
    with torch.no_grad():
        terms = aligned(schema)(model, graph)
        whole = model.embed(graph)[rows]
        for name, gone in (("scan", "text"), ("text", "scan")):
            alone = model.embed(without(graph, schema, gone))[rows]
            assert float(terms[f"align_{name}"]) == pytest.approx(slow_contrast(alone, whole, 0.2), rel=1e-5)
        supervised = mg.Supervised(*schema.targets.values())(model, graph)["total"]
    expected = supervised + 0.5 * (terms["align_scan"] + terms["align_text"])
    torch.testing.assert_close(terms["total"], expected)


def test_where_each_sample_lacks_something_the_terms_are_zero_with_a_gradient(aligned, model_of):
    graph, schema = fake_graph(12)
    bare = without(graph, schema, "text")
    model = model_of(schema)
    terms = aligned(schema)(model, bare)
    assert float(terms["align_scan"].detach()) == float(terms["align_text"].detach()) == 0
    terms["total"].backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
