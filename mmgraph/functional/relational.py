"""Messages of many relations at once, each through its own matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.dense import STEP, Block, blocks, outer, product
from mmgraph.functional.message import dots, mass, reached_sums


class Relation:
    """Edges from the rows of one name to those of another, and what each weighs.

    Args:
        source: Name of the rows that send.
        target: Name of the rows that are reached.
        edges: Who points at whom.
        values: ``[edges]``, a weight an edge in the order of ``edges.order``; by default 1.
    """

    def __init__(self, source: str, target: str, edges: Adjacency, values: Tensor | None = None) -> None:
        self.source, self.target, self.edges, self.values = source, target, edges, values

    @cached_property
    def back(self) -> Tensor | None:
        """The weights in the order of the transposed edges, ``[edges]``, without a gradient."""
        return None if self.values is None else self.values.detach().index_select(0, self.edges.transposed.order)


def relational(
    features: Mapping[str, Tensor],
    relations: Sequence[Relation],
    weight: Sequence[Tensor],
    *,
    bias: Sequence[Tensor | None] | None = None,
    own_weight: Mapping[str, Tensor] | None = None,
    own_bias: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    r"""What arrives along all relations, each through its own matrix, beside what each row has itself.

    .. math:: m_v = \sum_r \sum_{u \to_r v} w_{uv} (W_r x_u + b_r) + B_{\tau(v)} x_v + b_{\tau(v)}

    Source: Schlichtkrull et al. 2018, Modeling relational data with graph convolutional networks, eq. 2;
    arXiv:1703.06103.

    Nothing as large as the edges, or as the relations times the rows, is ever held: a block of targets is summed from
    its sources, multiplied while it is still in the core's cache, and added up; the way back goes by blocks of sources.

    Args:
        features: Rows of each name, ``[rows, in_channels]``.
        relations: Who sends to whom.
        weight: :math:`W_r`, ``[out_channels, in_channels]``, one a relation.
        bias: :math:`b_r`, ``[out_channels]`` or ``None``, one a relation; by default none.
        own_weight: Name → :math:`B`, ``[out_channels, in_channels]``; for some names, or all.
        own_bias: Name → :math:`b`, ``[out_channels]``; likewise.

    Returns:
        ``[rows, out_channels]`` for every name that is a target or has a weight of its own. It can be differentiated
        once, by all that is given, the weights of edges included.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> x = {"a": torch.tensor([[1.0], [2.0]]), "b": torch.tensor([[5.0]])}
        >>> relational(x, [Relation("a", "b", edges)], [torch.tensor([[10.0]])], own_weight={"b": torch.ones(1, 1)})
        {'b': tensor([[35.]])}
    """
    own_weight, own_bias = own_weight or {}, own_bias or {}
    if torch.compiler.is_compiling():
        return _plainly(features, relations, weight, bias or [None] * len(relations), own_weight, own_bias)
    targets = tuple(dict.fromkeys([*(relation.target for relation in relations), *own_weight]))
    names = tuple(dict.fromkeys([*(relation.source for relation in relations), *targets]))
    plan = _Plan(names, targets, tuple(relations))
    tensors: list[Tensor | None] = [
        *(features[name].contiguous() for name in names),
        *(relation.values for relation in relations),
        *weight,
        *(bias or [None] * len(relations)),
        *(own_weight.get(name) for name in targets),
        *(own_bias.get(name) for name in targets),
    ]
    dtype = _dtype(features[names[0]])
    cast = [tensor if tensor is None else tensor.to(dtype) for tensor in tensors]
    return dict(zip(targets, _Relational.apply(plan, *cast), strict=True))


def _plainly(
    features: Mapping[str, Tensor],
    relations: Sequence[Relation],
    weight: Sequence[Tensor],
    bias: Sequence[Tensor | None],
    own_weight: Mapping[str, Tensor],
    own_bias: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """The same in plain steps, for a compiler to join."""
    out = {name: F.linear(features[name], own) for name, own in own_weight.items()}
    for relation, matrix, shift in zip(relations, weight, bias, strict=True):
        edges, values, target = relation.edges, relation.values, relation.target
        sent = F.linear(features[relation.source], matrix, shift).index_select(0, edges.sources)  # [edges, out]
        sent = sent if values is None else sent * values.to(sent.dtype)[:, None]
        arrived = sent.new_zeros(edges.num_targets, len(matrix)).index_add(0, edges.targets, sent)
        out[target] = arrived if target not in out else out[target] + arrived
    return {name: state + own_bias[name] if name in own_bias else state for name, state in out.items()}


class _Plan(NamedTuple):
    """What is summed into what."""

    names: tuple[str, ...]
    targets: tuple[str, ...]
    relations: tuple[Relation, ...]

    def unpack(self, flat: Sequence[Any]) -> _Parts:
        """Gives what lies in a row, as autograd wants it, its names back."""
        r, t = len(self.relations), len(self.targets)
        parts, rest = [], list(flat)
        for length in (len(self.names), r, r, r, t, t):
            parts.append(rest[:length])
            rest = rest[length:]
        x, values, weight, bias, own_weight, own_bias = parts
        by_target = (dict(zip(self.targets, part, strict=True)) for part in (own_weight, own_bias))
        return _Parts(dict(zip(self.names, x, strict=True)), values, weight, bias, *by_target)


class _Parts(NamedTuple):
    """The tensors of a pass, or their gradients, or whether those are wanted."""

    x: dict[str, Any]
    values: list[Any]
    weight: list[Any]
    bias: list[Any]
    own_weight: dict[str, Any]
    own_bias: dict[str, Any]

    def flat(self) -> tuple[Any, ...]:
        """All in a row."""
        own = (*self.own_weight.values(), *self.own_bias.values())
        return (*self.x.values(), *self.values, *self.weight, *self.bias, *own)


class _Relational(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        parts = plan.unpack(tensors)
        sent = [parts.x[relation.source] for relation in plan.relations]
        narrow = bool(sent) and parts.weight[0].shape[0] < parts.weight[0].shape[1]
        if narrow:  # then rows are multiplied before they are summed
            sent = [product(rows, weight) for rows, weight in zip(sent, parts.weight, strict=True)]
        return tuple(_arrive(plan, parts, name, sent, narrow=narrow) for name in plan.targets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan, parts = ctx.plan, ctx.plan.unpack(ctx.saved_tensors)
        wanted = plan.unpack(ctx.needs_input_grad[1:])
        grad = dict(zip(plan.targets, (one.contiguous() for one in grads), strict=True))
        back = _Parts(
            x={name: x.new_empty(0, x.shape[1]) if wanted.x[name] else None for name, x in parts.x.items()},
            values=[None] * len(parts.values),
            weight=[torch.zeros_like(weight.T) for weight in parts.weight],  # transposed, up to the end
            bias=[None] * len(parts.bias),
            own_weight={name: None if b is None else torch.zeros_like(b.T) for name, b in parts.own_weight.items()},
            own_bias={name: None if b is None else grad[name].sum(dim=0) for name, b in parts.own_bias.items()},
        )
        for name in plan.names:
            _return(plan, parts, name, grad, back)
        for number, relation in enumerate(plan.relations):
            sent, weight, bias = grad[relation.target], parts.weight[number], parts.bias[number]
            if bias is not None:
                back.bias[number] = mass(relation.edges, parts.values[number], like=sent) @ sent
            if wanted.values[number]:
                back.values[number] = dots(parts.x[relation.source], product(sent, weight.T), relation.edges)
                if bias is not None:
                    back.values[number] += (sent @ bias)[relation.edges.targets]
        weight = [one.T for one in back.weight]
        own_weight = {name: None if own is None else own.T for name, own in back.own_weight.items()}
        return (None, *back._replace(weight=weight, own_weight=own_weight).flat())


def _arrive(plan: _Plan, parts: _Parts, name: str, sent: Sequence[Tensor], *, narrow: bool) -> Tensor:
    """What arrives at the rows of a name, block by block."""
    x, own, own_bias = parts.x[name], parts.own_weight[name], parts.own_bias[name]
    into = [number for number, relation in enumerate(plan.relations) if relation.target == name]
    biased = [number for number in into if parts.bias[number] is not None]
    masses = [mass(plan.relations[number].edges, parts.values[number], like=x) for number in biased]
    out = x.new_empty(0, (own if own is not None else parts.weight[into[0]]).shape[0])
    for block in _blocks(x, [x, *(sent[number] for number in into)]):
        total = None if own is None else product(block.of(x), own, own_bias)  # [block, out]
        for number in into:
            edges, values = plan.relations[number].edges, parts.values[number]
            arrived, which = reached_sums(sent[number], edges, values, rows=block.rows, multiple=STEP)  # [reached, in]
            total = _add(total, arrived, None if narrow else parts.weight[number], which, block.padded)
        assert total is not None  # a name is a target, or has a weight of its own
        total = total.resize_(block.size, total.shape[1])  # no view, which could not be changed in place
        for number, weighed in zip(biased, masses, strict=True):
            total.addr_(weighed[block.rows], parts.bias[number])
        if own is None and own_bias is not None:
            total += own_bias
        out = _put(total, block, out, x.shape[0])
    return out


def _return(plan: _Plan, parts: _Parts, name: str, grad: Mapping[str, Tensor], back: _Parts) -> None:
    """The gradient of the rows of a name, and what they add to those of the matrices, block by block."""
    x, own, wanted = parts.x[name], parts.own_weight.get(name), back.x[name] is not None
    out_of = []
    for number, relation in enumerate(plan.relations):
        if relation.source == name:
            values = None if relation.back is None else relation.back.to(x.dtype)
            out_of.append((number, relation.edges.transposed, values, grad[relation.target]))
    for block in _blocks(x, [x, *(sent for *_, sent in out_of)]):
        total, turned = None, block.turned(x)  # [in, block]
        if own is not None:
            arrived = block.of(grad[name])
            back.own_weight[name] += outer(turned, arrived)
            total = product(arrived, own.T) if wanted else None  # [block, in]
        for number, edges, values, sent in out_of:
            arrived, which = reached_sums(sent, edges, values, rows=block.rows, multiple=STEP)  # [reached, out]
            seen = turned if which is None else _turn(x[block.rows], which, arrived.shape[0])
            back.weight[number] += outer(seen, arrived)
            if wanted:
                total = _add(total, arrived, parts.weight[number].T, which, block.padded)
        if wanted:
            total = torch.zeros_like(x[block.rows]) if total is None else total.resize_(block.size, x.shape[1])
            back.x[name] = _put(total, block, back.x[name], x.shape[0])


def _add(total: Tensor | None, x: Tensor, weight: Tensor | None, which: Tensor | None, rows: int) -> Tensor:
    """Adds rows, multiplied if a matrix is given, to a total: to all of it, or to the rows that are named."""
    if which is None and weight is not None:
        return product(x, weight, add=total)
    x = x if weight is None else product(x, weight)
    if which is None:
        return x if total is None else total.add_(x)
    total = x.new_zeros(rows, x.shape[1]) if total is None else total
    return total.index_add_(0, which, x[: len(which)]) if len(which) else total


def _put(part: Tensor, block: Block, whole: Tensor, rows: int) -> Tensor:
    """Puts a block into a whole of so many rows: the block itself, or what the first block makes."""
    if block.size == rows:
        return part
    whole = part.new_empty(rows, part.shape[1]) if whole.shape[0] == 0 else whole
    whole[block.rows] = part
    return whole


def _turn(x: Tensor, which: Tensor, count: int) -> Tensor:
    """Some rows as columns, ``[channels, count]``, with columns of zeros after the last."""
    return F.pad(x.index_select(0, which), (0, 0, 0, count - len(which))).T


def _blocks(x: Tensor, read: Sequence[Tensor]) -> Iterator[Block]:
    """Blocks of the rows of ``x``, as long as a row of the widest that is read allows."""
    return blocks(len(x), max(tensor.shape[1] * tensor.element_size() for tensor in read), whole=x.is_cuda)


def _dtype(x: Tensor) -> torch.dtype:
    """What to compute in: what autocast says, or what the rows are."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
