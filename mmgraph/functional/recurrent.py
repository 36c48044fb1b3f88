"""Gated recurrent units, for states as many as a graph has nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmgraph.functional.dense import Block, blocks, outer, product


def gru(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> Tensor:
    r"""One step of a gated recurrent unit; the same numbers as ``torch.nn.GRUCell``, block by block.

    .. math::
        r &= \sigma(W_{ir} x + b_{ir} + W_{hr} h + b_{hr}) \\
        z &= \sigma(W_{iz} x + b_{iz} + W_{hz} h + b_{hz}) \\
        n &= \tanh(W_{in} x + b_{in} + r \odot (W_{hn} h + b_{hn})) \\
        h' &= (1 - z) \odot n + z \odot h

    Source: Cho et al. 2014, Learning phrase representations using RNN encoder-decoder, eq. 5 to 8; arXiv:1406.1078,
    in the form of ``torch.nn.GRUCell``, whose weights are these: rows in the order reset, update, new.

    Args:
        x: What comes in, ``[rows, in_channels]``.
        h: States, ``[rows, channels]``.
        weight_ih: ``[3 * channels, in_channels]``.
        weight_hh: ``[3 * channels, channels]``.
        bias_ih: ``[3 * channels]``.
        bias_hh: ``[3 * channels]``.

    Returns:
        New states, ``[rows, channels]``. They can be differentiated once.

    Example:
        >>> cell = torch.nn.GRUCell(2, 3)
        >>> x, h = torch.ones(4, 2), torch.zeros(4, 3)
        >>> torch.allclose(gru(x, h, *cell.parameters()), cell(x, h), atol=1e-6)
        True
    """
    if torch.compiler.is_compiling():  # it joins the steps by itself
        return torch.gru_cell(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    tensors = (x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    return _Gru.apply(*(tensor.to(dtype).contiguous() for tensor in tensors))


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        x, h, weight_ih, weight_hh, bias_ih, bias_hh = (tensor.detach() for tensor in tensors)
        channels = h.shape[1]
        two = 2 * channels
        out = torch.empty_like(h)
        kept = h.new_empty(4, *h.shape) if any(ctx.needs_input_grad) else None  # r, z, n and W_hn h + b_hn
        bias = (bias_ih + bias_hh)[:two]
        for block in _blocks(h):
            rows = block.rows
            gates = product(x[rows], weight_ih[:two], bias)
            gates = product(h[rows], weight_hh[:two], add=gates).sigmoid_()  # [block, 2 * channels]
            r, z = gates[:, :channels], gates[:, channels:]
            before = product(h[rows], weight_hh[two:], bias_hh[two:])  # [block, channels]
            n = product(x[rows], weight_ih[two:], bias_ih[two:], add=r * before).tanh_()
            torch.lerp(n, h[rows], z, out=out[rows])
            if kept is not None:
                for place, value in zip(kept, (r, z, n, before), strict=True):
                    place[rows] = value
        ctx.save_for_backward(*tensors[:4], kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, h, weight_ih, weight_hh, kept = ctx.saved_tensors
        channels = h.shape[1]
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_h = torch.empty_like(h) if ctx.needs_input_grad[1] else None
        d_weight_ih, d_weight_hh = torch.zeros_like(weight_ih.T), torch.zeros_like(weight_hh.T)  # up to the end
        d_bias_ih, d_bias_hh = weight_ih.new_zeros(2, 3 * channels)
        for block in _blocks(h):
            rows = block.rows
            grad, (r, z, n, before) = grads[0][rows], kept[:, rows]
            d_ih = grad.new_empty(len(grad), 3 * channels)  # of what goes into the gates
            d_reset, d_update, d_new = d_ih.split(channels, dim=1)
            torch.mul(grad * (1 - z), 1 - n * n, out=d_new)
            torch.mul(grad * (h[rows] - n), z * (1 - z), out=d_update)
            torch.mul(d_new * before, r * (1 - r), out=d_reset)
            d_hh = d_ih.clone()
            d_hh[:, 2 * channels :] *= r
            d_weight_ih += outer(x[rows].T, d_ih)
            d_weight_hh += outer(h[rows].T, d_hh)
            d_bias_ih += d_ih.sum(dim=0)
            d_bias_hh += d_hh.sum(dim=0)
            if d_x is not None:
                d_x[rows] = product(d_ih, weight_ih.T)
            if d_h is not None:
                d_h[rows] = product(d_hh, weight_hh.T, add=grad * z)
        return d_x, d_h, d_weight_ih.T, d_weight_hh.T, d_bias_ih, d_bias_hh


def _blocks(h: Tensor) -> Iterator[Block]:
    """Blocks of rows with what is held of each: about four rows of states."""
    return blocks(len(h), 4 * h.shape[1] * h.element_size(), whole=h.is_cuda)
