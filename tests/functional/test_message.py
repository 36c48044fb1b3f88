import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from mmgraph.functional import aggregate, symmetric_norm
from mmgraph.functional.message import degree


@st.composite
def edge_sets(draw, square=False):
    sources = draw(st.integers(0, 5))
    targets = sources if square else draw(st.integers(0, 5))
    count = draw(st.integers(0, 12)) if sources and targets else 0
    pairs = [[draw(st.integers(0, sources - 1)), draw(st.integers(0, targets - 1))] for _ in range(count)]
    weight = torch.tensor([draw(st.sampled_from([0.0, 0.25, 1.0, 3.0])) for _ in range(count)], dtype=torch.float64)
    return sources, targets, torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T, weight


def slow_aggregate(x, index, targets, weight, reduce):
    out = np.zeros((targets, x.shape[1]))
    for target in range(targets):
        rows = [(u, w) for (u, v), w in zip(index.T.tolist(), weight.tolist(), strict=True) if v == target]
        for u, w in rows:
            out[target] += w * x[u].numpy()
        mass = sum(w for _, w in rows)
        if reduce == "mean" and mass != 0:
            out[target] /= mass
    return out


@settings(max_examples=150, deadline=None)
@given(edges=edge_sets(), reduce=st.sampled_from(["sum", "mean"]), weighted=st.booleans())
def test_aggregate_equals_a_slow_loop(edges, reduce, weighted):
    sources, targets, index, weight = edges
    x = torch.randn(sources, 3, dtype=torch.float64)
    weight = weight if weighted else torch.ones_like(weight)
    got = aggregate(x, index, targets, weight=weight if weighted else None, reduce=reduce)
    np.testing.assert_allclose(got, slow_aggregate(x, index, targets, weight, reduce), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(degree(index, targets, weight=weight), np.bincount(index[1], weight, targets))


def test_the_default_is_the_plain_sum():
    x, index = torch.tensor([[1.0], [2.0]]), torch.tensor([[0, 1], [0, 0]])
    assert aggregate(x, index, 1).item() == 3


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_gradients_are_right(reduce):
    index = torch.tensor([[0, 1, 2, 0], [0, 0, 1, 3]])
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weight = (torch.rand(4, dtype=torch.float64) + 0.5).requires_grad_()
    assert gradcheck(lambda x, w: aggregate(x, index, 5, weight=w, reduce=reduce), (x, weight))


@pytest.mark.parametrize("self_loops", [False, True])
def test_symmetric_norm_has_the_right_gradients(self_loops):
    index = torch.tensor([[0, 1, 2, 0], [1, 0, 0, 2]])
    weight = (torch.rand(4, dtype=torch.float64) + 0.5).requires_grad_()
    assert gradcheck(lambda w: symmetric_norm(index, 3, 3, weight=w, self_loops=self_loops)[1], (weight,))


def dense(index, weight, sources, targets):
    out = np.zeros((targets, sources))
    np.add.at(out, (index[1].numpy(), index[0].numpy()), weight.numpy())
    return out


@settings(max_examples=100, deadline=None)
@given(edges=edge_sets())
def test_symmetric_norm_between_types_equals_the_dense_formula(edges):
    sources, targets, index, weight = edges
    A = dense(index, weight, sources, targets)
    left, right = (np.where(d > 0, np.where(d > 0, d, 1) ** -0.5, 0) for d in (A.sum(1), A.sum(0)))
    got_index, got = symmetric_norm(index, sources, targets, weight=weight, self_loops=False)
    assert torch.equal(got_index, index)
    np.testing.assert_allclose(dense(index, got, sources, targets), left[:, None] * A * right, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(edges=edge_sets(square=True), weighted=st.booleans())
def test_symmetric_norm_equals_the_dense_formula_and_pyg(edges, weighted):
    nodes, _, index, weight = edges
    index, weight = torch.cat([index, index.flip(0)], 1), weight.repeat(2)  # undirected
    keep = index[0] != index[1]  # PyG merges the loops that are there with the ones it adds
    index, weight = index[:, keep], weight[keep] if weighted else torch.ones(int(keep.sum()), dtype=torch.float64)
    A = dense(index, weight, nodes, nodes) + np.eye(nodes)
    scale = A.sum(1) ** -0.5
    got_index, got = symmetric_norm(index, nodes, nodes, weight=weight, self_loops=True)
    expected = scale[:, None] * A * scale
    np.testing.assert_allclose(dense(got_index, got, nodes, nodes), expected, rtol=1e-12)
    if nodes:
        theirs = gcn_norm(index, weight, nodes, add_self_loops=True)
        np.testing.assert_allclose(dense(*theirs, nodes, nodes), expected, rtol=1e-12)
    if not weighted:
        plain = symmetric_norm(index, nodes, nodes, self_loops=True)[1]
        np.testing.assert_allclose(plain, got, rtol=1e-6)


def test_a_node_attached_by_edges_into_itself_changes_no_other_weight():
    index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    weight = torch.tensor([0.3, 0.3, 0.7, 0.7])
    old_index, old = symmetric_norm(index, 3, 3, weight=weight, self_loops=True)
    more = torch.cat([index, torch.tensor([[0, 1, 2], [3, 3, 3]])], 1)
    new_index, new = symmetric_norm(more, 4, 4, weight=torch.cat([weight, torch.rand(3)]), self_loops=True)
    among = (new_index < 3).all(dim=0)
    assert torch.equal(new_index[:, among], old_index)
    assert torch.equal(new[among], old)


def test_a_node_without_edges_keeps_itself():
    index, weight = symmetric_norm(torch.empty(2, 0, dtype=torch.long), 2, 2, self_loops=True)
    assert index.tolist() == [[0, 1], [0, 1]]
    assert weight.tolist() == [1, 1]


@pytest.fixture
def lecture():
    """The lecture's graph A-F with x = 1..6, as directed edges both ways."""
    pairs = [("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("C", "E"), ("C", "F"), ("E", "F")]
    index = torch.tensor([["ABCDEF".index(a), "ABCDEF".index(b)] for a, b in pairs]).T
    return torch.cat([index, index.flip(0)], 1), torch.arange(1.0, 7, dtype=torch.float64)[:, None]


def test_neighbour_means_of_the_lecture(lecture):
    index, x = lecture
    assert aggregate(x, index, 6, reduce="mean").flatten().tolist() == [3, 2, 3.5, 1, 4.5, 4]


def test_gcn_aggregates_of_the_lecture(lecture):
    index, x = lecture
    index, weight = symmetric_norm(index, 6, 6, weight=torch.ones(14, dtype=torch.float64), self_loops=True)
    expected = [2.912384, 1.729938, 4.180192, 2.353553, 4.441263, 4.441263]
    np.testing.assert_allclose(aggregate(x, index, 6, weight=weight).flatten(), expected, atol=5e-7)
