"""The matrix product behind every layer, by the fastest way that is exact."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.message import BLOCK_BYTES, padded

STEP = 256
"""oneDNN makes code for every new number of rows, which takes longer than the product: it gets multiples of this."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, add: Tensor | None = None) -> Tensor:
    r""":math:`x W^\top + b + a`, without a gradient.

    On a processor, in float32, oneDNN takes half the time of the default library on some of them, and nowhere more;
    where it is there and right, blocks of a multiple of ``STEP`` rows are given to it. Both are float32 throughout,
    and differ in the order of summation alone.

    Args:
        x: ``[rows, in_channels]``.
        weight: ``[out_channels, in_channels]``.
        bias: ``[out_channels]``.
        add: ``[rows, out_channels]``.

    Returns:
        ``[rows, out_channels]``, a new tensor.

    Example:
        >>> product(torch.ones(1, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]), add=torch.tensor([[10.0]]))
        tensor([[13.5000]])
    """
    if x.shape[0] % STEP == 0 and _suits(x, weight):
        if add is None:
            return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, add, weight, bias, "add")
    if bias is None:
        return x @ weight.T if add is None else torch.addmm(add, x, weight.T)
    out = torch.addmm(bias, x, weight.T)
    return out if add is None else out.add_(add)


def dot_products(x: Tensor, y: Tensor) -> Tensor:
    r""":math:`x y^\top`, each row of the one with each of the other, with gradients; forwards as :func:`product`.

    Args:
        x: ``[rows, channels]``.
        y: ``[others, channels]``.

    Returns:
        ``[rows, others]``.

    Example:
        >>> dot_products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[11.,  2.]])
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return x @ y.T
    found: Tensor = _DotProducts.apply(x, y)
    return found


class _DotProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return product(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return grad @ y if wanted[0] else None, grad.T @ x if wanted[1] else None


def outer(turned: Tensor, y: Tensor) -> Tensor:
    r""":math:`x^\top y`, without a gradient, from rows that are turned already.

    Args:
        turned: :math:`x^\top`, ``[a, rows]``.
        y: ``[rows, b]``.

    Returns:
        ``[a, b]``.

    Example:
        >>> outer(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))
        tensor([[11.]])
    """
    if y.shape[0] % STEP == 0 and _suits(turned, y):
        return torch.ops.mkldnn._linear_pointwise.default(turned, y.T, None, "none", [], "")
    return turned @ y


def _suits(x: Tensor, y: Tensor) -> bool:
    return x.dtype == torch.float32 == y.dtype and not x.is_cuda and x.numel() > 0 and y.numel() > 0 and onednn()


class Block(NamedTuple):
    """Some rows, and how many they are worked on as: rows of zeros are added up to a multiple of ``STEP``."""

    rows: slice
    padded: int

    @property
    def size(self) -> int:
        """How many rows they are themselves."""
        return self.rows.stop - self.rows.start

    def of(self, x: Tensor) -> Tensor:
        """These rows of a matrix, ``[padded, channels]``."""
        part = x[self.rows]
        return part if self.size == self.padded else F.pad(part, (0, 0, 0, self.padded - self.size))

    def turned(self, x: Tensor) -> Tensor:
        """These rows as columns, ``[channels, padded]``."""
        return self.of(x).T.contiguous()


def blocks(rows: int, row_bytes: int, *, whole: bool) -> Iterator[Block]:
    """Blocks of rows that hold about ``BLOCK_BYTES`` each.

    Args:
        rows: How many rows there are.
        row_bytes: Bytes of each.
        whole: Whether to give one block (on a GPU).

    Example:
        >>> found = blocks(900, BLOCK_BYTES // 512, whole=False)
        >>> [(block.rows.start, block.rows.stop, block.padded) for block in found]
        [(0, 512, 512), (512, 900, 512)]
    """
    step = rows if whole else max(BLOCK_BYTES // max(row_bytes, 1) // STEP, 1) * STEP
    for start in range(0, rows, max(step, 1)):
        count = min(step, rows - start)
        yield Block(slice(start, start + count), padded(count, STEP))


@cache
def onednn() -> bool:
    """Whether this build of torch has oneDNN's product, and it is one."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(4, 3)
    bias, add = torch.arange(4.0), torch.ones(2, 4)
    try:
        plain = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
        added = torch.ops.mkldnn._linear_pointwise.binary(x, add, weight, bias, "add")
    except (AttributeError, RuntimeError, TypeError):  # another version, another name
        return False
    expected = x @ weight.T + bias
    return torch.equal(plain, expected) and torch.equal(added, expected + 1)
