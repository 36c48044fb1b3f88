import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import scoring
from mmgraph.functional.scoring import (
    apart,
    complex_product,
    core_matrices,
    cross,
    equal_rows,
    grouped_product,
    inner,
    moduli,
    rotate,
)

NORMS = (1, 2, "moduli")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(x):
    """The complex numbers of a vector."""
    half = len(x) // 2
    return [complex(float(a), float(b)) for a, b in zip(x[:half], x[half:], strict=True)]


def slow_distance(x, y, norm):
    if norm == "moduli":
        return sum(abs(a - b) for a, b in zip(numbers(x), numbers(y), strict=True))
    return sum(abs(float(a) - float(b)) ** norm for a, b in zip(x, y, strict=True)) ** (1 / norm)


def test_complex_products_are_pythons():
    x, y = draw(3, 8), draw(3, 8, seed=1)
    for row, a, b in zip(complex_product(x, y), x, y, strict=True):
        assert numbers(row) == pytest.approx([p * q for p, q in zip(numbers(a), numbers(b), strict=True)], abs=1e-12)


def test_turns_are_products_with_exponentials():
    x, phases = draw(3, 8), draw(3, 4, seed=1)
    for row, a, angles in zip(rotate(x, phases), x, phases, strict=True):
        turned = [p * cmath.exp(1j * float(angle)) for p, angle in zip(numbers(a), angles, strict=True)]
        assert numbers(row) == pytest.approx(turned, abs=1e-12)
    assert torch.allclose(moduli(rotate(x, phases)), moduli(x))


def test_moduli_are_pythons_and_flat_at_zero():
    x = torch.tensor([[0.0, 3.0, 0.0, 4.0]], dtype=torch.float64, requires_grad=True)  # 0 and 3 + 4i
    found = moduli(x)
    assert found.tolist() == [[0.0, 5.0]]
    found.sum().backward()
    assert torch.allclose(x.grad, torch.tensor([[0.0, 0.6, 0.0, 0.8]], dtype=torch.float64))


def test_inner_products_broadcast():
    x, y = draw(3, 1, 4), draw(5, 4, seed=1)
    expected = torch.stack([torch.stack([torch.dot(a[0], b) for b in y]) for a in x])
    assert torch.allclose(inner(x, y), expected, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_distances_are_those_of_a_slow_loop(norm):
    x, y = draw(4, 6), draw(5, 6, seed=1)
    expected = torch.tensor([[slow_distance(a, b, norm) for b in y] for a in x], dtype=torch.float64)
    assert torch.allclose(apart(x[:, None], y, norm=norm), expected, atol=1e-10)
    assert torch.allclose(cross(x, y, norm=norm), expected, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", [1, 7, 40, 1 << 18])
def test_gradients_of_all_pairs_are_those_of_each_pair(norm, block, monkeypatch):
    monkeypatch.setattr(scoring, "BLOCK_ELEMENTS", block)
    monkeypatch.setattr(scoring, "DEVICE_ELEMENTS", block)
    sent = draw(4, 5, seed=2)
    found = []
    for pairs in (lambda x, y: apart(x[:, None], y, norm=norm), lambda x, y: cross(x, y, norm=norm)):
        x, y = draw(4, 6).requires_grad_(), draw(5, 6, seed=1).requires_grad_()
        pairs(x, y).backward(sent)
        found.append((x.grad, y.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_the_gradient_of_the_moduli_is_the_difference_quotient():
    x, y = draw(3, 6).requires_grad_(), draw(4, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: cross(x, y, norm="moduli"), (x, y))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_distance_of_zero_has_a_gradient_of_zero(norm, dtype):
    for pairs in (lambda x, y: apart(x[:, None], y, norm=norm), lambda x, y: cross(x, y, norm=norm)):
        x = torch.zeros(1, 4, dtype=dtype, requires_grad=True)
        y = torch.tensor([[0.0] * 4, [0.0, 3.0, 0.0, 4.0]], dtype=dtype, requires_grad=True)
        found = pairs(x, y)
        assert found.dtype == dtype
        assert found[0, 0] == 0
        found.sum().backward()
        assert bool(x.grad.isfinite().all())
        assert y.grad[0].tolist() == [0.0] * 4
        assert bool(y.grad[1].any())


@pytest.mark.parametrize("norm", NORMS)
def test_no_rows_have_no_distances(norm):
    assert cross(draw(0, 4), draw(3, 4), norm=norm).shape == (0, 3)
    assert cross(draw(3, 4), draw(0, 4), norm=norm).shape == (3, 0)


@settings(max_examples=30)
@given(
    rows=st.integers(0, 5),
    columns=st.integers(0, 5),
    pairs=st.integers(1, 3),
    block=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_blocks_of_any_size_give_one_result(rows, columns, pairs, block, seed):
    x, y = draw(rows, 2 * pairs, seed=seed), draw(columns, 2 * pairs, seed=seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "BLOCK_ELEMENTS", block)
        assert torch.allclose(cross(x, y, norm="moduli"), apart(x[:, None], y, norm="moduli"), atol=1e-12)


def test_nothing_of_the_size_of_all_differences_is_held():
    """The way back remembers the two matrices and nothing else."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        cross(draw(30, 8).requires_grad_(), draw(40, 8).requires_grad_(), norm="moduli")
    assert sum(kept) == 30 * 8 + 40 * 8


def test_a_core_makes_the_matrices_of_a_slow_loop():
    relations, core = draw(3, 2), draw(2, 4, 4, seed=1)
    for relation, matrix in zip(relations, core_matrices(relations, core), strict=True):
        assert torch.allclose(matrix, sum(relation[k] * core[k] for k in range(2)), atol=1e-12)


def test_rows_through_their_matrices_are_those_of_a_slow_loop():
    x, matrices, which = draw(6, 4), draw(3, 4, 5, seed=1), torch.tensor([2, 0, 2, 2, 0, 2])  # nobody has matrix 1
    expected = torch.stack([row @ matrices[k] for row, k in zip(x, which.tolist(), strict=True)])
    assert torch.allclose(grouped_product(x, matrices, which), expected, atol=1e-12)
    assert grouped_product(x[:0], matrices, which[:0]).shape == (0, 5)
    assert grouped_product(x[:0], matrices[:0], which[:0]).shape == (0, 5)


def test_equal_rows_are_found_and_share_their_gradient():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    different, which = equal_rows(x)
    assert torch.equal(different[which], x)
    assert len(different) == 2
    (different[which] * torch.tensor([[3.0], [5.0], [6.0], [0.0]])).sum().backward()
    assert torch.allclose(x.grad, torch.tensor([[3.0, 3.0], [5.0, 5.0], [3.0, 3.0], [3.0, 3.0]]))


def test_rows_gathered_from_a_table_get_the_tables_gradient():
    table, rows, core, sent = draw(3, 2), torch.tensor([2, 0, 2, 1, 2]), draw(2, 4, 4, seed=1), draw(5, 4, seed=2)
    x, found = draw(5, 4, seed=3), []
    for grouped in (True, False):
        leaf = table.clone().requires_grad_()
        if grouped:
            different, which = equal_rows(leaf[rows])
            out = grouped_product(x, core_matrices(different, core), which)
        else:
            out = torch.einsum("qi,qk,kij->qj", x, leaf[rows], core)
        out.backward(sent)
        found.append((out.detach(), leaf.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_euclidean_distances_of_long_close_vectors_stay_numbers():
    """A square of a distance that rounds below zero has no root."""
    x = torch.full((50, 64), 100.0) + 1e-4 * torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    found = cross(x, x.detach().clone(), norm=2)
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert bool(x.grad.isfinite().all())
    assert math.isclose(float(cross(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), norm=2)), 5, rel_tol=1e-6)
