"""Noise on features."""

import pytest
import torch
from torch_geometric.data import Batch, HeteroData

from mmgraph.data import FeatureNoise
from mmgraph.errors import ConfigError, DataError


def graph_of(x):
    graph = HeteroData()
    graph["a"].x = x
    graph["b"].x = torch.ones(2, 1)
    return graph


def test_the_noise_has_the_deviation_asked_for():
    graph = graph_of(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1)))
    noisy = FeatureNoise({"a": 2.5})(graph, torch.Generator().manual_seed(0))
    added = noisy["a"].x - graph["a"].x
    assert added.mean(dim=0).abs().max() < 0.06
    assert (added.std(dim=0) - 2.5).abs().max() < 0.06
    assert torch.corrcoef(added.T).fill_diagonal_(0).abs().max() < 0.03


def test_what_is_given_stays_and_the_rest_is_shared():
    graph = graph_of(torch.tensor([[1.0], [2.0]]))
    noisy = FeatureNoise({"a": 1.0})(graph, torch.Generator().manual_seed(0))
    assert graph["a"].x.tolist() == [[1.0], [2.0]]
    assert noisy["b"].x is graph["b"].x


def test_the_same_generator_gives_the_same_noise_whatever_the_order_of_the_names():
    graph = graph_of(torch.randn(4, 2))
    graph["b"].x = torch.randn(2, 1)
    first = FeatureNoise({"a": 1.0, "b": 2.0})(graph, torch.Generator().manual_seed(3))
    again = FeatureNoise({"b": 2.0, "a": 1.0})(graph, torch.Generator().manual_seed(3))
    assert all(torch.equal(first[node].x, again[node].x) for node in "ab")


def test_a_channel_that_is_constant_stays():
    noisy = FeatureNoise({"a": 1.0})(graph_of(torch.tensor([[1.0, 7.0], [2.0, 7.0]])), torch.Generator().manual_seed(0))
    assert noisy["a"].x[:, 1].tolist() == [7.0, 7.0]
    assert (noisy["a"].x[:, 0] != torch.tensor([1.0, 2.0])).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one(rows):
    graph = graph_of(torch.ones(rows, 2))
    assert torch.equal(FeatureNoise({"a": 1.0})(graph, torch.Generator())["a"].x, graph["a"].x)


def test_no_noise_changes_nothing_and_a_batch_stays_one():
    batch = Batch.from_data_list([graph_of(torch.randn(2, 2)), graph_of(torch.randn(3, 2))])
    same = FeatureNoise({"a": 0})(batch, torch.Generator())
    assert torch.equal(same["a"].x, batch["a"].x)
    assert [len(one["a"].x) for one in same.to_data_list()] == [2, 3]


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf"), True, "1"])
def test_a_deviation_that_is_none(std):
    with pytest.raises(ConfigError, match=f"The std of 'a' must be a number of at least 0, got {std!r}"):
        FeatureNoise({"a": std})


def test_a_type_that_is_not_there_or_has_no_numbers():
    graph = graph_of(torch.ones(2, 2))
    with pytest.raises(DataError, match=r"needs 'c' nodes with numeric x, got a graph of \['a', 'b'\]"):
        FeatureNoise({"c": 1.0})(graph, torch.Generator())
    graph["a"].x = torch.ones(2, 2, dtype=torch.long)
    with pytest.raises(DataError, match="needs 'a' nodes with numeric x"):
        FeatureNoise({"a": 1.0})(graph, torch.Generator())
