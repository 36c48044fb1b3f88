"""Whether a task of translation keeps its promises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.tasks import Generation, Part
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.testing.expect import difference, expect, name_of, untouched

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PARTS: tuple[Part, ...] = ("train", "val", "test")


def check_generation(
    task: Generation,
    graph: HeteroData,
    *,
    noise: Callable[[Tensor], Tensor] | None = None,
    apart: Mapping[str, float] | None = None,
) -> None:
    """Checks a task of translation: hidden payloads, and the best score for the references themselves.

    Args:
        task: What to check.
        graph: A graph in which each anchor has one payload of what is asked for, and the masks of the three parts.
        noise: Payloads → others of the same shape that are worse; by default those of other rows.
        apart: Metric → the score of perfect payloads, where it is not enough that noise is no better.

    Raises:
        AssertionError: A promise is broken.
    """
    noise = noise or (lambda payload: payload.roll(1, dims=0))
    name = name_of(task)
    with untouched(graph, task):
        for part in PARTS:
            _check_view(task, graph, part)
            payload, row = task.references(graph, part)
            rows = int(graph[task.node][f"{part}_mask"].sum())
            expect(row.tolist() == list(range(rows)), f"{name} must give a reference a row, got rows {row.tolist()}")
            seen = task.view(graph, part)
            everyone = payload.new_zeros(seen[task.node].num_nodes, *payload.shape[1:])
            answers = torch.as_tensor(task.answers(everyone, seen, part))
            expect(answers.shape == payload.shape, f"{name} must answer for {rows} rows, got {list(answers.shape)}")
            best, worse = task.evaluate(payload, graph, part), task.evaluate(noise(payload), graph, part)
            expect(bool(best), f"{name} must give at least 1 score, got none")
            for metric, score in best.items():
                expect(isinstance(score, float), f"{name} must give floats, got {metric} = {score!r}")
                alone = task.evaluate(payload, graph, part, metrics=[metric])
                expect(alone == {metric: score}, f"{name} must give {metric} = {score} when asked for it, got {alone}")
                sign = 1 if higher_is_better(metric) else -1
                expect(
                    sign * score >= sign * worse[metric],
                    f"{name} must give the references the best {metric}, got {score}, and {worse[metric]} for noise",
                )
            for metric, wanted in (apart or {}).items():
                near = abs(best[metric] - wanted) < 1e-4
                expect(near, f"{name} must give the references a {metric} of {wanted}, got {best[metric]}")


def _check_view(task: Generation, graph: HeteroData, part: Part) -> None:
    """A payload that is not of training must not be in the view, in whatever form."""
    other = copy.copy(graph)
    node, owner = graph[task.made, "of", task.node].edge_index
    outside = node[~graph[task.node].train_mask[owner]]
    payload = graph[task.made][task.attribute].clone()
    payload[outside] = torch.zeros_like(payload[outside])
    other[task.made][task.attribute] = payload
    leak = difference(task.view(graph, part), task.view(other, part))
    expect(leak is None, f"{name_of(task)} must hide payloads outside training from the view of {part!r}, got {leak}")
