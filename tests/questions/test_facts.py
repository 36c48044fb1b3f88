from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError
from mmgraph.questions import Facts, Path, Query, draw_queries, path
from mmgraph.questions.query import SHAPES
from mmgraph.schema import Schema

NAMES = ["knows", "likes"]


def walk(triples, entities, relation):
    """One hop, fact by fact."""
    number, back = NAMES.index(relation.removeprefix("^")), relation.startswith("^")
    ends = [(t, h) if back else (h, t) for h, r, t in triples if r == number]
    return {end for start, end in ends if start in entities}


def slow(triples, query):
    met = None
    for branch in query.branches:
        reached = {branch.entity}
        for relation in branch.relations:
            reached = walk(triples, reached, relation)
        met = reached if met is None else met & reached
    for relation in query.then:
        met = walk(triples, met, relation)
    return sorted(met)


@st.composite
def worlds(draw):
    size = draw(st.integers(1, 6))
    end = st.integers(0, size - 1)
    triples = draw(st.lists(st.tuples(end, st.integers(0, 1), end), max_size=12))
    relation = st.sampled_from([*NAMES, "^knows", "^likes"])
    branch = st.builds(Path, end, st.lists(relation, min_size=1, max_size=3).map(tuple))
    branches = st.lists(branch, min_size=1, max_size=3).map(tuple)
    query = st.builds(Query, branches, st.lists(relation, max_size=2).map(tuple))
    return size, triples, draw(st.lists(query, max_size=5))


@settings(max_examples=40)
@given(world=worlds())
def test_products_equal_a_walk_fact_by_fact(world):
    size, triples, queries = world
    facts = Facts(torch.tensor(triples, dtype=torch.long).reshape(-1, 3), NAMES, size)
    masks = facts.reached(queries)
    assert masks.shape == (len(queries), size)
    for query, mask in zip(queries, masks, strict=True):
        assert mask.nonzero()[:, 0].tolist() == slow(triples, query)
        assert facts.answers(query).tolist() == slow(triples, query)


def world():
    graph = HeteroData()
    graph["town"].num_nodes, graph["person"].num_nodes, graph["question"].num_nodes = 2, 3, 1
    graph["person", "knows", "person"].edge_index = torch.tensor([[0, 1], [1, 2]])
    graph["person", "^knows", "person"].edge_index = torch.tensor([[1, 2], [0, 1]])
    graph["person", "lives_in", "town"].edge_index = torch.tensor([[2], [1]])
    graph["question", "about", "person"].edge_index = torch.tensor([[0], [0]])
    return graph, Schema.infer(graph)


def test_facts_are_the_edges_of_a_graph():
    facts = Facts.of(*world(), among=["town", "person"])
    assert facts.relations == ("knows", "lives_in")
    assert facts.num_entities == 5  # towns 0 and 1, persons 2 to 4
    assert facts.triples.tolist() == [[2, 0, 3], [3, 0, 4], [4, 1, 1]]
    assert facts.answers(path(2, "knows", "knows", "lives_in")).tolist() == [1]
    assert "about" in Facts.of(*world()).relations


def test_facts_given_twice_are_one():
    assert len(Facts(torch.tensor([[0, 0, 1], [0, 0, 1]]), ["a"], 2).triples) == 1


@pytest.mark.parametrize("shape", list(SHAPES))
def test_drawn_queries_have_their_shape_and_an_answer(shape):
    triples = torch.tensor([(a, (a + b) % 2, b) for a, b in product(range(8), range(8)) if (3 * a + b) % 4 == 0])
    facts = Facts(triples, NAMES, 8)
    queries = draw_queries(facts, shape, 20, seed=3)
    assert {query.shape for query in queries} == {shape}
    assert facts.reached(queries).any(dim=1).all()
    assert queries == draw_queries(facts, shape, 20, seed=3)
    assert queries != draw_queries(facts, shape, 20, seed=4)
    assert all(len(set(query.branches)) == len(query.branches) for query in queries)


def test_no_path_turns_back_at_once_by_the_way_it_came():
    facts = Facts(torch.tensor([[0, 0, 1], [1, 0, 2]]), NAMES, 3)
    assert {(q.branches[0].entity, q.branches[0].relations) for q in draw_queries(facts, "2p", 30)} == {
        (0, ("knows", "knows")),
        (2, ("^knows", "^knows")),
    }


ONE = Facts(torch.tensor([[0, 0, 1]]), NAMES, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Facts(torch.zeros(2, 2).long(), NAMES, 2), r"\[facts, 3\], got \[2, 2\]"),
        (lambda: Facts(torch.tensor([[0, 2, 1]]), NAMES, 2), r"relations 0 to 1, got \[0, 2, 1\]"),
        (lambda: ONE.answers(path(2, "knows")), "0 to 1, got 2 in a query"),
        (lambda: ONE.answers(path(0, "hates")), r"one of \['knows', 'likes'\], .* got 'hates'"),
        (lambda: ONE.answers(Query((Path(0, ("knows",)),), ("^hates",))), "got '\\^hates'"),
        (lambda: draw_queries(ONE, "4p", 1), "shape must be one of .* got '4p'"),
        (lambda: draw_queries(ONE, "3p", 5), "hold 5 queries of shape '3p', found 0"),
    ],
)
def test_what_is_not_there_is_named(call, message):
    with pytest.raises(DataError, match=message):
        call()
