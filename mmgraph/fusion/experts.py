"""An expert a part, and a gate that weighs them by what all parts say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from mmgraph.functional.fusion import concat_parts, mix_parts, zero_absent
from mmgraph.fusion.base import Fusion, check_parts, check_widths, perceptron
from mmgraph.keys import weight_key
from mmgraph.typing import Parts, Present


class Experts(Fusion):
    r"""Mixture of experts, one a part: :math:`z = \sum_m \mathrm{softmax}_m(g_m([h_1; \ldots; h_M]))\, E_m(h_m)`.

    The gate :math:`g` sees all present parts, and its softmax is over them; so the shares of an anchor add up to 1,
    where the gates of :class:`Gated` open and close by themselves, channel by channel.

    Source: Jacobs, Jordan, Nowlan and Hinton 1991, Adaptive mixtures of local experts, Neural Computation 3(1); Shazeer
    et al. 2017, Outrageously large neural networks, eqs. 1 and 2, arXiv:1701.06538. All experts are asked: there are
    as many as parts.

    Args:
        widths: Part → its channels.
        channels: Width of the result.
        hidden: Widths of the hidden layers of each expert, each followed by a ReLU and dropout; none makes it linear.
        dropout: Share of the hidden values zeroed while training.

    Raises:
        ConfigError: A width below 1.

    Example:
        >>> fusion = Experts({"image": 3, "text": 2}, 4, hidden=[16])
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(
        self, widths: Mapping[str, int], channels: int, *, hidden: Sequence[int] = (), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.expert = nn.ModuleDict(
            {
                weight_key(name): perceptron(width, channels, hidden=hidden, dropout=dropout)
                for name, width in self.widths.items()
            }
        )
        self.gate = nn.Linear(sum(self.widths.values()), len(self.widths))

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        heard = zero_absent(parts, present)
        said = {name: self.expert[weight_key(name)](heard[name]) for name in self.widths}  # [anchors, channels]
        scores = self.gate(concat_parts(parts, present)).unbind(1)  # [anchors] for each part
        return mix_parts(said, dict(zip(self.widths, scores, strict=True)), present)
