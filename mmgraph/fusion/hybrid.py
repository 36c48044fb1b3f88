"""Several fusions of the same parts, summed."""

from __future__ import annotations

import torch
from torch import nn

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.fusion.base import Fusion
from mmgraph.typing import Parts, Present


class Hybrid(Fusion):
    r"""Hybrid fusion, early and late at once: :math:`z = \sum_i F_i(h_1, \ldots, h_M)`.

    ``Hybrid(Concat(widths, classes), Late(widths, classes))`` adds the answers of each part alone to one from all;
    ``Hybrid(Concat(widths, 8), Bilinear(widths, 8))`` adds the products of two parts to the parts themselves.

    Source: Atrey, Hossain, El Saddik and Kankanhalli 2010, Multimodal fusion for multimedia analysis, section 3.1.3,
    Multimedia Systems 16.

    Args:
        fusions: What to add up; all give vectors of one width.

    Raises:
        ConfigError: There are none.
        SchemaError: Their vectors differ in width (when called).

    Example:
        >>> from mmgraph.fusion import Concat, Late
        >>> fusion = Hybrid(Concat({"image": 3, "text": 2}, 4), Late({"image": 3, "text": 2}, 4))
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(self, *fusions: Fusion) -> None:
        super().__init__()
        if not fusions:
            raise ConfigError("Hybrid needs at least 1 fusion, got none; e.g. Hybrid(Concat(...), Late(...))")
        self.fusions = nn.ModuleList(fusions)

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        joined = [fusion(parts, present) for fusion in self.fusions]
        widths = {one.shape[1] for one in joined}
        if len(widths) > 1:
            got = {type(fusion).__name__: one.shape[1] for fusion, one in zip(self.fusions, joined, strict=True)}
            raise SchemaError(f"Hybrid adds vectors of one width, got {got}; make its fusions with the same channels")
        return torch.stack(joined).sum(dim=0)
