"""What travels along edges: the aggregation behind every layer.

On a processor the usual way, a row of messages an edge, scattered into the targets, moves each message three times.
Here edges are sorted once, by target for the way there and by source for the way back, and each target's sum is read
straight off the source rows: an ``embedding_bag`` both ways, 5 to 20 times as fast, and no message is ever stored.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency

Reduce: TypeAlias = Literal["sum", "mean", "max", "softmax"]

BLOCK_BYTES = 1 << 20
"""About how much is worked on at a time: what stays in a core's cache."""

_SUM, _MAX = 0, 2  # the modes of torch.embedding_bag


def aggregate(x: Tensor, edges: Adjacency, *, weight: Tensor | None = None, reduce: Reduce = "sum") -> Tensor:
    r"""What arrives at each target from the source rows that point at it.

    .. math::
        \text{sum: } m_v = \sum_{u \to v} w_{uv} x_u, \quad
        \text{mean: } m_v / \sum_{u \to v} w_{uv}, \quad
        \text{max: } \max_{u \to v} x_u, \quad
        \text{softmax: } \sum_{u \to v} \frac{e^{w_{uv}}}{\sum_{u' \to v} e^{w_{u'v}}} x_u

    Args:
        x: Source rows, ``[sources, channels]``.
        edges: Who points at whom.
        weight: ``[edges]``; by default 1. ``max`` takes none; ``softmax`` needs one, the scores.
        reduce: ``sum``, ``mean``, ``max`` or ``softmax``. A target that no edge points at gets zeros. Of equal maxima
            the first edge's gets the gradient.

    Returns:
        ``[targets, channels]``.

    Raises:
        ValueError: ``x`` has not one row a source, or the weights do not fit.

    Example:
        >>> x, index = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0, 1, 2], [0, 0, 1]])
        >>> aggregate(x, Adjacency(index, 3, 3), reduce="mean").flatten().tolist()
        [1.5, 4.0, 0.0]
    """
    if x.shape[0] != edges.num_sources:
        raise ValueError(f"x must have a row for each of the {edges.num_sources} sources, got {list(x.shape)}")
    if weight is not None and weight.shape != (edges.num_edges,):
        raise ValueError(f"weight must be one number an edge, [{edges.num_edges}], got {list(weight.shape)}")
    if (weight is None) if reduce == "softmax" else (weight is not None and reduce == "max"):
        raise ValueError(f"reduce={reduce!r} takes {'scores as' if weight is None else 'no'} weight")
    if reduce == "max":
        return _largest(x, edges) if torch.compiler.is_exporting() else _Max.apply(x, edges)
    if reduce == "softmax":
        assert weight is not None
        weight = edge_softmax(weight, edges)
    values = None if weight is None else weight.index_select(0, edges.order)  # [edges], by target
    if reduce == "mean":
        values = mean_weight(edges, values, dtype=x.dtype)
    return spread(x, edges, values)


def spread(x: Tensor, edges: Adjacency, values: Tensor | None = None) -> Tensor:
    """Weighted sums, with the weights in the order of the sorted edges: what :func:`aggregate` comes down to.

    Args:
        x: Source rows, ``[sources, channels]``.
        edges: Who points at whom.
        values: ``[edges]``, a weight an edge in the order of ``edges.order``; by default 1.

    Returns:
        ``[targets, channels]``.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 0]]), 2, 2)
        >>> spread(torch.tensor([[1.0], [2.0]]), edges, torch.tensor([10.0, 100.0])).flatten().tolist()
        [20.0, 100.0]
    """
    if torch.compiler.is_exporting():
        return _added(x.index_select(0, edges.sources), edges, values)
    return _Sum.apply(x, None if values is None else values.to(x.dtype), edges)


def mean_weight(edges: Adjacency, values: Tensor | None = None, *, dtype: torch.dtype | None = None) -> Tensor:
    """The weights that make a sum a mean, ``[edges]``, both in the order of the sorted edges.

    Where the weights of a target add up to 0 they stay as they are. ``dtype`` is that of the result where no weights
    are given.

    Example:
        >>> mean_weight(Adjacency(torch.tensor([[0, 1, 2], [0, 0, 1]]), 3, 2)).tolist()
        [0.5, 0.5, 1.0]
    """
    if values is None:
        return edges.degree.to(dtype or torch.get_default_dtype()).reciprocal().index_select(0, edges.targets)
    mass = values.new_zeros(edges.num_targets).index_add(0, edges.targets, values)
    return values / torch.where(mass == 0, torch.ones_like(mass), mass)[edges.targets]


def edge_softmax(scores: Tensor, edges: Adjacency) -> Tensor:
    r"""Softmax over the edges into each target: :math:`e^{s_{uv}} / \sum_{u' \to v} e^{s_{u'v}}`.

    Source: Veličković et al. 2018, Graph attention networks, eq. 3; arXiv:1710.10903.

    Args:
        scores: ``[edges]`` or ``[edges, heads]``, in the order of the edges.
        edges: Who points at whom.

    Returns:
        As ``scores``; the edges into a target add up to 1.

    Example:
        >>> edge_softmax(torch.tensor([5.0, 1.0, 1.0]), Adjacency(torch.tensor([[0, 1, 2], [0, 1, 1]]), 3, 2))
        tensor([1.0000, 0.5000, 0.5000])
    """
    target = torch.empty_like(edges.targets).scatter(0, edges.order, edges.targets).long()  # [edges], as given
    shape = (edges.num_targets, *scores.shape[1:])
    rows = target.reshape(-1, *[1] * (scores.dim() - 1)).expand_as(scores)
    top = scores.detach().new_full(shape, -torch.inf).scatter_reduce(0, rows, scores.detach(), "amax")
    if torch.compiler.is_exporting():  # edges that weigh nothing are still there, with scores of minus infinity
        top = top.clamp_min(torch.finfo(top.dtype).min)
    grown = (scores - top.index_select(0, target)).exp()
    total = grown.new_zeros(shape).index_add(0, target, grown)
    if torch.compiler.is_exporting():
        total = total.clamp_min(torch.finfo(total.dtype).tiny)
    return grown / total.index_select(0, target)


def mass(edges: Adjacency, values: Tensor | None = None, *, like: Tensor) -> Tensor:
    """The weight that arrives at each target, ``[targets]``, with the type and device of ``like``; no gradient.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 1]]), 2, 2)
        >>> mass(edges, torch.tensor([0.5, 2.0]), like=torch.empty(0))
        tensor([0.0000, 2.5000])
    """
    if values is None:
        return edges.degree.to(like.dtype)
    if torch.compiler.is_exporting():
        return like.new_zeros(edges.num_targets).index_add(0, edges.targets, values.to(like.dtype))
    return sums(like.new_ones(edges.num_sources, 1), edges, values.detach().to(like.dtype)).flatten()


def degree(
    index: Tensor, num_targets: int, *, weight: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Sum of the weights of the edges that point at each target, ``[targets]``.

    ``dtype`` is that of the result where no weights are given.

    Example:
        >>> degree(torch.tensor([[0, 1], [2, 2]]), 3)
        tensor([0., 0., 2.])
    """
    if weight is None and torch.compiler.is_exporting():
        weight = torch.ones_like(index[1], dtype=dtype or torch.get_default_dtype())
    if weight is None:
        return torch.bincount(index[1], minlength=num_targets).to(dtype or torch.get_default_dtype())
    return weight.new_zeros(num_targets).index_add(0, index[1], weight)


def symmetric_norm(
    index: Tensor,
    num_sources: int,
    num_targets: int,
    *,
    weight: Tensor | None = None,
    self_loops: bool,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Edges and weights of :math:`\hat D^{-1/2} \hat A \hat D^{-1/2}`, with :math:`\hat A = A + I` if asked.

    Within one node type the degree of a node is the weight that arrives at it, at both ends of an edge, so
    that nodes attached later, by edges into themselves, change nothing for those they hang on. Between two
    types the degree of a source is the weight that leaves it. A node of degree 0 gets weight 0.

    Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks,
    eq. 2; arXiv:1609.02907.

    Args:
        index: ``[2, edges]``.
        num_sources: Number of source rows.
        num_targets: Number of target rows.
        weight: ``[edges]``; by default 1.
        self_loops: Whether to add a loop of weight 1 to each node (then sources and targets are one type).
        dtype: Of the weights, where none are given.

    Returns:
        The edges ``[2, edges (+ nodes)]`` and their weights.

    Example:
        >>> index, weight = symmetric_norm(torch.tensor([[0, 1], [1, 0]]), 2, 2, self_loops=True)
        >>> index.tolist(), weight.tolist()
        ([[0, 1, 0, 1], [1, 0, 0, 1]], [0.5, 0.5, 0.5, 0.5])
    """
    if self_loops:
        loops = torch.arange(num_targets, device=index.device)
        index = torch.cat([index, loops.expand(2, -1)], dim=1)
        weight = None if weight is None else torch.cat([weight, weight.new_ones(num_targets)])
    source_degree = target_degree = degree(index, num_targets, weight=weight, dtype=dtype)
    if not self_loops:
        source_degree = degree(index.flip(0), num_sources, weight=weight, dtype=dtype)
    scale = source_degree.index_select(0, index[0]) * target_degree.index_select(0, index[1])
    if weight is None:
        return index, scale.rsqrt_()  # each edge counts at both its ends, so no degree is 0
    return index, torch.where(scale > 0, weight * scale.clamp_min(1e-38).rsqrt(), torch.zeros_like(weight))


def sums(
    x: Tensor, edges: Adjacency, values: Tensor | None = None, *, rows: slice | None = None, multiple: int = 1
) -> Tensor:
    """What :func:`spread` computes, for a block of targets, without a gradient.

    Args:
        x: Source rows, ``[sources, channels]``.
        edges: Who points at whom.
        values: ``[edges]``, a weight an edge in the order of ``edges.order``; by default 1.
        rows: Which targets; by default all.
        multiple: Of what number of rows to make the result a multiple, by rows of zeros, if it is larger.

    Returns:
        ``[rows, channels]``.
    """
    if rows is None:
        return _bags(x, edges, values, edges.offsets, whole=True)
    whole = rows.stop - rows.start == edges.num_targets
    return _bags(x, edges, values, _pad(edges.offsets[rows.start : rows.stop + 1], multiple), whole=whole)


def reached_sums(
    x: Tensor, edges: Adjacency, values: Tensor | None, *, rows: slice, multiple: int
) -> tuple[Tensor, Tensor | None]:
    """As :func:`sums`, of those targets alone that any edge points at, where they are few enough.

    Args:
        x: Source rows, ``[sources, channels]``.
        edges: Who points at whom.
        values: ``[edges]`` or ``None``.
        rows: Which targets.
        multiple: As of :func:`sums`.

    Returns:
        ``[reached, channels]``, and which rows of the block they are, ``[reached]``, or ``None`` for all.
    """
    if edges.reached is None:
        return sums(x, edges, values, rows=rows, multiple=multiple), None
    reached, offsets, before = edges.reached
    first, last = int(before[rows.start]), int(before[rows.stop])
    found = _bags(x, edges, values, _pad(offsets[first : last + 1], multiple), whole=last - first == len(reached))
    return found, reached[first:last] - rows.start


def padded(count: int, multiple: int) -> int:
    """The next multiple, of a count that is larger than one.

    Example:
        >>> padded(100, 256), padded(256, 256), padded(257, 256)
        (100, 256, 512)
    """
    return count if count <= multiple else count + -count % multiple


def _pad(offsets: Tensor, multiple: int) -> Tensor:
    """Adds runs without edges."""
    count = offsets.shape[0] - 1
    missing = padded(count, multiple) - count
    return torch.cat([offsets, offsets[-1:].expand(missing)]) if missing else offsets


def _bags(x: Tensor, edges: Adjacency, values: Tensor | None, offsets: Tensor, *, whole: bool) -> Tensor:
    sources = edges.sources
    if not whole:  # then only some of the edges
        first, last = int(offsets[0]), int(offsets[-1])
        sources, offsets = sources[first:last], offsets - first
        values = None if values is None else values[first:last]
    if sources.shape[0] == 0 or x.shape[1] == 0:
        return x.new_zeros(offsets.shape[0] - 1, x.shape[1])
    bags = torch.embedding_bag(x.detach(), sources, offsets, False, _SUM, False, values, True)
    found: Tensor = bags[0]
    return found


def dots(x: Tensor, y: Tensor, edges: Adjacency) -> Tensor:
    """The product of the rows at both ends of each edge, ``[edges]`` in the order of the sorted edges.

    Args:
        x: Source rows, ``[sources, channels]``.
        y: Target rows, ``[targets, channels]``.
        edges: Who points at whom.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 0]]), 2, 2)
        >>> dots(torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [100.0]]), edges).tolist()
        [20.0, 100.0]
    """
    step = max(1, BLOCK_BYTES // max(x.shape[1] * x.element_size(), 1))
    parts = [
        torch.einsum("ec,ec->e", x.index_select(0, sources), y.index_select(0, targets))
        for sources, targets in zip(edges.sources.split(step), edges.targets.split(step), strict=True)
    ]
    return torch.cat(parts)


def _added(sent: Tensor, edges: Adjacency, values: Tensor | None) -> Tensor:
    """Sums of what each edge sends, in steps that a program can be exported from."""
    sent = sent if values is None else sent * values.to(sent.dtype)[:, None]
    return sent.new_zeros(edges.num_targets, sent.shape[1]).index_add(0, edges.targets, sent)


def _largest(x: Tensor, edges: Adjacency) -> Tensor:
    """The largest of each channel, likewise; zeros where no edge points."""
    sent = x.index_select(0, edges.sources)
    least = x.new_full((edges.num_targets, x.shape[1]), torch.finfo(x.dtype).min)
    top = least.scatter_reduce(0, edges.targets[:, None].expand_as(sent), sent, "amax")
    return torch.where(edges.degree[:, None] > 0, top, 0.0)


class _Sum(torch.autograd.Function):
    """Weighted sums of rows; the way back is the same along the transposed edges."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor | None, edges: Adjacency) -> Tensor:
        x = x.contiguous()
        ctx.edges = edges
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, values)
        return sums(x, edges, None if values is None else values.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,), (x, values) = grads, ctx.saved_tensors
        edges, grad_x, grad_values = ctx.edges, None, None
        if ctx.needs_input_grad[0]:
            back = edges.transposed
            grad_x = spread(grad, back, None if values is None else values.index_select(0, back.order))
        if ctx.needs_input_grad[1]:
            grad_values = dots(x, grad, edges)
        return grad_x, grad_values, None


class _Max(torch.autograd.Function):
    """The largest of each channel; its gradient goes to the row it was read from."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edges: Adjacency) -> Tensor:
        table = x.detach().contiguous()
        out, _, _, rows = torch.embedding_bag(table, edges.sources, edges.offsets, False, _MAX, False, None, True)
        ctx.num_sources, ctx.empty = edges.num_sources, (edges.degree == 0)[:, None]
        ctx.save_for_backward(rows.clamp_min(0).long())  # [targets, channels]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        grad = grads[0].masked_fill(ctx.empty, 0)
        return grad.new_zeros(ctx.num_sources, grad.shape[1]).scatter_add(0, rows, grad), None
