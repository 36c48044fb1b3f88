import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise
from sklearn.preprocessing import KernelCenterer
from sklearn.svm import SVC

from mmgraph.functional import (
    centre_kernel,
    combine_kernels,
    cosine_kernel,
    kernel_alignment,
    kernel_ridge,
    linear_kernel,
    median_distance,
    normalise_trace,
    polynomial_kernel,
    rbf_kernel,
)


def rows(count=7, channels=4, *, seed=0):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kernels_equal_scikit_learn():
    x, y = rows(), rows(5, seed=1)
    for found, expected in [
        (linear_kernel(x, y), pairwise.linear_kernel(x, y)),
        (polynomial_kernel(x, y, degree=3, offset=2.0), pairwise.polynomial_kernel(x, y, degree=3, coef0=2.0)),
        (polynomial_kernel(x, y, scale=0.7), pairwise.polynomial_kernel(x, y, gamma=0.7)),
        (cosine_kernel(x, y), pairwise.cosine_similarity(x, y)),
        (rbf_kernel(x, y, width=1.5), pairwise.rbf_kernel(x, y, gamma=1 / (2 * 1.5**2))),
    ]:
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [linear_kernel, polynomial_kernel, cosine_kernel, rbf_kernel])
def test_a_kernel_of_rows_with_themselves_is_positive_semidefinite(kernel):
    x = rows(12, 3)
    found = kernel(x)
    torch.testing.assert_close(found, kernel(x, x))
    torch.testing.assert_close(found, found.T)
    assert torch.linalg.eigvalsh(found).min() > -1e-10


def test_the_median_is_over_pairs_that_differ():
    x = rows()
    apart = [float((x[i] - x[j]).norm()) for i in range(7) for j in range(i)]
    assert median_distance(x) == pytest.approx(np.sort(apart)[10])
    assert median_distance(torch.cat([x, x[:1]])) > 0
    twice = torch.tensor([[0.0], [0.0], [0.0], [3.0]])
    assert median_distance(twice) == 3.0  # not 0, though most pairs are equal
    torch.testing.assert_close(rbf_kernel(x), rbf_kernel(x, width=median_distance(x)))


@pytest.mark.parametrize("x", [torch.ones(3, 2), torch.ones(1, 2), torch.ones(0, 2)])
def test_rows_that_do_not_differ_have_no_median_distance(x):
    with pytest.raises(ValueError, match=rf"at least 2 rows that differ, got {len(x)} rows, all equal"):
        median_distance(x)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"got degree=0, offset=1.0"):
        polynomial_kernel(rows(), degree=0)
    with pytest.raises(ValueError, match=r"got degree=3, offset=-1"):
        polynomial_kernel(rows(), offset=-1)
    with pytest.raises(ValueError, match="width must be above 0, got 0"):
        rbf_kernel(rows(), width=0.0)
    with pytest.raises(ValueError, match="trace above 0 to be normalised by it, got 0.0"):
        normalise_trace(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="ridge must be above 0, got 0.0"):
        kernel_ridge(torch.eye(2), torch.ones(2, 1), torch.ones(2, dtype=torch.bool), ridge=0.0)
    with pytest.raises(ValueError, match="got 2 kernels, 3 shares"):
        combine_kernels([torch.eye(2)] * 2, torch.ones(3))
    with pytest.raises(ValueError, match="got 1 kernels, 1 shares, 0 pairs of masks"):
        combine_kernels([torch.eye(2)], torch.ones(1), present=[])
    with pytest.raises(ValueError, match="got 0 kernels, 0 shares"):
        combine_kernels([], torch.ones(0))


def test_centring_is_that_of_the_features():
    x = rows()
    kernel = rbf_kernel(x)
    torch.testing.assert_close(centre_kernel(linear_kernel(x)), linear_kernel(x - x.mean(dim=0)))
    np.testing.assert_allclose(centre_kernel(kernel).numpy(), KernelCenterer().fit_transform(kernel.numpy()))
    torch.testing.assert_close(centre_kernel(centre_kernel(kernel)), centre_kernel(kernel))
    assert float(normalise_trace(linear_kernel(x)).trace()) == pytest.approx(7)


def test_alignment_by_hand():
    kernel, labels = rbf_kernel(rows()), torch.tensor([1.0, 1, -1, 1, -1, -1, -1]).double()[:, None]
    target = linear_kernel(labels)
    plain = float((labels.T @ kernel @ labels) / (7 * (kernel**2).sum().sqrt()))  # Cristianini et al. 2001, eq. 3
    assert float(kernel_alignment(kernel, target, centred=False)) == pytest.approx(plain)
    h = torch.eye(7).double() - 1 / 7
    k, t = h @ kernel @ h, h @ target @ h
    centred = float(torch.trace(k @ t) / (torch.trace(k @ k) * torch.trace(t @ t)).sqrt())
    assert float(kernel_alignment(kernel, target)) == pytest.approx(centred)
    assert float(kernel_alignment(kernel, 5 * kernel + 3)) == pytest.approx(1)
    assert float(kernel_alignment(torch.ones(3, 3), torch.eye(3))) == 0.0


def test_linear_kernels_are_the_kernel_of_the_scaled_concatenation():
    a, b, shares = rows(seed=1), rows(7, 2, seed=2), torch.tensor([0.7, 0.3]).double()
    joined = torch.cat([shares[0].sqrt() * a, shares[1].sqrt() * b], dim=1)
    torch.testing.assert_close(combine_kernels([linear_kernel(a), linear_kernel(b)], shares), linear_kernel(joined))


def test_a_share_of_one_is_the_machine_of_one_modality():
    a, b, y = rows(40, seed=1), rows(40, 2, seed=2), np.arange(40) % 2
    kernels, one = [rbf_kernel(a), rbf_kernel(b)], torch.tensor([0.0, 1.0]).double()
    both = SVC(kernel="precomputed").fit(combine_kernels(kernels, one).numpy(), y)
    alone = SVC(gamma=1 / (2 * median_distance(b) ** 2)).fit(b.numpy(), y)
    np.testing.assert_allclose(both.decision_function(kernels[1].numpy()), alone.decision_function(b.numpy()))


def masks(*columns):
    return [(torch.tensor(one), torch.tensor(one)) for one in columns]


@given(st.integers(0, 200), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=9))
@settings(max_examples=40)
def test_a_sum_over_what_is_there_is_a_kernel(seed, have):
    count = len(have)
    kernels = [rbf_kernel(rows(count, 3, seed=seed)), rbf_kernel(rows(count, 2, seed=seed + 1))]
    present = masks(*zip(*have, strict=True))
    shares = torch.tensor([0.6, 0.4]).double()
    found = combine_kernels(kernels, shares, present=present)
    assert torch.linalg.eigvalsh(found).min() > -1e-9
    for i, mine in enumerate(have):
        for j, theirs in enumerate(have):
            total = sum(float(b * k[i, j]) for b, k, p, q in zip(shares, kernels, mine, theirs, strict=True) if p and q)
            b_i = sum(float(b) for b, p in zip(shares, mine, strict=True) if p)
            b_j = sum(float(b) for b, q in zip(shares, theirs, strict=True) if q)
            assert float(found[i, j]) == pytest.approx(total / (b_i * b_j) ** 0.5 if total else 0.0)
        if any(mine):
            assert float(found[i, i]) == pytest.approx(1)  # as if it had all


def test_with_everything_there_masks_change_nothing_and_absent_rows_are_not_read():
    kernels, shares = [rbf_kernel(rows()), rbf_kernel(rows(7, 2))], torch.tensor([0.6, 0.4]).double()
    everyone = masks([True] * 7, [True] * 7)
    torch.testing.assert_close(combine_kernels(kernels, shares, present=everyone), combine_kernels(kernels, shares))
    one = masks([True] * 7, [False] + [True] * 6)
    before = combine_kernels(kernels, shares, present=one)
    changed = kernels[1].clone()
    changed[0] = changed[:, 0] = float("nan")
    assert torch.equal(combine_kernels([kernels[0], changed], shares, present=one), before)
    assert float(before[0, 1]) == pytest.approx(float(0.6 * kernels[0][0, 1]) / 0.6**0.5)


def test_shares_get_a_gradient():
    shares = torch.tensor([0.6, 0.4], dtype=torch.float64, requires_grad=True)
    kernels = [rbf_kernel(rows()), rbf_kernel(rows(7, 2))]
    present = masks([True, False] * 3 + [True], [True] * 7)
    assert torch.autograd.gradcheck(lambda b: combine_kernels(kernels, b, present=present), shares)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_ridge_leaves_each_known_row_out(ridge):
    x, y = rows(9), rows(9, 2, seed=3)
    kernel, known = rbf_kernel(x), torch.tensor([True] * 6 + [False] * 3)
    found = kernel_ridge(kernel, y, known, ridge=ridge).answers
    for i in range(9):
        others = [j for j in range(6) if j != i]
        k = kernel[others][:, others].numpy() + ridge * np.eye(len(others))
        system = np.block([[k, np.ones((len(others), 1))], [np.ones((1, len(others))), np.zeros((1, 1))]])
        solved = np.linalg.solve(system, np.vstack([y[others].numpy(), np.zeros((1, 2))]))
        expected = kernel[i, others].numpy() @ solved[:-1] + solved[-1]
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-9)


def test_no_known_row_is_told_by_its_own_value():
    x, y, known = rows(9), rows(9, 1, seed=3), torch.tensor([True] * 6 + [False] * 3)
    changed = y.clone()
    changed[2] += 100
    changed[7] = float("nan")  # not known: not read
    before, after = (kernel_ridge(rbf_kernel(x), one, known, ridge=0.1).answers for one in (y, changed))
    torch.testing.assert_close(before[2], after[2], atol=1e-9, rtol=0)
    assert float((before[3] - after[3]).detach().abs()) > 1e-3


def test_ridge_with_a_constant_kernel_more_changes_nothing():
    x, y, known = rows(9), rows(9, 1, seed=3), torch.tensor([True] * 6 + [False] * 3)
    plain, shifted = (kernel_ridge(linear_kernel(x) + c, y, known, ridge=0.1).answers for c in (0.0, 5.0))
    torch.testing.assert_close(plain, shifted)  # the bias takes it


@pytest.mark.parametrize(("count", "expected"), [(0, [0.0, 0.0]), (1, [0.0, 4.0])])
def test_ridge_of_no_and_of_one_known_row(count, expected):
    known = torch.arange(2) < count
    found = kernel_ridge(torch.eye(2), torch.tensor([[4.0], [9.0]]), known, ridge=1.0)
    assert found.answers.flatten().tolist() == pytest.approx(expected)
    assert len(found.coefficients) == count


def test_ridge_gradient_in_kernel_and_ridge():
    x, y, known = rows(5), rows(5, 1, seed=3), torch.tensor([True] * 4 + [False])
    ridge = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    kernel = rbf_kernel(x).requires_grad_()
    assert torch.autograd.gradcheck(lambda k, r: kernel_ridge(k, y, known, ridge=r).answers, (kernel, ridge))
