import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.semi_supervised import LabelSpreading

from mmgraph.functional import propagate_labels, propagated_labels


def ring(count=6):
    rows = torch.arange(count)
    onward = torch.stack([rows, (rows + 1) % count])
    return torch.cat([onward, onward.flip(0)], dim=1)


def closed_form(labels, adjacency, alpha):
    degree = adjacency.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), where=degree > 0, out=np.zeros_like(degree))
    smooth = scale[:, None] * adjacency * scale
    return (1 - alpha) * np.linalg.inv(np.eye(len(labels)) - alpha * smooth) @ labels


@given(st.integers(1, 9), st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.9]))
@settings(max_examples=40)
def test_both_ways_equal_the_closed_form(count, seed, alpha):
    rng = np.random.default_rng(seed)
    adjacency = np.triu(rng.random((count, count)) * (rng.random((count, count)) < 0.4), 1)
    adjacency += adjacency.T
    labels = np.eye(2)[rng.integers(0, 2, count)] * (rng.random((count, 1)) < 0.5)
    index = torch.from_numpy(np.stack(np.nonzero(adjacency)))
    weight = torch.from_numpy(adjacency[tuple(index)])
    y = torch.from_numpy(labels)
    expected = closed_form(labels, adjacency, alpha)
    exact = propagated_labels(y, index, weight=weight, alpha=alpha)
    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-10)
    near = propagate_labels(y, index, weight=weight, alpha=alpha, tolerance=1e-5)
    assert np.linalg.norm(near.numpy() - expected) <= 1e-5  # as promised, not about
    near = propagate_labels(y, index, weight=weight, alpha=alpha, tolerance=1e-10)
    np.testing.assert_allclose(near.numpy(), expected, atol=1e-9)


def test_karate_club_from_two_labels():
    club = networkx.karate_club_graph()
    adjacency = networkx.to_numpy_array(club, weight=None)
    index = torch.from_numpy(np.stack(np.nonzero(adjacency)))
    truth = torch.tensor([int(club.nodes[one]["club"] == "Officer") for one in club])
    labels = torch.zeros(34, 2)
    labels[0, 0] = labels[33, 1] = 1
    for found in (propagate_labels(labels, index, alpha=0.9), propagated_labels(labels, index, alpha=0.9)):
        assert int((found.argmax(dim=1) == truth).sum()) == 33


def test_equals_scikit_learn():
    x = np.random.default_rng(0).normal(size=(20, 2))
    y = np.array([0, 1, *[-1] * 18])
    spreading = LabelSpreading(gamma=0.5, alpha=0.8, tol=1e-12, max_iter=2000).fit(x, y)
    affinity = np.exp(-0.5 * ((x[:, None] - x) ** 2).sum(axis=2))
    np.fill_diagonal(affinity, 0)
    index = torch.from_numpy(np.stack(np.nonzero(affinity)))
    labels = torch.zeros(20, 2, dtype=torch.float64)
    labels[0, 0] = labels[1, 1] = 1
    found = propagated_labels(labels, index, weight=torch.from_numpy(affinity[tuple(index)]), alpha=0.8)
    shares = found / found.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(shares.numpy(), spreading.label_distributions_, atol=1e-8)


def test_without_its_own_label_a_row_is_told_what_it_would_be_told_unlabelled():
    index = ring()
    labels = torch.eye(2, dtype=torch.float64)[torch.tensor([0, 1, 0, 0, 1, 1])]
    found = propagated_labels(labels, index, alpha=0.7, own=False)
    for row in range(6):
        hidden = labels.clone()
        hidden[row] = 0
        torch.testing.assert_close(found[row], propagated_labels(hidden, index, alpha=0.7)[row])


def test_a_row_that_no_label_reaches_is_zero():
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    pair = torch.tensor([[0, 1], [1, 0]])
    for found in (propagate_labels(labels, pair), propagated_labels(labels, pair)):
        assert found[2].tolist() == [0.0, 0.0]
        assert found[1, 0] > 0


def test_no_rows_and_no_edges():
    none = torch.empty(2, 0, dtype=torch.long)
    for spread in (propagate_labels, propagated_labels):
        assert spread(torch.empty(0, 2), none).shape == (0, 2)
        torch.testing.assert_close(spread(torch.ones(2, 1), none, alpha=0.75), torch.full((2, 1), 0.25))


def test_gradient_of_the_labels():
    labels = torch.rand(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: propagated_labels(y, ring(), alpha=0.5), labels)
    assert torch.autograd.gradcheck(lambda y: propagate_labels(y, ring(), alpha=0.5, tolerance=1e-12), labels)


def test_options_out_of_range_are_refused():
    for spread in (propagate_labels, propagated_labels):
        for alpha in (-0.1, 1.0):
            with pytest.raises(ValueError, match=f"alpha must be from 0 to below 1, got {alpha}"):
                spread(torch.ones(6, 1), ring(), alpha=alpha)
    with pytest.raises(ValueError, match="tolerance must be above 0, got 0"):
        propagate_labels(torch.ones(6, 1), ring(), tolerance=0)
    with pytest.raises(ValueError, match=r"come to rest within 2 rounds, got a last step of 1\.9; allow"):
        propagate_labels(torch.eye(6), ring(), rounds=2)
