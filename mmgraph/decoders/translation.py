"""What a decoder says of some rows, made when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from mmgraph.decoders.generative import Generative
from mmgraph.typing import Sources

BLOCK = 256  # rows that are generated at once


class Translation:
    """What a decoder says of some rows: their payloads, which it then makes, or how likely given ones are.

    Validation asks for likelihoods alone, so no payload is made where none is looked at.

    Args:
        decoder: Says it.
        sources: What each row may see.
        seed: Of what is drawn.

    Example:
        >>> from mmgraph.decoders import Dense, Regression
        >>> sources = Sources(torch.ones(3, 1, 4), torch.ones(3, 1).bool())
        >>> said = Translation(Regression(Dense(4, (2,))), sources)
        >>> len(said), said.payloads().shape, len(said.take(torch.tensor([True, False, False])))
        (3, torch.Size([3, 2]), 1)
    """

    def __init__(self, decoder: Generative, sources: Sources, *, seed: int = 0) -> None:
        self.decoder, self.sources, self.seed = decoder, sources, seed
        self._payloads: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sources.states)

    def take(self, rows: Tensor | slice) -> Translation:
        """What is said of some of the rows, by their numbers, a mask or a slice."""
        return Translation(self.decoder, self.sources.take(rows), seed=self.seed)

    @torch.no_grad()
    def payloads(self) -> Tensor:
        """A payload a row, ``[rows, *shape]``; made once."""
        if self._payloads is None:
            generator = Generator().manual_seed(self.seed)
            starts = range(0, max(1, len(self)), BLOCK)
            made = [
                self.decoder.generate(self.sources.take(slice(start, start + BLOCK)), generator=generator)
                for start in starts
            ]
            self._payloads = torch.cat(made)
        return self._payloads

    @torch.no_grad()
    def losses(self, payload: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of given payloads and over how many values it is a sum, ``[payloads]`` each.

        Args:
            payload: ``[payloads, *shape]``.
            row: The row that each is of, ``[payloads]``.
        """
        parts = [slice(start, start + BLOCK) for start in range(0, len(payload), BLOCK)]
        found = [self.decoder.losses(self.sources.take(row[part]), payload[part])["total"] for part in parts]
        counts = [self.decoder.counts(payload[part]) for part in parts]
        return (torch.cat(found), torch.cat(counts)) if parts else (torch.zeros(0), torch.zeros(0))

    @staticmethod
    def join(parts: Sequence[Translation]) -> Translation:
        """What is said of the rows of several, one after another; those of one decoder."""
        width = max(one.sources.present.shape[1] for one in parts)
        padded = [_padded(one.sources, width) for one in parts]
        depths = zip(*(one.depths for one in padded), strict=True)
        sources = Sources(
            torch.cat([one.states for one in padded]),
            torch.cat([one.present for one in padded]),
            tuple(torch.cat(states) for states in depths),
        )
        return Translation(parts[0].decoder, sources, seed=parts[0].seed)


def _padded(sources: Sources, width: int) -> Sources:
    """The same with more places, where there is no node."""
    rows, more = len(sources.states), width - sources.present.shape[1]

    def wider(states: Tensor) -> Tensor:
        return torch.cat([states, states.new_zeros(rows, more, states.shape[2])], dim=1)

    present = torch.cat([sources.present, sources.present.new_zeros(rows, more)], dim=1)
    return Sources(wider(sources.states), present, tuple(map(wider, sources.depths)))
