"""Shared neighbours are those of networkx."""

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import overlap as room
from mmgraph.functional.overlap import overlap


@settings(max_examples=30)
@given(
    edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30),
    pairs=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda p: p[0] != p[1]), max_size=12),
)
def test_it_equals_networkx(edges, pairs):
    graph = nx.Graph()
    graph.add_nodes_from(range(8))
    graph.add_edges_from(edge for edge in edges if edge[0] != edge[1])
    index, asked = (torch.tensor(rows, dtype=torch.long).reshape(-1, 2).T for rows in (edges, pairs))
    shared = [len(list(nx.common_neighbors(graph, *pair))) for pair in pairs]
    assert overlap(index, asked, num_nodes=8).tolist() == shared
    expected = torch.tensor([score for *_, score in nx.adamic_adar_index(graph, pairs)], dtype=torch.float32)
    torch.testing.assert_close(overlap(index, asked, num_nodes=8, weights="adamic_adar"), expected)


def test_blocks_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    index, pairs = (torch.randint(0, 30, (2, count), generator=generator) for count in (200, 90))
    whole = overlap(index, pairs, num_nodes=30)
    for block in (1, 17):
        monkeypatch.setattr(room, "BLOCK", block)
        assert torch.equal(overlap(index, pairs, num_nodes=30), whole)
    assert whole.max() > 1


def test_weights_must_be_known():
    with pytest.raises(ValueError, match="got 'jaccard'"):
        overlap(
            torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, dtype=torch.long), num_nodes=1, weights="jaccard"
        )
