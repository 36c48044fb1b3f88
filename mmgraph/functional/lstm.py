"""Long short-term memory along the edges of a graph without cycles, all rows of one level at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.levels import Chains, levels


class Arrival(NamedTuple):
    """What comes along one relation into the rows of one level."""

    relation: int
    edges: Tensor  # [edges], positions in the relation's index
    sources: list[tuple[int, Tensor]]  # (level, places in it), in the order of the edges
    targets: Tensor  # [edges], places in the level


class Schedule:
    """The levels of a graph without cycles, and what comes into each.

    Args:
        indices: ``[2, edges]`` of each relation; all count the same rows.
        num_rows: Number of rows.

    Raises:
        ValueError: The edges have a cycle.

    Attributes:
        order: ``[rows]``, the rows level by level.
        sizes: Rows of each level.
        arrivals: What comes into each level.

    Example:
        >>> schedule = Schedule([torch.tensor([[0, 1, 0], [1, 2, 2]])], 4)
        >>> schedule.order.tolist(), schedule.sizes, [arrival.targets.tolist() for arrival in schedule.arrivals[2]]
        ([0, 3, 1, 2], [2, 1, 1], [[0, 0]])
    """

    def __init__(self, indices: Sequence[Tensor], num_rows: int) -> None:
        level = levels(torch.cat(list(indices), dim=1), num_rows)
        if num_rows and int(level.min()) < 0:
            raise ValueError("Edges must have no cycle to be worked through level by level")
        self.order = level.argsort(stable=True)
        self.sizes: list[int] = torch.bincount(level).tolist() if num_rows else []
        ends = torch.bincount(level, minlength=1).cumsum(0)
        starts = ends - torch.bincount(level, minlength=1)
        place = torch.empty_like(self.order)
        place[self.order] = torch.arange(num_rows, device=level.device)
        place -= starts[level]
        self.arrivals: list[list[Arrival]] = [[] for _ in self.sizes]
        for relation, index in enumerate(indices):
            self._arrange(relation, index.long(), level, place)

    def _arrange(self, relation: int, index: Tensor, level: Tensor, place: Tensor) -> None:
        """Deals the edges of a relation out to levels."""
        key = level[index[1]] * max(len(self.sizes), 1) + level[index[0]]
        order = key.argsort(stable=True)
        runs, counts = key[order].unique_consecutive(return_counts=True)
        pieces = order.split(counts.tolist())
        by_target: dict[int, list[tuple[int, Tensor]]] = {}
        for run, piece in zip(runs.tolist(), pieces, strict=True):
            target, source = divmod(run, len(self.sizes))
            by_target.setdefault(target, []).append((source, piece))
        for target, found in by_target.items():
            edges = torch.cat([piece for _, piece in found])
            sources = [(source, place[index[0, piece]]) for source, piece in found]
            self.arrivals[target].append(Arrival(relation, edges, sources, place[index[1, edges]]))


def lstm(
    gates: Tensor,
    schedule: Schedule,
    weight: Sequence[Tensor | None],
    *,
    edge_weight: Sequence[Tensor | None] | None = None,
    carries: Sequence[bool] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Long short-term memory along edges, from the rows without predecessors to the last.

    .. math::
        i_v, g_v, o_v &= \sigma, \tanh, \sigma \Big(z_v + \sum_r \sum_{u \to_r v} w_{uv} U_r h_u\Big)_{i, g, o} \\
        c_v &= i_v \odot g_v + \sum_r \sum_{u \to_r v} w_{uv} f_{uv} \odot c_u, \qquad
        f_{uv} = \sigma(z_v + U_r h_u)_f \\
        h_v &= o_v \odot \tanh(c_v)

    where :math:`z_v = W x_v + b`. With one relation this is the Child-Sum Tree-LSTM, with a relation for each place of
    a child the N-ary one (without forget gates across children), and on a chain ``torch.nn.LSTM``.

    With ``carries`` a row has one forget gate for all that it remembers, moved by all that arrives as the other gates
    are, :math:`f_v = \sigma(z_v + \sum_r \sum_u w_{uv} U_r h_u)_f`, and only some relations bring memory.

    Source: Tai, Socher and Manning 2015, Improved semantic representations from tree-structured long short-term memory
    networks, eq. 2 to 8; arXiv:1503.00075. The gates are in the order of ``torch.nn.LSTM``: i, f, g, o.

    Args:
        gates: :math:`z`, ``[rows, 4 * channels]``.
        schedule: In which order.
        weight: :math:`U_r`, ``[4 * channels, channels]``, one a relation. One with fewer columns reads the first
            channels of :math:`h_u` alone, ``None`` none.
        edge_weight: :math:`w`, ``[edges]``, one a relation; by default 1.
        carries: Whether a relation brings memory, one a relation; by default each edge does, through a gate of its own.

    Returns:
        :math:`h` and :math:`c`, ``[rows, channels]`` each.

    Example:
        >>> theirs = torch.nn.LSTM(2, 3)
        >>> x = torch.ones(5, 2)
        >>> chain = Schedule([torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])], 5)
        >>> gates = x @ theirs.weight_ih_l0.T + theirs.bias_ih_l0 + theirs.bias_hh_l0
        >>> torch.allclose(lstm(gates, chain, [theirs.weight_hh_l0])[0], theirs(x)[0], atol=1e-6)
        True
    """
    channels = gates.shape[1] // 4
    if len(gates) == 0:
        return gates[:, :channels], gates[:, :channels]
    edge_weight = edge_weight or [None] * len(weight)
    states: list[Tensor] = []  # [rows of a level, 2 * channels]: h, c
    for z, arrivals in zip(gates.index_select(0, schedule.order).split(schedule.sizes), schedule.arrivals, strict=True):
        total, memory = z, z.new_zeros(len(z), channels)
        for arrival in arrivals:
            relation, targets = arrival.relation, arrival.targets
            sent = torch.cat([states[level].index_select(0, places) for level, places in arrival.sources])
            h, c = sent.split(channels, dim=1)  # [edges, channels]
            matrix = weight[relation]
            arrived = None if matrix is None else F.linear(h[:, : matrix.shape[1]], matrix)  # [edges, 4 * channels]
            brought: Tensor | None = c
            if carries is None:
                forget = z[:, channels : 2 * channels].index_select(0, targets)
                forget = forget if arrived is None else forget + arrived[:, channels : 2 * channels]
                brought = forget.sigmoid() * c
            elif not carries[relation]:
                brought = None
            scale = edge_weight[relation]
            scale = None if scale is None else scale.index_select(0, arrival.edges)[:, None].to(z.dtype)
            total, memory = (
                value if add is None else value.index_add(0, targets, add if scale is None else add * scale)
                for value, add in ((total, arrived), (memory, brought))
            )
        i, f, g, o = total.chunk(4, dim=1)
        kept = memory if carries is None else f.sigmoid() * memory
        c = kept + i.sigmoid() * g.tanh()
        states.append(torch.cat([o.sigmoid() * c.tanh(), c], dim=1))
    back = torch.empty_like(schedule.order)
    back[schedule.order] = torch.arange(len(back), device=back.device)
    h, c = torch.cat(states).index_select(0, back).split(channels, dim=1)
    return h, c


class Packing(NamedTuple):
    """Chains of rows, as torch's recurrent kernels read them: all first rows, all second rows, and so on."""

    order: Tensor  # [rows]
    back: Tensor  # [rows], its inverse
    batch_sizes: Tensor  # [places], how many chains reach so far; on the processor

    @classmethod
    def of(cls, chains: Chains) -> Packing:
        """Puts the longest chain first.

        Example:
            >>> first, place = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
            >>> packing = Packing.of(Chains(first, place))
            >>> packing.order.tolist(), packing.batch_sizes.tolist()
            ([1, 0, 2], [2, 1])
        """
        length = torch.bincount(chains.first, minlength=len(chains.first))[chains.first]
        order = chains.first.argsort(stable=True)
        order = order[length[order].argsort(stable=True, descending=True)]
        order = order[chains.place[order].argsort(stable=True)]
        return cls(order, order.argsort(), torch.bincount(chains.place).cpu())


def packed_lstm(x: Tensor, packing: Packing, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """The same as :func:`lstm` where the edges are chains, by torch's own kernel.

    Args:
        x: ``[rows, in_channels]``.
        packing: The chains.
        weight_ih: ``[4 * channels, in_channels]``.
        weight_hh: ``[4 * channels, channels]``.
        bias: ``[4 * channels]``.

    Returns:
        :math:`h`, ``[rows, channels]``.

    Example:
        >>> theirs = torch.nn.LSTM(2, 3, bias=False)
        >>> x, chain = torch.ones(4, 2), Packing.of(Chains(torch.zeros(4, dtype=torch.long), torch.arange(4)))
        >>> torch.allclose(packed_lstm(x, chain, *theirs.parameters(), torch.zeros(12)), theirs(x)[0])
        True
    """
    if len(x) == 0:
        return x.new_zeros(0, weight_hh.shape[1])
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    x, *params = (tensor.to(dtype) for tensor in (x, weight_ih, weight_hh, bias, torch.zeros_like(bias)))
    start = x.new_zeros(1, int(packing.batch_sizes[0]), weight_hh.shape[1])
    rows = x.index_select(0, packing.order)
    out = torch.lstm(rows, packing.batch_sizes, (start, start), params, True, 1, 0.0, False, False)
    return out[0].to(dtype).index_select(0, packing.back)
