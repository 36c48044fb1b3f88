"""Each sum over triplets against a loop over triplets, masks against edges, and the identities between the systems."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmgraph.functional.margin import (
    affinity,
    bidirectional_ranking,
    cosine_alignment,
    devise,
    edges_of,
    hinge_ranking,
    perceptual_correlation,
    ranking_terms,
    structure_ranking,
)

EYE = torch.eye(6, dtype=torch.bool)


def slow(scores, positives, negatives, margin, hardest=False):
    """Triplet by triplet."""
    terms = []
    for i, p in positives.nonzero().tolist():
        hinges = [
            (margin - scores[i, p] + scores[i, n]).clamp(min=0) for n in negatives[i].nonzero().flatten().tolist()
        ]
        if hinges:
            terms.append(max(hinges) if hardest else sum(hinges))
        else:
            terms.append(torch.zeros((), dtype=scores.dtype))
    return sum(terms) / len(terms) if terms else torch.zeros((), dtype=scores.dtype)


def ragged(rows=7, columns=9, seed=0, share=0.3):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(rows, columns, generator=generator)
    positives, negatives = drawn < share, drawn > 1 - 1.5 * share
    positives[0], negatives[-1] = False, False  # a query without positives, and one without negatives
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64), positives, negatives


@pytest.mark.parametrize("hardest", [False, True])
@given(seed=st.integers(0, 1000), rows=st.integers(1, 8), columns=st.integers(1, 8), margin=st.sampled_from([0.1, 2.0]))
@settings(max_examples=40)
def test_equals_a_loop_over_triplets_and_so_does_the_gradient(hardest, seed, rows, columns, margin):
    scores, positives, negatives = ragged(rows, columns, seed)
    scores.requires_grad_()
    fast = hinge_ranking(scores, positives, negatives, margin=margin, hardest=hardest)
    loop = slow(scores, positives, negatives, margin, hardest)
    torch.testing.assert_close(fast, loop)
    (gradient,) = torch.autograd.grad(fast, scores)
    expected = torch.autograd.grad(loop, scores)[0] if loop.requires_grad else torch.zeros_like(scores)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("hardest", [False, True])
def test_both_directions_are_the_one_and_the_other(hardest):
    scores, positives, negatives = ragged()
    expected = slow(scores, positives, negatives, 0.2, hardest) + slow(scores.T, positives.T, negatives.T, 0.2, hardest)
    torch.testing.assert_close(bidirectional_ranking(scores, positives, negatives, hardest=hardest), expected)


@pytest.mark.parametrize("hardest", [False, True])
def test_masks_and_edges_in_any_order_give_the_same(hardest):
    scores, positives, negatives = ragged()
    dense = hinge_ranking(scores, positives, negatives, hardest=hardest)
    there, apart = (edges_of(mask)[:, torch.randperm(int(mask.sum()))] for mask in (positives, negatives))
    torch.testing.assert_close(hinge_ranking(scores, there, apart, hardest=hardest), dense)
    torch.testing.assert_close(hinge_ranking(scores, there, negatives, hardest=hardest), dense)
    terms = ranking_terms(scores[there[0], there[1]], there[0], scores[apart[0], apart[1]], apart[0], hardest=hardest)
    torch.testing.assert_close(terms.mean(), dense)


def test_large_scores_of_many_edges_keep_small_differences():
    generator = torch.Generator().manual_seed(0)
    scores = 1000 + torch.rand(20, 3000, generator=generator)
    positives = torch.zeros(20, 3000, dtype=torch.bool)
    positives[:, :4] = True
    expected = (0.001 - scores[:, :4, None].double() + scores[:, None, 4:].double()).clamp(min=0).sum(2).mean()
    got = hinge_ranking(scores, positives, ~positives, margin=0.001)
    assert got.item() == pytest.approx(expected.item(), rel=1e-4)


def test_zero_if_and_only_if_the_margins_are_met():
    scores = torch.full((6, 6), 0.25)
    scores[EYE] = 0.75
    assert hinge_ranking(scores, EYE, ~EYE, margin=0.5) == 0
    assert bidirectional_ranking(scores, EYE, ~EYE, margin=0.5) == 0
    scores[2, 3] = 0.375
    assert hinge_ranking(scores, EYE, ~EYE, margin=0.5).item() == pytest.approx(0.125 / 6)
    met = torch.full((6, 6), 0.25)
    met[EYE] = 0.75
    met.requires_grad_()
    hinge_ranking(met, EYE, ~EYE, margin=0.5).backward()
    assert (met.grad == 0).all()  # a margin that is met exactly pulls no more


def test_one_negative_a_query_is_its_hardest():
    scores, positives, _ = ragged()
    negatives = torch.zeros_like(positives)
    negatives[torch.arange(7), torch.arange(7)] = ~positives[torch.arange(7), torch.arange(7)]
    every = hinge_ranking(scores, positives, negatives)
    torch.testing.assert_close(hinge_ranking(scores, positives, negatives, hardest=True), every)


def test_the_hardest_negatives_are_those_of_vsepp():
    """As the published code computes it, on the matrix of cosines."""
    scores = torch.randn(6, 6, dtype=torch.float64)
    diagonal = scores.diag()[:, None]
    rows = (0.2 + scores - diagonal).clamp(min=0).masked_fill(EYE, 0)
    columns = (0.2 + scores - diagonal.T).clamp(min=0).masked_fill(EYE, 0)
    expected = (rows.max(1)[0].sum() + columns.max(0)[0].sum()) / 6
    torch.testing.assert_close(bidirectional_ranking(scores, EYE, ~EYE, hardest=True), expected)
    torch.testing.assert_close(bidirectional_ranking(scores, EYE, ~EYE), (rows.sum() + columns.sum()) / 6)


def test_devise_equals_its_formula():
    states, vectors = torch.randn(5, 4), torch.randn(3, 4)
    labels = torch.tensor([0, 2, 1, -1, 2])
    unit, total = vectors / vectors.norm(dim=1, keepdim=True), 0.0
    for row, label in enumerate(labels.tolist()):
        if label >= 0:
            for j in range(3):
                if j != label:
                    total += max(0.0, float(0.1 - unit[label] @ states[row] + unit[j] @ states[row]))
    assert devise(states, vectors, labels).item() == pytest.approx(total / 4, rel=1e-5)


def test_structure_equals_its_formula_on_distances():
    x = torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 2, 0])
    same = (labels[:, None] == labels) & ~EYE
    different = labels[:, None] != labels
    unit = x / x.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(6):
        for j in same[i].nonzero().flatten():
            for k in different[i].nonzero().flatten():
                total += max(0.0, 0.3 + float((unit[i] - unit[j]).norm() - (unit[i] - unit[k]).norm()))
    got = structure_ranking(x, same, different, margin=0.3, metric="euclidean")
    assert got.item() == pytest.approx(total / int(same.sum()))


def test_equal_rows_have_a_finite_gradient():
    x = torch.ones(6, 4, requires_grad=True)
    same = torch.ones(6, 6, dtype=torch.bool) & ~EYE
    same[0] = same[:, 0] = False
    structure_ranking(x, same, ~same & ~EYE, metric="euclidean").backward()
    assert x.grad.isfinite().all()


def test_cosine_alignment_equals_its_formula_and_is_zero_for_one_direction():
    x, y = torch.randn(3, 4), torch.randn(5, 4)
    positives = torch.tensor([[0, 1, 2, 2], [4, 0, 0, 3]])
    expected = sum(1 - F.cosine_similarity(x[i], y[j], dim=0) for i, j in positives.T.tolist()) / 4
    torch.testing.assert_close(cosine_alignment(x, y, positives), expected)
    torch.testing.assert_close(cosine_alignment(x, y, positives[:, :1]), 1 - F.cosine_similarity(x[0], y[4], dim=0))
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[positives[0], positives[1]] = True
    torch.testing.assert_close(cosine_alignment(x, y, mask), expected)
    assert cosine_alignment(x, 7 * x, EYE[:3, :3]).item() == pytest.approx(0, abs=1e-6)


def test_the_correlation_is_pearsons_over_pairs_and_blind_to_affine_changes():
    x, y = torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 5, dtype=torch.float64)
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8)]
    sides = [torch.stack([F.cosine_similarity(z[i], z[j], dim=0) for i, j in pairs]) for z in (x, y)]
    expected = torch.corrcoef(torch.stack(sides))[0, 1]
    torch.testing.assert_close(perceptual_correlation(x, y), expected)
    torch.testing.assert_close(perceptual_correlation(y, x), expected)
    # a further channel of equal size for all turns each cosine c into (c + a) / (1 + a)
    unit = y / y.norm(dim=1, keepdim=True)
    moved = torch.cat([3 * unit, torch.full((8, 1), 3 * 0.8, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(perceptual_correlation(x, moved), expected)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_fewer_than_three_rows_have_no_correlation(rows):
    x = torch.randn(rows, 3, requires_grad=True)
    found = perceptual_correlation(x, torch.randn(rows, 4))
    found.backward()
    assert found == 0
    assert x.grad.isfinite().all()


def test_equal_texts_have_no_correlation_and_a_finite_gradient():
    x = torch.ones(5, 3, requires_grad=True)
    found = perceptual_correlation(x, torch.randn(5, 4))
    found.backward()
    assert found == 0
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (3, 4)])
def test_without_positives_there_is_nothing_to_lose_and_a_gradient(shape):
    scores = torch.randn(shape, requires_grad=True)
    nothing = torch.zeros(shape, dtype=torch.bool)
    for hardest in (False, True):
        total = bidirectional_ranking(scores, nothing, ~nothing, hardest=hardest)
        total.backward()
        assert total == 0
    assert cosine_alignment(torch.randn(3, 2, requires_grad=True), torch.randn(4, 2), nothing).requires_grad


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_affinity_is_blind_to_length_and_orders_alike(metric):
    x, y = torch.randn(3, 4), torch.randn(5, 4)
    found = affinity(x, y, metric=metric)
    torch.testing.assert_close(affinity(3 * x, 0.1 * y, metric=metric), found)
    assert torch.equal(found.argsort(dim=1), affinity(x, y).argsort(dim=1))
    cosine = F.cosine_similarity(x[:, None], y, dim=2)
    torch.testing.assert_close(found, cosine if metric == "cosine" else -(2 - 2 * cosine).sqrt())
