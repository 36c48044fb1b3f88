r"""Two series laid over each other: which step of one goes with which step of the other, in order.

| function | finds | prefer it for |
|---|---|---|
| :func:`warp` | the cheapest path through costs, with its cells | costs that you have already |
| :func:`dtw` | the same for two series | to see who goes with whom |
| :func:`soft_dtw` | a cost with a gradient by all paths | an objective |

All three work through the table of costs by its anti-diagonals, whose cells do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.similarity import Metric, distance

StepMetric: TypeAlias = Metric | Literal["squared"]


class Warp(NamedTuple):
    """A path through a table of costs, from its first cell to its last, and what it costs."""

    path: Tensor  # [2, steps], rows and columns
    cost: Tensor  # a scalar


def warp(cost: Tensor, *, window: int | None = None) -> Warp:
    r"""The cheapest way from the first cell to the last by steps down, right, or both at once.

    .. math:: D_{ij} = c_{ij} + \min(D_{i-1,j-1}, D_{i-1,j}, D_{i,j-1}), \qquad D_{00} = c_{00}

    Source: Sakoe and Chiba 1978, Dynamic programming algorithm optimization for spoken word recognition, IEEE
    Transactions on Acoustics, Speech and Signal Processing 26; doi:10.1109/TASSP.1978.1163055. All steps weigh 1, as is
    usual today (there, a diagonal step may weigh 2). Of equally cheap ways it takes the diagonal one.

    Args:
        cost: :math:`c`, ``[rows, columns]``, finite; at least one row and column.
        window: How far apart a row and a column may be, in steps; at least the difference of the two lengths. By
            default as far as you like.

    Returns:
        The path ``[2, steps]`` with ``max(rows, columns) <= steps < rows + columns``, and its cost, which has a
        gradient: 1 for the cells on the path.

    Raises:
        ValueError: No row or no column, costs that are not finite, or a window too narrow for any path.

    Example:
        >>> found = warp(torch.tensor([[0.0, 2.0, 2.0], [2.0, 1.0, 0.0]]))
        >>> found.path.tolist(), float(found.cost)
        ([[0, 1, 1], [0, 1, 2]], 1.0)
    """
    totals = _accumulate(cost.detach(), window, lambda before: before.amin(dim=0))
    path = _back([diagonal.tolist() for diagonal in totals], *cost.shape)
    index = torch.tensor(path, device=cost.device).T  # [2, steps]
    return Warp(index, cost[index[0], index[1]].sum())


def dtw(x: Tensor, y: Tensor, *, window: int | None = None, metric: StepMetric = "euclidean") -> Warp:
    r"""Dynamic time warping: :func:`warp` through the distances of the steps of two series.

    Args:
        x: ``[steps, channels]``.
        y: ``[other steps, channels]``.
        window: How far apart two steps may be, in steps.
        metric: Distance of two steps; ``squared`` is :math:`\|x-y\|^2`.

    Raises:
        ValueError: A series without steps, not of two dimensions or of another width; or what :func:`warp` refuses.

    Example:
        >>> slow, fast = torch.tensor([[0.0], [0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [2.0], [2.0]])
        >>> found = dtw(slow, fast)
        >>> found.path.tolist(), float(found.cost)
        ([[0, 1, 2, 3, 3], [0, 0, 1, 2, 3]], 0.0)
    """
    return warp(_costs(x, y, metric), window=window)


def soft_dtw(
    x: Tensor, y: Tensor, *, gamma: float = 1.0, window: int | None = None, metric: StepMetric = "squared"
) -> Tensor:
    r"""Dynamic time warping with a soft minimum, which has a gradient by every path and not by the best alone.

    .. math::
        D_{ij} = c_{ij} + \mathrm{min}_\gamma(D_{i-1,j-1}, D_{i-1,j}, D_{i,j-1}), \qquad
        \mathrm{min}_\gamma(a) = -\gamma \log \sum_k e^{-a_k / \gamma}

    As :math:`\gamma \to 0` it goes to the cost of :func:`dtw`, from below: the difference is at most :math:`\gamma`
    times the logarithm of the number of paths. It may be negative, and of a series with itself it is not 0.

    Source: Cuturi and Blondel 2017, Soft-DTW: a differentiable loss function for time-series; arXiv:1703.01541, eq. 1
    and algorithm 1.

    Args:
        x: ``[steps, channels]``.
        y: ``[other steps, channels]``.
        gamma: :math:`\gamma`, above 0, in the unit of the costs.
        window: How far apart two steps may be, in steps.
        metric: Distance of two steps; the paper's is ``squared``.

    Returns:
        A scalar.

    Raises:
        ValueError: ``gamma`` is not above 0; or what :func:`dtw` refuses.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
        >>> round(float(soft_dtw(x, y, gamma=1.0)), 4), round(float(soft_dtw(x, y, gamma=0.01)), 4)
        (0.6734, 1.0)
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, got {gamma}; dtw is its limit at 0")
    costs = _costs(x, y, metric)
    return _accumulate(costs, window, lambda before: -gamma * (-before / gamma).logsumexp(dim=0))[-1][-1]


def _accumulate(cost: Tensor, window: int | None, least: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What the way to each cell costs, an anti-diagonal at a time; infinite where no way leads.

    On diagonal k the cell ``(i, k - i)`` has the place ``i + 1``; place 0 is outside of the table.
    """
    if cost.dim() != 2 or 0 in cost.shape:
        raise ValueError(f"A warp needs costs [rows, columns] of at least 1 by 1, got {list(cost.shape)}")
    if not bool(cost.isfinite().all()):
        raise ValueError(f"The costs of a warp must be finite, got {int((~cost.isfinite()).sum())} others")
    rows, columns = cost.shape
    window = rows + columns if window is None else window
    if window < abs(rows - columns):
        raise ValueError(
            f"window must be at least {abs(rows - columns)}, the difference of {rows} and {columns} steps, got {window}"
        )
    outside = cost.new_full((rows + 1,), torch.inf)
    totals = [outside, outside]
    for k in range(rows + columns - 1):
        first = max(0, k - columns + 1, (k - window + 1) // 2)
        end = max(first, min(rows - 1, k, (k + window) // 2) + 1)
        row = torch.arange(first, end, device=cost.device)
        here = cost[row, k - row]  # [cells]
        if k > 0:
            older, last = totals[-2:]
            here = here + least(torch.stack([older[first:end], last[first:end], last[first + 1 : end + 1]]))
        totals.append(F.pad(here, (first + 1, rows - end), value=torch.inf))
    return totals[2:]


def _back(totals: list[list[float]], rows: int, columns: int) -> list[tuple[int, int]]:
    """The cells of the cheapest way, from the first to the last, found from its end."""
    row, k = rows - 1, rows + columns - 2
    path = [(row, k - row)]
    while k > 0:
        both = totals[k - 2][row] if k > 1 else torch.inf  # the cell before in both
        down, right = totals[k - 1][row], totals[k - 1][row + 1]
        if both <= min(down, right):
            row, k = row - 1, k - 2
        else:
            row, k = (row - 1, k - 1) if down <= right else (row, k - 1)
        path.append((row, k - row))
    return path[::-1]


def _costs(x: Tensor, y: Tensor, metric: StepMetric) -> Tensor:
    """Distances of the steps, ``[steps, other steps]``; exactly 0 for equal ones."""
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1] or 0 in (len(x), len(y)):
        raise ValueError(
            "Two series must be [steps, channels] of one width, with at least 1 step, "
            f"got {list(x.shape)} and {list(y.shape)}"
        )
    if metric == "euclidean" or metric == "squared":
        apart = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        return apart.square() if metric == "squared" else apart
    return distance(x, y, metric=metric)
