"""All products of every two parts' channels, then one linear map."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.fusion import any_present, bilinear_parts, signed_root
from mmgraph.fusion.base import Fusion, check_parts, check_products, check_weights, check_widths
from mmgraph.typing import Parts, Present


class Bilinear(Fusion):
    r"""Bilinear pooling: :math:`z = W\,[\mathrm{vec}(h_m \otimes h_n)]_{m<n} + b`, over every pair of parts.

    It holds no term of one part alone (:class:`Tensor` does, or a :class:`Hybrid` with :class:`Concat`): an anchor with
    one part gets :math:`b`.

    Source: Lin, RoyChowdhury and Maji 2015, Bilinear CNN models for fine-grained visual recognition, eq. 1 and
    section 3; arXiv:1504.07889.

    Args:
        widths: Part → its channels; at least 2 parts.
        channels: Width of the result.
        normalise: Take the signed square root of the products, then bring each anchor's to unit length, as the source
            does.

    Raises:
        ConfigError: Fewer than 2 parts; or the weights (when made) or the products of a batch (when called) would not
            fit in memory.

    Example:
        >>> fusion = Bilinear({"image": 3, "text": 2}, 4)
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(self, widths: Mapping[str, int], channels: int, *, normalise: bool = False) -> None:
        super().__init__()
        self.widths, self.normalise = check_widths(widths), normalise
        if len(self.widths) < 2:
            raise ConfigError(f"Bilinear needs at least 2 parts, got {self.widths}; use Concat for one")
        total = sum(self.widths.values())
        size = (total**2 - sum(width**2 for width in self.widths.values())) // 2  # of all pairs of different parts
        self._name = f"Bilinear pooling of widths {self.widths}"
        check_weights(self._name, size, channels, instead="LowRank")
        self.linear = nn.Linear(size, channels)

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        check_products(self._name, self.linear.in_features, parts, instead="LowRank")
        products = bilinear_parts(parts, present)  # [anchors, sum over pairs of the products of their widths]
        if self.normalise:
            products = F.normalize(signed_root(products), dim=1)
        return self.linear(products) * any_present(present)[:, None]
