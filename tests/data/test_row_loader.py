"""Rows in batches, beside the whole graph."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.data.row_loader import RowLoader
from mmgraph.errors import DataError
from mmgraph.layers import edge_sets


def asked(groups):
    graph = HeteroData()
    graph["a"].x = torch.randn(3, 2)
    graph["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    graph["query"].source = torch.tensor(groups)
    graph["query"].number = torch.arange(len(groups))
    graph["query"].num_nodes = len(groups)
    return graph


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30).filter(
        lambda rows: any(counts for _, counts in rows)
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_row_is_read_once_with_all_of_its_group(rows, size, shuffle):
    graph = asked([group for group, _ in rows])
    mask = torch.tensor([counts for _, counts in rows])
    loader = RowLoader(graph, "query", mask, groups=graph["query"].source, batch_size=size, shuffle=shuffle, seed=1)
    numbers, groups = [], []
    for batch in loader:
        store = batch["query"]
        assert store.num_nodes == len(store.number) == len(store.source)
        assert torch.equal(graph["query"].source[store.number], store.source)
        numbers += store.number.tolist()
        groups.append(set(store.source.tolist()))
        assert len(groups[-1]) <= size
    assert sorted(numbers) == mask.nonzero().flatten().tolist()
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert len(graph["query"].source) == len(rows)  # the graph that was given stays as it was


def test_ranks_share_the_groups_and_one_may_have_none():
    graph = asked([0, 1, 0, 2, 3, 4, 4])
    options = {"groups": graph["query"].source, "batch_size": 1, "world": 2, "idle": True}
    read = [
        [
            batch["query"].number.tolist()
            for batch in RowLoader(graph, "query", torch.ones(7).bool(), rank=rank, **options)
        ]
        for rank in (0, 1)
    ]
    assert read == [[[0, 2], [3], [5, 6]], [[1], [4], []]]


def test_order_is_that_of_the_seed_and_the_epoch():
    graph = asked(list(range(20)))

    def read(epoch, seed=0):
        loader = RowLoader(graph, "query", torch.ones(20).bool(), batch_size=6, shuffle=True, seed=seed)
        loader.set_epoch(epoch)
        return [batch["query"].number.tolist() for batch in loader]

    assert read(1) == read(1)
    assert read(1) != read(2)
    assert read(1) != read(1, seed=1)


def test_the_edges_of_all_batches_are_one_object():
    graph = asked([0, 1, 2, 3])
    loader = RowLoader(graph, "query", torch.ones(4).bool(), batch_size=2)
    assert len({id(edge_sets(batch)) for batch in loader}) == 1


def test_errors_name_the_value():
    graph = asked([0, 1])
    with pytest.raises(DataError, match="at least 1 row of 'query' to read, got none"):
        RowLoader(graph, "query", torch.zeros(2).bool(), batch_size=1)
    with pytest.raises(DataError, match=r"joined to nothing to be read in batches, got edges \[\('a', 'to', 'a'\)\]"):
        RowLoader(graph, "a", torch.ones(3).bool(), batch_size=1)
