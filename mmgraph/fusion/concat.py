"""Parts side by side, then one linear map."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mmgraph.functional.fusion import any_present, concat_parts
from mmgraph.fusion.base import Fusion, check_parts, check_widths
from mmgraph.typing import Parts, Present


class Concat(Fusion):
    r"""Concatenation and a linear map: :math:`z = W [h_1; \ldots; h_M] + b`.

    It is the sum of relation-typed messages on a star, :math:`\sum_m W_m h_m + b`, exactly.

    Args:
        widths: Part → its channels.
        channels: Width of the result.

    Example:
        >>> fusion = Concat({"image": 3, "text": 2}, 4)
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(self, widths: Mapping[str, int], channels: int) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.linear = nn.Linear(sum(self.widths.values()), channels)

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        return self.linear(concat_parts(parts, present)) * any_present(present)[:, None]
