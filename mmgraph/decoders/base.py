"""What a decoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError


class Decoder(Recorded, ABC):
    """From the states of anchors to a payload of theirs: ``decoder(states) -> [rows, *shape]``.

    It answers in scaled values, ``(payload - centre) / scale``, in which errors are counted; :meth:`decode` gives
    the payload itself.

    Args:
        attribute: The tensor of the modality's nodes that is decoded: ``x``, ``pixels``, ``mel``, …
        centre: What is 0 in scaled values.
        scale: What is 1 from there; with ``centre``, in the payload's own unit.

    Raises:
        ConfigError: The scale is not above 0.
    """

    def __init__(self, attribute: str, *, centre: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"scale must be above 0, got {scale}; for a constant payload take 1")
        self.attribute, self.centre, self.scale = attribute, centre, scale

    @abstractmethod
    def forward(self, states: Tensor) -> Tensor:
        """Gives scaled values ``[rows, *shape]`` from states ``[rows, channels]``."""

    def scaled(self, payload: Tensor) -> Tensor:
        """Gives the payload in scaled values."""
        return (payload.float() - self.centre) / self.scale

    def decode(self, states: Tensor) -> Tensor:
        """Gives the payload in its own unit, ``[rows, *shape]``."""
        values: Tensor = self(states)
        return values * self.scale + self.centre
