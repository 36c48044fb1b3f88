"""Tensor fusion through weights of low rank, without the tensor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mmgraph.errors import ConfigError
from mmgraph.functional.fusion import low_rank_parts
from mmgraph.fusion.base import Fusion, check_parts, check_widths
from mmgraph.keys import weight_key
from mmgraph.typing import Parts, Present


class LowRank(Fusion):
    r"""Low-rank tensor fusion: :math:`z = \sum_{r=1}^R \prod_m W_m^{(r)} [h_m; 1]`.

    It is :class:`Tensor` with weights of rank at most R. Any weights of a :class:`Tensor` have some rank, at most the
    product of all widths + 1 but the largest. A weight for each rank and a bias, as in the authors' code, would be
    nothing new: the first scales a factor, the second is one more rank.

    At first the states have about the size of the parts, whatever their number and the rank: half of each factor comes
    from the part, half from the 1, so that an absent part leaves the others their say.

    Source: Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency 2018, Efficient low-rank multimodal fusion with
    modality-specific factors, eqs. 4 to 7; arXiv:1806.00064.

    Args:
        widths: Part → its channels.
        channels: Width of the result.
        rank: Number of products that are added up.

    Raises:
        ConfigError: A width or the rank is below 1.

    Example:
        >>> fusion = LowRank({"image": 3, "text": 2}, 4, rank=2)
        >>> [list(factor.shape) for factor in fusion.factors.values()]
        [[4, 2, 4], [3, 2, 4]]
    """

    def __init__(self, widths: Mapping[str, int], channels: int, *, rank: int = 4) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        if min(rank, channels) < 1:
            raise ConfigError(f"LowRank needs rank and channels of at least 1, got rank {rank}, channels {channels}")
        self.factors = nn.ParameterDict(
            {weight_key(name): torch.empty(width + 1, rank, channels) for name, width in self.widths.items()}
        )
        share = rank ** (-0.5 / len(self.widths))  # of each factor, so that the sum over the ranks has variance 1
        for factor in self.factors.values():
            nn.init.normal_(factor[:-1], std=share * (0.5 / (len(factor) - 1)) ** 0.5)
            nn.init.normal_(factor[-1], std=share * 0.5**0.5)

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        return low_rank_parts(parts, dict(zip(self.widths, self.factors.values(), strict=True)), present)
