import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmgraph.functional import ranking
from mmgraph.functional.ranking import average_precision, in_blocks, precision_at, ranks


@st.composite
def judged(draw):
    queries, candidates = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    levels = st.lists(st.integers(0, 3), min_size=candidates, max_size=candidates)
    scores = torch.tensor(draw(st.lists(levels, min_size=queries, max_size=queries))).float()
    flags = st.lists(st.booleans(), min_size=candidates, max_size=candidates)
    return scores, torch.tensor(draw(st.lists(flags, min_size=queries, max_size=queries)))


def orders(scores):
    """All orders of the candidates, best first, that equal scores allow."""
    found = [list(one) for one in itertools.permutations(range(len(scores)))]
    return [one for one in found if all(scores[a] >= scores[b] for a, b in itertools.pairwise(one))]


@given(judged())
def test_a_place_is_the_mean_over_all_orders_of_equal_scores(case):
    scores, _ = case
    for sought in range(scores.shape[1]):
        found = ranks(scores, torch.full((len(scores),), sought))
        expected = [np.mean([one.index(sought) + 1 for one in orders(row)]) for row in scores.tolist()]
        assert found.tolist() == pytest.approx(expected)


@given(judged(), st.integers(1, 7))
def test_precision_is_the_mean_over_all_orders_of_equal_scores(case, k):
    scores, relevant = case
    found = precision_at(scores, relevant, k=k)
    for row, flags, value in zip(scores.tolist(), relevant.tolist(), found.tolist(), strict=True):
        expected = np.mean([np.mean([flags[place] for place in one[:k]]) for one in orders(row)])
        assert value == pytest.approx(expected, abs=1e-6)


@given(judged())
def test_average_precision_is_that_of_scikit_learn(case):
    scores, relevant = case
    found = average_precision(scores, relevant)
    for row, flags, value in zip(scores.tolist(), relevant.tolist(), found.tolist(), strict=True):
        if any(flags):
            assert value == pytest.approx(average_precision_score(flags, row), abs=1e-6)
        else:
            assert np.isnan(value)


def test_what_is_no_candidate_counts_nowhere():
    scores = torch.tensor([[-torch.inf, 0.2, 0.1]])
    relevant = torch.tensor([[True, False, True]])
    assert precision_at(scores, relevant, k=5).tolist() == [0.5]
    assert average_precision(scores, relevant).tolist() == [0.5]


def test_constant_scores_are_worth_the_share_of_relevant_ones():
    scores, relevant = torch.zeros(1, 10), torch.arange(10)[None] < 3
    assert precision_at(scores, relevant, k=1).item() == pytest.approx(0.3)
    assert average_precision(scores, relevant).item() == pytest.approx(0.3)


def test_blocks_are_joined_in_their_order(monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 7)
    seen = []

    def judge(rows):
        seen.append(rows)
        return torch.arange(10)[rows]

    assert in_blocks(10, 3, judge).tolist() == list(range(10))
    assert max(rows.stop - rows.start for rows in seen) == 2
