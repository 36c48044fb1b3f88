r"""Kernels between rows, how well they say what labels say, their weighted sum, and the machine that predicts by it.

| kernel | :math:`k(x, y)` |
|---|---|
| :func:`linear_kernel` | :math:`x \cdot y` |
| :func:`polynomial_kernel` | :math:`(\gamma\, x \cdot y + c)^p` |
| :func:`cosine_kernel` | :math:`x \cdot y / \|x\| \|y\|` |
| :func:`rbf_kernel` | :math:`\exp(-\|x - y\|^2 / 2\sigma^2)`, :math:`\sigma` the median distance |

A kernel matrix is a weighted graph on its rows: one kernel a modality is one population graph a modality, and multiple
kernel learning is the weight of each (:func:`combine_kernels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmgraph.functional.similarity import directions, distance, rbf


def linear_kernel(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Products of rows, ``[queries, sources]``; of ``x`` with itself, if no ``y`` is given.

    Example:
        >>> linear_kernel(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[11.]])
    """
    return x @ (x if y is None else y).T


def polynomial_kernel(
    x: Tensor, y: Tensor | None = None, *, degree: int = 3, scale: float | None = None, offset: float = 1.0
) -> Tensor:
    r"""Powers of products of rows, :math:`(\gamma\, x \cdot y + c)^p`: all terms of up to ``degree`` channels.

    Args:
        x: ``[queries, channels]``.
        y: ``[sources, channels]``; by default ``x``.
        degree: :math:`p`, at least 1.
        scale: :math:`\gamma`; by default 1 / channels.
        offset: :math:`c`, at least 0.

    Returns:
        ``[queries, sources]``.

    Raises:
        ValueError: ``degree`` below 1, or a negative ``offset`` (then it is no kernel).

    Example:
        >>> polynomial_kernel(torch.tensor([[1.0, 2.0]]), degree=2, scale=1.0)
        tensor([[36.]])
    """
    if degree < 1 or offset < 0:
        raise ValueError(f"degree must be at least 1 and offset at least 0, got degree={degree}, offset={offset}")
    return (linear_kernel(x, y) * (1 / x.shape[1] if scale is None else scale) + offset) ** degree


def cosine_kernel(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Cosines between rows, ``[queries, sources]``; 0 where one has no direction.

    Example:
        >>> cosine_kernel(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[6.0, 8.0]]))
        tensor([[1.],
                [0.]])
    """
    return directions(x, metric="cosine") @ directions(x if y is None else y, metric="cosine").T


def rbf_kernel(x: Tensor, y: Tensor | None = None, *, width: float | None = None) -> Tensor:
    r"""Radial basis kernel :math:`\exp(-\|x - y\|^2 / 2\sigma^2)`.

    Args:
        x: ``[queries, channels]``.
        y: ``[sources, channels]``; by default ``x``.
        width: :math:`\sigma`; by default :func:`median_distance` of ``x``: for rows that a model is asked about later,
            give that of the rows it was fitted on.

    Returns:
        ``[queries, sources]``.

    Raises:
        ValueError: A width that is not above 0.

    Example:
        >>> rbf_kernel(torch.tensor([[0.0], [2.0]]))
        tensor([[1.0000, 0.6065],
                [0.6065, 1.0000]])
    """
    width = median_distance(x) if width is None else width
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    return rbf(distance(x, x if y is None else y), width)


def median_distance(x: Tensor) -> float:
    """The median of the distances between different rows that are not equal: a width that fits the data.

    Source: Garreau, Jitkrittum and Kanagawa 2018, Large sample analysis of the median heuristic; arXiv:1707.07269.

    Raises:
        ValueError: All rows are equal, or there are fewer than two.

    Example:
        >>> median_distance(torch.tensor([[0.0], [1.0], [3.0]]))
        2.0
    """
    apart = torch.nn.functional.pdist(x)  # [pairs]
    apart = apart[apart > 0]
    if not len(apart):
        raise ValueError(f"A median distance needs at least 2 rows that differ, got {len(x)} rows, all equal")
    return float(apart.median())


def centre_kernel(kernel: Tensor) -> Tensor:
    r"""The kernel of features whose mean is 0: :math:`HKH` with :math:`H = I - 11^\top / n`.

    Args:
        kernel: ``[rows, rows]``.

    Example:
        >>> centre_kernel(linear_kernel(torch.tensor([[1.0], [3.0]])))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    return kernel - kernel.mean(dim=0) - kernel.mean(dim=1, keepdim=True) + kernel.mean()


def normalise_trace(kernel: Tensor) -> Tensor:
    """The kernel divided by the mean of its diagonal, so that kernels of different scale can be weighed.

    Raises:
        ValueError: The trace is not above 0.

    Example:
        >>> normalise_trace(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
    """
    mean = kernel.diagonal().mean()
    if not mean > 0:
        raise ValueError(f"A kernel must have a trace above 0 to be normalised by it, got {float(kernel.trace())}")
    return kernel / mean


def kernel_alignment(kernel: Tensor, other: Tensor, *, centred: bool = True) -> Tensor:
    r"""How alike two kernels are, from -1 to 1: :math:`\langle K, L \rangle / \|K\| \|L\|`, of the centred ones.

    With :math:`L = YY^\top` of labels it says how well a kernel tells the classes apart. Sources: Cristianini,
    Shawe-Taylor, Elisseeff and Kandola 2001, On kernel-target alignment; centred: Cortes, Mohri and Rostamizadeh 2012,
    Algorithms for learning kernels based on centered alignment, JMLR 13, definition 4.

    Args:
        kernel: ``[rows, rows]``.
        other: ``[rows, rows]``.
        centred: Centre both first; without, a constant alone makes two kernels alike.

    Returns:
        A scalar; 0 where one of them is all zeros.

    Example:
        >>> y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
        >>> kernel_alignment(linear_kernel(y), torch.eye(4))
        tensor(0.5774)
    """
    if centred:
        kernel, other = centre_kernel(kernel), centre_kernel(other)
    norm = kernel.norm() * other.norm()
    return (kernel * other).sum() / torch.where(norm > 0, norm, torch.ones_like(norm))


def combine_kernels(
    kernels: Sequence[Tensor], shares: Tensor, *, present: Sequence[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    r"""The weighted sum of kernels, also of rows of which some kernels know nothing.

    .. math::
        K_{ij} = \frac{\sum_m \beta_m p_{im} p_{jm} K_m(i, j)}{\sqrt{b_i b_j}}, \qquad b_i = \sum_m \beta_m p_{im}

    where :math:`p_{im}` is 1 where row i has modality m. With all there it is :math:`\sum_m \beta_m K_m`, and always a
    kernel: rescaling rows and columns by the same factors keeps it positive semidefinite, which dividing each entry by
    the shares that both rows have would not. A row that has nothing is 0 to all.

    Args:
        kernels: ``[queries, sources]`` each.
        shares: :math:`\beta`, ``[kernels]``, at least 0.
        present: Which queries and sources have a modality, masks ``[queries]`` and ``[sources]``, for each kernel; by
            default all. What a kernel says of absent rows is not read: it may be NaN.

    Returns:
        ``[queries, sources]``.

    Raises:
        ValueError: No kernels, or not one share (and pair of masks) a kernel.

    Example:
        >>> combine_kernels([torch.eye(2), torch.ones(2, 2)], torch.tensor([0.75, 0.25]))
        tensor([[1.0000, 0.2500],
                [0.2500, 1.0000]])
    """
    if not kernels or shares.shape != (len(kernels),) or (present is not None and len(present) != len(kernels)):
        masks = "" if present is None else f", {len(present)} pairs of masks"
        raise ValueError(f"Each kernel must have its share, got {len(kernels)} kernels, {len(shares)} shares{masks}")
    if present is None:
        return torch.stack([share * kernel for share, kernel in zip(shares, kernels, strict=True)]).sum(dim=0)
    total: Tensor | float = 0.0
    mass: list[Tensor | float] = [0.0, 0.0]
    for kernel, share, (queries, sources) in zip(kernels, shares, present, strict=True):
        both = queries[:, None] & sources[None, :]  # [queries, sources]
        total = total + share * kernel.where(both, kernel.new_zeros(()))
        mass = [known + share * mask for known, mask in zip(mass, (queries, sources), strict=True)]
    rows, columns = (torch.where(one > 0, one, torch.ones_like(one)).rsqrt() for one in mass if isinstance(one, Tensor))
    assert isinstance(total, Tensor)
    return total * rows[:, None] * columns[None, :]


class Ridge(NamedTuple):
    """What kernel ridge regression says."""

    answers: Tensor  # [rows, outputs]; of a known row, what is said of it without its own value
    coefficients: Tensor  # [known, outputs]
    bias: Tensor  # [outputs]


def kernel_ridge(kernel: Tensor, values: Tensor, known: Tensor, *, ridge: float | Tensor) -> Ridge:
    r"""Kernel ridge regression with a bias, where no row is told by its own value.

    .. math::
        f(i) = \sum_{j \in L} a_j K_{ij} + b, \qquad
        \begin{bmatrix} K_{LL} + \lambda I & 1 \\ 1^\top & 0 \end{bmatrix}
        \begin{bmatrix} a \\ b \end{bmatrix} = \begin{bmatrix} y \\ 0 \end{bmatrix}

    A known row gets the answer of the machine fitted on all *other* known rows, exactly and without fitting again:
    :math:`y_i - a_i / (G^{-1})_{ii}` with the matrix G above (Cawley and Talbot 2004, Fast exact leave-one-out
    cross-validation of sparse least-squares support vector machines, Neural Networks 17). So the answers of known and
    of unknown rows are of one kind, and a loss on known rows, through which the kernel's own parameters may learn, is a
    loss on rows not seen. On classes coded as ±1 (or one column a class) this is the least-squares support vector
    machine (Suykens and Vandewalle 1999).

    Args:
        kernel: ``[rows, rows]``: row i is about i, its columns about those it is compared with.
        values: ``[rows, outputs]``; what stands in rows that are not known is not read.
        known: Mask ``[rows]``.
        ridge: :math:`\lambda`, above 0.

    Returns:
        Answers ``[rows, outputs]``, coefficients and bias. With one known row its value is the bias, and its own answer
        is 0, as all are with none.

    Raises:
        ValueError: A ``ridge`` that is not above 0.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> known = torch.tensor([True, True, True, False])
        >>> kernel_ridge(linear_kernel(x), 2 * x, known, ridge=1e-4).answers.flatten().round(decimals=2).tolist()
        [0.0, 2.0, 4.0, 6.0]
    """
    if not bool(torch.as_tensor(ridge) > 0):
        raise ValueError(f"ridge must be above 0, got {float(ridge)}")
    rows = known.nonzero().flatten()
    y, count = values[rows], len(rows)
    answers = values.new_zeros(values.shape)
    if count == 0:
        return Ridge(answers, y, values.new_zeros(values.shape[1]))
    eye = torch.eye(count, dtype=kernel.dtype, device=kernel.device)
    one = kernel.new_ones(count, 1)
    top = torch.cat([kernel[rows][:, rows] + ridge * eye, one], dim=1)
    inverse = torch.linalg.inv(torch.cat([top, torch.cat([one.T, kernel.new_zeros(1, 1)], dim=1)]))  # [known + 1] twice
    solved = inverse[:, :count] @ y  # [known + 1, outputs]
    coefficients, bias = solved[:-1], solved[-1]
    if count == 1:
        return Ridge(bias.where(~known[:, None], 0.0), coefficients, bias)
    left_out = y - coefficients / inverse.diagonal()[:-1, None]
    answers = kernel[:, rows] @ coefficients + bias
    return Ridge(answers.index_copy(0, rows, left_out), coefficients, bias)
