"""Edges that a batch must not show: the guard against answers that can be read off the edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mmgraph.errors import DataError


@dataclass(frozen=True, eq=False)
class HiddenPairs:
    """Pairs of nodes between which no edge is seen.

    Attributes:
        pairs: Source + target · ``width`` of each, ascending.
        targets: Their targets, ascending.
        width: More than any source.
    """

    pairs: np.ndarray
    targets: np.ndarray
    width: int

    @classmethod
    def of(cls, pairs: Tensor) -> HiddenPairs:
        """Takes the ends of the pairs, ``[2, pairs]``.

        Raises:
            DataError: The shape is another.
        """
        if pairs.dim() != 2 or len(pairs) != 2:
            raise DataError(f"Hidden pairs must be [2, pairs], got {list(pairs.shape)}")
        source, target = pairs.cpu().numpy().astype(np.int64)
        width = int(source.max(initial=0)) + 1
        return cls(np.unique(source + target * width), np.unique(target), width)

    def among(self, sources: np.ndarray, targets: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Says which edges are hidden, ``[edges]``.

        Args:
            sources: The source of each edge, ``[edges]``.
            targets: Targets, ``[nodes]``.
            size: How many of the edges point at each target, ``[nodes]``.
        """
        hidden = np.repeat(_is_in(self.targets, targets), size)  # few targets have any, so few edges are looked at
        some = np.flatnonzero(hidden)
        source, target = sources[some].astype(np.int64), np.repeat(targets, size)[some]
        hidden[some] = (source < self.width) & _is_in(self.pairs, source + target * self.width)
        return hidden


def _is_in(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    if len(ordered) == 0:
        return np.zeros(len(values), dtype=bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
