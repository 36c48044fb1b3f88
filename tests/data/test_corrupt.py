import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import Corrupt
from mmgraph.errors import ConfigError, DataError
from mmgraph.testing import fake_graph

NEAR, OF = ("a", "near", "a"), ("b", "of", "a")


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def graph():
    graph = HeteroData()
    graph["a"].x, graph["b"].x = torch.ones(200, 300), torch.ones(200, 3)
    pairs = torch.randperm(200 * 199, generator=drawn())[:1500]
    pairs = torch.stack([pairs // 199, pairs % 199])
    pairs = pairs[:, pairs[0] < pairs[1]]
    graph[NEAR].edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    graph[NEAR].edge_weight = torch.arange(2 * pairs.shape[1]).float()
    graph[OF].edge_index = torch.arange(200).expand(2, -1)
    return graph


def test_hidden_channels_are_zero_in_every_row(graph):
    left = Corrupt(channels={"a": 0.3})(graph, drawn())
    assert ((left["a"].x == 0).all(dim=0) | (left["a"].x == 1).all(dim=0)).all()
    assert 0.2 < 1 - left["a"].x.mean() < 0.4
    assert left["b"].x is graph["b"].x
    assert left[NEAR].edge_index is graph[NEAR].edge_index
    assert graph["a"].x.all()


def test_edges_go_with_their_way_back_and_their_weights(graph):
    left = Corrupt(edges={NEAR: 0.4})(graph, drawn())
    index, whole = left[NEAR].edge_index, graph[NEAR].edge_index
    there = set(map(tuple, index.T.tolist()))
    assert there == {(b, a) for a, b in there}
    assert 0.5 < len(there) / whole.shape[1] < 0.7
    places = left[NEAR].edge_weight.long()
    assert torch.equal(whole[:, places], index)
    assert torch.equal(left[OF].edge_index, graph[OF].edge_index)


def test_edges_between_types_are_drawn_one_by_one(graph):
    left = Corrupt(edges={OF: 0.5})(graph, drawn())
    assert 0.35 < left[OF].edge_index.shape[1] / 200 < 0.65


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_or_all(graph, share):
    left = Corrupt(channels={"a": share}, edges={NEAR: share})(graph, drawn())
    assert int(left["a"].x.count_nonzero()) == (1 - share) * 200 * 300
    assert left[NEAR].edge_index.shape[1] == (1 - share) * graph[NEAR].edge_index.shape[1]


def test_two_versions_differ_and_a_seed_repeats_them(graph):
    corrupt, generator = Corrupt(channels={"a": 0.5}, edges={NEAR: 0.5}), drawn()
    first, second, again = corrupt(graph, generator), corrupt(graph, generator), corrupt(graph, drawn())
    assert not torch.equal(first["a"].x, second["a"].x)
    assert first[NEAR].edge_index.shape != second[NEAR].edge_index.shape
    assert torch.equal(first["a"].x, again["a"].x)
    assert torch.equal(first[NEAR].edge_index, again[NEAR].edge_index)


def test_a_graph_without_nodes_or_edges():
    graph = HeteroData()
    graph["a"].x, graph[NEAR].edge_index = torch.ones(0, 2), torch.empty(2, 0, dtype=torch.long)
    left = Corrupt(channels={"a": 0.5}, edges={NEAR: 0.5})(graph, drawn())
    assert left["a"].x.shape == (0, 2)
    assert left[NEAR].edge_index.shape == (2, 0)


@pytest.mark.parametrize("share", [-0.1, 1.5, True, "half"])
def test_a_share_out_of_its_range(share):
    with pytest.raises(ConfigError, match=f"share of 'a' must be a number from 0 to 1, got {share!r}"):
        Corrupt(channels={"a": share})
    with pytest.raises(ConfigError, match="must be a number from 0 to 1"):
        Corrupt(edges={NEAR: share})


def test_types_that_are_not_there():
    graph, _ = fake_graph()
    with pytest.raises(DataError, match=r"needs 'sound' nodes with numeric x, got a graph of \['"):
        Corrupt(channels={"sound": 0.5})(graph, drawn())
    with pytest.raises(DataError, match=r"needs \('a', 'near', 'a'\) edges, got a graph of \["):
        Corrupt(edges={NEAR: 0.5})(graph, drawn())
