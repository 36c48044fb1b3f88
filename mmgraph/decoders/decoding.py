"""How a text is drawn from what a decoder says of the next piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmgraph.errors import ConfigError

METHODS = ("greedy", "beam", "nucleus")


@dataclass(frozen=True, kw_only=True)
class Decoding:
    r"""How a text is drawn.

    Args:
        method: ``greedy`` takes the likeliest next piece; ``beam`` keeps the ``width`` likeliest texts so far; and
            ``nucleus`` draws from the likeliest pieces that together have probability ``top_p`` (Holtzman et al. 2020,
            The curious case of neural text degeneration, arXiv:1904.09751).
        width: Of the beam.
        length_penalty: Texts of a beam are compared by :math:`\log p / \mathrm{length}^\alpha`; 0 is by their
            likelihood, which prefers short ones.
        top_p: Of nucleus; 1 draws from all pieces.
        temperature: Of nucleus: what the logits are divided by.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> Decoding(method="beam", width=0)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: width must be at least 1, got 0
    """

    method: Literal["greedy", "beam", "nucleus"] = "greedy"
    width: int = 4
    length_penalty: float = 1.0
    top_p: float = 0.9
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {list(METHODS)}, got {self.method!r}")
        if self.width < 1:
            raise ConfigError(f"width must be at least 1, got {self.width}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.temperature <= 0:
            raise ConfigError(f"temperature must be above 0, got {self.temperature}; for the likeliest take greedy")
