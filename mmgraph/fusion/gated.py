"""Parts weighted, channel by channel, by what all parts say."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mmgraph.functional.fusion import concat_parts, gated_parts
from mmgraph.fusion.base import Fusion, check_parts, check_widths
from mmgraph.keys import weight_key
from mmgraph.typing import Parts, Present


class Gated(Fusion):
    r"""Gated multimodal unit: each part is projected and let through by a gate that sees all parts.

    .. math:: z = \sum_m \sigma(U_m [h_1; \ldots; h_M]) \odot \tanh(W_m h_m)

    Source: Arevalo, Solorio, Montes-y-Gómez and González 2017, Gated multimodal units for information
    fusion, eq. 1; arXiv:1702.01992.

    Args:
        widths: Part → its channels.
        channels: Width of the result.

    Example:
        >>> fusion = Gated({"image": 3, "text": 2}, 4)
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(self, widths: Mapping[str, int], channels: int) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        total = sum(self.widths.values())
        self.value = nn.ModuleDict({weight_key(n): nn.Linear(width, channels) for n, width in self.widths.items()})
        self.gate = nn.ModuleDict({weight_key(n): nn.Linear(total, channels) for n in self.widths})

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        said = concat_parts(parts, present)  # [anchors, sum of widths]; zeros where a part is absent
        heard = dict(zip(self.widths, said.split(list(self.widths.values()), dim=1), strict=True))
        values = {name: torch.tanh(self.value[weight_key(name)](heard[name])) for name in self.widths}
        gates = {name: torch.sigmoid(self.gate[weight_key(name)](said)) for name in self.widths}
        return gated_parts(values, gates, present)
