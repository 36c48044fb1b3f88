"""The control: attributions of a trained model and of one with shuffled weights."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mmgraph.errors import ConfigError
from mmgraph.explain import Attribution, ask, integrated_gradients, occlusion, rank_correlation, sanity, shapley
from mmgraph.explain.sanity import aligned, shuffled


def test_it_is_low_for_a_trained_model(trained):
    graph, _, model = trained
    found = sanity(ask(model, graph, [3, 7, 12, 20]), draws=10)
    assert abs(found.correlation) < 0.35
    assert found.correlation < found.magnitude < 0.8
    assert len(found.draws) == 10


def test_it_is_high_for_a_method_that_ignores_the_model(trained):
    def blind(question):
        degrees = {
            name: torch.bincount(edge_set.index[1], minlength=question.counts[name[2]])[edge_set.index[1]].float() + 1
            for name, edge_set in question.edges.items()
        }
        return Attribution(method="occlusion", anchor=0, output=0, score=0, baseline=0, parts={}, edges=degrees)

    graph, _, model = trained
    found = sanity(ask(model, graph, [3, 7]), blind, draws=3)
    assert found.draws == (1.0, 1.0, 1.0)
    assert found.magnitude == 1.0


def test_a_draw_is_a_model_of_the_same_numbers_in_other_places(trained):
    _, _, model = trained
    made = shuffled(model, torch.Generator().manual_seed(0))
    moved = 0
    for mine, its in zip(model.parameters(), made.parameters(), strict=True):
        assert torch.equal(mine.flatten().sort().values, its.flatten().sort().values)
        moved += not torch.equal(mine, its)
    assert moved > 5


def test_the_same_seed_gives_the_same_draws(trained):
    graph, _, model = trained
    (question,) = ask(model, graph, 7)
    assert sanity(question, draws=2, seed=3) == sanity(question, draws=2, seed=3)
    assert sanity(question, draws=2, seed=3) != sanity(question, draws=2, seed=4)


@pytest.mark.parametrize("method", [shapley, occlusion, integrated_gradients])
def test_any_method_can_be_controlled(method, trained):
    graph, _, model = trained
    question = ask(model, graph, [7])
    assert -1 <= sanity(question, method, draws=1).correlation <= 1


def test_parts_are_compared_where_there_are_no_nodes():
    given_ = {"method": "shapley", "anchor": 0, "output": 0, "score": 0.0, "baseline": 0.0}
    one, other = Attribution(**given_, parts={"a": 1.0, "b": 2.0}), Attribution(**given_, parts={"b": 3.0})
    assert [each.tolist() for each in aligned(one, other)] == [[1.0, 2.0], [0.0, 3.0]]


def test_edges_that_only_one_gives_are_compared_with_zeros():
    given_ = {"method": "shapley", "anchor": 0, "output": 0, "score": 0.0, "baseline": 0.0, "parts": {}}
    nodes, edges = {"a": torch.ones(2)}, {("a", "to", "a"): torch.ones(1)}
    pair = aligned(Attribution(**given_, nodes=nodes, edges=edges), Attribution(**given_, nodes=nodes))
    assert [each.tolist() for each in pair] == [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=3, max_size=20))
def test_rank_correlation_is_scipys(pairs):
    one, other = np.array(pairs).T
    found = rank_correlation(torch.tensor(one.astype(float)), torch.tensor(other.astype(float)))
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)


def test_places_where_both_are_zero_do_not_count():
    one, other = torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, 3.0, 2.0, 1.0])
    assert rank_correlation(one, other) == -1.0
    assert math.isnan(rank_correlation(one[:4], other[:4]))


def test_it_is_undefined_for_fewer_than_three(data, make_model):
    graph, schema = data
    found = sanity(ask(make_model(schema, "none"), graph, 0), draws=2)  # an anchor without anything
    assert math.isnan(found.correlation)


def test_questions_of_few_nodes_are_taken_together(trained):
    def two(question):
        values = {"scan": torch.tensor([float(question.anchor), -1.0])}
        return Attribution(method="occlusion", anchor=0, output=0, score=0, baseline=0, parts={}, nodes=values)

    graph, _, model = trained
    assert math.isnan(sanity(ask(model, graph, [3]), two, draws=1).correlation)
    assert sanity(ask(model, graph, [3, 7, 12]), two, draws=1).correlation == 1.0


def test_it_reads_well(trained):
    graph, _, model = trained
    assert "of 2 models of shuffled weights: " in str(sanity(ask(model, graph, 7), draws=2))


def test_errors_name_the_value(trained):
    graph, _, model = trained
    with pytest.raises(ConfigError, match="at least 1 question and 1 draw, got 0 and 5"):
        sanity([])
    with pytest.raises(ConfigError, match="at least 1 question and 1 draw, got 1 and 0"):
        sanity(ask(model, graph, 7), draws=0)
