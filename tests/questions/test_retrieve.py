import warnings

import pytest
import torch

from mmgraph import KnowledgeGraph, Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.pagerank import solve_pagerank
from mmgraph.questions import Facts, found_share, induced, joined, near, retrieve, told

#   0 - 1 - 2 - 3
#       |       |
#       4 - 5 - 6    7 alone
FACTS = Facts(
    torch.tensor([[0, 0, 1], [2, 0, 1], [2, 1, 3], [4, 0, 1], [4, 1, 5], [6, 0, 5], [3, 0, 6]]), ["r", "s"], 8
)
INDEX = torch.tensor([[0, 1], [2, 1], [2, 3], [4, 1], [4, 5], [6, 5], [3, 6]]).T
BOTH = torch.cat([INDEX, INDEX.flip(0)], dim=1)


def exact(seeds):
    start = torch.zeros(8, dtype=torch.float64)
    start[seeds] = 1
    return solve_pagerank(Adjacency(BOTH, 8, 8), start)


@pytest.mark.parametrize("large", [False, True])
def test_the_nearest_are_those_of_pagerank_both_ways(large, monkeypatch):
    if large:
        monkeypatch.setattr(retrieve, "LARGE", 1)
    shares = exact([0, 3])
    entities, found = near(FACTS, torch.tensor([0, 3]), most=5)
    assert entities.tolist() == shares.argsort(descending=True, stable=True)[:5].tolist()
    torch.testing.assert_close(found, shares[entities], atol=1e-4, rtol=0)
    assert sorted(near(FACTS, torch.tensor([0]), most=99)[0].tolist()) == list(range(7))  # none that is not reached
    assert near(FACTS, torch.tensor([7]), most=3)[0].tolist() == [7]


def test_a_tree_joins_what_is_wanted():
    prizes = torch.zeros(8)
    prizes[[0, 3]] = 9.0
    assert joined(FACTS, prizes).tolist() == [0, 1, 2, 3]
    assert 7 in joined(FACTS, prizes, root=7).tolist()
    dear = torch.zeros(7)
    dear[[place for place, fact in enumerate(FACTS.triples.tolist()) if fact in ([4, 0, 1], [4, 1, 5])]] = 1.0
    dear[[place for place, fact in enumerate(FACTS.triples.tolist()) if fact in ([6, 0, 5], [3, 0, 6])]] = 1.0
    assert joined(FACTS, prizes, fact_prizes=dear).tolist() == [0, 1, 3, 4, 5, 6]  # those facts are free


def test_a_tree_is_of_bounded_size():
    prizes = torch.tensor([9.0, 1, 1, 9, 1, 1, 1, 0])
    assert len(joined(FACTS, prizes, cost=0.5)) == 7
    for most in range(1, 7):
        assert 1 <= len(joined(FACTS, prizes, cost=0.5, most=most)) <= most


def test_the_subgraph_has_its_facts_and_payloads_alone():
    known = KnowledgeGraph.fit(Triples(list("abca"), ["r", "r", "s", "s"], list("bcdd")))
    place = {name: row for row, name in enumerate(known.entities)}
    part = induced(known.graph, known.schema, torch.tensor([place[name] for name in "abd"]))
    rows = [known.entities[row] for row in part["entity"].n_id.tolist()]
    facts = [
        (rows[h], name, rows[t])
        for (_, name, _), store in part.edge_items()
        if not name.startswith("^")
        for h, t in store.edge_index.T.tolist()
    ]
    assert sorted(rows) == ["a", "b", "d"]
    assert sorted(facts) == [("a", "r", "b"), ("a", "s", "d")]
    assert "answer" not in part["query"]


NAMES = list("abcdefgh")


def test_facts_are_told_in_the_order_of_what_matters():
    text = told(FACTS, torch.tensor([3, 2, 1, 6]), NAMES)
    assert text.splitlines() == ["c; s; d", "c; r; b", "d; r; g"]
    assert told(FACTS, torch.tensor([7]), NAMES) == ""


def test_a_cut_says_by_how_much():
    with pytest.warns(UserWarning, match=r"cut to 2 of 3 facts \(15 of 23 characters\)"):
        assert told(FACTS, torch.tensor([3, 2, 1, 6]), NAMES, characters=22) == "c; s; d\nc; r; b"
    with pytest.warns(UserWarning, match=r"cut to 0 of 3 facts \(0 of 23"):
        assert told(FACTS, torch.tensor([3, 2, 1, 6]), NAMES, characters=6) == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told(FACTS, torch.tensor([3, 2, 1, 6]), NAMES, characters=23)


def test_what_is_found_is_counted_question_by_question():
    assert found_share([torch.tensor([1, 2]), torch.tensor([1])], [[1, 2], [1, 3]]) == 0.5
    with pytest.raises(DataError, match="got 1 and 2"):
        found_share([torch.tensor([1])], [[1], [2]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: near(FACTS, torch.tensor([8])), DataError, r"0 to 7, at least 1, got \[8\]"),
        (lambda: near(FACTS, torch.empty(0).long()), DataError, r"at least 1, got \[\]"),
        (lambda: near(FACTS, torch.tensor([0]), most=0), ConfigError, "most must be at least 1, got 0"),
        (lambda: joined(FACTS, torch.ones(7)), DataError, r"\[8\] and of facts \[7\], got \[7\] and \[7\]"),
        (lambda: joined(FACTS, torch.ones(8), cost=0), ConfigError, "cost above 0, got 32 and 0"),
        (lambda: told(FACTS, torch.tensor([0]), NAMES, characters=0), ConfigError, "at least 1, got 0"),
        (lambda: told(FACTS, torch.tensor([0]), NAMES[:3]), DataError, "each of the 8 entities, got 3"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
