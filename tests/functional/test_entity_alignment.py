import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mmgraph.functional import Adjacency
from mmgraph.functional import entity_alignment as pairs
from mmgraph.functional.assignment import sinkhorn


def unit(rows, channels, seed=0):
    return F.normalize(torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed)), dim=1)


def small(seed=0):
    chance = torch.Generator().manual_seed(seed)
    index = torch.randint(0, 7, (2, 20), generator=chance)
    return index, torch.randint(0, 3, (20,), generator=chance), torch.rand(2, 20, generator=chance)


def test_seeds_spread_as_a_loop_says():
    index, _, weights = small()
    x = torch.zeros(7, 5)
    x[[1, 4]] = unit(2, 5)
    found = pairs.spread_seeds(x, Adjacency(index, 7, 7), weights)
    for weight, states in zip(weights, found, strict=True):
        heard = torch.zeros(7, 5)
        for (source, target), w in zip(index.T.tolist(), weight, strict=True):
            heard[target] += w * x[source]
        x = torch.stack([row / row.norm() if row.norm() else row for row in heard])
        torch.testing.assert_close(states, x)


def test_many_hops_without_seeds_have_finite_gradients():
    index = torch.tensor([[0, 1, 5], [1, 2, 6]])
    weights = torch.ones(6, 3, requires_grad=True)
    x = torch.zeros(7, 2)
    x[0, 0] = 1
    found = pairs.spread_seeds(x, Adjacency(index, 7, 7), weights)
    F.normalize(torch.cat(found, dim=1), dim=1).sum().backward()
    assert weights.grad.isfinite().all()
    assert not found[-1].any()


@pytest.mark.parametrize("channels", [1, 128, 300])
def test_facts_are_bound_as_a_loop_says(channels):
    index, relation, weights = small()
    x, z = unit(7, channels), unit(3, channels, 1)
    expected = torch.zeros(7, channels)
    for (source, target), r, w in zip(index.T.tolist(), relation.tolist(), weights[0], strict=True):
        expected[target] += w * x[source] * z[r]
    torch.testing.assert_close(pairs.bound_facts(x, z, index, relation, weights[0]), expected)


def test_bound_facts_estimate_the_product_of_outer_products():
    index, relation, weights = small()
    x, z, channels = unit(7, 4), unit(3, 4, 1), 200_000
    maps = [torch.randn(4, channels, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    bound = pairs.bound_facts(x @ maps[0], z @ maps[1], index, relation, weights[0]) / channels**0.5
    outer = torch.zeros(7, 16)
    for (source, target), r, w in zip(index.T.tolist(), relation.tolist(), weights[0], strict=True):
        outer[target] += w * torch.outer(x[source], z[r]).flatten()
    torch.testing.assert_close(bound @ bound.T, outer @ outer.T, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("rows", [3, 1500])
def test_csls_orders_as_its_formula(rows):
    x, y = unit(rows, 6), unit(12, 6, 1)
    cos = x @ y.T
    near_x = cos.sort(dim=1, descending=True).values[:, :10].mean(dim=1)
    near_y = cos.T.sort(dim=1, descending=True).values[:, :10].mean(dim=1)
    f, g = pairs.csls(x, y)
    torch.testing.assert_close(2 * (cos + f[:, None] + g), 2 * cos - near_x[:, None] - near_y)


@pytest.mark.parametrize(("rows", "columns"), [(9, 9), (5, 8), (1100, 4)])
def test_balance_is_sinkhorns_plan(rows, columns):
    x, y = unit(rows, 6).double(), unit(columns, 6, 1).double()
    f, g = pairs.balance(x, y, sharpness=10, rounds=400)
    plan = (10 * (x @ y.T + f[:, None] + g)).exp()
    torch.testing.assert_close(plan.sum(dim=0), torch.full((columns,), rows / columns).double())
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(rows).double(), rtol=1e-5, atol=1e-5)
    expected = sinkhorn(x @ y.T, sharpness=10, rounds=400)
    torch.testing.assert_close(plan / rows, expected, rtol=1e-3, atol=1e-7)


def test_balance_gives_each_its_own_where_one_is_everyones_nearest():
    x = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.6]]), dim=1)
    y = F.normalize(torch.tensor([[1.0, 0.3], [0.9, 0.9], [1.0, -1.0]]), dim=1)
    assert (x @ y.T).argmax(dim=1).tolist() != [2, 0, 1]
    _, g = pairs.balance(x, y, sharpness=40, rounds=200)
    assert (x @ y.T + g).argmax(dim=1).tolist() == [2, 0, 1]


@pytest.mark.parametrize(("options", "said"), [({"sharpness": 0}, "got 0 and 10"), ({"rounds": 0}, "got 40.0 and 0")])
def test_balance_refuses_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        pairs.balance(unit(2, 2), unit(2, 2), **options)


@given(st.integers(0, 6), st.integers(0, 6), st.floats(0, 3))
def test_cosines_with_offsets_are_ordered_as_sums(rows, columns, scale):
    x, y = unit(rows, 3).double(), unit(columns, 3, 1).double()
    f, g = scale * unit(1, rows, 2)[0].double(), scale * unit(1, columns, 3)[0].double()
    a, b = pairs.with_offsets(x, y, f, g)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(rows).double())
    torch.testing.assert_close(b.norm(dim=1), torch.ones(columns).double())
    sums, cosines = x @ y.T + f[:, None] + g, a @ b.T
    if rows and columns:
        length = (sums.flatten()[0] / cosines.flatten()[0]).abs()
        torch.testing.assert_close(cosines * length, sums)


@pytest.mark.parametrize("rows", [5, 1500])
def test_mutual_nearest_as_a_loop_says(rows):
    x, y = unit(rows, 4), unit(9, 4, 1)
    x[2], y[3] = 0, 0
    f, g = unit(1, rows, 2)[0] / 5, unit(1, 9, 3)[0] / 5
    for offsets in ((None, None), (f, g)):
        scores = x @ y.T
        if offsets[0] is not None:
            scores = scores + f[:, None] + g
        expected = [
            (i, int(scores[i].argmax()))
            for i in range(rows)
            if scores[:, scores[i].argmax()].argmax() == i and x[i].any() and y[scores[i].argmax()].any()
        ]
        assert pairs.mutual_nearest(x, y, *offsets).T.tolist() == [list(pair) for pair in expected]


def test_nothing_is_nearest_to_nothing():
    none = torch.empty(0, 3)
    assert pairs.mutual_nearest(none, unit(2, 3)).shape == (2, 0)
    assert pairs.mutual_nearest(torch.zeros(2, 3), torch.zeros(2, 3)).shape == (2, 0)
    assert [len(one) for one in pairs.balance(none, unit(2, 3))] == [0, 2]
