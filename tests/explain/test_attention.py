"""Attention weights, followed by hand through every path."""

from itertools import product

import pytest
import torch
from torch import nn

from mmgraph import encoders, fusion, layers
from mmgraph.errors import ConfigError
from mmgraph.explain import ask, attention
from mmgraph.explain.attention import Attends
from mmgraph.model import Model

NEAR = ("subject", "near", "subject")
CROSS = ("scan", "sees", "text")


class Looks(layers.Layer):
    """A layer whose weights are given by the edge's ends: nothing to learn."""

    def __init__(self, relation, shift):
        super().__init__()
        self.relation, self.shift = relation, shift

    def weights(self, features, edges):
        index = edges[self.relation].index
        scores = torch.stack([(index[0] + self.shift) % 3 + 1.0, torch.ones(index.shape[1])], dim=1)  # two heads
        mass = torch.zeros(len(features[self.relation[2]]), 2).index_add(0, index[1], scores)
        return {self.relation: scores / mass[index[1]]}

    def forward(self, features, edges):
        weight = self.weights(features, edges)[self.relation].mean(dim=1, keepdim=True)
        source, target = edges[self.relation].index
        x = features[self.relation[2]]
        heard = torch.zeros_like(x).index_add(0, target, weight * features[self.relation[0]][source])
        return {**features, self.relation[2]: x + heard}


def stack_of(schema, within=None, between=None):
    torch.manual_seed(0)
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    return Model(
        schema=schema,
        encoder=encoders.Table(widths, 4),
        fusion=fusion.Concat(dict.fromkeys(widths, 4), 4),
        within=within,
        between=between,
        head=nn.Linear(4, 2),
    ).eval()


def half(weights, name, index, target, source, node):
    """Step from (type, row) to (type, row): half stays, half goes along the edges."""
    stays = 0.5 if target == source else 0.0
    into = [n for n in range(index.shape[1]) if (name[2], int(index[1][n])) == target]
    if not into:
        return 2 * stays
    goes = sum(float(weights[n].mean()) for n in into if (name[0], int(index[0][n])) == source)
    return stays + 0.5 * goes


def test_rollout_is_the_sum_over_all_paths(data, own_rows):
    graph, schema = data
    first, second = Looks(NEAR, 0), Looks(NEAR, 1)
    model = stack_of(schema, between=layers.Stack(first, second))
    (question,) = ask(model, graph, 7)
    found = attention(question)
    index = question.edges[NEAR].index
    subjects = [("subject", row) for row in range(question.counts["subject"])]
    features = {"subject": torch.zeros(question.counts["subject"], 1)}
    early, late = (layer.weights(features, question.edges)[NEAR] for layer in (first, second))
    anchor = ("subject", question.place)
    through = dict.fromkeys(subjects, 0.0)
    for middle, start in product(subjects, subjects):
        step = half(late, NEAR, index, anchor, middle, None) * half(early, NEAR, index, middle, start, None)
        through[start] += step
    expected = {name: torch.zeros(count) for name, count in question.counts.items()}
    for (_, row), share in through.items():
        parts = {
            name: [int(s) for s, t in question.edges[name, "of", "subject"].index.T.tolist() if t == row]
            for name in schema.modalities
        }
        parts = {name: rows for name, rows in parts.items() if rows}
        for name, rows in parts.items():
            expected[name][rows] += share / len(parts) / len(rows)
        if not parts:
            expected["subject"][row] += share
    for name in expected:
        assert torch.allclose(found.nodes[name], expected[name], atol=1e-6)
    assert sum(float(each.sum()) for each in found.nodes.values()) == pytest.approx(1)
    assert found.total == pytest.approx(1)
    assert found.residual == pytest.approx(0, abs=1e-6)
    assert torch.allclose(found.edges[NEAR], (early.mean(dim=1) + late.mean(dim=1)) / 2)


def test_layers_within_a_sample_come_before_the_gathering(data, own_rows):
    graph, schema = data
    anchor = next(row for row in range(20) if own_rows(graph, "scan", row) and own_rows(graph, "text", row))
    pairs = [(s, t) for s in own_rows(graph, "scan", anchor) for t in own_rows(graph, "text", anchor)]
    graph[CROSS].edge_index = torch.tensor(pairs).T
    model = stack_of(schema, within=Looks(CROSS, 0))
    (question,) = ask(model, graph, anchor)
    found = attention(question)
    scans, texts = (len(own_rows(graph, name, anchor)) for name in ("scan", "text"))
    index = question.edges[CROSS].index
    weight = model.within.weights({"text": torch.zeros(question.counts["text"], 1)}, question.edges)[CROSS].mean(dim=1)
    for place, row in enumerate(question.n_id["scan"].tolist()):
        if row in own_rows(graph, "scan", anchor):
            looked = sum(float(weight[n]) for n in range(index.shape[1]) if int(index[0][n]) == place)
            assert float(found.nodes["scan"][place]) == pytest.approx(0.5 / scans + 0.5 * 0.5 * looked / texts)
    assert found.parts["scan"] == pytest.approx(0.75)
    assert found.parts["text"] == pytest.approx(0.25)


def test_the_attention_layer_is_understood(data, make_model):
    graph, schema = data
    assert isinstance(layers.Attention(4, relations=[NEAR]), Attends)
    (question,) = ask(make_model(schema, "attention"), graph, 7)
    found = attention(question)
    assert found.total == pytest.approx(1, abs=1e-5)
    into = found.index[NEAR][1] == 7
    assert float(found.edges[NEAR][into].sum()) == pytest.approx(1, abs=1e-5)
    assert "subject of others" not in found.parts or found.parts["subject of others"] > 0


def test_a_model_without_attention_is_refused(data, make_model):
    graph, schema = data
    (question,) = ask(make_model(schema, "mean"), graph, 7)
    with pytest.raises(ConfigError, match=r"got Model without; use shapley or integrated_gradients"):
        attention(question)


def test_no_hook_stays(data, make_model):
    graph, schema = data
    model = make_model(schema, "attention")
    attention(ask(model, graph, 7)[0])
    assert not any(module._forward_pre_hooks for module in model.modules())
