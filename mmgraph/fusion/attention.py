"""Parts weighted by how well they answer a learned query."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mmgraph.functional.fusion import attention_parts, zero_absent
from mmgraph.fusion.base import Fusion, check_parts, check_widths
from mmgraph.keys import weight_key
from mmgraph.typing import Parts, Present


class Attention(Fusion):
    r"""Attention pooling: each part is projected to one space, and weighted by its agreement with a learned query.

    .. math::
        v_m = W_m h_m + b_m, \quad k_m = \tanh(K v_m + c), \quad
        z = \sum_m \mathrm{softmax}_m(q \cdot k_m / \sqrt d)\, v_m

    The softmax is over the present parts. The weight of a part depends on what it says itself; where it should depend
    on what the others say, see :class:`Experts` and :class:`Gated`.

    Source: Yang, Yang, Dyer, He, Smola and Hovy 2016, Hierarchical attention networks for document classification,
    eqs. 5 to 7, NAACL; scaled as in Vaswani et al. 2017, arXiv:1706.03762.

    Args:
        widths: Part → its channels.
        channels: Width of the result, and of the shared space.

    Raises:
        ConfigError: A width below 1.

    Example:
        >>> fusion = Attention({"image": 3, "text": 2}, 4)
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(self, widths: Mapping[str, int], channels: int) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.value = nn.ModuleDict({weight_key(n): nn.Linear(width, channels) for n, width in self.widths.items()})
        self.key = nn.Linear(channels, channels)
        self.query = nn.Parameter(torch.randn(channels))

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        heard = zero_absent(parts, present)
        values = {name: self.value[weight_key(name)](heard[name]) for name in self.widths}  # [anchors, channels]
        keys = {name: torch.tanh(self.key(value)) for name, value in values.items()}
        return attention_parts(values, keys, self.query, present)
