"""Integrated gradients: against closed forms, a slow loop of finite differences, and their own completeness."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import encoders, fusion, layers
from mmgraph.errors import ConfigError
from mmgraph.explain import ask, integrated_gradients, shapley
from mmgraph.model import Model
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")
KINDS = ["none", "mean", "gcn", "gated", "smooth", "attention"]


def linear(schema):
    torch.manual_seed(0)
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    return Model(
        schema=schema, encoder=encoders.Raw(widths), fusion=fusion.Concat(widths, 4), head=nn.Linear(4, 2)
    ).eval()


@pytest.mark.parametrize("baseline", ["mean", "zeros"])
def test_of_a_linear_model_they_are_weight_times_difference(baseline, data, own_rows):
    graph, schema = data
    model = linear(schema)
    anchor = next(row for row in range(20) if len(own_rows(graph, "scan", row)) > 1)
    (question,) = ask(model, graph, anchor, output=1, score="logit")
    found = integrated_gradients(question, baseline=baseline, steps=1)
    weight = (model.head.weight[1] @ model.fusion.linear.weight).detach()  # [scan and text channels]
    start = 0
    for name in sorted(schema.modalities):
        width, rows = schema.nodes[name].channels, own_rows(graph, name, anchor)
        for place, row in enumerate(question.n_id[name].tolist()):
            share = weight[start : start + width] / len(rows)
            difference = graph[name].x[row] - question.reference(baseline)[name]
            assert torch.allclose(found.channels[name][place], share * difference, atol=1e-6)
        start += width
    assert found.residual == pytest.approx(0, abs=1e-5)
    values = shapley(question, baseline=baseline)
    for name in values.parts:
        if name in schema.modalities:
            assert values.parts[name] == pytest.approx(found.parts[name], abs=1e-5)


def reference_graph(question, t, mean, shift):
    """The graph at a point of the way, edge by edge, with some features or gates moved a little."""
    graph, kind = HeteroData(), shift[0]
    counts = question.counts
    features = {}
    for node, x in question.features.items():
        rows = [
            [float(mean[node][c] + t * (x[r, c] - mean[node][c])) for c in range(x.shape[1])] for r in range(len(x))
        ]
        if kind == node:
            rows[shift[1]][shift[2]] += shift[-1]
        features[node] = torch.tensor([*rows, mean[node].tolist()], dtype=torch.float64)
    for node, count in counts.items():
        graph[node].num_nodes = count + 1
    for name, (index, weight) in question.edges.items():
        ends, weights = [], []
        for number, (source, target) in enumerate(index.T.tolist()):
            if name[1] == "of":
                ends.append((source, target))
                continue
            plain = 1.0 if weight is None else float(weight[number])
            gate = t + (shift[-1] if kind == name and shift[1] == number else 0.0)
            ends += [(source, target), (counts[name[0]], target)]
            weights += [gate * plain, (1 - gate) * plain]
        if name[1] == "of":
            ends.append((counts[name[0]], counts[name[2]]))
        graph[name].edge_index = torch.tensor(ends).reshape(-1, 2).T
        if weights:
            graph[name].edge_weight = torch.tensor(weights, dtype=torch.float64)
    return graph, features


class Given(nn.Module):
    def forward(self, graph):
        return self.features


@pytest.mark.parametrize("kind", ["mean", "gcn", "attention"])
def test_they_equal_a_slow_loop_of_finite_differences(kind, make_model):
    graph, schema = fake_graph(10, seed=2)
    for name in schema.modalities:  # relations that the models do not read
        graph[name, "next", name].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = make_model(schema, kind, channels=4).eval()
    (question,) = ask(model, graph, 6, output=1)
    found = integrated_gradients(question, steps=8, most_steps=8, tolerance=10)
    mean = {node: each.double() for node, each in question.reference("mean").items()}
    slow = make_model(schema, kind, channels=4).double().eval()
    slow.encoder = Given()
    places, shares = np.polynomial.legendre.leggauss(8)

    def score(t, *shift):
        part, features = reference_graph(question, t, mean, shift)
        slow.encoder.features = features
        with torch.no_grad():
            one, two = slow(part)[question.place]
        return float(two - one)

    def integral(*shift):
        total, small = 0.0, 1e-5
        for place, share in zip(places, shares, strict=True):
            t = (place + 1) / 2
            total += share / 2 * (score(t, *shift, small) - score(t, *shift, -small)) / (2 * small)
        return total

    for number in range(found.edges[NEAR].shape[0])[:6]:
        assert float(found.edges[NEAR][number]) == pytest.approx(integral(NEAR, number), abs=2e-4)
    for node in schema.modalities:
        for row in range(len(question.features[node]))[:2]:
            for channel in range(4):
                way = float(question.features[node][row, channel] - mean[node][channel])
                expected = integral(node, row, channel) * way
                assert float(found.channels[node][row, channel]) == pytest.approx(expected, abs=2e-4)
    assert found.score == pytest.approx(score(1.0, None), abs=1e-4)
    assert found.baseline == pytest.approx(score(0.0, None), abs=1e-4)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    rounds=st.integers(1, 2),
    baseline=st.sampled_from(["mean", "zeros"]),
)
def test_they_add_up_to_the_difference_within_the_tolerance(make_model, seed, kind, rounds, baseline):
    graph, schema = fake_graph(12, seed=seed)
    for question in ask(make_model(schema, kind, rounds=rounds, seed=seed), graph, [0, seed % 12, 11]):
        found = integrated_gradients(question, baseline=baseline, tolerance=0.01)
        assert found.score == pytest.approx(question.score, abs=1e-3)
        total = sum(float(each.sum()) for each in (*found.nodes.values(), *found.edges.values()))
        assert found.total == pytest.approx(total, abs=1e-4)
        limit = 0.01 * max(0.1, abs(found.score - found.baseline))
        assert abs(found.residual) <= limit + 1e-5
        for node, each in found.channels.items():
            assert torch.allclose(each.sum(dim=1), found.nodes[node], atol=1e-6)


def test_edges_count_where_the_layer_takes_a_mean(data, make_model):
    """A mean does not change when all weights shrink; faded into a reference node, an edge still counts."""
    graph, schema = data
    found = integrated_gradients(ask(make_model(schema, "mean"), graph, 7)[0])
    source, target = found.index[NEAR]
    assert found.edges[NEAR][target == 7].abs().min() > 0
    assert found.edges[NEAR][target != 7].abs().max() == 0
    assert source[target == 7].tolist()


def test_relations_that_are_not_read_are_kept(data, make_model):
    graph, schema = data
    found = integrated_gradients(ask(make_model(schema, "mean"), graph, 7)[0])
    assert set(found.edges) == {NEAR}
    assert all(name[1] == "next" for name in found.kept)
    assert found.kept


class Blind(layers.Layer):
    """Means of the neighbours, for which every edge counts, whatever it weighs, though weights are read."""

    def forward(self, features, edges):
        (index, weight), x = edges[NEAR], features["subject"]
        sums = torch.zeros_like(x).index_add(0, index[1], x[index[0]])
        weighed = 0 if weight is None else 1e-6 * weight.sum()
        return {**features, "subject": x + sums + weighed}


def test_a_layer_that_sees_edges_without_weight_keeps_its_edges(data, make_model):
    graph, schema = data
    model = make_model(schema, "none")
    model.between = Blind()
    (question,) = ask(model, graph, 7)
    found = integrated_gradients(question)
    assert found.edges == {}
    assert NEAR in found.kept
    assert found.score == pytest.approx(question.score, abs=1e-5)


def test_steps_are_doubled_until_the_tolerance_is_met_and_said_to_be_too_few(trained):
    graph, _, model = trained
    (question,) = ask(model, graph, 7)
    rough = integrated_gradients(question, steps=1, most_steps=1, tolerance=10)
    fine = integrated_gradients(question, steps=1, tolerance=0.001)
    assert abs(fine.residual) <= 0.001 * abs(fine.score - fine.baseline) < abs(rough.residual)
    with pytest.warns(UserWarning, match=r"unexplained after 1 steps, above the tolerance of 1e-06; raise most_steps"):
        integrated_gradients(question, steps=1, most_steps=1, tolerance=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        integrated_gradients(question)


def test_many_points_are_worked_on_in_chunks(data, make_model, monkeypatch):
    graph, schema = data
    (question,) = ask(make_model(schema), graph, 7)
    whole = integrated_gradients(question)
    monkeypatch.setattr("mmgraph.explain.gradients.ROWS", 3 * sum(question.counts.values()))
    parts = integrated_gradients(question)
    assert torch.allclose(parts.edges[NEAR], whole.edges[NEAR], atol=1e-5)
    assert torch.allclose(parts.nodes["scan"], whole.nodes["scan"], atol=1e-5)


def test_parameters_get_no_gradient(data, make_model):
    graph, schema = data
    model = make_model(schema)
    integrated_gradients(ask(model, graph, 7)[0])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_errors_name_the_value(data, make_model):
    graph, schema = data
    (question,) = ask(make_model(schema), graph, 7)
    with pytest.raises(ConfigError, match="'mean' or 'zeros', got 'absent'"):
        integrated_gradients(question, baseline="absent")
    with pytest.raises(ConfigError, match="got tolerance=0, steps=16, most_steps=1024"):
        integrated_gradients(question, tolerance=0)
    with pytest.raises(ConfigError, match="got tolerance=0.1, steps=16, most_steps=8"):
        integrated_gradients(question, tolerance=0.1, most_steps=8)
