"""Networks for the steps of a series: recurrent, and convolutional in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class SeriesGRU(Encoder):
    """A gated recurrent unit over the ``steps`` of each node type: its last state, joined with the mean of all.

    Source: Cho et al. 2014, Learning phrase representations using RNN encoder–decoder, arXiv:1406.1078.

    Reads ``graph[type].steps``, ``[rows, steps, columns]``; a step with NaN is not there. Irregular series carry the
    time since the step before as a column (:class:`Series` with ``times``). Steps beyond the end of a series have no
    influence; a row without any step is the features of nothing, which are finite.

    Args:
        widths: Node type → columns of its steps.
        channels: Width of the features.
        hidden: Width of the state; ``None`` for as wide as the features.
        dropout: Share of the state that is zeroed while training.

    Raises:
        ConfigError: No node type, or a width below 1.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["heart"].steps = torch.tensor([[[1.0], [2.0]], [[3.0], [torch.nan]]])
        >>> SeriesGRU({"heart": 1}, 8)(graph)["heart"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self, widths: Mapping[str, int], channels: int, *, hidden: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = channels if hidden is None else hidden
        _check_widths(type(self).__name__, widths, channels, width)
        self.nodes = tuple(widths)
        self.cells = nn.ModuleDict(
            {weight_key(node): nn.GRU(columns, width, batch_first=True) for node, columns in widths.items()}
        )
        self.heads = nn.ModuleDict({weight_key(node): nn.Linear(2 * width, channels) for node in widths})
        self.dropout = nn.Dropout(dropout)

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        return {node: self._encode(weight_key(node), graph[node].steps) for node in self.nodes}

    def _encode(self, key: str, steps: Tensor) -> Tensor:
        values, mask = packed(steps)
        if not values.numel():
            states = values.new_zeros(*mask.shape, self.cells[key].hidden_size)
        else:
            states = self.cells[key](values)[0]  # [rows, steps, hidden]
        pooled = torch.cat([_last(states, mask), _mean(states, mask)], dim=1)  # [rows, 2 * hidden]
        return self.heads[key](self.dropout(pooled))


class SeriesConv(Encoder):
    r"""Dilated causal convolutions over the ``steps`` of each node type, then mean, maximum and last state over time.

    Source: Bai, Kolter & Koltun 2018, An empirical evaluation of generic convolutional and recurrent networks for
    sequence modeling, arXiv:1803.01271, with layer norm in place of weight norm.

    Block :math:`l` is :math:`h + \mathrm{drop}(\mathrm{relu}(\mathrm{norm}(\mathrm{conv}(h))))`, its convolution of
    ``kernel`` steps that lie :math:`2^l` apart, the last of them at the step itself: the last block hears
    :math:`1 + (k - 1)(2^{L} - 1)` steps. Reads ``graph[type].steps`` as :class:`SeriesGRU` does, with the same
    promises.

    Args:
        widths: Node type → columns of its steps.
        channels: Width of the features.
        hidden: Width of the blocks; ``None`` for as wide as the features.
        depth: Blocks.
        kernel: Steps that a convolution reads.
        dropout: Share of the values that is zeroed in each block, while training.

    Raises:
        ConfigError: No node type, or a width, a depth or a kernel below 1.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["heart"].steps = torch.tensor([[[1.0], [2.0]], [[3.0], [torch.nan]]])
        >>> SeriesConv({"heart": 1}, 8)(graph)["heart"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        channels: int,
        *,
        hidden: int | None = None,
        depth: int = 4,
        kernel: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = channels if hidden is None else hidden
        _check_widths(type(self).__name__, widths, channels, width, depth, kernel)
        self.nodes = tuple(widths)
        self.stems = nn.ModuleDict({weight_key(node): nn.Linear(columns, width) for node, columns in widths.items()})
        self.blocks = nn.ModuleDict(
            {
                weight_key(node): nn.ModuleList(_Block(width, kernel, 2**level, dropout) for level in range(depth))
                for node in widths
            }
        )
        self.heads = nn.ModuleDict({weight_key(node): nn.Linear(3 * width, channels) for node in widths})

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        return {node: self._encode(weight_key(node), graph[node].steps) for node in self.nodes}

    def _encode(self, key: str, steps: Tensor) -> Tensor:
        values, mask = packed(steps)
        states = self.stems[key](values) * mask[:, :, None]  # [rows, steps, hidden]
        for block in self.blocks[key]:
            states = block(states) * mask[:, :, None]
        largest = states.masked_fill(~mask[:, :, None], -torch.inf).amax(dim=1) if mask.shape[1] else states.sum(dim=1)
        largest = largest.where(mask.any(dim=1, keepdim=True), torch.zeros_like(largest))
        return self.heads[key](torch.cat([_mean(states, mask), largest, _last(states, mask)], dim=1))


class _Block(nn.Module):
    """A causal convolution beside the identity: ``[rows, steps, hidden]`` to the same."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.before = dilation * (kernel - 1)

    def forward(self, states: Tensor) -> Tensor:
        if not states.numel():
            return states
        heard = self.conv(F.pad(states.mT, (self.before, 0))).mT
        return states + self.dropout(F.relu(self.norm(heard)))


def packed(steps: Tensor) -> tuple[Tensor, Tensor]:
    """The steps that are there moved to the front, zeros after them, and the mask of those that are.

    Args:
        steps: ``[rows, steps, columns]``; a step with NaN is not there.

    Returns:
        ``[rows, longest, columns]`` and ``[rows, longest]``, as long as the longest row.

    Example:
        >>> values, mask = packed(torch.tensor([[[1.0], [torch.nan], [3.0], [torch.nan]]]))
        >>> values.flatten().tolist(), mask.tolist()
        ([1.0, 3.0], [[True, True]])
    """
    mask = ~steps.isnan().any(dim=2)
    longest = int(mask.sum(dim=1).max()) if mask.numel() else 0
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    mask = mask.gather(1, order)
    values = steps.gather(1, order[:, :, None].expand(-1, -1, steps.shape[2]))
    return values.masked_fill(~mask[:, :, None], 0).float(), mask


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that are there, ``[rows, hidden]``; zeros where there is none."""
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)


def _last(states: Tensor, mask: Tensor) -> Tensor:
    """State of the last step, ``[rows, hidden]``; zeros where there is none."""
    if not mask.shape[1]:
        return states.sum(dim=1)
    last = (mask.sum(dim=1) - 1).clamp_min(0)
    return states[torch.arange(len(states), device=states.device), last] * mask.any(dim=1, keepdim=True)


def _check_widths(name: str, widths: Mapping[str, int], *others: int) -> None:
    if not widths or min(*widths.values(), *others) < 1:
        raise ConfigError(f"{name} needs node types, and sizes of at least 1, got {dict(widths)} and {[*others]}")
