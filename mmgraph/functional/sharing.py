"""Weights of several models that are drawn together: soft parameter sharing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def laplacian_penalty(weights: Mapping[str, Mapping[str, Tensor]], ties: Mapping[tuple[str, str], float]) -> Tensor:
    r"""How far the weights of tied models lie apart.

    .. math:: \sum_{a \sim b} \lambda_{ab} \lVert \theta_a - \theta_b \rVert^2 = \theta^\top (L \otimes I)\, \theta

    with the Laplacian :math:`L` of the graph whose nodes are the models and whose edges weigh :math:`\lambda_{ab}`
    (Evgeniou, Micchelli & Pontil 2005, Learning multiple tasks with kernel methods, JMLR 6). With
    :math:`\lambda = 0` the models are trained apart; the larger it is, the more they are one.

    Args:
        weights: Model → name → tensor. What both models of a tie have under one name and in one shape is tied.
        ties: Two models → :math:`\lambda`.

    Returns:
        A scalar.

    Example:
        >>> weights = {"a": {"w": torch.tensor([1.0, 2.0])}, "b": {"w": torch.tensor([0.0, 4.0])}}
        >>> laplacian_penalty(weights, {("a", "b"): 0.5})
        tensor(2.5000)
    """
    total = torch.zeros(())
    for (one, other), strength in ties.items():
        for name in shared_names(weights[one], weights[other]):
            total = total + strength * (weights[one][name] - weights[other][name]).square().sum()
    return total


def shared_names(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """What two models have under one name and in one shape.

    Example:
        >>> one, other = torch.zeros(2), torch.zeros(3)
        >>> shared_names({"w": one, "head": one}, {"w": one, "head": other})
        ['w']
    """
    return [name for name, value in one.items() if name in other and other[name].shape == value.shape]
