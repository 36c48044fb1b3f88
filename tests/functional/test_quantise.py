"""Codes against brute force, gradients against their formula, k-means of a stream, and codes that come back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional.quantise import code_perplexity, moving_codebook, nearest_code, quantise, revive_codes


def slow(x, codebook):
    found = []
    for row in x.tolist():
        gaps = [sum((a - b) ** 2 for a, b in zip(row, code, strict=True)) for code in codebook.tolist()]
        found.append(gaps.index(min(gaps)))
    return found


@settings(max_examples=60)
@given(rows=st.integers(0, 12), codes=st.integers(1, 9), channels=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_nearest_code_is_that_of_brute_force_and_ties_go_to_the_first(rows, codes, channels, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (rows, channels), generator=draw).float()  # small whole numbers: many ties
    codebook = torch.randint(-2, 3, (codes, channels), generator=draw).float()
    assert nearest_code(x, codebook).tolist() == slow(x, codebook)


def test_many_rows_are_read_in_blocks_with_the_same_result(monkeypatch):
    x, codebook = torch.randn(50, 3), torch.randn(7, 3)
    whole = nearest_code(x, codebook)
    monkeypatch.setattr("mmgraph.functional.quantise._BLOCK", 21)
    assert torch.equal(nearest_code(x, codebook), whole)


@pytest.mark.parametrize("codebook", [torch.zeros(0, 3), torch.zeros(4, 2), torch.zeros(3)])
def test_a_codebook_of_another_width_or_none_is_refused(codebook):
    with pytest.raises(ValueError, match=r"1 code at least, got \[.*\] and \[5, 3\]"):
        nearest_code(torch.zeros(5, 3), codebook)


def test_the_gradient_passes_to_the_vectors_as_if_nothing_lay_between():
    x, codebook = torch.randn(6, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    found = quantise(x, codebook)
    assert torch.equal(found.values, codebook[found.codes])  # to the last bit
    weight = torch.randn(6, 3)
    to_x, to_codes = torch.autograd.grad((found.values * weight).sum(), [x, codebook], allow_unused=True)
    assert torch.equal(to_x, weight)
    assert to_codes is None


@pytest.mark.parametrize("beta", [0.0, 0.25, 2.0])
def test_each_term_moves_one_side_alone_by_its_formula(beta):
    x = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    codebook = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    found = quantise(x, codebook, beta)
    gaps = (x - codebook[found.codes]).detach()
    torch.testing.assert_close(found.terms["codebook"], gaps.square().sum(dim=1))
    torch.testing.assert_close(found.terms["commitment"], gaps.square().sum(dim=1))
    torch.testing.assert_close(found.terms["total"], (1 + beta) * gaps.square().sum(dim=1))
    to_x, to_codes = torch.autograd.grad(found.terms["total"].sum(), [x, codebook])
    torch.testing.assert_close(to_x, 2 * beta * gaps)
    expected = torch.stack([-2 * gaps[found.codes == code].sum(dim=0) for code in range(4)])
    torch.testing.assert_close(to_codes, expected)


def test_the_moving_codebook_is_the_mean_of_each_codes_vectors_where_nothing_is_remembered():
    x, codes = torch.randn(40, 2, requires_grad=True), torch.arange(40) % 3
    book, counts, sums = moving_codebook(torch.ones(3), torch.zeros(3, 2), x, codes, decay=0.0)
    expected = torch.stack([x[codes == code].mean(dim=0) for code in range(3)]).detach()
    torch.testing.assert_close(book, expected)
    assert counts.tolist() == [14, 13, 13]
    assert not any(one.requires_grad for one in (book, counts, sums))


def test_the_moving_codebook_is_an_exponential_mean_and_a_code_that_nobody_takes_stays():
    counts, sums = torch.tensor([2.0, 4.0]), torch.tensor([[2.0], [20.0]])
    for turn in range(3):
        before = counts.clone(), sums.clone()
        x = torch.tensor([[1.0 + turn], [3.0]])
        book, counts, sums = moving_codebook(counts, sums, x, torch.tensor([0, 0]), decay=0.9)
        assert float(counts[0]) == pytest.approx(0.9 * float(before[0][0]) + 0.1 * 2)
        assert float(sums[0, 0]) == pytest.approx(0.9 * float(before[1][0, 0]) + 0.1 * (4 + turn))
        assert float(book[0, 0]) == pytest.approx(float(sums[0, 0] / counts[0]))
        assert float(book[1, 0]) == pytest.approx(5)


def test_dead_codes_come_back_on_vectors_and_the_others_stay():
    counts, sums = torch.tensor([3.0, 0.1, 0.0, 2.0]), torch.tensor([[3.0, 3.0], [9.0, 9.0], [0.0, 0.0], [4.0, 4.0]])
    x = torch.tensor([[7.0, 1.0], [8.0, 2.0]])
    new, sum_, back = revive_codes(counts, sums, x, least=0.5, generator=torch.Generator().manual_seed(0))
    assert back.tolist() == [False, True, True, False]
    assert new.tolist() == [3.0, 0.5, 0.5, 2.0]
    book = sum_ / new[:, None]
    assert book[[0, 3]].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert all(row in x.tolist() for row in book[[1, 2]].tolist())
    again = revive_codes(counts, sums, x, least=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again[1], sum_)


def test_nothing_comes_back_without_a_vector():
    counts, sums = torch.zeros(2), torch.ones(2, 3)
    new, sum_, back = revive_codes(counts, sums, torch.zeros(0, 3), least=1.0)
    assert torch.equal(new, counts)
    assert torch.equal(sum_, sums)
    assert not back.any()


def test_a_codebook_that_starts_far_off_finds_all_clusters_because_dead_codes_come_back():
    draw = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    x = centres[torch.randint(4, (400,), generator=draw)] + 0.1 * torch.randn(400, 2, generator=draw)
    counts, sums = torch.ones(6), torch.full((6, 2), 100.0)
    sums[0] = 2.0
    for _ in range(60):
        counts, sums, _ = revive_codes(counts, sums, x, least=5.0, generator=draw)
        codes = nearest_code(x, sums / counts[:, None])
        book, counts, sums = moving_codebook(counts, sums, x, codes, decay=0.8)
    assert torch.cdist(centres, book).min(dim=1).values.max() < 0.2
    assert torch.bincount(nearest_code(x, book), minlength=6).gt(0).sum() >= 4


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5, 5, 5], 4),
        ([7, 0, 0], 1),
        ([0, 0], 0),
        ([1, 3], math.exp(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))),
    ],
)
def test_perplexity_says_how_many_codes_are_in_use(counts, expected):
    assert float(code_perplexity(torch.tensor(counts))) == pytest.approx(expected)
