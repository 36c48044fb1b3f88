"""Whether an attribution is about the model at all: it must change when the model's weights are shuffled."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.explain.attribution import Attribution
from mmgraph.explain.gradients import integrated_gradients
from mmgraph.explain.question import Question

FEWEST = 3  # numbers that a rank correlation is of, at least


@dataclass(frozen=True)
class Sanity:
    """How alike attributions of a model and of the same model with shuffled weights are.

    Args:
        correlation: Rank correlation of the attributions, the mean over questions and draws: near 0 is sound, near 1
            says that the method shows the data, not the model. Where no question has 3 nodes and edges, it is taken
            over those of all questions together; NaN where even they are fewer.
        magnitude: The same, of their absolute values: which nodes and edges matter, whatever their sign.
        draws: ``correlation`` of each draw.
    """

    correlation: float
    magnitude: float
    draws: tuple[float, ...]

    def __str__(self) -> str:
        return (
            f"rank correlation with the attributions of {len(self.draws)} models of shuffled weights: "
            f"{self.correlation:+.2f} (of magnitudes {self.magnitude:+.2f}); near 0 is sound"
        )


def sanity(
    questions: Question | Sequence[Question],
    method: Callable[[Question], Attribution] = integrated_gradients,
    *,
    draws: int = 5,
    seed: int = 0,
) -> Sanity:
    """Explains the same outputs of the same model with its weights shuffled, and says how alike the answers are.

    In a draw, the numbers within each parameter change places, in the encoder too: what the model has learned is
    gone, the distribution of its weights is not. Compared are the attributions of the nodes and edges, or of the parts
    where a method gives those alone.

    Source: Adebayo et al. 2018, Sanity checks for saliency maps (data-independent shuffling of all layers at once);
    arXiv:1810.03292.

    Args:
        questions: What was explained.
        method: By which method.
        draws: How often weights are shuffled.
        seed: Of the shuffling.

    Raises:
        ConfigError: No question, or no draw.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> from mmgraph.explain import ask
        >>> found = sanity(ask(classifier(schema), graph, [3, 4]))
        >>> len(found.draws), abs(found.correlation) < 0.9
        (5, True)
    """
    questions = [questions] if isinstance(questions, Question) else list(questions)
    if not questions or draws < 1:
        raise ConfigError(f"sanity needs at least 1 question and 1 draw, got {len(questions)} and {draws}")
    generator = torch.Generator().manual_seed(seed)
    found = [method(question) for question in questions]
    signed, magnitudes = [], []
    for _ in range(draws):
        model = shuffled(questions[0].scene.model, generator)
        scenes = {one.scene: one.scene.of(model) for one in questions}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Integrated gradients leave")  # of a model that knows nothing
            others = [method(one.again(scenes[one.scene])) for one in questions]
        pairs = [aligned(mine, other) for mine, other in zip(found, others, strict=True)]
        signed.append(_correlation(pairs))
        magnitudes.append(_correlation([(one.abs(), other.abs()) for one, other in pairs]))
    return Sanity(_mean(signed), _mean(magnitudes), tuple(signed))


def shuffled(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy of a model, in which the numbers within each parameter have changed places."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return made


def aligned(one: Attribution, other: Attribution) -> tuple[Tensor, Tensor]:
    """The numbers of all nodes and edges of both, in rows that match; those of the parts where there are no others."""
    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    mine, theirs = ({**each.nodes, **each.edges} for each in (one, other))
    for name, values in mine.items():
        rows[0].append(values)
        rows[1].append(theirs.get(name, torch.zeros_like(values)))
    if not rows[0]:
        return torch.tensor([*one.parts.values()]), torch.tensor([other.parts.get(name, 0.0) for name in one.parts])
    return torch.cat(rows[0]), torch.cat(rows[1])


def _correlation(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The mean over questions; over all of them together where each alone has too few numbers."""
    each = _mean([rank_correlation(*pair) for pair in pairs])
    if each == each:
        return each
    one, other = (torch.cat(list(side)) for side in zip(*pairs, strict=True))
    return rank_correlation(one, other)


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation, over the places where either is not 0.

    It is 0 where one of them has no two ranks, and NaN for fewer than 3 numbers.

    Example:
        >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.2, 0.3]))
        1.0
    """
    some = (one != 0) | (other != 0)
    if int(some.sum()) < FEWEST:
        return nan
    ranks = torch.stack([_ranks(one[some]), _ranks(other[some])])
    ranks = ranks - ranks.mean(dim=1, keepdim=True)
    spread = ranks.square().sum(dim=1).prod().sqrt()
    return round(float((ranks[0] * ranks[1]).sum() / spread), 12) if spread > 0 else 0.0


def _ranks(values: Tensor) -> Tensor:
    """Ranks in float64; equal values share the mean of theirs."""
    _, which, counts = values.double().unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[which]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else nan
