from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import norm

from mmgraph.functional import marginal, sinkhorn, transport, transported


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_sinkhorn(scores, r, c, sharpness, rounds=20_000):
    kernel = np.exp(sharpness * (scores - scores.max()))
    v = np.ones(len(c))
    for _ in range(rounds):
        u = r / (kernel @ v)
        v = c / (u @ kernel)
    return u[:, None] * kernel * v


def exact_plan(cost, a, b):
    """The cost of the best plan, by linear programming."""
    rows, columns = cost.shape
    equal = [np.kron(np.eye(rows)[i], np.ones(columns)) for i in range(rows)]
    equal += [np.kron(np.ones(rows), np.eye(columns)[j]) for j in range(columns)]
    return linprog(cost.ravel(), A_eq=np.array(equal), b_eq=np.concatenate([a, b]), bounds=(0, None)).fun


@pytest.mark.parametrize("sharpness", [0.3, 2.0, 8.0])
def test_equals_a_slow_loop(sharpness):
    scores, r, c = draw(7, 4), draw(7, seed=1).abs(), draw(4, seed=2).abs()
    found = sinkhorn(scores, rows=r, columns=c, sharpness=sharpness, rounds=5000)
    expected = slow_sinkhorn(scores.numpy(), (r / r.sum()).numpy(), (c / c.sum()).numpy(), sharpness)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(
    st.integers(1, 9), st.integers(1, 6), st.sampled_from(["uniform", "zipf", "gaussian"]), st.floats(0.01, 2000),
    st.integers(1, 30), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80)
def test_marginals_hold_however_sharp_and_few_the_rounds(rows, columns, kind, sharpness, rounds, seed):
    r, c = draw(rows, seed=seed).abs() + 1e-3, marginal(kind, columns).double()
    found = sinkhorn(5 * draw(rows, columns, seed=seed), rows=r, columns=c, sharpness=sharpness, rounds=rounds)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), r / r.sum(), atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(found.sum(0), c / c.sum(), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_approaches_the_exact_assignment_from_below(seed):
    scores = draw(12, 12, seed=seed)
    best = scores[linear_sum_assignment(scores.numpy(), maximize=True)].mean().item()
    sharpness = [0.5, 2.0, 8.0, 32.0, 128.0, 512.0]
    reached = [float((sinkhorn(scores, sharpness=sharp, rounds=4000) * scores).sum()) for sharp in sharpness]
    assert all(one < other + 1e-9 for one, other in pairwise(reached))
    assert all(value <= best + 1e-9 for value in reached)
    assert reached[-1] == pytest.approx(best, abs=1e-3)
    bound = [np.log(12) / sharp for sharp in sharpness]  # entropy of the plan is at most log 12 above its marginals'
    assert all(best - value <= slack + 1e-9 for value, slack in zip(reached, bound, strict=True))


def test_samples_to_clusters_approach_the_exact_assignment():
    """Twelve samples, three clusters of four: an assignment problem with each cluster four times."""
    scores = draw(12, 3).log_softmax(1)
    best = scores.repeat(1, 4)[linear_sum_assignment(scores.repeat(1, 4).numpy(), maximize=True)].mean().item()
    found = sinkhorn(scores, sharpness=400.0, rounds=4000)
    assert float((found * scores).sum()) == pytest.approx(best, abs=1e-4)
    assert (found.argmax(1).bincount() == 4).all()


def test_few_rounds_are_enough_for_sharp_scores():
    """What growing sharpness is for: at full sharpness from the start the same rounds get stuck far from it."""
    scores = 5 * draw(60, 6)
    best = scores.repeat(1, 10)[linear_sum_assignment(scores.repeat(1, 10).numpy(), maximize=True)].mean().item()
    assert best - float((sinkhorn(scores, sharpness=25.0, rounds=50) * scores).sum()) < 0.03  # stuck: 0.22


def test_scores_of_any_size_are_stable_in_single_precision():
    scores = 1e4 * draw(9, 5).float()
    found = sinkhorn(scores, sharpness=25.0)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(0), torch.full((5,), 1 / 5))
    torch.testing.assert_close(sinkhorn(scores + 1e4, sharpness=25.0), found)
    torch.testing.assert_close(sinkhorn(torch.zeros(4, 3)), torch.full((4, 3), 1 / 12))


def test_a_stack_is_each_alone_and_a_weight_of_nothing_carries_nothing():
    cost, a, b = draw(3, 5, 4).abs(), torch.ones(3, 5).double(), torch.ones(3, 4).double()
    lengths = [(5, 4), (2, 3), (1, 1)]
    for at, (rows, columns) in enumerate(lengths):
        a[at, rows:], b[at, columns:] = 0, 0
    found = transport(cost, a, b, epsilon=0.3, rounds=1000)
    for at, (rows, columns) in enumerate(lengths):
        alone = transport(cost[at, :rows, :columns], epsilon=0.3, rounds=1000)
        torch.testing.assert_close(found[at, :rows, :columns], alone, atol=1e-9, rtol=0)
        assert found[at].sum().item() == pytest.approx(1)
        assert (found[at, rows:] == 0).all()
        assert (found[at, :, columns:] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_transport_approaches_linear_programming_from_above(seed):
    cost, a, b = draw(6, 4, seed=seed).abs(), draw(6, seed=seed + 9).abs(), draw(4, seed=seed + 20).abs()
    a, b = a / a.sum(), b / b.sum()
    best = exact_plan(cost.numpy(), a.numpy(), b.numpy())
    reached = [float((transport(cost, a, b, epsilon=e, rounds=4000) * cost).sum()) for e in (1.0, 0.1, 0.03, 0.01)]
    assert all(one > other - 1e-9 for one, other in pairwise(reached))
    assert all(value >= best - 1e-9 for value in reached)
    assert reached[-1] == pytest.approx(best, abs=1e-3)


def test_the_plan_is_the_gradient_of_the_entropic_cost():
    cost = draw(4, 3).abs()

    def value(c):
        plan = transport(c, epsilon=0.5, rounds=300)
        return float((plan * c).sum() + 0.5 * (plan * plan.log()).sum())

    plan = transport(cost, epsilon=0.5, rounds=300)
    for i in range(4):
        for j in range(3):
            step = torch.zeros(4, 3).double()
            step[i, j] = 1e-5
            slope = (value(cost + step) - value(cost - step)) / 2e-5
            assert slope == pytest.approx(float(plan[i, j]), abs=1e-6)
    assert not transport(cost.requires_grad_()).requires_grad


def test_a_planted_alignment_of_words_and_regions_is_found():
    regions = torch.nn.functional.normalize(draw(5, 16), dim=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    words = torch.nn.functional.normalize(regions[order] + 0.1 * draw(5, 16, seed=1), dim=1)
    plan = transport(1 - words @ regions.T)
    assert plan.argmax(1).tolist() == order.tolist()
    assert (plan.amax(1) > 0.9 / 5).all()


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_marginals_have_their_law(count):
    torch.testing.assert_close(marginal("uniform", count), torch.full((count,), 1 / count))
    zipf = np.array([1 / place for place in range(1, count + 1)])
    np.testing.assert_allclose(marginal("zipf", count), zipf / zipf.sum(), rtol=1e-5)
    quantiles = norm.ppf([(count - at - 0.5) / count for at in range(count)], 1, 0.1)
    np.testing.assert_allclose(marginal("gaussian", count), quantiles / quantiles.sum(), rtol=1e-5)


def test_nothing_to_assign_is_nothing():
    assert sinkhorn(torch.empty(0, 3)).shape == (0, 3)
    assert sinkhorn(torch.empty(2, 0, 3)).shape == (2, 0, 3)


def test_what_can_not_be_assigned_is_refused():
    scores = torch.zeros(4, 3)
    for options, message in [
        ({"sharpness": 0}, "got 0 and 50"),
        ({"sharpness": float("inf")}, "got inf and 50"),
        ({"rounds": 0}, "got 25.0 and 0"),
        ({"rows": torch.ones(3)}, r"Weights of rows must be \[4\] or \[4\], got \[3\]"),
        ({"columns": torch.ones(2, 3)}, r"Weights of columns must be \[3\] or \[3\], got \[2, 3\]"),
        (
            {"columns": torch.tensor([1.0, -1.0, 1.0])},
            r"at least 0 and of a finite sum .*got \[1.0, -1.0, 1.0\]",
        ),
        ({"columns": torch.zeros(3)}, "of a finite sum above 0"),
        ({"columns": torch.tensor([1.0, float("nan"), 1.0])}, "of a finite sum above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            sinkhorn(scores, **options)
    with pytest.raises(ValueError, match=r"got \[4, 3\] with 1 that are not"):
        sinkhorn(scores.index_put((torch.tensor([0]), torch.tensor([0])), torch.tensor(torch.inf)))
    with pytest.raises(ValueError, match=r"got \[4\] with 0"):
        sinkhorn(torch.zeros(4))
    with pytest.raises(ValueError, match="epsilon must be above 0, got 0"):
        transport(scores, epsilon=0)
    for kind, count in [("zip", 3), ("zipf", 0)]:
        with pytest.raises(ValueError, match=f"count at least 1, got {kind}, {count}"):
            marginal(kind, count)


def ragged(sizes, channels=3, seed=0):
    """Sets of vectors of some sizes, packed with other numbers in the empty places, and which places are filled."""
    most = max(sizes, default=0)
    there = torch.arange(most) < torch.tensor(sizes)[:, None] if sizes else torch.zeros(0, 0, dtype=torch.bool)
    return draw(len(sizes), most, channels, seed=seed).where(there[:, :, None], torch.tensor(7.0).double()), there


def slow_transported(x, y, epsilon):
    """The score of two sets, from a plan made in numpy until it stays as it is."""
    x, y = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (x, y))
    even = [np.full(len(one), 1 / len(one)) for one in (x, y)]
    return (slow_sinkhorn(x @ y.T, *even, 1 / epsilon, rounds=1000) * (x @ y.T)).sum()


@given(st.lists(st.integers(1, 5), max_size=4), st.lists(st.integers(1, 4), max_size=4), st.integers(0, 99))
@settings(max_examples=20)
def test_sets_of_any_sizes_are_compared_as_in_a_loop(regions, words, seed):
    (x, x_there), (y, y_there) = ragged(regions, seed=seed), ragged(words, seed=seed + 1)
    found = transported(x, y, x_there, y_there, epsilon=0.5, rounds=1000)
    assert found.shape == (len(regions), len(words))
    for i, some in enumerate(regions):
        for j, others in enumerate(words):
            wanted = slow_transported(x[i, :some].numpy(), y[j, :others].numpy(), 0.5)
            assert float(found[i, j]) == pytest.approx(wanted, abs=1e-8)


def test_many_sets_are_transported_some_at_a_time(monkeypatch):
    (x, x_there), (y, y_there) = ragged([3, 1, 4, 2, 4]), ragged([2, 5, 1], seed=1)
    at_once = transported(x, y, x_there, y_there)
    monkeypatch.setattr("mmgraph.functional.assignment.CELLS", 1)
    torch.testing.assert_close(transported(x, y, x_there, y_there), at_once, rtol=0, atol=1e-12)


def test_gradients_flow_through_the_cosines_alone():
    (x, x_there), (y, y_there) = ragged([2, 3]), ragged([3, 1], seed=1)
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(transported(x, y, x_there, y_there, rounds=4000)[1, 0], x)
    cosines = torch.nn.functional.normalize(x[1], dim=1) @ torch.nn.functional.normalize(y[0], dim=1).T
    plan = transport(-cosines.detach(), epsilon=0.1, rounds=4000)
    (wanted,) = torch.autograd.grad((plan * cosines).sum(), x)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-6)
    assert (gradient[0] == 0).all()


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ([2, 0], {}, "Each set must have a vector, got 1 and 0 without"),
        ([2, 1], {"epsilon": 0.001}, "epsilon must be at least .01 and rounds at least 1, got 0.001 and 20"),
        ([2, 1], {"rounds": 0}, "rounds at least 1, got 0.1 and 0"),
    ],
)
def test_transported_says_what_is_wrong(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        transported(*[one for pair in zip(ragged(sizes), ragged([1]), strict=True) for one in pair], **options)
