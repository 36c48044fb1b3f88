import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.builders import patterns
from mmgraph.errors import ConfigError
from mmgraph.testing import fake_graph


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), sizes=st.tuples(*[st.integers(0, 8)] * 3))
def test_the_algebra_of_edges_is_that_of_sets(seed, sizes):
    generator = torch.Generator().manual_seed(seed)
    a, b, c = (torch.randint(0, 4, (2, size), generator=generator) for size in sizes)
    sets = [set(map(tuple, one.T.tolist())) for one in (a, b, c)]
    whole = patterns.union(a, b, c)
    assert set(map(tuple, whole.T.tolist())) == sets[0] | sets[1] | sets[2]
    assert whole.shape[1] == len(sets[0] | sets[1] | sets[2])
    keys = (whole[1] * 4 + whole[0]).tolist()
    assert keys == sorted(keys)
    left = patterns.difference(a, b, c)
    assert [tuple(e) for e in left.T.tolist()] == [e for e in map(tuple, a.T.tolist()) if e not in sets[1] | sets[2]]
    both = patterns.intersection(a, b)
    assert [tuple(e) for e in both.T.tolist()] == [e for e in map(tuple, a.T.tolist()) if e in sets[1]]


def test_edges_are_added_under_a_name_of_their_own():
    graph, schema = fake_graph()
    index = torch.tensor([[0], [1]])
    larger, wider = patterns.add(graph, schema, {("text", "cites", "scan"): index})
    assert larger["text", "cites", "scan"].edge_index is index
    assert ("text", "cites", "scan") not in graph.edge_types
    assert wider.edges.keys() - schema.edges.keys() == {("text", "cites", "scan")}
    wider.check(larger)
    with pytest.raises(ConfigError, match=r"a type that is not there yet, got \('scan', 'next', 'scan'\)"):
        patterns.add(graph, schema, {("scan", "next", "scan"): index})
