"""One function against slow loops, and the systems it holds against their own formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmgraph.functional.contrastive import (
    edge_nce,
    masked_nce,
    mined_pairs,
    pair_mask,
    sigmoid_nce,
    transformed_pairs,
)


def states(rows, channels=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, channels, generator=generator, dtype=torch.float64), dim=1)


def diagonal(rows):
    return torch.arange(rows).expand(2, -1)


def slow(scores, positives, candidates, tau=1.0, inside=True, weight=None):
    """The loss, query by query and key by key."""
    losses = []
    for i in range(len(scores)):
        right = [j for j in range(len(scores[i])) if positives[i][j]]
        if not right:
            continue
        below = 0.0
        for j in range(len(scores[i])):
            if positives[i][j]:
                below += math.exp(scores[i][j] / tau)
            elif candidates[i][j]:
                below += math.exp(scores[i][j] / tau) * (1 if weight is None else weight[i][j])
        shares = [math.exp(scores[i][j] / tau) / below for j in right]
        losses.append(-math.log(sum(shares)) if inside else -sum(map(math.log, shares)) / len(right))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=60)
@given(
    st.integers(0, 5),
    st.integers(0, 6),
    st.integers(0, 1000),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_masked_edges_and_the_slow_loop_agree(queries, keys, seed, tau, inside, weighted):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(queries, keys, generator=generator, dtype=torch.float64)
    positives = torch.rand(queries, keys, generator=generator) < 0.25
    candidates = torch.rand(queries, keys, generator=generator) < 0.6
    weight = torch.rand(queries, keys, generator=generator, dtype=torch.float64) if weighted else None
    if weighted and weight.numel():
        weight[0, 0] = 0
    options = {"temperature": tau, "inside": inside}
    expected = slow(scores.tolist(), positives, candidates, tau, inside, weight)
    one = scores.clone().requires_grad_()
    dense = masked_nce(one, positives, candidates, weight=weight, **options)
    dense.backward()
    assert dense.item() == pytest.approx(expected, abs=1e-12)
    assert bool(one.grad.isfinite().all())
    by_edges = masked_nce(scores, positives.nonzero().T, candidates.nonzero().T, weight=weight, **options)
    assert by_edges.item() == pytest.approx(expected, abs=1e-12)
    other = scores.clone().requires_grad_()
    query, key = (candidates | positives).nonzero().T
    order = torch.randperm(len(query), generator=generator)
    query, key = query[order], key[order]
    sparse = edge_nce(
        other[query, key],
        query,
        positives[query, key],
        weight=None if weight is None else weight[query, key],
        **options,
    )
    sparse.backward()
    assert sparse.item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(other.grad, one.grad, atol=1e-12, rtol=0)


def test_clip_is_the_cross_entropy_of_rows_and_columns():
    x, y, tau = states(7), states(7, seed=1), 0.07
    logits = x @ y.T / tau
    expected = (F.cross_entropy(logits, torch.arange(7)) + F.cross_entropy(logits.T, torch.arange(7))) / 2
    scores = x @ y.T
    found = (masked_nce(scores, diagonal(7), temperature=tau) + masked_nce(scores.T, diagonal(7), temperature=tau)) / 2
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


def test_clip_is_link_prediction_by_distmult_with_one_relation():
    x, y, tau = states(7), states(7, seed=1), 0.07
    relation = torch.full((5,), 1 / tau, dtype=torch.float64)

    def one_against_all(triples):  # log softmax of <h, r, t> over all entities that may take the place of t
        losses = []
        for head, tails in triples:
            scores = torch.stack([(head * relation * tail).sum() for tail in tails])
            losses.append(scores.logsumexp(0) - scores[len(losses)])
        return sum(losses) / len(losses)

    expected = (one_against_all([(h, y) for h in x]) + one_against_all([(h, x) for h in y])) / 2
    scores = x @ y.T
    found = (masked_nce(scores, diagonal(7), temperature=tau) + masked_nce(scores.T, diagonal(7), temperature=tau)) / 2
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


def versions(rows):
    """Positives and candidates among two versions of each row."""
    other = torch.stack([torch.arange(2 * rows), (torch.arange(2 * rows) + rows) % (2 * rows)])
    return other, ~torch.eye(2 * rows, dtype=torch.bool)


def test_simclr_is_the_nt_xent_loop():
    rows, tau = 6, 0.5
    z = states(2 * rows)
    losses = []
    for i in range(2 * rows):
        partner = (i + rows) % (2 * rows)
        below = sum(math.exp(float(z[i] @ z[k]) / tau) for k in range(2 * rows) if k != i)
        losses.append(-math.log(math.exp(float(z[i] @ z[partner]) / tau) / below))
    found = masked_nce(z @ z.T, *versions(rows), temperature=tau)
    assert found.item() == pytest.approx(sum(losses) / len(losses), abs=1e-13)


def test_clip_is_simclr_among_candidates_of_the_other_modality():
    x, y = states(6), states(6, seed=1)
    z = torch.cat([x, y])
    modality = torch.arange(12) // 6
    positives, among = versions(6)
    found = masked_nce(z @ z.T, positives, among & (modality[:, None] != modality), temperature=0.2)
    scores = x @ y.T
    clip = (masked_nce(scores, diagonal(6), temperature=0.2) + masked_nce(scores.T, diagonal(6), temperature=0.2)) / 2
    torch.testing.assert_close(found, clip, atol=1e-13, rtol=0)


def test_mil_nce_with_one_positive_is_info_nce_and_sums_inside_the_logarithm():
    scores = states(4) @ states(4, seed=1).T
    info = F.cross_entropy(scores / 0.1, torch.arange(4))
    for inside in (True, False):
        torch.testing.assert_close(
            masked_nce(scores, diagonal(4), temperature=0.1, inside=inside), info, atol=1e-13, rtol=0
        )
    scores = torch.tensor([[0.0, math.log(3), math.log(4)]])
    pair = torch.tensor([[0, 0], [0, 1]])
    assert masked_nce(scores, pair).item() == pytest.approx(-math.log(4 / 8))
    assert masked_nce(scores, pair, inside=False).item() == pytest.approx(-(math.log(1 / 8) + math.log(3 / 8)) / 2)


def test_supervised_contrastive_is_the_loop_of_the_paper():
    z, y, tau = states(9), torch.tensor([0, 1, 2, 0, 1, 0, 0, 1, 3]), 0.3
    losses = []
    for i in range(9):
        own = [p for p in range(9) if p != i and y[p] == y[i]]
        if own:
            below = sum(math.exp(float(z[i] @ z[a]) / tau) for a in range(9) if a != i)
            losses.append(-sum(math.log(math.exp(float(z[i] @ z[p]) / tau) / below) for p in own) / len(own))
    apart = ~torch.eye(9, dtype=torch.bool)
    found = masked_nce(z @ z.T, (y[:, None] == y) & apart, apart, temperature=tau, inside=False)
    assert found.item() == pytest.approx(sum(losses) / len(losses), abs=1e-13)


def test_siglip_is_the_algorithm_of_the_paper():
    x, y, t, b = states(5), states(5, seed=1), 7.0, -3.0
    labels = 2 * torch.eye(5, dtype=torch.float64) - 1
    expected = -torch.log(torch.sigmoid(labels * (x @ y.T * t + b))).sum() / 5
    found = sigmoid_nce(x @ y.T, diagonal(5), scale=t, bias=b)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(sigmoid_nce(y @ x.T, diagonal(5), scale=t, bias=b), found)


@settings(max_examples=30)
@given(st.integers(0, 4), st.integers(0, 5), st.integers(0, 1000))
def test_sigmoid_is_the_slow_loop(queries, keys, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(queries, keys, generator=generator, dtype=torch.float64, requires_grad=True)
    positives = torch.rand(queries, keys, generator=generator) < 0.3
    candidates = torch.rand(queries, keys, generator=generator) < 0.6
    total, count = 0.0, 0
    for i in range(queries):
        if positives[i].any():
            count += 1
            for j in range(keys):
                sign = 1 if positives[i, j] else -1
                if positives[i, j] or candidates[i, j]:
                    total += math.log1p(math.exp(-sign * (2 * float(scores[i, j].detach()) - 1)))
    found = sigmoid_nce(scores, positives, candidates, scale=2.0, bias=-1.0)
    found.backward()
    assert found.item() == pytest.approx(total / count if count else 0, abs=1e-12)
    assert scores.grad[~positives.any(dim=1)].abs().sum() == 0


def test_positives_are_candidates_and_what_is_no_candidate_does_not_matter():
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    nobody = torch.zeros(3, 4, dtype=torch.bool)
    assert masked_nce(scores, diagonal(3), nobody) == 0
    some = torch.tensor([[0, 1, 2], [1, 2, 3]])
    changed = scores.clone()
    changed[0, 2], changed[1, 3] = 100.0, float("inf")
    assert torch.equal(masked_nce(scores, diagonal(3), some), masked_nce(changed, diagonal(3), some))


def test_a_learned_temperature_gets_the_gradient_of_the_formula():
    scores = states(5) @ states(5, seed=1).T
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    masked_nce(scores, diagonal(5), temperature=tau).backward()
    step = 1e-6
    up, down = (masked_nce(scores, diagonal(5), temperature=0.3 + d).item() for d in (step, -step))
    assert tau.grad.item() == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_scores_of_any_size_are_finite():
    scores = torch.tensor([[300.0, -300.0], [-300.0, 300.0]], requires_grad=True)
    for loss in (
        masked_nce(scores, torch.tensor([[0, 1], [1, 0]])),
        edge_nce(scores.flatten(), torch.tensor([0, 0, 1, 1]), torch.tensor([False, True, True, False])),
    ):
        assert loss.item() == pytest.approx(600)


@pytest.mark.parametrize("loss", [masked_nce, sigmoid_nce])
def test_without_a_positive_it_is_nothing_with_a_gradient(loss):
    for shape in ((3, 4), (0, 4), (3, 0), (0, 0)):
        scores = torch.randn(shape, requires_grad=True)
        found = loss(scores, torch.zeros(shape, dtype=torch.bool))
        found.backward()
        assert found == 0
        assert torch.equal(scores.grad, torch.zeros(shape))
    scores = torch.randn(3, requires_grad=True)
    found = edge_nce(scores, torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.bool))
    found.backward()
    assert found == 0
    assert torch.equal(scores.grad, torch.zeros(3))


def gdt_slow(z, sample, reversed_, shifted, modality, tau, *, invariant):
    """The formula of the paper with its c and w, over all pairs of versions; then the mean over queries."""
    rows, losses = len(z), []
    for i in range(rows):
        logs = []
        for j in range(rows):
            w = modality[i] != modality[j]
            same = [sample[i] == sample[j]] + ([] if "reversed" in invariant else [reversed_[i] == reversed_[j]])
            same += [] if "shifted" in invariant else [shifted[i] == shifted[j]]
            if w and all(same):
                below = sum(math.exp(float(z[i] @ z[k]) / tau) for k in range(rows) if modality[i] != modality[k])
                logs.append(math.log(math.exp(float(z[i] @ z[j]) / tau) / below))
        losses.append(-sum(logs) / len(logs))
    return sum(losses) / rows


@pytest.mark.parametrize("invariant", [(), ("reversed",), ("reversed", "shifted")])
def test_gdt_is_the_formula_of_the_paper(invariant):
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(2), torch.arange(2))
    sample, reversed_, shifted, modality = grid.T
    z = states(len(grid))
    distinctive = [v for name, v in (("reversed", reversed_), ("shifted", shifted)) if name not in invariant]
    positives, candidates = transformed_pairs(sample, distinctive, modality)
    found = masked_nce(z @ z.T, positives, candidates, temperature=0.2, inside=False)
    expected = gdt_slow(z, sample, reversed_, shifted, modality, 0.2, invariant=invariant)
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_gdt_without_transformations_is_clip():
    x, y = states(6), states(6, seed=1)
    z = torch.cat([x, y])
    positives, candidates = transformed_pairs(torch.arange(12) % 6, modality=torch.arange(12) // 6)
    found = masked_nce(z @ z.T, positives, candidates, temperature=0.2, inside=False)
    scores = x @ y.T
    clip = (masked_nce(scores, diagonal(6), temperature=0.2) + masked_nce(scores.T, diagonal(6), temperature=0.2)) / 2
    torch.testing.assert_close(found, clip, atol=1e-13, rtol=0)


def test_gdt_with_one_modality_and_an_invariance_is_simclr():
    z = states(12)
    positives, candidates = transformed_pairs(torch.arange(12) % 6)
    expected = masked_nce(z @ z.T, *versions(6))
    torch.testing.assert_close(masked_nce(z @ z.T, positives, candidates, inside=False), expected, atol=1e-13, rtol=0)


@settings(max_examples=30)
@given(st.integers(0, 9), st.integers(0, 4), st.integers(0, 1000))
def test_mined_pairs_are_the_slow_loop(rows, k, seed):
    x = states(rows, seed=seed)
    expected = {(i, i) for i in range(rows)}
    for i in range(rows):
        others = sorted((j for j in range(rows) if j != i), key=lambda j: -float(x[i] @ x[j]))[:k]
        expected |= {(i, j) for j in others if x[i] @ x[j] > 0}
    found = mined_pairs(x, k)
    assert found.shape == (2, len(expected))
    assert set(map(tuple, found.T.tolist())) == expected


def test_mining_ignores_lengths_and_rows_of_zeros_and_has_no_gradient():
    x = states(6)
    lengths = torch.arange(1.0, 7, dtype=torch.float64)[:, None]
    assert torch.equal(mined_pairs(x * lengths, 2), mined_pairs(x, 2))
    x[2] = 0
    x.requires_grad_()
    pairs = mined_pairs(x, 3)
    others = pairs[:, pairs[0] != pairs[1]]
    assert 2 not in others
    assert len(others.T) > 3
    assert not pairs.requires_grad


def test_coclr_without_neighbours_is_info_nce():
    x, y = states(6), states(6, seed=1)
    found = masked_nce(x @ y.T, mined_pairs(states(6, seed=2), 0), temperature=0.1)
    torch.testing.assert_close(found, F.cross_entropy(x @ y.T / 0.1, torch.arange(6)), atol=1e-13, rtol=0)


def test_pairs_of_another_form_are_refused():
    assert pair_mask(torch.empty(2, 0, dtype=torch.int64), 2, 2).sum() == 0
    with pytest.raises(ValueError, match=r"\[queries, keys\], \[2, 3\], got \[3, 2\]"):
        pair_mask(torch.zeros(3, 2, dtype=torch.bool), 2, 3)
    with pytest.raises(ValueError, match=r"edges \[2, pairs\] of int64 or a mask of bool, got \[3, 2\] of torch.int64"):
        masked_nce(torch.zeros(2, 2), torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"got \[2, 2\] of torch.float32"):
        masked_nce(torch.zeros(2, 2), torch.eye(2))
