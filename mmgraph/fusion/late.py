"""An answer from each part alone, then their sum or mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from mmgraph.errors import ConfigError
from mmgraph.functional.fusion import mix_parts, sum_parts, zero_absent
from mmgraph.fusion.base import Fusion, check_parts, check_widths, perceptron
from mmgraph.keys import weight_key
from mmgraph.typing import Parts, Present


class Late(Fusion):
    r"""Late fusion: a head a part, then the answers of the present parts are joined, :math:`z = \sum_m a_m f_m(h_m)`.

    ``sum`` has :math:`a_m = 1`, ``mean`` one over the number of present parts, and ``learned`` the softmax over the
    present parts of a learned number each. With linear heads the ``sum`` is :class:`Concat` in block form, exactly, and
    so is the ``mean`` where all parts are present. The channels are those of the answer, so that the model's own head
    is ``nn.Identity()``.

    Source: Atrey, Hossain, El Saddik and Kankanhalli 2010, Multimodal fusion for multimedia analysis, section 3.1.2
    (linear weighted fusion of decisions), Multimedia Systems 16.

    Args:
        widths: Part → its channels.
        channels: Width of the answer.
        weights: How the answers are weighted.
        hidden: Widths of the hidden layers of each head, each followed by a ReLU and dropout; none makes it linear.
        dropout: Share of the hidden values zeroed while training.

    Raises:
        ConfigError: A width below 1, or other weights.

    Example:
        >>> fusion = Late({"image": 3, "text": 2}, 4)
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        channels: int,
        *,
        weights: Literal["sum", "mean", "learned"] = "mean",
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths, self.weights = check_widths(widths), weights
        if weights not in ("sum", "mean", "learned"):
            raise ConfigError(f"weights must be 'sum', 'mean' or 'learned', got {weights!r}")
        self.heads = nn.ModuleDict(
            {
                weight_key(name): perceptron(width, channels, hidden=hidden, dropout=dropout)
                for name, width in self.widths.items()
            }
        )
        self.scores = nn.Parameter(torch.zeros(len(self.widths))) if weights == "learned" else None

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        heard = zero_absent(parts, present)
        answers = {name: self.heads[weight_key(name)](heard[name]) for name in self.widths}  # [anchors, channels]
        if self.scores is None:
            return sum_parts(answers, present, mean=self.weights == "mean")
        anchors = next(iter(parts.values())).shape[0]
        scores = {name: one.expand(anchors) for name, one in zip(self.widths, self.scores, strict=True)}
        return mix_parts(answers, scores, present)
