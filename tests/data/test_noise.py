"""Noise that looks like the features."""

import numpy as np
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


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.2, 0.65, 1.0])
def test_mean_and_covariance_stay_and_the_share_of_the_variance_is_somebody_elses(share):
    x = (
        torch.randn(50_000, 3, generator=seeded(1)) @ torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.2]])
        + 4
    )
    noisy = FeatureNoise({"a": share})(graph_of(x), seeded())["a"].x
    assert torch.allclose(noisy.mean(dim=0), x.mean(dim=0), atol=0.1)
    assert torch.allclose(noisy.T.cov(), x.T.cov(), rtol=0.05, atol=0.03)
    own = torch.corrcoef(torch.stack([x[:, 0], noisy[:, 0]]))[0, 1]
    assert own**2 == pytest.approx(1 - share, abs=0.02)


def test_the_noise_is_gaussian_where_the_data_is_not():
    x = torch.where(torch.arange(40_000) % 2 == 0, 1.0, -1.0)[:, None]
    noise = FeatureNoise({"a": 1.0})(graph_of(x), seeded())["a"].x[:, 0]
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert (noise**4).mean() == pytest.approx(3.0, abs=0.15)  # of two points it is 1


def test_the_formula_row_by_row():
    x = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    noisy = FeatureNoise({"a": 0.36})(graph_of(x), seeded(2))["a"].x
    noise = (noisy - x.mean(dim=0) - 0.8 * (x - x.mean(dim=0))) / 0.6
    values, axes = np.linalg.eigh(np.cov(x.numpy(), rowvar=False, bias=True))
    drawn = torch.randn(x.shape, generator=seeded(2), dtype=torch.float64).numpy()
    whitened = np.abs(noise.numpy() @ axes / np.sqrt(values))  # axes are known up to their sign
    assert np.allclose(whitened, np.abs(drawn))


def test_what_is_given_stays_and_the_rest_is_shared():
    graph = graph_of(torch.tensor([[1.0], [2.0]]))
    noisy = FeatureNoise({"a": 0.5})(graph, seeded())
    assert graph["a"].x.tolist() == [[1.0], [2.0]]
    assert noisy["b"].x is graph["b"].x


def test_the_same_generator_gives_the_same_rows_whatever_the_order_of_the_names():
    graph = graph_of(torch.randn(40, 2))
    graph["b"].x = torch.randn(20, 1)
    first = FeatureNoise({"a": 0.5, "b": 1.0})(graph, seeded(3))
    again = FeatureNoise({"b": 1.0, "a": 0.5})(graph, seeded(3))
    other = FeatureNoise({"a": 0.5, "b": 1.0})(graph, seeded(4))
    assert all(torch.equal(first[node].x, again[node].x) for node in "ab")
    assert not torch.equal(first["a"].x, other["a"].x)


def test_a_constant_channel_stays():
    noisy = FeatureNoise({"a": 0.5})(graph_of(torch.tensor([[1.0, 7.0], [2.0, 7.0]])), seeded())
    assert noisy["a"].x[:, 1].tolist() == [7.0, 7.0]


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one(rows):
    graph = graph_of(torch.ones(rows, 2))
    assert torch.equal(FeatureNoise({"a": 0.5})(graph, seeded())["a"].x, graph["a"].x)


def test_no_share_changes_nothing_and_a_batch_stays_one():
    batch = Batch.from_data_list([graph_of(torch.randn(2, 2)), graph_of(torch.randn(3, 2))])
    same = FeatureNoise({"a": 0})(batch, seeded())
    assert torch.allclose(same["a"].x, batch["a"].x)
    assert [len(one["a"].x) for one in same.to_data_list()] == [2, 3]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True, "1"])
def test_a_share_that_is_none(share):
    with pytest.raises(ConfigError, match=f"The share of 'a' must be a number from 0 to 1, got {share!r}"):
        FeatureNoise({"a": share})


def test_a_type_that_is_not_there_or_has_no_numbers():
    graph = graph_of(torch.ones(2, 2))
    with pytest.raises(DataError, match=r"needs 'c' nodes with numeric x, got a graph of \['a', 'b'\]"):
        FeatureNoise({"c": 1.0})(graph, seeded())
    graph["a"].x = torch.ones(2, 2, dtype=torch.long)
    with pytest.raises(DataError, match="needs 'a' nodes with numeric x"):
        FeatureNoise({"a": 1.0})(graph, seeded())
