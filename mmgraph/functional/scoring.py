"""What a fact is worth: the maths of the scorers of a knowledge graph.

Each scorer makes of a source and a relation a *question*, a vector where the answer should lie, and compares it with
the answers: by an inner product (:func:`inner`) or by a distance (:func:`apart`, and :func:`cross` for all pairs). All
pairs are a matrix product where the form allows one. Otherwise they are worked on in blocks that stay in cache, and
nothing of the size questions × entities × channels is ever held, on the way back neither.

Complex vectors are stored as real ones: the first half is the real part, the second the imaginary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

Norm: TypeAlias = Literal[1, 2, "moduli"]
"""Sum of absolute values, Euclidean length, or sum of the moduli of complex numbers."""

BLOCK_ELEMENTS, DEVICE_ELEMENTS = 1 << 18, 1 << 26
"""Differences made at a time: what stays in a core's cache, and on a device a quarter of a gigabyte."""


def complex_product(x: Tensor, y: Tensor) -> Tensor:
    """The product of complex vectors, number by number.

    Args:
        x: ``[..., 2 × numbers]``.
        y: The same; leading dimensions broadcast.

    Returns:
        ``[..., 2 × numbers]``.

    Example:
        >>> complex_product(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))  # (1 + 2i)(3 + 4i) = -5 + 10i
        tensor([-5., 10.])
    """
    (a, b), (c, d) = x.chunk(2, dim=-1), y.chunk(2, dim=-1)
    return torch.cat([a * c - b * d, a * d + b * c], dim=-1)


def rotate(x: Tensor, phases: Tensor) -> Tensor:
    r"""Turns each complex number by an angle: :math:`x \circ e^{i \theta}`.

    Args:
        x: ``[..., 2 × numbers]``.
        phases: Angles in radians, ``[..., numbers]``; leading dimensions broadcast.

    Returns:
        ``[..., 2 × numbers]``.

    Example:
        >>> rotate(torch.tensor([1.0, 0.0]), torch.tensor([torch.pi / 2])).round()  # 1 becomes i
        tensor([-0., 1.])
    """
    return complex_product(x, torch.cat([phases.cos(), phases.sin()], dim=-1))


def moduli(x: Tensor) -> Tensor:
    """The moduli of complex numbers, ``[..., 2 × numbers] -> [..., numbers]``; their gradient at 0 is 0.

    Example:
        >>> moduli(torch.tensor([3.0, 0.0, 4.0, 1.0]))
        tensor([5., 1.])
    """
    return torch.linalg.vector_norm(x.unflatten(-1, (2, -1)), dim=-2)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of vectors, ``[..., channels] -> [...]``; leading dimensions broadcast.

    Example:
        >>> inner(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([11.,  2.])
    """
    return torch.einsum("...c,...c->...", x, y)


def core_matrices(relations: Tensor, core: Tensor) -> Tensor:
    r"""The matrix that a core tensor makes of each relation: :math:`\mathcal{W} \times_1 r`.

    Source: Tucker 1966, Some mathematical notes on three-mode factor analysis, Psychometrika 31.

    Args:
        relations: ``[relations, relation channels]``.
        core: ``[relation channels, channels, channels]``.

    Returns:
        ``[relations, channels, channels]``.

    Example:
        >>> core_matrices(torch.tensor([[2.0], [3.0]]), torch.eye(2)[None])[1]
        tensor([[3., 0.],
                [0., 3.]])
    """
    return (relations @ core.flatten(1)).unflatten(1, core.shape[1:])


def equal_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of a matrix, and which of them each row is.

    The gradient of a row that stands there several times is shared by them evenly.

    Returns:
        ``[different, channels]`` and ``[rows]``.

    Example:
        >>> equal_rows(torch.tensor([[2.0], [1.0], [2.0]]))
        (tensor([[1.],
                [2.]]), tensor([1, 0, 1]))
    """
    different, which, counts = torch.unique(x.detach(), dim=0, return_inverse=True, return_counts=True)
    return torch.zeros_like(different).index_add(0, which, x) / counts[:, None], which


def grouped_product(x: Tensor, matrices: Tensor, which: Tensor) -> Tensor:
    """Each row through one of some matrices, without a copy of the matrix a row.

    Args:
        x: ``[rows, channels]``.
        matrices: ``[matrices, channels, width]``.
        which: The matrix of each row, ``[rows]``.

    Returns:
        ``[rows, width]``.

    Example:
        >>> matrices = torch.stack([torch.eye(2), 2 * torch.eye(2)])
        >>> grouped_product(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), matrices, torch.tensor([1, 0]))
        tensor([[2., 4.],
                [3., 4.]])
    """
    order = which.argsort(stable=True)
    counts = torch.bincount(which, minlength=len(matrices)).tolist()
    parts = x.index_select(0, order).split(counts)
    found = [part @ matrix for part, matrix in zip(parts, matrices.unbind(), strict=True)]
    return torch.cat([x.new_zeros(0, matrices.shape[2]), *found]).index_select(0, order.argsort())


def apart(x: Tensor, y: Tensor, *, norm: Norm) -> Tensor:
    r"""The distance of vectors, ``[..., channels] -> [...]``; leading dimensions broadcast, and the gradient at 0 is 0.

    Example:
        >>> x, y = torch.zeros(4), torch.tensor([3.0, 0.0, 4.0, 1.0])
        >>> [float(apart(x, y, norm=norm)) for norm in (1, 2, "moduli")]
        [8.0, 5.0990..., 6.0]
    """
    if norm == "moduli":
        return moduli(x - y).sum(dim=-1)
    return torch.linalg.vector_norm(x - y, ord=norm, dim=-1)


def cross(x: Tensor, y: Tensor, *, norm: Norm) -> Tensor:
    """The distance of each row of ``x`` to each of ``y``, as :func:`apart`, ``[questions, entities]``.

    The Euclidean one is a matrix product, there and back; the others go in blocks.

    Args:
        x: ``[questions, channels]``.
        y: ``[entities, channels]``.
        norm: Which distance.

    Example:
        >>> cross(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 1.0]]), norm=2)
        tensor([[5., 1.]])
    """
    if norm == 2:
        return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
    if norm == 1:
        step = max(1, DEVICE_ELEMENTS // max(y.numel(), 1))  # on a device its gradient is made of all differences
        return torch.cat([torch.cdist(part, y, p=1) for part in x.split(step)])
    found: Tensor = _Moduli.apply(x, y)
    return found


class _Moduli(torch.autograd.Function):
    """Sums of the moduli of differences, of all pairs; both ways block by block, with the differences made anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        out = x.new_empty(len(x), len(y))
        for rows, columns in _blocks(x, y):
            a, b = _differences(x[rows], y[columns])
            out[rows, columns] = a.mul_(a).addcmul_(b, b).sqrt_().sum(dim=-1)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        (grad,), tiny = grads, torch.finfo(x.dtype).tiny
        grad_x, grad_y = (torch.zeros_like(one).unflatten(1, (2, -1)) for one in (x, y))  # [rows, 2, numbers]
        for rows, columns in _blocks(x, y):
            differences = _differences(x[rows], y[columns])
            a, b = differences
            share = (a * a).addcmul_(b, b).clamp_min_(tiny).rsqrt_().mul_(grad[rows, columns, None])
            for part, difference in enumerate(differences):
                flow = difference.mul_(share)  # [rows, columns, numbers]
                grad_x[rows, part] += flow.sum(dim=1)
                grad_y[columns, part] -= flow.sum(dim=0)
        return grad_x.flatten(1), grad_y.flatten(1)


def _differences(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of the differences of all pairs, each ``[rows, columns, numbers]``."""
    (a, b), (c, d) = x.chunk(2, dim=1), y.chunk(2, dim=1)
    return a[:, None] - c, b[:, None] - d


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, slice]]:
    """Blocks of rows and columns: on a processor what stays in its cache, on a device what fills it."""
    elements = BLOCK_ELEMENTS if x.device.type == "cpu" else DEVICE_ELEMENTS
    width = max(1, min(len(y), elements // max(y.shape[1], 1)))
    height = max(1, elements // max(width * y.shape[1], 1))
    for left in range(0, len(y), width):
        for top in range(0, len(x), height):
            yield slice(top, top + height), slice(left, left + width)
