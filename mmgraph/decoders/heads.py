"""Answers to several questions from one input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key


class Heads(Recorded):
    """One module a target, each asked the same: ``heads(input) -> {target: [rows, outputs]}``.

    As the head of a :class:`~mmgraph.model.Model`, all targets share all that comes before: *hard* parameter
    sharing (Caruana 1997, Multitask learning, Machine Learning 28). With a whole model a target, in place of a
    model, they share nothing but what :class:`~mmgraph.objectives.Several` ties together: *soft* sharing.

    A task picks the answers to its own target by name.

    Args:
        heads: Name of the target → module.

    Raises:
        ConfigError: There is no head.

    Example:
        >>> import torch
        >>> heads = Heads({"digit": nn.Linear(4, 10), "speaker": nn.Linear(4, 6)})
        >>> {name: list(answer.shape) for name, answer in heads(torch.zeros(2, 4)).items()}
        {'digit': [2, 10], 'speaker': [2, 6]}
    """

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("Heads needs at least 1 target with its module, got none")
        self.targets = tuple(heads)
        self.heads = nn.ModuleDict({weight_key(name): head for name, head in heads.items()})

    def forward(self, given: Any) -> dict[str, Tensor]:
        """Gives the answers to each target."""
        return {name: self[name](given) for name in self.targets}

    def __getitem__(self, target: str) -> nn.Module:
        """The module of one target."""
        return self.heads[weight_key(target)]
