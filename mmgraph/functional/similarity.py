"""Distances, kernels and agreements between rows, and the nearest rows by them, in blocks of bounded memory."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

Metric: TypeAlias = Literal["euclidean", "cosine", "correlation"]

BLOCK_ELEMENTS = 1 << 20  # entries of one block of a score matrix: 4 MiB of float32, which stay in the cache


class Neighbours(NamedTuple):
    """For each query row its nearest source rows, nearest first; -1 where there are fewer than ``k``."""

    index: Tensor  # [queries, k]
    score: Tensor  # [queries, k]


def distance(x: Tensor, y: Tensor, *, metric: Metric = "euclidean") -> Tensor:
    r"""Distance of each row of ``x`` to each row of ``y``.

    Euclidean :math:`\|x-y\|`, cosine :math:`1-\cos(x, y)`, correlation :math:`1-\mathrm{corr}(x, y)`.
    A zero (or, for the correlation, constant) row is at distance 1 from every row.

    Args:
        x: ``[queries, channels]``.
        y: ``[sources, channels]``.
        metric: Which distance.

    Returns:
        ``[queries, sources]``.

    Example:
        >>> distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
        >>> distance(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 2.0, 1.0]]), metric="correlation").round()
        tensor([[2.]])
    """
    if metric == "euclidean":
        return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
    return (1 - directions(x, metric=metric) @ directions(y, metric=metric).T).clamp(0, 2)


def directions(x: Tensor, *, metric: Metric) -> Tensor:
    """Rows of unit length (centred first, for the correlation); rows without a direction stay zero.

    Example:
        >>> directions(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), metric="cosine")
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    if metric == "correlation":
        constant = (x == x[:, :1]).all(dim=1, keepdim=True)  # exactly: their rounding errors are no direction
        x = (x - x.mean(dim=1, keepdim=True)).masked_fill(constant, 0)
    return torch.nn.functional.normalize(x, dim=1)


def pair_distance(x: Tensor, y: Tensor, *, metric: Metric) -> Tensor:
    """Distance of each row of ``x`` to the row of ``y`` beside it, ``[rows]``, without cancellation.

    Example:
        >>> pair_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), metric="euclidean")
        tensor([5.])
    """
    if metric == "euclidean":
        return (x - y).norm(dim=1)
    return (1 - (directions(x, metric=metric) * directions(y, metric=metric)).sum(dim=1)).clamp(0, 2)


def rbf(distances: Tensor, width: float) -> Tensor:
    r"""Radial basis kernel :math:`\exp(-d^2 / 2\sigma^2)` of distances ``d`` with width :math:`\sigma`.

    Example:
        >>> rbf(torch.tensor([0.0, 2.0]), width=2.0)
        tensor([1.0000, 0.6065])
    """
    return torch.exp(-(distances**2) / (2 * width**2))


def agree(a: Tensor, b: Tensor, *, threshold: float | None) -> Tensor:
    """Whether values agree: numbers within a threshold, categories (``None``) if equal; NaN with nothing.

    Example:
        >>> agree(torch.tensor([60.0, 60.0]), torch.tensor([61.0, 65.0]), threshold=2.0)
        tensor([ True, False])
    """
    return a == b if threshold is None else (a - b).abs() < threshold


def agreement(
    x: Sequence[Tensor],
    y: Sequence[Tensor],
    *,
    thresholds: Sequence[float | None],
) -> Tensor:
    r"""In how many phenotypes two subjects agree: :math:`\sum_h \gamma(M_h(i), M_h(j))`.

    A number agrees if :math:`|a-b| < \theta`, a category (threshold ``None``) if :math:`a = b`; an unknown
    value (NaN) agrees with nothing.

    Source: Parisot et al. 2018, Disease prediction using graph convolutional networks, Medical Image
    Analysis 48, eq. 3 and 4; arXiv:1806.01738.

    Args:
        x: One tensor ``[queries]`` a phenotype.
        y: One tensor ``[sources]`` a phenotype.
        thresholds: One threshold a phenotype, in its unit; ``None`` for a category.

    Returns:
        ``[queries, sources]``.

    Example:
        >>> age, site = torch.tensor([60.0, 61.0, 80.0]), torch.tensor([0.0, 1.0, 0.0])
        >>> agreement([age, site], [age, site], thresholds=[2.0, None])
        tensor([[2., 1., 1.],
                [1., 2., 0.],
                [1., 0., 2.]])
    """
    total = torch.zeros(len(x[0]), len(y[0]))
    for a, b, threshold in zip(x, y, thresholds, strict=True):
        total += agree(a[:, None], b[None, :], threshold=threshold)
    return total


def closeness(y: Tensor, *, metric: Metric) -> Callable[[Tensor], Tensor]:
    r"""A score that orders sources as their distance does, nearest highest, at the price of one matrix product.

    Euclidean :math:`x \cdot y - \|y\|^2 / 2`, which is :math:`(\|x\|^2 - \|x-y\|^2) / 2`; otherwise the cosine (of
    the centred rows).

    Args:
        y: Sources, ``[sources, channels]``; what can be computed of them is computed once.
        metric: Which distance.

    Returns:
        A function from queries ``[queries, channels]`` to scores ``[queries, sources]``.

    Example:
        >>> closeness(torch.tensor([[0.0], [5.0]]), metric="euclidean")(torch.tensor([[4.0]]))
        tensor([[0.0000, 7.5000]])
    """
    if metric == "euclidean":
        half = -y.square().sum(dim=1) / 2  # [sources]
        return lambda x: torch.addmm(half, x, y.T)
    unit = directions(y, metric=metric)
    return lambda x: directions(x, metric=metric) @ unit.T


def nearest(
    queries: int,
    sources: int,
    score: Callable[[slice], Tensor],
    *,
    k: int,
    exclude: Tensor | None = None,
) -> Neighbours:
    """The ``k`` best sources of each query by any score, computed block by block.

    No more than ``BLOCK_ELEMENTS`` scores are held at once, so 50,000 rows need megabytes, not gigabytes.
    A score of ``-inf`` means "never". Equal scores are ordered by source row.

    Args:
        queries: Number of queries.
        sources: Number of sources.
        score: Gives the scores ``[block, sources]`` of a block of queries; larger is nearer.
        k: How many neighbours.
        exclude: ``[queries]``: for each query the source row that it may not have (itself), or -1.

    Returns:
        The neighbours, best first.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> nearest(3, 3, lambda rows: -distance(x[rows], x), k=1, exclude=torch.arange(3)).index.tolist()
        [[1], [0], [1]]
    """
    k_kept = min(k, sources)
    index = torch.full((queries, k), -1)
    best = torch.full((queries, k), -torch.inf)
    step = max(1, BLOCK_ELEMENTS // max(sources, 1))
    for start in range(0, queries, step):
        rows = slice(start, min(start + step, queries))
        scores = score(rows)  # [block, sources]
        if exclude is not None:
            own = exclude[rows]
            has = (own >= 0).nonzero().flatten()
            scores = scores.index_put((has, own[has]), scores.new_tensor(-torch.inf))
        top, columns = scores.topk(k_kept, dim=1)  # [block, k]
        index[rows, :k_kept], best[rows, :k_kept] = in_order(Neighbours(columns, top))
    index[best == -torch.inf] = -1
    return Neighbours(index, best)


def in_order(found: Neighbours) -> Neighbours:
    """Best first, and equal ones by source row.

    Example:
        >>> in_order(Neighbours(torch.tensor([[4, 7, 2]]), torch.tensor([[0.0, 1.0, 0.0]]))).index
        tensor([[7, 2, 4]])
    """
    by_row = found.index.argsort(dim=1)
    by_score = found.score.gather(1, by_row).argsort(dim=1, descending=True, stable=True)
    order = by_row.gather(1, by_score)
    return Neighbours(found.index.gather(1, order), found.score.gather(1, order))
