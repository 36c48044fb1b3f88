"""The sum or mean of parts that share a space."""

from __future__ import annotations

import torch

from mmgraph.functional.fusion import sum_parts
from mmgraph.fusion.base import Fusion, check_equal
from mmgraph.typing import Parts, Present


class Sum(Fusion):
    r"""Sum of the present parts, :math:`z = \sum_m h_m`, or their mean.

    With parts that are logits, the mean is late fusion.

    Args:
        mean: Divide by the number of present parts.

    Raises:
        SchemaError: Parts of different widths (when called).

    Example:
        >>> parts = {"a": torch.tensor([[1.0]]), "b": torch.tensor([[2.0]])}
        >>> Sum()(parts, {"a": torch.tensor([True]), "b": torch.tensor([True])})
        tensor([[3.]])
    """

    def __init__(self, *, mean: bool = False) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_equal(parts)
        return sum_parts(parts, present, mean=self.mean)
