r"""Assignments with given marginals: who goes where, when all places together have room for all.

| function | makes |
|---|---|
| :func:`sinkhorn` | the assignment of great score and given marginals: samples to clusters |
| :func:`transport` | the plan of least cost between two sets of weights: words to regions |
| :func:`transported` | how alike two sets of vectors are, by that plan: each picture and each text |
| :func:`marginal` | sizes of clusters: equal, by Zipf's law, or by Gauss's |

Both solve one problem, entropic optimal transport, by Sinkhorn's algorithm in the log domain:

.. math:: \max_{Q \geq 0} \langle Q, S \rangle + \tfrac1\lambda H(Q), \quad Q 1 = r,\ Q^\top 1 = c
    \quad\Rightarrow\quad Q = \mathrm{diag}(u)\, e^{\lambda S}\, \mathrm{diag}(v)

Sharpness :math:`\lambda` grows over the first half of the rounds to what is asked for, from a value at which two rounds
are enough: sharp assignments then need few. What the marginals still lack at the end is added (Altschuler, Weed &
Rigollet 2017, arXiv:1705.09634, algorithm 2), so that they hold however few the rounds.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Sizes: TypeAlias = Literal["uniform", "zipf", "gaussian"]
SPREAD = 0.1  # deviation of Gaussian sizes, in mean sizes
CELLS = 1 << 21  # that are transported at once: some 16 MiB a matrix of them


def marginal(kind: Sizes, count: int) -> Tensor:
    r"""Shares of clusters, greatest first: equal, :math:`\propto 1/k`, or normal quantiles of deviation a tenth.

    Source: Asano, Patrick, Rupprecht & Vedaldi 2020, Labelling unlabelled videos from scratch with multi-modal
    self-supervision, arXiv:2006.13662 (which draws the Gaussian ones; here they are quantiles, the same each time).

    Args:
        kind: ``uniform``, ``zipf`` or ``gaussian``.
        count: How many clusters.

    Returns:
        ``[count]``, of sum 1.

    Raises:
        ValueError: An unknown kind, or no cluster.

    Example:
        >>> marginal("zipf", 3)
        tensor([0.5455, 0.2727, 0.1818])
    """
    if count < 1 or kind not in ("uniform", "zipf", "gaussian"):
        raise ValueError(
            f"marginal must be of 'uniform', 'zipf' or 'gaussian' and count at least 1, got {kind}, {count}"
        )
    if kind == "uniform":
        sizes = [1.0] * count
    elif kind == "zipf":
        sizes = [1 / place for place in range(1, count + 1)]
    else:
        normal = NormalDist(1, SPREAD)
        sizes = [max(normal.inv_cdf((count - at - 0.5) / count), SPREAD) for at in range(count)]
    return torch.tensor([size / sum(sizes) for size in sizes])


@torch.no_grad()
def sinkhorn(
    scores: Tensor,
    *,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    sharpness: float = 25.0,
    rounds: int = 50,
) -> Tensor:
    r"""Assigns rows to columns so that scores are great and marginals hold.

    With :math:`S = \log P` of a classifier and :math:`\lambda` = 25 it is the labelling step of self-labelling (Asano,
    Rupprecht & Vedaldi 2020, arXiv:1911.05371). As sharpness grows it becomes the best assignment (with ties shared).

    Args:
        scores: :math:`S`, ``[..., rows, columns]``.
        rows: :math:`r`, ``[..., rows]``, at least 0, in any unit; by default equal.
        columns: :math:`c`, ``[..., columns]``, likewise.
        sharpness: :math:`\lambda`, in the unit of one over a score.
        rounds: How often rows and columns are scaled.

    Returns:
        :math:`Q`, ``[..., rows, columns]``, of sum 1, without a gradient.

    Raises:
        ValueError: Scores that are not finite, marginals of other shapes, below 0 or all 0, options out of range.

    Example:
        >>> sinkhorn(torch.tensor([[0.0, 1.0], [0.0, 3.0]])).round(decimals=3)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    if not 0 < sharpness < math.inf or rounds < 1:
        raise ValueError(f"sharpness must be above 0 and rounds at least 1, got {sharpness} and {rounds}")
    if scores.dim() < 2 or not scores.isfinite().all():
        raise ValueError(
            f"Scores must be [..., rows, columns] and finite, got {list(scores.shape)} with "
            f"{int((~scores.isfinite()).sum())} that are not"
        )
    wide = scores.double()
    r = _shares(rows, wide.shape[:-1], wide, "rows")  # [..., rows]
    c = _shares(columns, wide.shape[:-2] + wide.shape[-1:], wide, "columns")  # [..., columns]
    if not scores.numel():
        return torch.zeros_like(scores)
    log_r, log_c, g = r.log(), c.log(), torch.zeros_like(c)
    gentle = min(sharpness, 1 / max(float(wide.amax() - wide.amin()), 1 / sharpness))
    for turn in range(rounds):
        now = gentle * (sharpness / gentle) ** min(1, 2 * (turn + 1) / rounds)
        f = (log_r - torch.logsumexp(now * (wide + g[..., None, :]), dim=-1)) / now
        g = (log_c - torch.logsumexp(now * (wide + f[..., None]), dim=-2)) / now
    return _rounded((sharpness * (wide + f[..., None] + g[..., None, :])).exp(), r, c).to(scores.dtype)


def transport(
    cost: Tensor, a: Tensor | None = None, b: Tensor | None = None, *, epsilon: float = 0.05, rounds: int = 100
) -> Tensor:
    r"""The plan that carries weights to weights at the least cost: :math:`\min_T \langle T, C \rangle - \epsilon H(T)`.

    With :math:`C_{ij} = 1 - \cos(w_i, v_j)` between words and regions, the plan says which region goes with which word,
    and :math:`\langle T, C \rangle` is a loss (Chen et al. 2020, UNITER, arXiv:1909.11740): the plan is held fixed, and
    is the gradient of the entropic cost by :math:`C`. Pairs of different lengths can be stacked: a weight of 0
    carries nothing. Epsilon near 0 gives the exact plan of least cost; it needs more rounds.

    Source: Cuturi 2013, Sinkhorn distances: lightspeed computation of optimal transport, arXiv:1306.0895.

    Args:
        cost: :math:`C`, ``[..., rows, columns]``.
        a: Weights of the rows, ``[..., rows]``; by default equal. Only shares count.
        b: Weights of the columns, ``[..., columns]``.
        epsilon: In the unit of a cost; above 0.
        rounds: How often rows and columns are scaled.

    Returns:
        :math:`T`, ``[..., rows, columns]``, of sum 1, with the marginals ``a`` and ``b``; without a gradient.

    Raises:
        ValueError: As for :func:`sinkhorn`.

    Example:
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> transport(cost, torch.tensor([0.75, 0.25])).round(decimals=3)
        tensor([[0.5000, 0.2500],
                [0.0000, 0.2500]])
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    return sinkhorn(-cost, rows=a, columns=b, sharpness=1 / epsilon, rounds=rounds)


def transported(
    x: Tensor, y: Tensor, x_there: Tensor, y_there: Tensor, *, epsilon: float = 0.1, rounds: int = 20
) -> Tensor:
    r"""How alike each set of vectors is to each other set: the similarity that the best plan between them carries.

    .. math:: s_{ij} = \langle T^{ij}, C^{ij} \rangle, \quad C^{ij}_{rw} = \cos(x_{ir}, y_{jw}), \quad
        T^{ij} = \arg\max_T \langle T, C^{ij} \rangle + \epsilon H(T)

    with equal weights of the vectors of a set. It is 1 less :math:`\langle T, 1 - C \rangle`, the cost of transport
    from regions to words (Chen et al. 2020, UNITER, arXiv:1909.11740, section 3); sets of one vector each have their
    cosine. Plans are held fixed: gradients flow through the cosines. They are made for some sets at a time.

    Args:
        x: ``[sets, vectors, channels]``.
        y: ``[other sets, vectors, channels]``; the numbers of vectors may differ.
        x_there: Which places have a vector, ``[sets, vectors]`` of bool; at least one in each set.
        y_there: ``[other sets, vectors]``, likewise.
        epsilon: How soft plans are, in the unit of a cosine; at least .01.
        rounds: How often rows and columns are scaled.

    Returns:
        ``[sets, other sets]``, from -1 to 1.

    Raises:
        ValueError: A set without a vector, or an option out of its range.

    Example:
        >>> regions = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]])
        >>> there = torch.tensor([[True, True], [True, False]])
        >>> transported(regions, regions, there, there).round(decimals=3)
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
    """
    if not epsilon >= 0.01 or rounds < 1:
        raise ValueError(f"epsilon must be at least .01 and rounds at least 1, got {epsilon} and {rounds}")
    if not (x_there.any(dim=1).all() and y_there.any(dim=1).all()):
        raise ValueError(
            f"Each set must have a vector, got {int((~x_there.any(dim=1)).sum())} and "
            f"{int((~y_there.any(dim=1)).sum())} without"
        )
    x, y = F.normalize(x, dim=2), F.normalize(y, dim=2)
    if not len(x) or not len(y):
        return x.new_zeros(len(x), len(y)) + (x.sum() + y.sum()) * 0  # with a gradient
    order, found = x_there.sum(dim=1).argsort(), []  # sets of like sizes side by side: few places are empty
    for rows in order.split(max(1, CELLS // (x.shape[1] * y_there.numel()))):
        there, widest = x_there[rows], x_there[rows].any(dim=0).nonzero().max() + 1
        cosines = torch.einsum("irc,jwc->ijrw", x[rows, :widest], y)  # [sets, other sets, vectors, vectors]
        plan = _even_plans(cosines.detach().double(), there[:, None, :widest], y_there, epsilon, rounds)
        found.append((plan.to(cosines.dtype) * cosines).sum(dim=(2, 3)))
    return torch.cat(found)[order.argsort()]


def _even_plans(scores: Tensor, rows: Tensor, columns: Tensor, epsilon: float, rounds: int) -> Tensor:
    """Plans of equal weights. Bounded scores need no logarithms, which is ten times as fast."""
    kernel = ((scores - scores.amax(dim=(-2, -1), keepdim=True)) / epsilon).exp()  # [..., rows, columns]
    across = kernel.transpose(-2, -1).contiguous()
    r = (rows.to(kernel) / rows.sum(dim=-1, keepdim=True)).expand(kernel.shape[:-1])
    c = (columns.to(kernel) / columns.sum(dim=-1, keepdim=True)).expand(across.shape[:-1])
    v = torch.ones_like(c)
    for _ in range(rounds):
        u = r / (kernel @ v[..., None])[..., 0]
        v = c / (across @ u[..., None])[..., 0]
    return _rounded(u[..., None] * kernel * v[..., None, :], r, c)


def _shares(weights: Tensor | None, shape: torch.Size, like: Tensor, name: str) -> Tensor:
    """A marginal of sum 1 in each matrix; equal where none is given."""
    if weights is None:
        return like.new_full(shape, 1 / max(shape[-1], 1))
    if weights.dim() not in (1, len(shape)) or weights.shape != shape[-weights.dim() :]:
        raise ValueError(f"Weights of {name} must be {list(shape)} or {list(shape[-1:])}, got {list(weights.shape)}")
    whole = weights.to(like).expand(shape)
    total = whole.sum(dim=-1, keepdim=True)
    if not (whole >= 0).all() or not ((total > 0) & total.isfinite()).all():
        raise ValueError(f"Weights of {name} must be at least 0 and of a finite sum above 0, got {weights.tolist()}")
    return whole / total


def _rounded(plan: Tensor, r: Tensor, c: Tensor) -> Tensor:
    """The plan with the marginals exactly: surplus scaled away, and what is then missing added as a product."""
    plan = plan * (r / plan.sum(dim=-1).clamp_min(torch.finfo(plan.dtype).tiny)).clamp_max(1)[..., None]
    plan = plan * (c / plan.sum(dim=-2).clamp_min(torch.finfo(plan.dtype).tiny)).clamp_max(1)[..., None, :]
    short_r, short_c = (r - plan.sum(dim=-1)).clamp_min(0), (c - plan.sum(dim=-2)).clamp_min(0)
    total = short_r.sum(dim=-1).clamp_min(torch.finfo(plan.dtype).tiny)[..., None, None]
    return plan + short_r[..., None] * short_c[..., None, :] / total
