import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import concat_parts, gated_parts, outer_parts, product_parts, sum_parts
from mmgraph.functional.fusion import any_present

NAMES = ("text", "audio", "video")


def gated(parts, present):
    return gated_parts(parts, {name: part.sigmoid() for name, part in parts.items()}, present)


FUNCTIONS = {
    "concat": concat_parts,
    "sum": sum_parts,
    "mean": partial(sum_parts, mean=True),
    "product": product_parts,
    "gated": gated,
    "outer": outer_parts,
    "outer without one": partial(outer_parts, append_one=False),
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
    if name == "product":
        return np.prod(there, axis=0) if there else np.zeros(width)
    if name == "outer":
        vectors = [np.append(parts[n] if present[n] else np.zeros(len(parts[n])), 1) for n in names]
    else:
        vectors = [parts[n] if present[n] else np.ones(len(parts[n])) for n in names]
    cube = [np.prod(values) for values in itertools.product(*vectors)]
    return np.array(cube) if there else np.zeros(len(cube))


@st.composite
def fusions(draw):
    anchors = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    parts = {name: torch.randn(anchors, 2, dtype=torch.float64) for name in names}
    flags = st.lists(st.booleans(), min_size=anchors, max_size=anchors)
    return parts, {name: torch.tensor(draw(flags), dtype=torch.bool) for name in names}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=40, deadline=None)
@given(drawn=fusions())
def test_it_equals_a_slow_loop_and_no_absent_part_has_influence(name, drawn):
    parts, present = drawn
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
    parts = {n: torch.randn(6, 3) for n in NAMES}
    present = {n: torch.rand(6) < 0.6 for n in NAMES}
    order = torch.randperm(6)
    moved = FUNCTIONS[name]({n: p[order] for n, p in parts.items()}, {n: p[order] for n, p in present.items()})
    torch.testing.assert_close(moved, FUNCTIONS[name](parts, present)[order])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_reach_present_parts_alone(name):
    parts = {n: torch.randn(4, 2, requires_grad=True) for n in NAMES}
    present = {n: torch.tensor([True, True, False, n == "text"]) for n in NAMES}
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
