"""Facts by number: which are known, which entities answer a relation, and facts grouped by what they answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Facts(NamedTuple):
    """Facts as questions ``(source, relation, ?)`` and their answers, a row a fact and direction."""

    source: Tensor  # [rows]
    relation: Tensor  # [rows]; of an inverse: its relation's number plus how many relations there are
    answer: Tensor  # [rows]

    def questions(self, num_relations: int) -> tuple[Tensor, Tensor, Tensor]:
        """The distinct questions: their sources and relations ``[questions]``, and which each row asks, ``[rows]``.

        Args:
            num_relations: Of relations and inverses.

        Example:
            >>> facts = Facts(torch.tensor([4, 1, 4]), torch.tensor([0, 0, 0]), torch.tensor([7, 8, 9]))
            >>> [found.tolist() for found in facts.questions(2)]
            [[1, 4], [0, 0], [1, 0, 1]]
        """
        keys, number = (self.source * num_relations + self.relation).unique(return_inverse=True)
        return keys // num_relations, keys % num_relations, number


class Known:
    """The facts that are known, both directions of them.

    Args:
        facts: ``[facts, 3]``: head, relation, tail.
        num_relations: Of relations, without inverses.
        num_entities: Of entities.

    Example:
        >>> known = Known(torch.tensor([[0, 0, 2], [1, 0, 2]]), 1, 3)
        >>> known.holds(torch.tensor([0, 0, 2]), torch.tensor([0, 0, 1]), torch.tensor([2, 1, 1])).tolist()
        [True, False, True]
        >>> known.draw_typed(torch.tensor([0, 1]), (2, 3), torch.Generator().manual_seed(0)).tolist()
        [[2, 2, 2], [1, 1, 1]]
    """

    def __init__(self, facts: Tensor, num_relations: int, num_entities: int) -> None:
        self.num_relations, self.num_entities = 2 * num_relations, num_entities
        heads, relations, tails = facts.T
        source = torch.cat([heads, tails])
        relation = torch.cat([relations, relations + num_relations])
        answer = torch.cat([tails, heads])
        self._keys = self._key(source, relation, answer).unique()
        pairs = (relation * num_entities + answer).unique()
        self._answers = pairs % max(num_entities, 1)
        self._ends = torch.bincount(pairs // max(num_entities, 1), minlength=self.num_relations).cumsum(0)

    def holds(self, source: Tensor, relation: Tensor, answer: Tensor) -> Tensor:
        """Which of some facts are known, as a mask of their (broadcast) shape."""
        keys = self._key(source, relation, answer)
        if not len(self._keys):
            return torch.zeros_like(keys, dtype=torch.bool)
        place = torch.searchsorted(self._keys, keys.contiguous()).clamp_max(len(self._keys) - 1)
        return self._keys[place] == keys

    def answers(self, relation: int) -> Tensor:
        """The entities that answer a relation, or its inverse, in some fact, ``[answers]``."""
        end = int(self._ends[relation])
        return self._answers[int(self._ends[relation - 1]) if relation else 0 : end]

    def draw_typed(self, relation: Tensor, shape: tuple[int, int], generator: torch.Generator | None = None) -> Tensor:
        """Draws entities among those that answer each relation; of one that no fact has, among all.

        Args:
            relation: ``[rows]``.
            shape: (rows, how many each).
            generator: Of chance; by default torch's own.
        """
        starts = torch.cat([self._ends.new_zeros(1), self._ends[:-1]])[relation, None]
        counts = self._ends[relation, None] - starts
        share = torch.rand(shape, generator=generator, device=relation.device, dtype=torch.float64)
        anyone = (share * self.num_entities).long()
        place = (starts + (share * counts).long()).clamp_max(max(len(self._answers) - 1, 0))
        return torch.where(counts > 0, self._answers[place] if len(self._answers) else anyone, anyone)

    def _key(self, source: Tensor, relation: Tensor, answer: Tensor) -> Tensor:
        return (source * self.num_relations + relation) * self.num_entities + answer


def all_answers_loss(scores: Tensor, number: Tensor, answer: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    r"""Binary cross-entropy of all entities as answers to all questions (*K-vs-all*), without a matrix of the truth.

    .. math:: \frac{1}{QE}\Big[\sum_{qe} \mathrm{softplus}(s_{qe}) - (1 - \epsilon) \sum_{(q, a)} s_{qa}
        - \frac{\epsilon}{E} \sum_{qe} s_{qe}\Big]

    It is the mean of :math:`-[y \log\sigma(s) + (1 - y) \log(1 - \sigma(s))]` with y smoothed towards
    :math:`1 / E`, in fewer passes over the scores.

    Source: Dettmers, Minervini, Stenetorp and Riedel 2018, Convolutional 2D knowledge graph embeddings, eq. 3;
    arXiv:1707.01476.

    Args:
        scores: ``[questions, entities]``.
        number: The question of each answer, ``[answers]``.
        answer: Its entity, ``[answers]``; the same answer twice counts once.
        label_smoothing: :math:`\epsilon`.

    Returns:
        A number.

    Example:
        >>> scores = torch.tensor([[0.0, 2.0]])
        >>> loss = all_answers_loss(scores, torch.tensor([0]), torch.tensor([1]))
        >>> round(loss.item(), 4)  # (log 2 + log(1 + e^-2)) / 2
        0.41
    """
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))  # half the bits would not hold the sum
    found: Tensor = _AllAnswers.apply(wide, number, answer, label_smoothing)
    return found


class _AllAnswers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, number: Tensor, answer: Tensor, smoothing: float) -> Tensor:
        entities = scores.shape[1]
        place = (number * entities + answer).unique()
        ctx.save_for_backward(scores, place)
        ctx.smoothing = smoothing
        total = F.softplus(scores).sum() - (1 - smoothing) * scores.flatten()[place].sum()
        if smoothing:
            total = total - smoothing / entities * scores.sum()
        return total / scores.numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        scores, place = ctx.saved_tensors
        found = scores.sigmoid()
        if ctx.smoothing:
            found -= ctx.smoothing / scores.shape[1]
        found.view(-1)[place] -= 1 - ctx.smoothing
        return found.mul_(grad / scores.numel()), None, None, None
