"""What a decoder of a hidden node is: it says how likely a payload is, and makes one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from mmgraph.blueprint import Recorded
from mmgraph.typing import Sources


class Generative(Recorded, ABC):
    """Makes the payload of a hidden node from the nodes around it.

    Promises: a row is read by itself; a node that is not present has no influence; a row without any node gets what is
    made of nothing, never NaN; equal generators make equal payloads; what is made has the payload's shape and dtype.

    Attributes:
        attribute: The tensor of the target's nodes that is made: ``tokens``, ``pixels``, ``mel``, ``x``, …
        channels: Width of the sources' states.
    """

    attribute: str
    channels: int

    @abstractmethod
    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """What training makes small: ``total [rows]`` and its parts, each a sum over the values of a row.

        Where the decoder knows a likelihood, ``total`` is the negative logarithm of it, in nats.

        Args:
            sources: What each row may see.
            payload: The payload of each row, ``[rows, *shape]``.
        """

    @abstractmethod
    def generate(self, sources: Sources, *, generator: Generator | None = None) -> Tensor:
        """Makes a payload a row, ``[rows, *shape]``, in its own unit; chance is the generator's alone."""

    def counts(self, payload: Tensor) -> Tensor:
        """How many values each row has, ``[rows]``: those that ``total`` sums over."""
        return torch.full((len(payload),), max(1, payload[0].numel() if len(payload) else 1), device=payload.device)
