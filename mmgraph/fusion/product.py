"""The product of parts that share a space."""

from __future__ import annotations

import torch

from mmgraph.functional.fusion import product_parts
from mmgraph.fusion.base import Fusion, check_equal
from mmgraph.typing import Parts, Present


class Product(Fusion):
    r"""Product of the present parts, channel by channel: :math:`z = \prod_m h_m`.

    Raises:
        SchemaError: Parts of different widths (when called).

    Example:
        >>> parts = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[3.0]])}
        >>> Product()(parts, {"a": torch.tensor([True]), "b": torch.tensor([False])})
        tensor([[2.]])
    """

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_equal(parts)
        return product_parts(parts, present)
