"""Pieces of texts as nodes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.builders import split_pieces
from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema


def texts(rows):
    length = max(map(len, rows), default=0)
    graph = HeteroData()
    graph["a"].x = torch.empty(len(rows), 0)
    graph["t"].tokens = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows]).view(len(rows), length)
    graph["t"].num_nodes = len(rows)
    graph["t", "of", "a"].edge_index = torch.arange(len(rows)).expand(2, -1)
    nodes = {"a": NodeSpec(channels=0), "t": NodeSpec(attributes=("tokens",))}
    return graph, Schema(nodes=nodes, edges={("t", "of", "a"): EdgeSpec()}, anchor="a")


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=5))
def test_texts_come_back_from_their_pieces(rows):
    graph, schema = split_pieces(*texts(rows), "t")
    schema.check(graph)
    node, owner = graph["piece", "of", "t"].edge_index
    symbol, place = graph["piece"].symbol, graph["piece"].position
    for number, row in enumerate(rows):
        mine = node[owner == number]
        assert symbol[mine].tolist() == row
        assert place[mine].tolist() == list(range(len(row)))
    before, after = graph["piece", "next", "piece"].edge_index
    assert owner[before].tolist() == owner[after].tolist()
    assert (place[after] - place[before]).tolist() == [1.0] * len(before)
    assert len(before) == sum(max(0, len(row) - 1) for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "a"}, r"Texts must be nodes with 'tokens', some of \['t'\], got 'a'"),
        ({"text": "t", "node": "a"}, "not there yet, got 'a'"),
    ],
)
def test_what_can_not_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        split_pieces(*texts([[1]]), **options)
