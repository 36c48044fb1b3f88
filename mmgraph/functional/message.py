"""What travels along edges: the aggregation behind every layer."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Reduce: TypeAlias = Literal["sum", "mean"]


def aggregate(
    x: Tensor,
    index: Tensor,
    num_targets: int,
    *,
    weight: Tensor | None = None,
    reduce: Reduce = "sum",
) -> Tensor:
    r"""Sum or weighted mean of the source rows that point at each target row.

    .. math:: m_v = \sum_{u \to v} w_{uv} x_u, \qquad \text{mean: } m_v / \sum_{u \to v} w_{uv}

    Args:
        x: Source rows, ``[sources, channels]``.
        index: ``[2, edges]``, source and target row of each edge.
        num_targets: Number of target rows.
        weight: ``[edges]``; by default 1.
        reduce: ``sum`` or ``mean``. A target that no edge points at gets zeros.

    Returns:
        ``[targets, channels]``.

    Example:
        >>> x, index = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0, 1, 2], [0, 0, 1]])
        >>> aggregate(x, index, 3, reduce="mean").flatten().tolist()
        [1.5, 4.0, 0.0]
    """
    source, target = index[0], index[1]
    messages = x.index_select(0, source)  # [edges, channels]
    if weight is not None:
        messages = messages * weight.to(x.dtype)[:, None]
    total = x.new_zeros(num_targets, x.shape[1]).index_add(0, target, messages)
    if reduce == "sum":
        return total
    mass = degree(index, num_targets, weight=weight).to(x.dtype)
    return total / torch.where(mass == 0, torch.ones_like(mass), mass)[:, None]


def degree(index: Tensor, num_targets: int, *, weight: Tensor | None = None) -> Tensor:
    """Sum of the weights of the edges that point at each target, ``[targets]``.

    Example:
        >>> degree(torch.tensor([[0, 1], [2, 2]]), 3)
        tensor([0., 0., 2.])
    """
    ones = torch.ones(index.shape[1], device=index.device) if weight is None else weight
    return ones.new_zeros(num_targets).index_add(0, index[1], ones)


def symmetric_norm(
    index: Tensor,
    num_sources: int,
    num_targets: int,
    *,
    weight: Tensor | None = None,
    self_loops: bool,
) -> tuple[Tensor, Tensor]:
    r"""Edges and weights of :math:`\hat D^{-1/2} \hat A \hat D^{-1/2}`, with :math:`\hat A = A + I` if asked.

    Within one node type the degree of a node is the weight that arrives at it, at both ends of an edge, so
    that nodes attached later, by edges into themselves, change nothing for those they hang on. Between two
    types the degree of a source is the weight that leaves it. A node of degree 0 gets weight 0.

    Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks,
    eq. 2; arXiv:1609.02907.

    Args:
        index: ``[2, edges]``.
        num_sources: Number of source rows.
        num_targets: Number of target rows.
        weight: ``[edges]``; by default 1.
        self_loops: Whether to add a loop of weight 1 to each node (then sources and targets are one type).

    Returns:
        The edges ``[2, edges (+ nodes)]`` and their weights.

    Example:
        >>> index, weight = symmetric_norm(torch.tensor([[0, 1], [1, 0]]), 2, 2, self_loops=True)
        >>> index.tolist(), weight.tolist()
        ([[0, 1, 0, 1], [1, 0, 0, 1]], [0.5, 0.5, 0.5, 0.5])
    """
    weight = torch.ones(index.shape[1], device=index.device) if weight is None else weight
    if self_loops:
        loops = torch.arange(num_targets, device=index.device)
        index = torch.cat([index, loops.expand(2, -1)], dim=1)
        weight = torch.cat([weight, weight.new_ones(num_targets)])
        source_degree = target_degree = degree(index, num_targets, weight=weight)
    else:
        target_degree = degree(index, num_targets, weight=weight)
        source_degree = degree(index.flip(0), num_sources, weight=weight)
    scale = source_degree[index[0]] * target_degree[index[1]]
    return index, torch.where(scale > 0, weight * scale.clamp_min(1e-38).rsqrt(), torch.zeros_like(weight))
