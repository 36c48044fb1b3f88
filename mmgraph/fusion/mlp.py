"""Parts side by side, then a small network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from mmgraph.functional.fusion import any_present, concat_parts
from mmgraph.fusion.base import Fusion, check_parts, check_widths, perceptron
from mmgraph.typing import Parts, Present


class MLP(Fusion):
    r"""Concatenation and hidden layers: :math:`z = W_2\, \mathrm{relu}(W_1 [h_1; \ldots; h_M] + b_1) + b_2`.

    Unlike :class:`Concat` it can learn that parts interact, but has to find out how.

    Source: Ngiam, Khosla, Kim, Nam, Lee and Ng 2011, Multimodal deep learning, section 3 (a shared layer above the
    concatenated ones), ICML.

    Args:
        widths: Part → its channels.
        channels: Width of the result.
        hidden: Widths of the hidden layers, each followed by a ReLU and dropout.
        dropout: Share of the hidden values zeroed while training.

    Raises:
        ConfigError: A width below 1.

    Example:
        >>> fusion = MLP({"image": 3, "text": 2}, 4, hidden=[16])
        >>> parts = {"image": torch.ones(5, 3), "text": torch.ones(5, 2)}
        >>> fusion(parts, {name: torch.ones(5, dtype=torch.bool) for name in parts}).shape
        torch.Size([5, 4])
    """

    def __init__(
        self, widths: Mapping[str, int], channels: int, *, hidden: Sequence[int] = (64,), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.network = perceptron(sum(self.widths.values()), channels, hidden=hidden, dropout=dropout)

    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``."""
        check_parts(parts, self.widths)
        return self.network(concat_parts(parts, present)) * any_present(present)[:, None]
