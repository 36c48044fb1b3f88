"""A warp is the cheapest way through the costs, and a soft one minds all ways."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional import dtw, soft_dtw, warp

SIZES = st.integers(1, 7)


def series(steps, channels=2, seed=0):
    return torch.randn(steps, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(cost, window=math.inf, least=min):
    """The table, cell by cell."""
    rows, columns = cost.shape
    table = {}
    for i, j in itertools.product(range(rows), range(columns)):
        if abs(i - j) > window:
            continue
        before = [table[cell] for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if cell in table]
        table[i, j] = float(cost[i, j]) + (least(before) if before else 0.0)
    return table[rows - 1, columns - 1]


def ways(rows, columns, cell=(0, 0)):
    """All ways from a cell to the last one."""
    if cell == (rows - 1, columns - 1):
        return [[cell]]
    i, j = cell
    steps = [one for one in ((i + 1, j + 1), (i + 1, j), (i, j + 1)) if one[0] < rows and one[1] < columns]
    return [[cell, *rest] for step in steps for rest in ways(rows, columns, step)]


def soft_least(gamma):
    return lambda before: min(before) - gamma * math.log(sum(math.exp((min(before) - one) / gamma) for one in before))


def is_a_way(path, rows, columns):
    steps = path.diff(dim=1)
    ends = path[:, 0].tolist() == [0, 0] and path[:, -1].tolist() == [rows - 1, columns - 1]
    return ends and bool(((steps >= 0) & (steps <= 1)).all()) and bool((steps.sum(dim=0) > 0).all())


@given(rows=SIZES, columns=SIZES, seed=st.integers(0, 10**6), narrow=st.booleans())
def test_equals_a_slow_loop(rows, columns, seed, narrow):
    cost = series(rows, columns, seed).abs()
    window = abs(rows - columns) + seed % 2 if narrow else None
    found = warp(cost, window=window)
    assert float(found.cost) == pytest.approx(slow(cost, math.inf if window is None else window))
    assert is_a_way(found.path, rows, columns)
    assert float(found.cost) == pytest.approx(float(cost[found.path[0], found.path[1]].sum()))
    assert window is None or int((found.path[0] - found.path[1]).abs().max()) <= window


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_no_way_is_cheaper(rows, columns, seed):
    cost = series(rows, columns, seed)
    all_costs = [sum(float(cost[cell]) for cell in way) for way in ways(rows, columns)]
    assert float(warp(cost).cost) == pytest.approx(min(all_costs))


@given(rows=SIZES, columns=SIZES, seed=st.integers(0, 10**6), gamma=st.sampled_from([0.05, 1.0, 7.0]))
def test_soft_equals_a_slow_loop(rows, columns, seed, gamma):
    x, y = series(rows, seed=seed), series(columns, seed=seed + 1)
    cost = (x[:, None] - y[None]).square().sum(dim=2)
    assert float(soft_dtw(x, y, gamma=gamma)) == pytest.approx(slow(cost, least=soft_least(gamma)))
    window = abs(rows - columns)
    narrow = slow(cost, window, soft_least(gamma))
    assert float(soft_dtw(x, y, gamma=gamma, window=window)) == pytest.approx(narrow)


def test_soft_is_the_sum_over_all_ways():
    x, y = series(3), series(4, seed=1)
    cost = (x[:, None] - y[None]).square().sum(dim=2)
    total = sum(math.exp(-sum(float(cost[cell]) for cell in way) / 2) for way in ways(3, 4))
    assert float(soft_dtw(x, y, gamma=2.0)) == pytest.approx(-2 * math.log(total))


def test_soft_goes_to_hard_from_below():
    x, y = series(8), series(11, seed=1)
    hard = dtw(x, y, metric="squared").cost
    gaps = [float(hard - soft_dtw(x, y, gamma=gamma)) for gamma in (1.0, 0.1, 0.01, 1e-4)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] >= 0
    assert gaps[-1] == pytest.approx(0, abs=1e-6)


def test_a_worked_example():
    """The series of Müller 2015, Fundamentals of music processing, chapter 3; its table is filled by hand."""
    x, y = torch.tensor([[1.0], [3.0], [9.0], [2.0], [1.0]]), torch.tensor([[2.0], [0.0], [0.0], [8.0], [7.0], [2.0]])
    found = dtw(x, y)
    table = [[1, 2, 3, 10, 16, 17], [2, 4, 5, 8, 12, 13], [9, 11, 13, 6, 8, 15], [9, 11, 13, 12, 11, 8]]
    for rows, line in enumerate(table, start=1):
        assert [float(dtw(x[:rows], y[: columns + 1]).cost) for columns in range(6)] == line
    assert float(found.cost) == 9
    assert found.path.T.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3], [2, 4], [3, 5], [4, 5]]


def test_a_stretched_series_costs_nothing_and_its_path_says_how():
    x = series(6)
    times = torch.tensor([1, 3, 1, 2, 1, 4])
    found = dtw(x, x.repeat_interleave(times, dim=0))
    assert float(found.cost) == 0
    assert found.path[0].bincount().tolist() == times.tolist()
    assert found.path[1].tolist() == list(range(int(times.sum())))
    assert torch.equal(dtw(x, x).path, torch.arange(6).repeat(2, 1))


def test_one_step_goes_with_all():
    x, y = series(1), series(4, seed=1)
    found = dtw(x, y)
    assert found.path.tolist() == [[0, 0, 0, 0], [0, 1, 2, 3]]
    assert float(found.cost) == pytest.approx(float((x - y).norm(dim=1).sum()))
    assert dtw(y, x).path.tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]]
    assert float(dtw(x, x + 3).cost) == pytest.approx(3 * math.sqrt(2))


@pytest.mark.parametrize("metric", ["euclidean", "squared", "cosine", "correlation"])
def test_turning_both_around_changes_no_cost(metric):
    x, y = series(7, channels=3), series(5, channels=3, seed=1)
    cost = dtw(x, y, metric=metric).cost
    torch.testing.assert_close(dtw(y, x, metric=metric).cost, cost)
    torch.testing.assert_close(dtw(x.flip(0), y.flip(0), metric=metric).cost, cost)


def test_of_equal_ways_it_takes_the_diagonal():
    assert warp(torch.zeros(3, 3)).path.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_a_window_of_0_is_the_diagonal():
    x, y = series(5), series(5, seed=1)
    found = dtw(x, y, window=0)
    assert torch.equal(found.path, torch.arange(5).repeat(2, 1))
    assert float(found.cost) == pytest.approx(float((x - y).norm(dim=1).sum()))


@pytest.mark.parametrize("metric", ["squared", "cosine"])
@pytest.mark.parametrize("window", [None, 2])
def test_the_gradient_equals_differences(metric, window):
    x, y = (series(steps, 3, seed).requires_grad_() for seed, steps in enumerate((5, 6)))
    assert torch.autograd.gradcheck(lambda *xy: soft_dtw(*xy, gamma=0.7, window=window, metric=metric), (x, y))


def test_the_gradient_of_a_warp_is_its_path():
    cost = series(4, 5).abs().requires_grad_()
    found = warp(cost)
    (gradient,) = torch.autograd.grad(found.cost, cost)
    expected = torch.zeros(4, 5, dtype=torch.float64)
    expected[found.path[0], found.path[1]] = 1
    assert torch.equal(gradient, expected)


def test_equal_series_have_a_finite_gradient():
    x = series(4).requires_grad_()
    for cost in (soft_dtw(x, x.detach(), gamma=0.1), dtw(x, x.detach()).cost):
        (gradient,) = torch.autograd.grad(cost, x)
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dtw(torch.empty(0, 2), torch.ones(3, 2)), r"at least 1 step, got \[0, 2\] and \[3, 2\]"),
        (lambda: dtw(torch.ones(3), torch.ones(3)), r"got \[3\] and \[3\]"),
        (lambda: dtw(torch.ones(3, 2), torch.ones(3, 4)), r"of one width.*got \[3, 2\] and \[3, 4\]"),
        (lambda: warp(torch.empty(0, 3)), r"at least 1 by 1, got \[0, 3\]"),
        (lambda: warp(torch.ones(3)), r"got \[3\]"),
        (lambda: warp(torch.tensor([[0.0, math.nan], [math.inf, 1.0]])), "must be finite, got 2 others"),
        (lambda: dtw(torch.ones(2, 1), torch.ones(5, 1), window=2), "at least 3, the difference of 2 and 5.*got 2"),
        (lambda: warp(torch.ones(2, 2), window=-1), "at least 0.*got -1"),
        (lambda: soft_dtw(torch.ones(2, 1), torch.ones(2, 1), gamma=0.0), "gamma must be above 0, got 0.0"),
    ],
)
def test_what_has_no_way_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
