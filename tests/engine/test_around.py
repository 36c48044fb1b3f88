"""Neighbourhoods equal those of the whole graph's view, edge by edge."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.engine.around import Around
from mmgraph.search import subgraph
from mmgraph.testing import fake_graph


def same(mine, other):
    assert (mine.node_types, mine.edge_types) == (other.node_types, other.edge_types)
    for kind in [*mine.node_types, *mine.edge_types]:
        assert set(mine[kind]) == set(other[kind])
        for key, value in other[kind].items():
            assert torch.equal(torch.as_tensor(mine[kind][key]), torch.as_tensor(value)), (kind, key)


@settings(max_examples=30)
@given(st.integers(0, 24), st.integers(0, 3), st.integers(0, 5))
def test_subgraphs_are_views_of_the_whole_graph(row, hops, seed):
    graph, schema = fake_graph(25, seed=seed)
    same(Around(graph, schema).subgraph(schema.anchor, row, hops=hops), subgraph(graph, schema, row, hops=hops))


def test_subgraphs_of_several_types_are_too(films):
    around = Around(films.graph, films.schema)
    for row in range(6):
        for hops in range(3):
            same(around.subgraph("film", row, hops=hops), subgraph(films.graph, films.schema, row, hops=hops))


def test_the_graph_is_left_as_it_is(films):
    before = films.graph.clone()
    Around(films.graph, films.schema).subgraph("film", 0, hops=2)
    same(films.graph, before)
