import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmgraph.functional import ranking
from mmgraph.functional.ranking import Lists, Scores, average_precision, filtered_ranks, in_blocks, precision_at, ranks


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


@given(judged(), st.data())
def test_a_filtered_place_is_that_among_the_candidates_that_are_left(case, data):
    scores, left_out = case
    candidates = scores.shape[1]
    sought = torch.tensor(
        data.draw(st.lists(st.integers(0, candidates - 1), min_size=len(scores), max_size=len(scores)))
    )
    found = filtered_ranks(scores, sought, left_out.nonzero(as_tuple=True))
    for row, flags, own, (place, rivals) in zip(
        scores.tolist(), left_out.tolist(), sought.tolist(), found.tolist(), strict=True
    ):
        kept = [value for j, value in enumerate(row) if j == own or not flags[j]]
        mine = sum(j == own or not flags[j] for j in range(own))
        expected = np.mean([one.index(mine) + 1 for one in orders(kept)])
        assert place == pytest.approx(expected)
        assert rivals == len(kept) - 1


@given(judged(), st.data())
def test_among_some_rivals_the_place_is_that_with_the_others_taken_out(case, data):
    scores, flags = case
    queries, candidates = scores.shape
    sought = torch.tensor(data.draw(st.lists(st.integers(0, candidates - 1), min_size=queries, max_size=queries)))
    left_out = flags & torch.tensor(data.draw(st.lists(st.booleans(), min_size=candidates, max_size=candidates)))
    found = filtered_ranks(scores, sought, left_out.nonzero(as_tuple=True), flags.nonzero(as_tuple=True))
    expected = filtered_ranks(scores, sought, (left_out | ~flags).nonzero(as_tuple=True))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8])
def test_scores_of_any_type_are_ranked_alike(dtype):
    scores = torch.tensor([[3, 0, 5, 3], [250, 1, 0, 2]]).to(dtype)
    none = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    found = filtered_ranks(scores, torch.tensor([0, 3]), none)
    assert found.tolist() == [[2.5, 3.0], [2.0, 3.0]]
    assert found.dtype == torch.float64


def test_many_candidates_of_half_precision_are_counted_exactly():
    scores = torch.ones(1, 4099, dtype=torch.float16)
    scores[0, 0] = 0
    none = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    assert filtered_ranks(scores, torch.tensor([0]), none).tolist() == [[4099.0, 4098.0]]


def test_a_query_with_a_score_that_is_no_number_has_no_place():
    scores = torch.tensor([[torch.nan, 0.0], [0.0, torch.nan], [0.0, 1.0]])
    none = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    found = filtered_ranks(scores, torch.zeros(3, dtype=torch.long), none)
    assert found[:, 0].isnan().tolist() == [True, True, False]


def test_infinite_scores_are_equal_to_each_other():
    scores = torch.tensor([[-torch.inf, -torch.inf, 0.0], [torch.inf, 0.0, torch.inf]])
    none = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    assert filtered_ranks(scores, torch.zeros(2, dtype=torch.long), none)[:, 0].tolist() == [2.5, 1.5]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=20), st.lists(st.integers(0, 7), max_size=6))
def test_lists_are_those_of_a_dict_of_sets(entries, asked):
    pairs = torch.tensor(entries).view(-1, 2)
    lists = Lists(*pairs.T)
    row, place = lists.of(torch.tensor(asked, dtype=torch.long))
    found = torch.stack([row, lists.values[place], lists.counts[place]], dim=1).tolist()
    values = {key: sorted({b for a, b in entries if a == key}) for key in asked}
    expected = [[r, v, entries.count((key, v))] for r, key in enumerate(asked) for v in values[key]]
    assert found == expected
    every = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    assert lists.have(*every.T).tolist() == [tuple(one) in set(entries) for one in every.tolist()]


def test_scores_are_computed_when_they_are_read():
    table, read = torch.randn(5, 3), []

    def score(rows):
        read.append(len(rows))
        return table[rows]

    scores = Scores(score, 5, 3)
    some = scores.take(torch.tensor([4, 0, 2]))
    assert (read, some.shape, len(some)) == ([], (3, 3), 3)
    assert torch.equal(some[1:], table[[0, 2]])
    assert read == [2]


@pytest.mark.parametrize("elements", [1, 9, 40])
def test_what_is_worked_on_at_once_changes_no_place(monkeypatch, elements):
    scores, sought = torch.randint(5, (7, 9)).float(), torch.arange(7)
    others = torch.tensor([0, 3, 3]), torch.tensor([1, 0, 8])
    expected = filtered_ranks(scores, sought, others)
    monkeypatch.setattr(ranking, "CACHED_ELEMENTS", elements)
    assert torch.equal(filtered_ranks(scores, sought, others), expected)


def test_blocks_of_several_columns_are_put_together(monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 6)
    table = torch.randn(7, 2)
    assert torch.equal(in_blocks(7, 2, lambda rows: table[rows]), table)
