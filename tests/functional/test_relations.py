"""Categories of relations against a slow count."""

from collections import defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional.relations import CATEGORIES, categories

FACTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5)), max_size=30)


def slowly(facts, num_relations):
    kinds = []
    for relation in range(num_relations):
        tails, heads = defaultdict(set), defaultdict(set)
        for h, r, t in facts:
            if r == relation:
                tails[h].add(t)
                heads[t].add(h)
        if not tails:
            kinds.append(-1)
            continue
        a_head = sum(map(len, tails.values())) / len(tails)
        a_tail = sum(map(len, heads.values())) / len(heads)
        kinds.append(CATEGORIES.index(f"{'n' if a_tail >= 1.5 else '1'}-{'n' if a_head >= 1.5 else '1'}"))
    return kinds


@given(FACTS)
def test_categories_are_those_of_a_count_by_hand(facts):
    got = categories(torch.tensor(facts, dtype=torch.long).reshape(-1, 3), 4)
    assert got.dtype == torch.int64
    assert got.tolist() == slowly(facts, 4)


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([(0, 5), (1, 6)], "1-1"),
        ([(0, 5), (0, 6)], "1-n"),
        ([(0, 5), (1, 5)], "n-1"),
        ([(0, 5), (0, 6), (1, 5), (1, 6)], "n-n"),
        ([(0, 5), (0, 6), (1, 7)], "1-n"),  # 1.5 tails a head: many
        ([(0, 5), (0, 6), (1, 7), (2, 8)], "1-1"),  # 4 / 3
        ([(0, 5), (0, 5), (0, 5)], "1-1"),  # one fact, given three times
    ],
)
def test_each_kind(pairs, kind):
    facts = torch.tensor([[h, 0, t] for h, t in pairs])
    assert [CATEGORIES[number] for number in categories(facts, 1).tolist()] == [kind]


def test_numbers_of_entities_may_be_large():
    far = 5_000_000
    assert categories(torch.tensor([[far, 800, 0], [far, 800, far], [0, 3, far]]), 801)[[3, 800]].tolist() == [0, 1]
