r"""How near nodes are to where a walker sets out from: personalised PageRank.

A walker starts at a node drawn from ``start``. At each step they go home with probability :math:`1 - \alpha` (to a node
drawn from ``start`` again), or along one of the edges that lead from where they are; where none does, they stay. Their
distribution in the long run is

.. math:: \pi = (1 - \alpha) \sum_{k \ge 0} \alpha^k (P^\top)^k s = (1 - \alpha)(I - \alpha P^\top)^{-1} s

| function | cost | error |
|---|---|---|
| :func:`solve_pagerank` | :math:`n^3`, a dense solve | that of the solve |
| :func:`pagerank` | edges times :math:`\log(\text{tolerance}) / \log \alpha` | at most ``tolerance`` in total |
| :func:`push_pagerank` | :math:`1 / (\epsilon (1 - \alpha))` edges, however large the graph | known: what is left |

Source: Page, Brin, Motwani and Winograd 1999, The PageRank citation ranking; Jeh and Widom 2003, Scaling personalized
web search, doi:10.1145/775152.775191; Andersen, Chung and Lang 2006, Local graph partitioning using PageRank vectors,
doi:10.1109/FOCS.2006.44 (the push).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import aggregate


def pagerank(
    edges: Adjacency,
    start: Tensor,
    *,
    weight: Tensor | None = None,
    alpha: float = 0.85,
    tolerance: float = 1e-8,
    rounds: int = 1000,
) -> Tensor:
    r"""Personalised PageRank by power iteration, of several starts at once.

    It stops where :math:`\frac{\alpha}{1 - \alpha} \lVert p_k - p_{k-1} \rVert_1`, which bounds
    :math:`\lVert p_k - \pi \rVert_1`, is at most ``tolerance`` for every start, or the step is no more than rounding.

    Args:
        edges: Who leads to whom, among one set of nodes.
        start: Where walkers set out, ``[nodes]`` or ``[starts, nodes]``; at least 0, brought to a sum of 1.
        weight: How likely each edge is taken, ``[edges]``, at least 0; by default all alike.
        alpha: Probability of going on, from 0 to below 1.
        tolerance: Most that the sum of all errors may be.
        rounds: Most steps.

    Returns:
        As ``start``; each sums to 1.

    Raises:
        ValueError: An argument out of its range, a start without mass, or no rest within the rounds.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 0]]), 2, 2)
        >>> pagerank(edges, torch.tensor([1.0, 0.0]), alpha=0.5)
        tensor([0.6667, 0.3333])
    """
    home, shares, stays = _walk(edges, start, weight, alpha)  # home: [nodes, starts]
    state, rounding = home, 4 * torch.finfo(home.dtype).eps
    for _ in range(rounds):
        after = (1 - alpha) * home + alpha * (aggregate(state, edges, weight=shares) + stays[:, None] * state)
        step = float((after - state).abs().sum(dim=0).max())
        state = after
        if step * alpha / (1 - alpha) <= tolerance or step <= rounding:
            return _shaped(state, start)
    raise ValueError(
        f"Walkers must come to rest within {rounds} rounds, got a last step of {step:.2g}; "
        "allow more rounds, or a larger tolerance"
    )


def solve_pagerank(edges: Adjacency, start: Tensor, *, weight: Tensor | None = None, alpha: float = 0.85) -> Tensor:
    """Personalised PageRank by a dense solve, for graphs of some thousand nodes; see :func:`pagerank`.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 0]]), 2, 2)
        >>> solve_pagerank(edges, torch.tensor([1.0, 0.0]), alpha=0.5)
        tensor([0.6667, 0.3333])
    """
    home, shares, stays = _walk(edges, start, weight, alpha)
    size = edges.num_targets
    eye = torch.eye(size, dtype=home.dtype, device=home.device)
    step = aggregate(eye, edges, weight=shares) + torch.diag(stays)  # P transposed, [nodes, nodes]
    return _shaped(torch.linalg.solve(eye - alpha * step, (1 - alpha) * home), start)


def push_pagerank(
    edges: Adjacency,
    start: Tensor,
    *,
    weight: Tensor | None = None,
    alpha: float = 0.85,
    epsilon: float = 1e-6,
) -> tuple[Tensor, Tensor]:
    r"""Personalised PageRank near one start alone, by pushing what has not been walked yet.

    What is left at a node, :math:`r_u`, is pushed along its edges as long as :math:`r_u > \epsilon d_u`, with
    :math:`d_u` the edges that lead from it. At any time

    .. math:: \pi = p + \sum_u r_u \pi_u

    so :math:`p \le \pi` everywhere and the errors add up to exactly :math:`\sum_u r_u`. Where each edge has its way
    back, of the same weight, :math:`\pi_v - p_v \le \epsilon d_v` too.

    Args:
        edges: Who leads to whom, among one set of nodes.
        start: Where the walker sets out, ``[nodes]``; brought to a sum of 1.
        weight: How likely each edge is taken, ``[edges]``, at least 0; by default all alike. Degrees are sums of it.
        alpha: Probability of going on, from 0 to below 1.
        epsilon: What may be left, for each edge of a node; above 0.

    Returns:
        The shares :math:`p`, ``[nodes]``, and what is left, :math:`r`, ``[nodes]``.

    Raises:
        ValueError: An argument out of its range, or a start without mass.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 0]]), 2, 2)
        >>> near, left = push_pagerank(edges, torch.tensor([1.0, 0.0]), alpha=0.5, epsilon=0.01)
        >>> bool(near[0] <= 2 / 3 <= near[0] + left.sum())
        True
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    if start.dim() != 1:
        raise ValueError(f"start must be of one walker, [nodes], got {list(start.shape)}")
    home, shares, stays = _walk(edges, start, weight, alpha)
    out = edges.transposed  # by source
    chance = shares.index_select(0, edges.order).index_select(0, out.order)  # [edges], by source
    degree = torch.diff(out.offsets).to(home.dtype) if weight is None else _leaving(edges, weight.to(home.dtype))
    bar = epsilon * degree.clamp_min(torch.finfo(home.dtype).tiny)
    found, left = torch.zeros_like(home[:, 0]), home[:, 0].clone()
    still = stays > 0  # a walker who stays for good: all that comes is theirs
    touched = left.nonzero()[:, 0]
    while len(touched):
        arrived = touched[still[touched]]
        found[arrived] += left[arrived]
        left[arrived] = 0
        pushed = touched[left[touched] > bar[touched]]
        mass = left[pushed]
        found[pushed] += (1 - alpha) * mass
        left[pushed] = 0
        counts = out.offsets[pushed + 1] - out.offsets[pushed]
        places = torch.arange(int(counts.sum()), device=left.device)
        places = places - (counts.cumsum(0) - counts - out.offsets[pushed]).repeat_interleave(counts)
        reached = out.sources[places].long()
        left.index_add_(0, reached, alpha * mass.repeat_interleave(counts) * chance[places])
        touched = reached.unique()
    return found, left


def _walk(edges: Adjacency, start: Tensor, weight: Tensor | None, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where walkers set out ``[nodes, starts]``, each edge's chance ``[edges]``, where they stay ``[nodes]``."""
    size = edges.num_targets
    if edges.num_sources != size:
        raise ValueError(f"edges must be among one set of nodes, got {edges.num_sources} sources and {size} targets")
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must be from 0 to below 1, got {alpha}")
    if start.dim() not in (1, 2) or start.shape[-1] != size:
        raise ValueError(f"start must be [nodes] or [starts, nodes] with {size} nodes, got {list(start.shape)}")
    home = (start if start.dtype.is_floating_point else start.float()).reshape(-1, size).T  # [nodes, starts]
    mass = home.sum(dim=0)
    if not (home >= 0).all() or not (mass > 0).all():
        raise ValueError(
            f"start must be at least 0, with a sum above 0, got sums down to {float(mass.min()) if len(mass) else 0}"
        )
    if weight is not None and (weight.shape != (edges.num_edges,) or not (weight >= 0).all()):
        raise ValueError(f"weight must be [{edges.num_edges}] numbers of at least 0, got {list(weight.shape)}")
    weight = home.new_ones(edges.num_edges) if weight is None else weight.to(home.dtype)
    leaving = _leaving(edges, weight)
    sources = torch.empty_like(edges.sources).index_copy(0, edges.order, edges.sources)  # in the edges' own order
    shares = weight / torch.where(leaving > 0, leaving, torch.ones_like(leaving))[sources.long()]
    return home / mass, shares, (leaving == 0).to(home.dtype)


def _leaving(edges: Adjacency, weight: Tensor) -> Tensor:
    """The weight of all edges that lead from each node, ``[nodes]``."""
    return weight.new_zeros(edges.num_sources).index_add(0, edges.sources.long(), weight.index_select(0, edges.order))


def _shaped(state: Tensor, start: Tensor) -> Tensor:
    return state.T.reshape(start.shape).contiguous()
