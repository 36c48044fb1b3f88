"""A payload of fixed shape, from a small network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from mmgraph.decoders.base import Decoder
from mmgraph.errors import ConfigError


class Dense(Decoder):
    """A linear map, or a small network, from a code to all values of a payload at once.

    The decoding half of an autoencoder (Ngiam, Khosla, Kim, Nam, Lee & Ng 2011, Multimodal deep learning, ICML).

    Args:
        channels: Width of the code.
        shape: Shape of the payload of one node: ``(5,)`` for five numbers, ``(1, 28, 28)`` for a grey picture.
        attribute: The tensor that is decoded.
        hidden: Widths of the hidden layers, each followed by a ReLU.
        centre: What is 0 in scaled values; 127.5 for ``pixels``.
        scale: What is 1 from there; 127.5 for ``pixels``.

    Raises:
        ConfigError: A width or a side below 1, or a scale not above 0.

    Example:
        >>> import torch
        >>> decoder = Dense(8, (1, 4, 4), attribute="pixels", hidden=[16], centre=127.5, scale=127.5)
        >>> decoder(torch.ones(2, 8)).shape, decoder.scaled(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
        (torch.Size([2, 1, 4, 4]), [-1.0, 1.0])
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        *,
        attribute: str = "x",
        hidden: Sequence[int] = (),
        centre: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__(attribute, centre=centre, scale=scale)
        if not shape or min(channels, *shape, *hidden) < 1:
            raise ConfigError(
                "Dense needs a code, a shape and hidden layers of at least 1, "
                f"got {channels}, {list(shape)} and {list(hidden)}"
            )
        self.channels, self.shape = channels, tuple(shape)
        steps: list[nn.Module] = []
        for width in hidden:
            steps += [nn.Linear(channels, width), nn.ReLU()]
            channels = width
        self.network = nn.Sequential(*steps, nn.Linear(channels, math.prod(shape)))

    def forward(self, states: Tensor) -> Tensor:
        """Gives scaled values ``[rows, *shape]``."""
        return self.network(states).unflatten(1, self.shape)
