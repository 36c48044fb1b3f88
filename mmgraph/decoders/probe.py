"""A linear answer that leaves the states as they are."""

from __future__ import annotations

from torch import Tensor, nn

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError


class Probe(Recorded):
    """A linear map of states through which no gradient flows: it reads a representation, and does not shape it.

    So a representation that was learned without labels is judged (Alain & Bengio 2016, Understanding intermediate
    layers using linear classifier probes, arXiv:1610.01644); and so labels of one modality do not pull its states
    away from those of another that they were made to be like, which co-learning needs.

    Args:
        channels: Width of the states.
        outputs: Width of the answers.

    Raises:
        ConfigError: A width below 1.

    Example:
        >>> import torch
        >>> states = torch.ones(2, 4, requires_grad=True)
        >>> answers = Probe(4, 3)(states)
        >>> answers.shape, torch.autograd.grad(answers.sum(), states, allow_unused=True)
        (torch.Size([2, 3]), (None,))
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        if min(channels, outputs) < 1:
            raise ConfigError(f"Probe needs widths of at least 1, got {channels} to {outputs}")
        self.linear = nn.Linear(channels, outputs)

    def forward(self, states: Tensor) -> Tensor:
        """Gives ``[rows, outputs]``."""
        answers: Tensor = self.linear(states.detach())
        return answers
