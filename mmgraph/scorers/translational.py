"""Scorers by distance: TransE moves the source by the relation, RotatE turns it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.scoring import rotate
from mmgraph.scorers.base import Distance


class TransE(Distance):
    r"""A relation is a move: :math:`\gamma - \|h + r - t\|_p`.

    It composes relations (their moves add up) and inverts them (the move back), but a symmetric relation can only be no
    move at all, and of several right answers to a question all must lie in one place.

    The source brings entities to unit length after every step; with ``normalise`` their directions are what is
    compared, at every step, whatever their length.

    Source: Bordes, Usunier, García-Durán, Weston and Yakhnenko 2013, Translating embeddings for modeling
    multi-relational data, section 2; NeurIPS 26.

    Args:
        channels: Width of the vectors of entities and relations.
        norm: 1 or 2. Against all entities 2 is far faster: a matrix product.
        margin: :math:`\gamma`. A softmax doesn't see it; a logistic loss does.
        normalise: Bring the vectors of entities to unit length.

    Raises:
        ConfigError: ``norm`` is neither 1 nor 2.

    Example:
        >>> scorer = TransE(2, norm=1)
        >>> scorer(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
        tensor(-3.)
    """

    def __init__(self, channels: int, *, norm: Literal[1, 2] = 1, margin: float = 0.0, normalise: bool = False) -> None:
        if norm not in (1, 2):
            raise ConfigError(f"norm of TransE must be 1 or 2, got {norm!r}")
        super().__init__(channels, channels, norm=norm, margin=margin, normalise=normalise)

    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives ``[..., channels]``."""
        return self.placed(sources) + relations

    @torch.no_grad()
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        """Draws uniformly up to 6/√channels, and brings relations to unit length, as the source does."""
        most = 6 / self.channels**0.5
        nn.init.uniform_(entities, -most, most)
        nn.init.uniform_(relations, -most, most)
        relations.copy_(nn.functional.normalize(relations, dim=-1))


class RotatE(Distance):
    r"""A relation turns complex numbers: :math:`\gamma - \sum_c |h_c e^{i \theta_c} - t_c|`.

    It models symmetric relations (turns by 0 or π), antisymmetric ones, inverses (the angles' negatives) and
    compositions (their sums). With all angles 0 it is a distance of the entities.

    The first half of an entity's vector is its real part, the second its imaginary; a relation's vector holds angles in
    radians.

    Source: Sun, Deng, Nie and Tang 2019, RotatE: knowledge graph embedding by relational rotation in complex space, eq.
    2 and 5; arXiv:1902.10197.

    Args:
        channels: Width of the vectors of entities: twice the complex numbers, and twice the angles of a relation.
        margin: :math:`\gamma`. A softmax doesn't see it; the source's logistic loss does, and starts from it.

    Raises:
        ConfigError: ``channels`` is odd.

    Example:
        >>> scorer = RotatE(2)
        >>> here, there = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> scorer(here, torch.tensor([torch.pi / 2]), there).round(), scorer(there, torch.tensor([0.0]), there)
        (tensor(-0.), tensor(0.))
    """

    def __init__(self, channels: int, *, margin: float = 0.0) -> None:
        if channels % 2:
            raise ConfigError(f"RotatE needs an even number of channels, half of them imaginary, got {channels}")
        super().__init__(channels, channels // 2, norm="moduli", margin=margin)

    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives ``[..., channels]``."""
        return rotate(sources, relations)

    @torch.no_grad()
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        r"""Draws entities uniformly up to :math:`(\gamma + 2) / \text{numbers}`, as the source does, and any angle."""
        most = (self.margin + 2) / self.relation_channels
        nn.init.uniform_(entities, -most, most)
        nn.init.uniform_(relations, -torch.pi, torch.pi)
