"""What a fusion is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.typing import Parts, Present


class Fusion(nn.Module, ABC):
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
        SchemaError: They don't.
    """
    widths = {name: part.shape[1] for name, part in sorted(parts.items())}
    if len(set(widths.values())) > 1:
        raise SchemaError(
            f"Sum and Product need parts of one width, got {widths}; encode them to the same channels, or use Concat"
        )
