import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import (
    attention_parts,
    bilinear_parts,
    concat_parts,
    gated_parts,
    low_rank_parts,
    mix_parts,
    outer_parts,
    part_softmax,
    product_parts,
    signed_root,
    sum_parts,
)
from mmgraph.functional.fusion import any_present, zero_absent

QUERY = torch.tensor([0.7, -1.2], dtype=torch.float64)
WEIGHTS = {
    name: torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for seed, name in enumerate(("text", "audio", "video"))
}  # [width + 1, rank, channels]
NAMES = ("text", "audio", "video")


def gated(parts, present):
    return gated_parts(parts, {name: part.sigmoid() for name, part in parts.items()}, present)


def mixed(parts, present):
    return mix_parts(parts, {name: part.sin().sum(dim=1) for name, part in parts.items()}, present)


def attended(parts, present):
    return attention_parts(
        parts, {name: part.tanh() for name, part in parts.items()}, QUERY.to(next(iter(parts.values()))), present
    )


def low_rank(parts, present):
    like = next(iter(parts.values()))
    return low_rank_parts(parts, {name: WEIGHTS[name].to(like) for name in parts}, present)


FUNCTIONS = {
    "concat": concat_parts,
    "sum": sum_parts,
    "mean": partial(sum_parts, mean=True),
    "product": product_parts,
    "gated": gated,
    "outer": outer_parts,
    "outer without one": partial(outer_parts, append_one=False),
    "mixed": mixed,
    "attended": attended,
    "low rank": low_rank,
    "bilinear": bilinear_parts,
}


def slow(name, parts, present):
    """One anchor: vectors, and which of them are there."""
    names = sorted(parts)
    there = [parts[n] for n in names if present[n]]
    width = len(parts[names[0]])
    if name == "concat":
        return np.concatenate([parts[n] if present[n] else np.zeros(len(parts[n])) for n in names])
    if name in ("sum", "mean"):
        total = np.sum(there, axis=0) if there else np.zeros(width)
        return total / len(there) if there and name == "mean" else total
    if name == "gated":
        return np.sum([p / (1 + np.exp(-p)) for p in there], axis=0) if there else np.zeros(width)
    if name in ("mixed", "attended"):
        scores = [np.sin(p).sum() if name == "mixed" else np.tanh(p) @ QUERY.numpy() / np.sqrt(2) for p in there]
        shares = np.exp(scores) / np.exp(scores).sum()
        return sum((share * p for share, p in zip(shares, there, strict=True)), np.zeros(width))
    if name == "low rank":
        total = np.zeros(2)
        for r in range(4 if there else 0):
            product = np.ones(2)
            for n in names:
                product *= np.append(parts[n] if present[n] else np.zeros(2), 1) @ WEIGHTS[n][:, r].numpy()
            total += product
        return total
    if name == "bilinear":
        zeros = {n: parts[n] if present[n] else np.zeros(width) for n in names}
        return np.concatenate([np.outer(zeros[m], zeros[n]).ravel() for m, n in itertools.combinations(names, 2)])
    if name == "product":
        return np.prod(there, axis=0) if there else np.zeros(width)
    if name == "outer":
        vectors = [np.append(parts[n] if present[n] else np.zeros(len(parts[n])), 1) for n in names]
    else:
        vectors = [parts[n] if present[n] else np.ones(len(parts[n])) for n in names]
    cube = [np.prod(values) for values in itertools.product(*vectors)]
    return np.array(cube) if there else np.zeros(len(cube))


@st.composite
def fusions(draw, fewest):
    anchors = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=fewest))
    parts = {name: torch.randn(anchors, 2, dtype=torch.float64) for name in names}
    flags = st.lists(st.booleans(), min_size=anchors, max_size=anchors)
    return parts, {name: torch.tensor(draw(flags), dtype=torch.bool) for name in names}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=40)
@given(data=st.data())
def test_it_equals_a_slow_loop_and_no_absent_part_has_influence(name, data):
    parts, present = data.draw(fusions(fewest=2 if name == "bilinear" else 1))
    got = FUNCTIONS[name](parts, present)
    for anchor in range(len(got)):
        one = {n: part[anchor].numpy() for n, part in parts.items()}
        expected = slow(name, one, {n: bool(flags[anchor]) for n, flags in present.items()})
        np.testing.assert_allclose(got[anchor], expected, rtol=1e-12, atol=1e-15)
    for noise in (torch.nan, torch.inf, 1e300):
        perturbed = {n: torch.where(present[n][:, None], part, noise) for n, part in parts.items()}
        assert torch.equal(FUNCTIONS[name](perturbed, present), got)
    backwards = {n: parts[n] for n in reversed(parts)}
    assert torch.equal(FUNCTIONS[name](backwards, present), got)
    assert torch.equal(FUNCTIONS[name](parts, {n: present[n] for n in reversed(present)}), got)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_anchors_permute_with_their_parts(name):
    parts = {n: torch.randn(6, 2) for n in NAMES}
    present = {n: torch.rand(6) < 0.6 for n in NAMES}
    order = torch.randperm(6)
    moved = FUNCTIONS[name]({n: p[order] for n, p in parts.items()}, {n: p[order] for n, p in present.items()})
    torch.testing.assert_close(moved, FUNCTIONS[name](parts, present)[order])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_reach_present_parts_alone(name):
    parts = {n: torch.randn(4, 2, requires_grad=True) for n in NAMES}
    present = {n: torch.tensor([True, True, False, n == "text" and name != "bilinear"]) for n in NAMES}
    FUNCTIONS[name](parts, present).square().sum().backward()
    for n, part in parts.items():
        assert part.grad[present[n]].abs().min() > 0
        assert not part.grad[~present[n]].any()


def test_any_present():
    present = {"a": torch.tensor([True, False, False]), "b": torch.tensor([False, True, False])}
    assert any_present(present).tolist() == [True, True, False]


def test_concat_takes_parts_of_different_widths_in_the_order_of_names():
    parts = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([[3.0]])}
    assert concat_parts(parts, dict.fromkeys(parts, torch.tensor([True]))).tolist() == [[3, 1, 2]]


def test_slices_of_the_tensor_fusion_cube():
    x, y, z = (torch.randn(5, width, dtype=torch.float64) for width in (2, 3, 4))
    here = torch.ones(5, dtype=torch.bool)
    cube = outer_parts({"x": x, "y": y, "z": z}, {"x": here, "y": here, "z": here}).reshape(5, 3, 4, 5)
    np.testing.assert_array_equal(cube[:, :2, 3, 4], x)  # unimodal
    np.testing.assert_array_equal(cube[:, 2, :3, 4], y)
    np.testing.assert_array_equal(cube[:, 2, 3, :4], z)
    np.testing.assert_allclose(cube[:, :2, :3, 4], torch.einsum("ai,aj->aij", x, y))  # bimodal
    np.testing.assert_allclose(cube[:, :2, 3, :4], torch.einsum("ai,ak->aik", x, z))
    np.testing.assert_allclose(cube[:, 2, :3, :4], torch.einsum("aj,ak->ajk", y, z))
    np.testing.assert_allclose(cube[:, :2, :3, :4], torch.einsum("ai,aj,ak->aijk", x, y, z))  # trimodal
    assert (cube[:, 2, 3, 4] == 1).all()


def test_without_a_modality_the_cube_is_that_of_the_others():
    x, y, z = (torch.randn(5, width) for width in (2, 3, 4))
    here = torch.ones(5, dtype=torch.bool)
    cube = outer_parts({"x": x, "y": y, "z": z}, {"x": here, "y": here, "z": ~here}).reshape(5, 12, 5)
    assert torch.equal(cube[:, :, 4], outer_parts({"x": x, "y": y}, {"x": here, "y": here}))
    assert not cube[:, :, :4].any()


def test_concatenation_is_the_unimodal_part_of_the_cube():
    parts = {"x": torch.randn(5, 2, dtype=torch.float64), "y": torch.randn(5, 3, dtype=torch.float64)}
    present = dict.fromkeys(parts, torch.ones(5, dtype=torch.bool))
    W = torch.randn(5, 4, dtype=torch.float64)
    head = torch.zeros(3, 4, 4, dtype=torch.float64)
    head[:2, 3], head[2, :3] = W[:2], W[2:]
    torch.testing.assert_close(concat_parts(parts, present) @ W, outer_parts(parts, present) @ head.reshape(12, 4))


@pytest.mark.parametrize("name", ["gated", "mixed", "attended", "low rank", "bilinear"])
def test_nan_in_an_absent_row_reaches_nothing_backwards(name):
    torch.manual_seed(0)
    present = {n: torch.tensor([True, False, n == "text"]) for n in NAMES}

    def spoiled(*shape):
        noise = {n: torch.randn(3, *shape) for n in NAMES}
        masks = {n: ~present[n].reshape(3, *[1] * len(shape)) for n in NAMES}
        return {n: noise[n].masked_fill(masks[n], torch.nan).requires_grad_() for n in NAMES}

    parts, others, scores, query = spoiled(2), spoiled(2), spoiled(), torch.randn(2, requires_grad=True)
    weights = {n: WEIGHTS[n].float().requires_grad_() for n in NAMES}
    run = {
        "gated": lambda: gated_parts(parts, others, present),
        "mixed": lambda: mix_parts(parts, scores, present),
        "attended": lambda: attention_parts(parts, others, query, present),
        "low rank": lambda: low_rank_parts(parts, weights, present),
        "bilinear": lambda: bilinear_parts(parts, present),
    }
    run[name]().square().sum().backward()
    leaves = [query, *(leaf for group in (parts, others, scores, weights) for leaf in group.values())]
    assert all(leaf.grad.isfinite().all() for leaf in leaves if leaf.grad is not None)


def test_shares_add_up_to_one_over_the_present_parts():
    scores = {"a": torch.tensor([1.0, 1e30, 5.0, 2.0]), "b": torch.tensor([2.0, -1e30, torch.nan, torch.nan])}
    present = {"a": torch.tensor([True, True, True, False]), "b": torch.tensor([True, True, False, False])}
    shares = part_softmax(scores, present)
    assert torch.allclose(shares["a"][0], torch.tensor(1 / (1 + np.e), dtype=torch.float32))
    assert (shares["a"] + shares["b"]).tolist() == [1, 1, 1, 0]


def test_zero_absent_is_in_the_order_of_names():
    here = torch.tensor([True, False])
    zeroed = zero_absent({"b": torch.ones(2, 1), "a": torch.full((2, 1), torch.inf)}, {"a": here, "b": ~here})
    assert {name: part.flatten().tolist() for name, part in zeroed.items()} == {"a": [torch.inf, 0], "b": [0, 1]}
    assert list(zeroed) == ["a", "b"]


def test_signed_root_has_a_gradient_everywhere():
    x = torch.tensor([9.0, 0.0, -0.25], requires_grad=True)
    root = signed_root(x)
    root.sum().backward()
    assert (root.tolist(), x.grad.tolist()) == ([3, 0, -0.5], [pytest.approx(1 / 6), 0, 1])


def test_parts_of_the_bilinear_pooling_are_the_bimodal_slices_of_the_cube():
    parts = {"x": torch.randn(5, 2), "y": torch.randn(5, 3), "z": torch.randn(5, 4)}
    present = {name: torch.rand(5) < 0.7 for name in parts}
    cube = outer_parts(parts, present).reshape(5, 3, 4, 5)
    pairs = [cube[:, :2, :3, 4], cube[:, :2, 3, :4], cube[:, 2, :3, :4]]
    assert torch.equal(bilinear_parts(parts, present), torch.cat([pair.flatten(1) for pair in pairs], dim=1))
