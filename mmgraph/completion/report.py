"""What a completion did, and how far off it was on samples that have what was made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class CompletionReport:
    """What a completion did.

    Args:
        modality: What was filled.
        node: The node type that was added.
        made: The tensor that was made: ``pixels``, ``mel``, ``tokens``, ``x``.
        payloads: Whether payloads were made of it (pictures, recordings, texts, rows), or features alone.
        sources: What it was made from.
        samples: How many there are.
        lacked: How many lacked the modality.
        filled: How many of these were filled; the others have nothing to make it from.
        judged: On how many samples, which training did not see, the errors are.
        trained: On how many samples the model was trained.
        error: What → its error: of what was ``generated``, of the ``mean`` of the training samples (of texts, the most
            common), and of what the ``nearest`` of them has, by the sources.
        error_from: Source → the same error of what is generated from it alone.
        options: How it was made.
        measure: What the errors are.
    """

    modality: str
    node: str
    made: str
    payloads: bool
    sources: tuple[str, ...]
    samples: int
    lacked: int
    filled: int
    judged: int
    trained: int
    error: Mapping[str, float]
    error_from: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    measure: str = "mean squared error"

    @property
    def over_mean(self) -> dict[str, float]:
        """The errors over that of predicting the mean: below 1 is better than it.

        Example:
            >>> error = {"generated": 0.5, "mean": 2.0, "nearest": 3.0}
            >>> CompletionReport("a", "a_generated", "x", False, (), 9, 1, 1, 2, 6, error).over_mean
            {'generated': 0.25, 'mean': 1.0, 'nearest': 1.5}
        """
        mean = self.error["mean"]
        return {name: value / mean if mean > 0 else math.nan for name, value in self.error.items()}

    def facts(self) -> dict[str, Any]:
        """All of it, as JSON has it; what is no number is ``None``."""
        shares = {name: value if math.isfinite(value) else None for name, value in self.over_mean.items()}
        return {**asdict(self), "sources": list(self.sources), "over_mean": shares}
