"""All products of all parts' channels, then one linear map."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from mmgraph.functional.fusion import any_present, outer_parts
from mmgraph.fusion.base import Fusion, check_parts, check_products, check_weights, check_widths
from mmgraph.typing import Parts, Present


class Tensor(Fusion):
    r"""Tensor fusion: :math:`z = W\,\mathrm{vec}\big(\bigotimes_m [h_m; 1]\big) + b`.

    Its slices are the terms of one, two, … parts. Without the appended 1 and with class probabilities as parts
    it is the view correlation discovery network of MOGONET (Wang et al. 2021).

    Source: Zadeh, Chen, Poria, Cambria and Morency 2017, Tensor fusion network for multimodal sentiment
    analysis, eq. 2; arXiv:1707.07250.

    Args:
        widths: Part → its channels.
        channels: Width of the result.
        append_one: Keep the terms of fewer parts.

    Raises:
        ConfigError: The weights (when made) or the outer products of a batch (when called) would not fit in memory.

    Example:
        >>> fusion = Tensor({"image": 3, "text": 2}, 4)
        >>> fusion.linear.in_features
        12
    """

    def __init__(self, widths: Mapping[str, int], channels: int, *, append_one: bool = True) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.append_one = append_one
        size = math.prod(width + append_one for width in self.widths.values())
        self._name = f"Tensor fusion of widths {self.widths}"
        self._instead = f"LowRank, which needs {sum(self.widths.values()) + len(self.widths):,} × {channels} a rank"
        check_weights(self._name, size, channels, instead=self._instead)
        self.linear = nn.Linear(size, channels)

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        check_products(self._name, self.linear.in_features, parts, instead=self._instead)
        outer = outer_parts(parts, present, append_one=self.append_one)  # [anchors, product of widths]
        return self.linear(outer) * any_present(present)[:, None]
