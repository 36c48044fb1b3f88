"""Attention over edges: each target asks, the sources that point at it answer.

Which nodes attend to which is an edge set, so one function serves every pattern. Two paths give the same numbers: along
sorted edges, where nothing as large as the edges times the channels is ever held, and by padded blocks, where groups of
targets and sources are joined (nearly) completely.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.attention_blocks import Block, Blocks, Side, find_blocks
from mmgraph.functional.message import BLOCK_BYTES, edge_softmax, sums


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edges: Adjacency,
    *,
    heads: int,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    blocks: Blocks | None = None,
) -> Tensor:
    r"""Multi-head attention of each target over all edges that point at it.

    .. math::
        o_v = \big\Vert_h \sum_{u \to v} \alpha^h_{uv} v^h_u, \qquad
        \alpha^h_{uv} = \frac{e^{s^h_{uv}}}{\sum_{u' \to v} e^{s^h_{u'v}}}, \qquad
        s^h_{uv} = \frac{q^h_v \cdot k^h_u}{\sqrt d} + b_{uv}

    Source: Vaswani et al. 2017, Attention is all you need, eq. 1; arXiv:1706.03762.

    Args:
        query: ``[targets, channels]``; head h reads channels ``h * d`` to ``(h + 1) * d``.
        key: ``[sources, channels]``.
        value: ``[sources, channels]``.
        edges: Who points at whom. An edge that is there twice counts twice.
        heads: How many; they divide the channels.
        bias: ``[edges]``, in the order in which the edges were given; added to the scores of all heads.
        dropout: Share of the weights that is zeroed, the others scaled up in return.
        blocks: What :func:`find_blocks` found, if it is kept; by default it is looked for. ``Blocks((), None)`` takes
            the sparse path for all.

    Returns:
        ``[targets, channels]``; a target that no edge points at gets zeros. It can be differentiated once.

    Raises:
        ValueError: The shapes do not fit each other.

    Example:
        >>> index = torch.tensor([[0, 1, 1], [0, 0, 1]])
        >>> value = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> attention(torch.zeros(3, 2), torch.zeros(2, 2), value, Adjacency(index, 2, 3), heads=1)
        tensor([[2., 3.],
                [3., 4.],
                [0., 0.]])
    """
    _check(query, key, value, edges, heads, bias)
    query, key, value = (_cast(x) for x in (query, key, value))
    bias = None if bias is None else bias.to(query.dtype)
    if torch.compiler.is_exporting():
        return _plainly(query, key, value, edges, heads, bias)
    blocks = find_blocks(edges) if blocks is None else blocks
    if not blocks.dense:
        return _sparse(query, key, value, edges, heads, bias, dropout)
    out = query.new_zeros(len(query), value.shape[1])
    if blocks.rest is not None:
        rest, which = blocks.rest
        out = _sparse(query, key, value, rest, heads, None if bias is None else bias.index_select(0, which), dropout)
    for block in blocks.dense:
        found = _dense(query, key, value, block, heads, bias, dropout)
        out = found if block.targets.whole else out.index_copy(0, block.targets.rows, found)
    return out


def attention_weights(
    query: Tensor, key: Tensor, edges: Adjacency, *, heads: int, bias: Tensor | None = None
) -> Tensor:
    r"""The weights :math:`\alpha` of :func:`attention`.

    Args:
        query: ``[targets, channels]``.
        key: ``[sources, channels]``.
        edges: Who points at whom.
        heads: How many.
        bias: ``[edges]``, added to the scores.

    Returns:
        ``[edges, heads]`` in the order in which the edges were given; the edges into a target add up to 1.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1, 1], [0, 0, 1]]), 2, 2)
        >>> attention_weights(torch.zeros(2, 2), torch.zeros(2, 2), edges, heads=1).flatten().tolist()
        [0.5, 0.5, 1.0]
    """
    _check(query, key, key, edges, heads, bias)
    q, k = query.unflatten(1, (heads, -1)), key.unflatten(1, (heads, -1))
    scores = (q.index_select(0, edges.targets) * k.index_select(0, edges.sources)).sum(dim=2) / math.sqrt(q.shape[2])
    if bias is not None:
        scores = scores + bias.to(scores.dtype).index_select(0, edges.order)[:, None]
    weights = _softmax(scores, edges)
    return torch.empty_like(weights).index_copy(0, edges.order, weights)


def _check(query: Tensor, key: Tensor, value: Tensor, edges: Adjacency, heads: int, bias: Tensor | None) -> None:
    for name, x, rows in (("query", query, edges.num_targets), ("key", key, edges.num_sources)):
        if x.dim() != 2 or x.shape[0] != rows:
            raise ValueError(f"{name} must have a row for each of the {rows} nodes, got {list(x.shape)}")
    if key.shape[1] != query.shape[1] or value.shape[0] != key.shape[0]:
        shapes = [list(x.shape) for x in (query, key, value)]
        raise ValueError(f"query, key and value must be [targets, c], [sources, c] and [sources, d], got {shapes}")
    if heads < 1 or query.shape[1] % heads or value.shape[1] % heads:
        raise ValueError(f"heads must divide the {query.shape[1]} and {value.shape[1]} channels, got {heads}")
    if bias is not None and bias.shape != (edges.num_edges,):
        raise ValueError(f"bias must be one number an edge, [{edges.num_edges}], got {list(bias.shape)}")


def _plainly(query: Tensor, key: Tensor, value: Tensor, edges: Adjacency, heads: int, bias: Tensor | None) -> Tensor:
    """The same in steps that a program can be exported from, without dropout; edges are in the order given."""
    sources, targets = edges.sources, edges.targets
    q, k, v = (x.unflatten(1, (heads, -1)) for x in (query, key, value))
    scores = (q.index_select(0, targets) * k.index_select(0, sources)).sum(dim=2) / math.sqrt(q.shape[2])
    alpha = edge_softmax(scores if bias is None else scores + bias[:, None], edges)  # [edges, heads]
    sent = (alpha[:, :, None] * v.index_select(0, sources)).flatten(1)
    return sent.new_zeros(query.shape[0], value.shape[1]).index_add(0, targets, sent)


def _cast(x: Tensor) -> Tensor:
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _dense(
    query: Tensor, key: Tensor, value: Tensor, block: Block, heads: int, bias: Tensor | None, dropout: float
) -> Tensor:
    """Attention within padded blocks, ``[targets of the block, channels]``."""
    count, targets, sources = block.shape
    q = _padded(query, block.targets, count, targets)
    k, v = (_padded(x, block.sources, count, sources) for x in (key, value))
    mask = block.mask if bias is None else _biased(block, bias)
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [blocks, heads, rows, d]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    out = out.transpose(1, 2).reshape(count * targets, -1)
    return out if block.targets.places is None else out.index_select(0, block.targets.places)


def _padded(x: Tensor, side: Side, count: int, most: int) -> Tensor:
    """Rows in their places, and zeros elsewhere: ``[blocks, rows a block, channels]``."""
    if not side.whole:
        x = x.index_select(0, side.rows)
    if side.places is not None:
        x = x.new_zeros(count * most, x.shape[1]).index_copy(0, side.places, x)
    return x.reshape(count, most, -1)


def _biased(block: Block, bias: Tensor) -> Tensor:
    """The bias of each pair, minus infinity where there is no edge; rows of no target read all, for nobody."""
    count, targets, sources = block.shape
    full = bias.new_full((count * targets, sources), -torch.inf)
    if block.targets.places is not None:
        padding = torch.ones(count * targets, dtype=torch.bool, device=bias.device)
        padding[block.targets.places] = False
        full[padding] = 0
    full = full.flatten().index_copy(0, block.pairs, bias.index_select(0, block.edges))
    return full.reshape(count, 1, targets, sources)


def _sparse(
    query: Tensor, key: Tensor, value: Tensor, edges: Adjacency, heads: int, bias: Tensor | None, dropout: float
) -> Tensor:
    keep = None
    if dropout > 0:
        keep = torch.rand(edges.num_edges, heads, device=query.device) >= dropout
        keep = keep.to(query.dtype) / (1 - dropout)  # [edges, heads]
    return _Attention.apply(query, key, value, bias, keep, edges, heads)


class _Attention(torch.autograd.Function):
    """Along sorted edges; the way back computes the products anew, and reads the sums off the transposed edges."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        query, key, value, bias, keep, edges, heads = args
        query, key, value = (x.detach().contiguous() for x in (query, key, value))
        scores = _dots(key, query, edges, heads).div_(math.sqrt(query.shape[1] // heads))
        if bias is not None:
            scores += bias.detach().index_select(0, edges.order)[:, None]
        weights = _softmax(scores, edges)  # [edges, heads], by target
        out = _weighted(value, edges, weights if keep is None else weights * keep)
        ctx.edges, ctx.heads = edges, heads
        ctx.save_for_backward(query, key, value, weights, keep, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, keep, out = ctx.saved_tensors
        grad, edges, heads, back = grads[0].contiguous(), ctx.edges, ctx.heads, ctx.edges.transposed
        dropped = weights if keep is None else weights * keep
        d_weights = _dots(value, grad, edges, heads)  # [edges, heads]
        if keep is not None:
            d_weights *= keep
        mean = (grad * out).unflatten(1, (heads, -1)).sum(dim=2)  # [targets, heads]: of d_weights, by weight
        d_scores = d_weights.sub_(mean.index_select(0, edges.targets)).mul_(weights)
        scaled = d_scores / math.sqrt(query.shape[1] // heads)
        d_query = _weighted(key, edges, scaled) if ctx.needs_input_grad[0] else None
        d_key = _weighted(query, back, scaled.index_select(0, back.order)) if ctx.needs_input_grad[1] else None
        d_value = _weighted(grad, back, dropped.index_select(0, back.order)) if ctx.needs_input_grad[2] else None
        d_bias = None
        if ctx.needs_input_grad[3]:
            each = d_scores.sum(dim=1)
            d_bias = torch.empty_like(each).index_copy_(0, edges.order, each)
        return d_query, d_key, d_value, d_bias, None, None, None


def _dots(x: Tensor, y: Tensor, edges: Adjacency, heads: int) -> Tensor:
    """The product of the rows at both ends of each edge, ``[edges, heads]``, a block of edges at a time."""
    out = x.new_empty(edges.num_edges, heads)
    step = max(1, BLOCK_BYTES // max(x.shape[1] * x.element_size(), 1))
    for start in range(0, edges.num_edges, step):
        some = slice(start, start + step)
        pairs = x.index_select(0, edges.sources[some]).mul_(y.index_select(0, edges.targets[some]))
        torch.sum(pairs.unflatten(1, (heads, -1)), dim=2, out=out[some])
    return out


def _weighted(x: Tensor, edges: Adjacency, weights: Tensor) -> Tensor:
    """Each head's weighted sums of its share of the channels, ``[targets, channels]``."""
    heads = weights.shape[1]
    if heads == 1:
        return sums(x, edges, weights.flatten())
    parts = x.unflatten(1, (heads, -1)).transpose(0, 1).contiguous()  # [heads, sources, d]
    each = weights.T.contiguous()  # [heads, edges]
    return torch.cat([sums(part, edges, weight) for part, weight in zip(parts, each, strict=True)], dim=1)


def _softmax(scores: Tensor, edges: Adjacency) -> Tensor:
    """Softmax over the edges into each target, with edges and scores in the order of the targets."""
    if edges.num_edges == 0:
        return scores
    shape, rows = (edges.num_targets, scores.shape[1]), edges.targets
    index = rows.long()[:, None].expand_as(scores)
    top = scores.detach().new_full(shape, -torch.inf).scatter_reduce(0, index, scores.detach(), "amax")
    grown = (scores - top.index_select(0, rows)).exp()
    return grown / grown.new_zeros(shape).index_add(0, rows, grown).index_select(0, rows)
