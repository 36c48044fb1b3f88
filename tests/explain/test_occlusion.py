"""What is left out: against graphs built without it, and against every order of adding."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmgraph import encoders, fusion, layers
from mmgraph.errors import ConfigError
from mmgraph.explain import ask, occlusion, shapley, shapley_values
from mmgraph.explain.occlusion import players
from mmgraph.model import Model
from mmgraph.schema import EdgeSpec
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")


def answer(model, part, place, log_odds, column=1):
    with torch.no_grad():
        return log_odds(model(part)[place], column)


@pytest.mark.parametrize("kind", ["none", "mean", "gated", "attention"])
def test_shapley_values_are_the_mean_over_all_orders(kind, data, make_model, without, log_odds, own_rows):
    graph, schema = data
    model = make_model(schema, kind).eval()
    anchor = next(row for row in range(20) if own_rows(graph, "scan", row) and own_rows(graph, "text", row))
    (question,) = ask(model, graph, anchor, output=1)
    found = shapley(question)
    names = ["scan", "text", "near"]

    def value(there):
        gone = {name: own_rows(graph, name, anchor) for name in ("scan", "text") if name not in there}
        lost = {} if "near" in there else {NEAR: range(graph[NEAR].edge_index.shape[1])}
        part, place = without(graph, schema, gone, lost)
        return answer(model, part, place["subject"][anchor], log_odds)

    expected = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        for number, name in enumerate(order):
            expected[name] += (value(order[: number + 1]) - value(order[:number])) / 6
    for name in names:
        assert found.parts.get(name, 0.0) == pytest.approx(expected[name], abs=1e-4)
    assert found.baseline == pytest.approx(value(()), abs=1e-5)
    assert found.residual == pytest.approx(0, abs=1e-9)
    for name in set(found.parts) - set(names):  # relations that the model does not read
        assert found.parts[name] == pytest.approx(0, abs=1e-6)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["none", "mean", "gcn", "gated", "smooth", "attention"]))
def test_shapley_values_add_up_to_the_score(make_model, seed, kind):
    graph, schema = fake_graph(15, seed=seed)
    for question in ask(make_model(schema, kind, seed=seed), graph, [0, seed % 15, 14]):
        for baseline in ("absent", "mean", "zeros"):
            found = shapley(question, baseline=baseline)
            assert found.total == pytest.approx(found.score - found.baseline, abs=1e-9)
            assert found.score == pytest.approx(question.score, abs=1e-5)


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(0, 10_000))
def test_the_axioms_of_shapley_values(count, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(2**count, generator=generator, dtype=torch.float64)
    other = torch.randn(2**count, generator=generator, dtype=torch.float64)
    found = shapley_values(values)
    assert float(found.sum()) == pytest.approx(float(values[-1] - values[0]))  # efficiency
    assert torch.allclose(shapley_values(values + 2 * other), found + 2 * shapley_values(other))  # linearity
    expected = torch.zeros(count, dtype=torch.float64)
    orders = list(permutations(range(count)))
    for order in orders:
        members = 0
        for player in order:
            expected[player] += (values[members | (1 << player)] - values[members]) / len(orders)
            members |= 1 << player
    assert torch.allclose(found, expected)


def test_the_glove_game():
    """One has a left glove, two have right ones; a pair is worth 1 (Shapley values 2/3, 1/6, 1/6)."""
    values = torch.tensor([float((s & 1) and (s & 6) != 0) for s in range(8)])
    assert torch.allclose(shapley_values(values), torch.tensor([2 / 3, 1 / 6, 1 / 6]))


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_occlusion_is_the_difference_to_a_graph_built_without(kind, data, make_model, without, log_odds):
    graph, schema = data
    model = make_model(schema, kind).eval()
    (question,) = ask(model, graph, 7, output=1)
    found = occlusion(question)
    part = graph.subgraph({name: question.n_id[name] for name in graph.node_types})
    score = answer(model, part, question.place, log_odds)
    for node in part.node_types:
        assert found.nodes[node].shape == question.n_id[node].shape
        for row in range(part[node].num_nodes):
            if node == "subject" and row == question.place:
                assert float(found.nodes[node][row]) == pytest.approx(0, abs=1e-6)  # it can't be left out
                continue
            left, place = without(part, schema, {node: [row]})
            expected = score - answer(model, left, place["subject"][question.place], log_odds)
            assert float(found.nodes[node][row]) == pytest.approx(expected, abs=1e-5)
    for name in part.edge_types:
        for number in range(part[name].edge_index.shape[1]):
            left, place = without(part, schema, edges={name: [number]})
            expected = score - answer(model, left, place["subject"][question.place], log_odds)
            assert float(found.edges[name][number]) == pytest.approx(expected, abs=1e-5)


def test_edges_are_named_by_the_rows_of_the_graph_that_was_given(data, make_model):
    graph, schema = data
    (question,) = ask(make_model(schema), graph, 7)
    known = {tuple(pair) for pair in graph[NEAR].edge_index.T.tolist()}
    pairs = [tuple(pair) for pair in occlusion(question).index[NEAR].T.tolist()]
    assert pairs
    assert set(pairs) <= known


def test_the_residual_of_occlusion_is_what_parts_share(data, make_model):
    graph, schema = data
    found = occlusion(ask(make_model(schema), graph, 7)[0])
    assert found.residual == pytest.approx(found.score - found.baseline - sum(found.parts.values()))
    assert abs(found.residual) > 1e-6


def test_a_relation_without_edges_has_no_numbers(data, make_model):
    graph, schema = data
    graph[NEAR].edge_index, graph[NEAR].edge_weight = torch.empty(2, 0, dtype=torch.long), torch.empty(0)
    found = occlusion(ask(make_model(schema), graph, 7)[0])
    assert found.edges[NEAR].shape == (0,)
    assert "near" not in found.parts


def test_an_anchor_without_anything_has_no_parts(data, make_model):
    graph, schema = data
    (question,) = ask(make_model(schema, "none"), graph, 0)
    assert question.own == {}
    found = shapley(question)
    assert found.parts == {}
    assert found.score == found.baseline


def anchors_with_payload(seed=0):
    graph, schema = fake_graph(15, seed=seed)
    graph["subject"].x = torch.randn(15, 2, generator=torch.Generator().manual_seed(seed))
    schema = schema.model_copy(
        update={"nodes": {**schema.nodes, "subject": schema.nodes["subject"].model_copy(update={"channels": 2})}}
    )
    torch.manual_seed(0)
    widths = {"scan": 4, "text": 4, "subject": 4}
    encoder = encoders.Table({"scan": 3, "text": 5, "subject": 2}, 4)
    return graph, Model(
        schema=schema,
        encoder=encoder,
        fusion=fusion.Concat(widths, 4),
        between=layers.Mean(4, 4, relations=[NEAR]),
        head=nn.Linear(4, 2),
    )


def test_the_anchors_own_payload_is_a_part_that_becomes_the_mean(log_odds):
    graph, model = anchors_with_payload()
    model.eval()
    (question,) = ask(model, graph, 5, output=1)
    found = occlusion(question)
    with torch.no_grad():
        mean = model.encoder(graph)["subject"][graph["subject"].train_mask].mean(dim=0)
    features = {**question.features, "subject": question.features["subject"].clone()}
    features["subject"][question.place] = mean
    with torch.no_grad():
        outputs = question.scene.call(features, question.counts, question.edges)
    expected = question.score - log_odds(outputs[question.place], 1)
    assert found.parts["subject"] == pytest.approx(expected, abs=1e-5)
    assert float(found.nodes["subject"][question.place]) == pytest.approx(expected, abs=1e-5)


def test_relations_can_be_one_player(data, make_model):
    graph, schema = data
    (question,) = ask(make_model(schema), graph, 7)
    names = [one.name for one in players(question, together=True)]
    assert names[-1] == "relations"
    assert shapley(question, together=True).parts["relations"] == pytest.approx(
        shapley(question).parts["near"], abs=1e-5
    )


def test_too_many_players_are_refused(data, make_model):
    graph, schema = data
    extra = {("subject", f"near{number}", "subject"): EdgeSpec() for number in range(12)}
    for name in extra:
        graph[name].edge_index = graph[NEAR].edge_index
    schema = schema.model_copy(update={"edges": {**schema.edges, **extra}})
    (question,) = ask(make_model(schema), graph, 7)
    with pytest.raises(ConfigError, match=r"at most 12 modalities and relations, got 1\d: .*together=True"):
        shapley(question)
    assert shapley(question, together=True).residual == pytest.approx(0, abs=1e-9)
