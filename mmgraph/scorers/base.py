"""What a scorer is, and the two families of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError, SchemaError
from mmgraph.functional.dense import dot_products
from mmgraph.functional.scoring import Norm, apart, cross, inner


class Scorer(Recorded, ABC):
    """How true a fact is: ``scorer(sources, relations, targets) -> scores``, higher is truer.

    A scorer owns no vectors of entities or relations, only what it needs besides them (a core tensor, a convolution).

    Promises: ``against`` is ``forward`` with every entity as the target, its gradient too; a score depends on its own
    source, relation and target alone (in evaluation mode); every parameter gets a gradient and is in ``state_dict()``.

    Args:
        channels: Width of the vectors of entities.
        relation_channels: Width of the vectors of relations.

    Raises:
        ConfigError: A width is below 1.
    """

    def __init__(self, channels: int, relation_channels: int) -> None:
        super().__init__()
        if min(channels, relation_channels) < 1:
            raise ConfigError(
                f"{type(self).__name__} needs vectors at least 1 wide, got channels {channels}, "
                f"relation_channels {relation_channels}"
            )
        self.channels = channels
        self.relation_channels = relation_channels

    @abstractmethod
    def forward(self, sources: Tensor, relations: Tensor, targets: Tensor) -> Tensor:
        """Gives the scores of some facts, ``[...]``; leading dimensions broadcast.

        Args:
            sources: ``[..., channels]``.
            relations: ``[..., relation_channels]``.
            targets: ``[..., channels]``.
        """

    @abstractmethod
    def against(self, sources: Tensor, relations: Tensor, entities: Tensor) -> Tensor:
        """Gives the scores of every entity as the target of each question, ``[questions, entities]``.

        Args:
            sources: ``[questions, channels]``.
            relations: ``[questions, relation_channels]``.
            entities: ``[entities, channels]``.
        """

    @abstractmethod
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        """Draws vectors of entities ``[entities, channels]`` and relations ``[relations, ...]`` anew, in place."""

    def factors(self, sources: Tensor, relations: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Gives what a penalty takes the p-norm of, one tensor ``[..., numbers]`` a factor; by default nothing."""
        return ()


class Family(Scorer):
    """A scorer that makes of a source and a relation one vector, its question, and compares that with the answers.

    As a question is as wide as an entity, it can be the source of the next: ``question(question(x, r), s)`` follows a
    path of two relations.
    """

    @abstractmethod
    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives where the answers should lie, ``[..., channels]``; leading dimensions broadcast.

        Args:
            sources: ``[..., channels]``.
            relations: ``[..., relation_channels]``.
        """

    @abstractmethod
    def match(self, questions: Tensor, entities: Tensor) -> Tensor:
        """Gives the scores of all entities for each question, ``[questions, entities]``.

        Args:
            questions: ``[questions, channels]``.
            entities: ``[entities, channels]``.
        """

    def against(self, sources: Tensor, relations: Tensor, entities: Tensor) -> Tensor:
        """Gives ``[questions, entities]``."""
        check_vectors(self, sources, relations, entities)
        return self.match(self.question(sources, relations), entities)


class InnerProduct(Family):
    """The score is the inner product of the question and the answer."""

    def forward(self, sources: Tensor, relations: Tensor, targets: Tensor) -> Tensor:
        """Gives ``[...]``."""
        check_vectors(self, sources, relations, targets)
        return inner(self.question(sources, relations), targets)

    def match(self, questions: Tensor, entities: Tensor) -> Tensor:
        """Gives ``[questions, entities]``."""
        return dot_products(questions, entities)


class Distance(Family):
    r"""The score is :math:`\gamma - d`, with d the distance of the question and the answer.

    Args:
        channels: Width of the vectors of entities.
        relation_channels: Width of the vectors of relations.
        norm: Which distance.
        margin: :math:`\gamma`, the score of an answer that is met exactly. A softmax doesn't see it; a logistic loss
            does.
        normalise: Bring the vectors of entities to unit length first.
    """

    def __init__(
        self, channels: int, relation_channels: int, *, norm: Norm, margin: float = 0.0, normalise: bool = False
    ) -> None:
        super().__init__(channels, relation_channels)
        self.norm, self.margin, self.normalise = norm, margin, normalise

    def forward(self, sources: Tensor, relations: Tensor, targets: Tensor) -> Tensor:
        """Gives ``[...]``."""
        check_vectors(self, sources, relations, targets)
        return self.margin - apart(self.question(sources, relations), self.placed(targets), norm=self.norm)

    def match(self, questions: Tensor, entities: Tensor) -> Tensor:
        """Gives ``[questions, entities]``."""
        return self.margin - cross(questions, self.placed(entities), norm=self.norm)

    def placed(self, entities: Tensor) -> Tensor:
        """Gives where entities lie: on the unit sphere if so asked, ``[..., channels]``."""
        return F.normalize(entities, dim=-1) if self.normalise else entities


def check_vectors(scorer: Scorer, sources: Tensor, relations: Tensor, targets: Tensor) -> None:
    """Checks that vectors are as wide as a scorer was made for.

    Raises:
        SchemaError: One is not.
    """
    got = sources.shape[-1], relations.shape[-1], targets.shape[-1]
    if got != (scorer.channels, scorer.relation_channels, scorer.channels):
        raise SchemaError(
            f"{type(scorer).__name__} was made for entities {scorer.channels} and relations "
            f"{scorer.relation_channels} wide, got sources {got[0]}, relations {got[1]}, targets {got[2]}; "
            "give it vectors of scorer.channels and scorer.relation_channels"
        )


def check_dropouts(scorer: str, dropouts: Sequence[float]) -> Sequence[float]:
    """Checks the three dropouts of a scorer.

    Raises:
        ConfigError: There are not three, or one is outside [0, 1).
    """
    if len(dropouts) != 3 or not all(0 <= share < 1 for share in dropouts):
        raise ConfigError(f"{scorer} needs three dropouts, each at least 0 and below 1, got {tuple(dropouts)}")
    return dropouts


def paired_rows(sources: Tensor, relations: Tensor) -> tuple[torch.Size, Tensor, Tensor]:
    """Sources and relations side by side as rows, and the leading dimensions that they had.

    Example:
        >>> leading, sources, relations = paired_rows(torch.ones(3, 1, 4), torch.ones(5, 2))
        >>> leading, sources.shape, relations.shape
        (torch.Size([3, 5]), torch.Size([15, 4]), torch.Size([15, 2]))
    """
    leading = torch.broadcast_shapes(sources.shape[:-1], relations.shape[:-1])
    rows = [x.expand(*leading, x.shape[-1]).reshape(leading.numel(), x.shape[-1]) for x in (sources, relations)]
    return leading, *rows


def norm_rows(x: Tensor, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """Batch normalisation; a channel with one number or none has no variance, and is normalised as in evaluation."""
    if norm.training and x.numel() <= x.shape[1]:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return norm(x)
