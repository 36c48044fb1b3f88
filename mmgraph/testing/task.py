"""Whether a task keeps its promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.schema import Schema, TargetSpec
from mmgraph.tasks import Part, Task
from mmgraph.tasks.metrics import HIGHER_IS_BETTER
from mmgraph.testing.expect import difference, expect, name_of, untouched
from mmgraph.testing.perturb import with_new_labels

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PARTS: tuple[Part, ...] = ("train", "val", "test")


def check_task(
    task: Task,
    graph: HeteroData,
    schema: Schema,
    *,
    target: str | None = None,
    perfect: Callable[[Part], Tensor] | None = None,
    higher_is_better: Mapping[str, bool] = HIGHER_IS_BETTER,
    chance: Mapping[str, float] | None = None,
    draws: int = 100,
    seed: int = 0,
) -> None:
    """Checks a task: hidden labels, the best score for perfect predictions, and chance for noise.

    Args:
        task: What to check.
        graph: A graph with its labels, and the masks of the three parts.
        schema: What the graph means.
        target: Name of the target; by default the only one.
        perfect: Part → the best predictions there are; by default all probability on the true class.
        higher_is_better: Metric → its direction.
        chance: Metric → what rows of random probabilities must score on average, within four standard errors;
            by default an accuracy of one over the number of classes and an ``auroc`` of a half.
        draws: How often noise is drawn.
        seed: Of the noise.

    Raises:
        AssertionError: A promise is broken, or the direction of a metric is not known.

    Example:
        >>> from mmgraph.tasks import NodeClassification
        >>> from mmgraph.testing import check_task, fake_graph
        >>> graph, schema = fake_graph()
        >>> check_task(NodeClassification(schema), graph, schema)
    """
    spec = schema.target(target or next(iter(schema.targets)))
    make = perfect or (lambda part: _one_hot(graph, spec, part))
    if chance is None:
        chance = {"accuracy": 1 / len(spec.classes), "auroc": 0.5} if spec.classes else {}
    generator = torch.Generator().manual_seed(seed)
    with untouched(graph, task):
        for part in PARTS:
            _check_view(task, graph, spec, part)
            ideal = make(part)
            _check_answers(task, graph, spec, part, ideal)
            noise = [_noise(ideal, generator) for _ in range(draws)]
            scores = [task.evaluate(one, graph, part) for one in noise]
            _check_best(task, task.evaluate(ideal, graph, part), scores, higher_is_better)
            _check_chance(task, scores, chance)


def _check_view(task: Task, graph: HeteroData, spec: TargetSpec, part: Part) -> None:
    """A label that is not of training must not be in the view, in whatever form."""
    other = with_new_labels(graph, spec, ~graph[spec.node].train_mask)
    leak = difference(task.view(graph, part), task.view(other, part))
    expect(leak is None, f"{name_of(task)} must hide labels outside training from the view of {part!r}, got {leak}")


def _check_answers(task: Task, graph: HeteroData, spec: TargetSpec, part: Part, ideal: Tensor) -> None:
    seen = task.view(graph, part)
    outputs = torch.zeros(seen[spec.node].num_nodes, *ideal.shape[1:])
    answers = task.answers(outputs, seen, part)
    expect(
        answers.shape == ideal.shape,
        f"{name_of(task)} must answer for each row of {part!r}, {list(ideal.shape)}, got {list(answers.shape)}",
    )
    scores = task.evaluate(answers, graph, part)
    expect(bool(scores), f"{name_of(task)} must give at least 1 score, got none")
    for metric, score in scores.items():
        expect(isinstance(score, float), f"{name_of(task)} must give floats, got {metric} = {score!r}")
        alone = task.evaluate(answers, graph, part, metrics=[metric])
        expect(alone == {metric: score}, f"{name_of(task)} must give {metric} = {score} when asked for it, got {alone}")


def _check_best(
    task: Task, best: Mapping[str, float], noise: list[dict[str, float]], higher_is_better: Mapping[str, bool]
) -> None:
    for metric, score in best.items():
        expect(metric in higher_is_better, f"higher_is_better must say the direction of {metric!r}, got none")
        others = [scores[metric] for scores in noise]
        sign = 1 if higher_is_better[metric] else -1
        expect(
            all(sign * score >= sign * other for other in others) and any(score != other for other in others),
            f"{name_of(task)} must give perfect predictions the best {metric}, got {score}, and {others[0]} for noise",
        )


def _check_chance(task: Task, noise: list[dict[str, float]], chance: Mapping[str, float]) -> None:
    for metric, expected in chance.items():
        scores = torch.tensor([one[metric] for one in noise], dtype=torch.float64)
        slack = 4 * float(scores.std()) / len(scores) ** 0.5
        mean = float(scores.mean())
        expect(
            abs(mean - expected) <= slack,
            f"{name_of(task)} must give noise a {metric} of {expected:.3f} ± {slack:.3f} on average, got {mean:.3f}",
        )


def _one_hot(graph: HeteroData, spec: TargetSpec, part: Part) -> Tensor:
    store = graph[spec.node]
    labels = store[spec.attribute][store[f"{part}_mask"]].clamp_min(0)
    return torch.nn.functional.one_hot(labels, len(spec.classes)).float()  # [rows of the part, classes]


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.rand(like.shape, generator=generator)
    return noise / noise.sum(dim=-1, keepdim=True)
