r"""From the states of nodes to a vector for the subgraph around each of them.

.. math:: z_S = \sum_{v \in S} w_v h_v, \qquad S = \{v : d(v, c) \le \text{hops}\}

| weights | :math:`w_v` | prefer it when |
|---|---|---|
| ``mean`` | :math:`1 / \lvert S \rvert` | all members say as much |
| ``sum`` | 1 | size matters, or parts of subgraphs are to be found |
| ``decay`` | :math:`\lambda^{d(v, c)}`, adding up to 1 | what is near says more |
| ``walk`` | where a walk from c ends that may stay at each step | classes: hubs at the rim say less |
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import aggregate
from mmgraph.functional.reach import reach

Weights: TypeAlias = Literal["mean", "sum", "decay", "walk"]


def readout(
    x: Tensor, index: Tensor, *, hops: int, weights: Weights = "mean", decay: float = 0.5, centre: bool = True
) -> Tensor:
    r"""A vector for the subgraph around each node: the weighted sum of the states of its members.

    Args:
        x: Node states, ``[nodes, channels]``.
        index: Edges between them ``[2, edges]``; a member reaches the centre along them.
        hops: Radius of a subgraph.
        weights: How much each member counts; see :func:`subgraphs`.
        decay: :math:`\lambda` of ``decay``.
        centre: Whether the centre counts; what is left then adds up to 1 again (but for ``sum``).

    Returns:
        ``[nodes, channels]``; zeros where nothing counts.

    Raises:
        ValueError: As :func:`subgraphs`.

    Example:
        >>> x, index = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> readout(x, index, hops=1).flatten()
        tensor([1., 2., 3.])
        >>> readout(x, index, hops=1, centre=False).flatten()
        tensor([2., 2., 2.])
    """
    pairs, weight = subgraphs(
        index, len(x), hops=hops, weights=weights, decay=decay, centre=centre, dtype=x.dtype if len(x) else None
    )
    return aggregate(x, Adjacency(pairs, len(x), len(x)), weight=weight)


def subgraphs(
    index: Tensor,
    num_nodes: int,
    *,
    hops: int,
    weights: Weights = "mean",
    decay: float = 0.5,
    centre: bool = True,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The members of the subgraph around each node, and how much each of them counts.

    ``walk`` is :math:`P^{\text{hops}}` with :math:`P_{vu} = 1 / (1 + \lvert N(v) \rvert)` for u = v and for the
    neighbours from which an edge leads to v: what as many rounds of averaging over a node and its neighbours give the
    centre, or where a walk against the edges ends. Edges count once, loops not at all.

    Args:
        index: Edges ``[2, edges]``; a member reaches the centre along them.
        num_nodes: Number of nodes.
        hops: Radius of a subgraph.
        weights: ``mean``, ``sum``, ``decay`` or ``walk``.
        decay: :math:`\lambda` of ``decay``, from 0 (the centre alone) to 1 (the mean) and beyond.
        centre: Whether the centre counts.
        dtype: Of the weights.

    Returns:
        Pairs ``[2, pairs]``: member, centre; sorted by centre, then member. And their weights, ``[pairs]``.

    Raises:
        ValueError: Unknown weights, or hops or a decay below 0.

    Example:
        >>> star = torch.tensor([[0, 0, 1, 2], [1, 2, 0, 0]])
        >>> pairs, weight = subgraphs(star, 3, hops=2, weights="walk")
        >>> (weight[pairs[1] == 1] * 36).round()  # from 1: it may stay, or go to 0, and from there on
        tensor([15., 15.,  6.])
    """
    if weights not in get_args(Weights) or hops < 0 or not decay >= 0:
        raise ValueError(
            f"weights must be one of {list(get_args(Weights))}, hops and decay at least 0, "
            f"got {weights!r}, {hops} and {decay}"
        )
    if weights == "walk":
        pairs, weight = _walk(index, num_nodes, hops, dtype)
    else:
        pairs = reach(index, num_nodes, hops=hops)
        weight = torch.ones(pairs.shape[1], dtype=dtype, device=pairs.device)
        if weights == "decay":
            weight = decay ** _distance(index, num_nodes, hops, pairs).to(weight.dtype)
    if not centre:
        others = pairs[0] != pairs[1]
        pairs, weight = pairs[:, others], weight[others]
    if weights == "sum" or (weights == "walk" and centre):
        return pairs, weight
    mass = weight.new_zeros(num_nodes).index_add(0, pairs[1], weight)
    return pairs, weight / torch.where(mass > 0, mass, torch.ones_like(mass))[pairs[1]]


def part_of(pairs: Tensor, *, share: float, generator: torch.Generator | None = None) -> Tensor:
    """A random share of the members of each subgraph, rounded up: what is left of it for a search to recognise.

    Args:
        pairs: Member and centre, ``[2, pairs]``, as :func:`subgraphs` gives them.
        share: How much of each is left, above 0 up to 1.
        generator: Chance.

    Returns:
        The pairs that are left, in their order.

    Raises:
        ValueError: A share out of its range.

    Example:
        >>> pairs = torch.tensor([[0, 1, 2, 3, 0], [0, 0, 0, 0, 1]])
        >>> part_of(pairs, share=0.5, generator=torch.Generator().manual_seed(0))[1].tolist()
        [0, 0, 1]
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    centres, counts = pairs[1].unique(return_inverse=True, return_counts=True)[1:]
    luck = torch.rand(pairs.shape[1], generator=generator, dtype=torch.float64).to(pairs.device)
    order = (centres + luck).argsort()  # by centre, members in random order
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    place = torch.arange(len(order), device=pairs.device) - first
    left = place < (share * counts - 1e-9).ceil().repeat_interleave(counts)
    return pairs[:, order[left].sort().values]


def random_features(x: Tensor, channels: int, *, width: float = 1.0, seed: int = 0) -> Tensor:
    r"""Vectors whose products are a Gaussian kernel of the rows, nearly: different rows become nearly orthogonal.

    .. math:: \phi(x) = \sqrt{2 / D}\, [\cos \omega_i^\top x,\ \sin \omega_i^\top x]_{i \le D / 2}, \quad
        \omega_i \sim \mathcal N(0, I / \sigma^2), \quad
        \mathbb E\, \phi(x)^\top \phi(y) = e^{-\lVert x - y \rVert^2 / 2 \sigma^2}

    A sum of them then stands for a set: its product with another counts the rows that both hold.

    Source: Rahimi and Recht 2007, Random features for large-scale kernel machines, NeurIPS 20, algorithm 1.

    Args:
        x: ``[rows, width of x]``.
        channels: :math:`D`, an even number; the error falls with its root.
        width: :math:`\sigma`.
        seed: Of :math:`\omega`.

    Returns:
        ``[rows, channels]``, of length 1.

    Raises:
        ValueError: An odd number of channels, or a width of 0 or below.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
        >>> products = random_features(x, 4096) @ random_features(x, 4096).T
        >>> (products[0] - torch.tensor([1.0, 0.6065, 0.0])).abs().max() < 0.05
        tensor(True)
    """
    if channels < 2 or channels % 2 or not width > 0:
        raise ValueError(f"channels must be an even number and width above 0, got {channels} and {width}")
    generator = torch.Generator().manual_seed(seed)
    omega = torch.randn(x.shape[1], channels // 2, generator=generator, dtype=torch.float64) / width
    angles = x @ omega.to(x)  # [rows, channels / 2]
    return torch.cat([angles.cos(), angles.sin()], dim=1) * math.sqrt(2 / channels)


def _walk(index: Tensor, num_nodes: int, hops: int, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
    nodes = torch.arange(num_nodes, device=index.device)
    target, source = torch.cat([index.flip(0), nodes.expand(2, -1)], dim=1).unique(dim=1)  # sorted by target
    counts = torch.bincount(target, minlength=num_nodes)
    starts = counts.cumsum(0) - counts
    pairs = nodes * num_nodes + nodes  # centre × nodes + member
    weight = torch.ones(num_nodes, dtype=dtype, device=index.device)
    for _ in range(hops):
        centre, member = pairs // num_nodes, pairs % num_nodes
        fan = counts[member]
        place = torch.arange(int(fan.sum()), device=index.device) - (fan.cumsum(0) - fan).repeat_interleave(fan)
        ways = centre.repeat_interleave(fan) * num_nodes + source[starts[member].repeat_interleave(fan) + place]
        pairs, inverse = ways.unique(return_inverse=True)
        weight = weight.new_zeros(len(pairs)).index_add(0, inverse, (weight / fan).repeat_interleave(fan))
    return torch.stack([pairs % num_nodes, pairs // num_nodes]), weight


def _distance(index: Tensor, num_nodes: int, hops: int, pairs: Tensor) -> Tensor:
    """How many edges from each member to its centre, ``[pairs]``."""
    found = torch.zeros(pairs.shape[1], dtype=torch.long, device=pairs.device)
    number = pairs[1] * num_nodes + pairs[0]
    for near in range(hops):
        member, centre = reach(index, num_nodes, hops=near)
        found += ~torch.isin(number, centre * num_nodes + member)
    return found
