import pytest
import torch

from mmgraph.functional.sharing import laplacian_penalty, shared_names


def test_equals_the_quadratic_form_of_the_laplacian():
    torch.manual_seed(0)
    names, ties = "abcd", {("a", "b"): 0.5, ("b", "d"): 2.0, ("c", "a"): 1.5}
    weights = {name: {"w": torch.randn(3, 2, dtype=torch.float64), "b": torch.randn(2).double()} for name in names}
    laplacian = torch.zeros(4, 4, dtype=torch.float64)
    for (one, other), strength in ties.items():
        i, j = names.index(one), names.index(other)
        laplacian[[i, j], [i, j]] += strength
        laplacian[[i, j], [j, i]] -= strength
    theta = torch.stack([torch.cat([weights[name]["w"].flatten(), weights[name]["b"]]) for name in names])
    assert laplacian_penalty(weights, ties).item() == pytest.approx((theta.T @ laplacian @ theta).trace().item())


def test_only_what_has_one_name_and_one_shape_is_tied():
    one = {"w": torch.ones(2), "head": torch.ones(3), "own": torch.ones(1)}
    other = {"w": torch.zeros(2), "head": torch.zeros(4)}
    assert shared_names(one, other) == ["w"]
    assert laplacian_penalty({"a": one, "b": other}, {("a", "b"): 1.0}) == 2


def test_no_tie_is_zero():
    assert laplacian_penalty({}, {}) == 0
