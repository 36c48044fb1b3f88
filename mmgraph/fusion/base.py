"""What a fusion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import nn

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError, SchemaError
from mmgraph.typing import Parts, Present

MOST_WEIGHTS = 100_000_000
MOST_BYTES = 4_000_000_000
"""Of all products of the channels of one batch."""


class Fusion(Recorded, ABC):
    """Joins the parts of each anchor into one vector: ``fusion(parts, present) -> [anchors, channels]``.

    Promises: the order of the keys does not matter; an absent part has no influence; an anchor with no part
    gets zeros; every parameter is in ``state_dict()`` and gets a gradient.
    """

    @abstractmethod
    def forward(self, parts: Parts, present: Present) -> torch.Tensor:
        """Gives ``[anchors, channels]``.

        Args:
            parts: Modality → ``[anchors, channels]``.
            present: Modality → mask ``[anchors]``.
        """


def check_widths(widths: Mapping[str, int]) -> dict[str, int]:
    """The widths of the parts, by name.

    Raises:
        ConfigError: There are none, or one is below 1.
    """
    if not widths or min(widths.values()) < 1:
        raise ConfigError(f"A fusion needs at least 1 part, each at least 1 wide, got {dict(widths)}")
    return {name: widths[name] for name in sorted(widths)}


def perceptron(width: int, channels: int, *, hidden: Sequence[int] = (), dropout: float = 0.0) -> nn.Sequential:
    """A linear map, or a small network: each hidden layer is followed by a ReLU and dropout.

    Raises:
        ConfigError: A layer would be less than 1 wide.
    """
    if min(channels, *hidden, 1) < 1:
        raise ConfigError(f"Layers of a fusion must be at least 1 wide, got {[*hidden, channels]}")
    *inner, last = [nn.Linear(before, after) for before, after in pairwise([width, *hidden, channels])]
    return nn.Sequential(*(step for layer in inner for step in (layer, nn.ReLU(), nn.Dropout(dropout))), last)


def check_weights(fusion: str, size: int, channels: int, *, instead: str) -> None:
    """Checks that the weights of one linear map from all products of channels fit in memory.

    Raises:
        ConfigError: They don't.
    """
    if size * channels > MOST_WEIGHTS:
        gigabytes = size * channels * torch.get_default_dtype().itemsize / 1e9
        raise ConfigError(
            f"{fusion} needs {size:,} × {channels} weights ({gigabytes:,.1f} GB), more than {MOST_WEIGHTS:,}; "
            f"use {instead}, or make the parts narrower"
        )


def check_products(fusion: str, size: int, parts: Parts, *, instead: str) -> None:
    """Checks, before they are made, that all products of channels of a batch fit in memory.

    Raises:
        ConfigError: They don't.
    """
    if torch.compiler.is_exporting():  # for any number of anchors
        return
    part = next(iter(parts.values()))
    if (needed := len(part) * size * part.element_size()) > MOST_BYTES:
        raise ConfigError(
            f"{fusion} of {len(part):,} anchors makes {len(part):,} × {size:,} products ({needed / 1e9:,.1f} GB), "
            f"more than {MOST_BYTES / 1e9:,.1f} GB; use smaller batches, or {instead}"
        )


def check_parts(parts: Parts, widths: Mapping[str, int]) -> None:
    """Checks that the parts are the ones a fusion was made for.

    Raises:
        SchemaError: A part is missing, unknown, or of another width.
    """
    got = {name: part.shape[1] for name, part in sorted(parts.items())}
    if got != dict(widths):
        raise SchemaError(
            f"Fusion was made for parts of widths {dict(widths)}, got {got}; "
            "a part that nobody has is a matrix [anchors, channels] with present all False"
        )


def check_equal(parts: Parts) -> None:
    """Checks that the parts share a width.

    Raises:
        SchemaError: They don't, or there are none.
    """
    widths = {name: part.shape[1] for name, part in sorted(parts.items())}
    if len(set(widths.values())) != 1:
        raise SchemaError(
            f"Sum and Product need parts of one width, got {widths}; encode them to the same channels, or use Concat"
        )
