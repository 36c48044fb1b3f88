import networkx as nx
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import pool_reached, reach


@st.composite
def digraphs(draw):
    nodes = draw(st.integers(1, 7))
    end = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(end, end), max_size=14))
    return nodes, torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T


@settings(max_examples=200)
@given(drawn=digraphs(), hops=st.integers(0, 4))
def test_neighbourhoods_equal_breadth_first_search(drawn, hops):
    nodes, index = drawn
    graph = nx.DiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(index.flip(0).T.tolist())  # backwards: who reaches a node
    x = torch.randn(nodes, 2, dtype=torch.float64)
    pairs, means = [], []
    for centre in range(nodes):
        members = sorted(nx.single_source_shortest_path_length(graph, centre, cutoff=hops))
        pairs += [[member, centre] for member in members]
        means.append(x[members].mean(0).numpy())
    assert reach(index, nodes, hops=hops).T.tolist() == pairs
    np.testing.assert_allclose(pool_reached(x, index, hops=hops), np.array(means), rtol=1e-12, atol=1e-15)


def test_no_nodes_reach_nothing():
    index = torch.empty(2, 0, dtype=torch.long)
    assert reach(index, 0, hops=2).shape == (2, 0)
    assert pool_reached(torch.empty(0, 3), index, hops=2).shape == (0, 3)


def test_no_hops_are_the_nodes_themselves():
    index = torch.tensor([[0, 1], [1, 2]])
    assert reach(index, 3, hops=0).tolist() == [[0, 1, 2], [0, 1, 2]]


def test_the_receptive_field_of_the_lecture():
    pairs = [("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("C", "E"), ("C", "F"), ("E", "F")]
    index = torch.tensor([["ABCDEF".index(a), "ABCDEF".index(b)] for a, b in pairs]).T
    index = torch.cat([index, index.flip(0)], 1)
    seen = ["".join("ABCDEF"[i] for i, to in reach(index, 6, hops=h).T.tolist() if to == 0) for h in (0, 1, 2)]
    assert seen == ["A", "ABCD", "ABCDEF"]
