"""Whether a model, on the views of a task, depends on anything that it may not see."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from mmgraph.schema import Schema
from mmgraph.tasks import Part, Task
from mmgraph.testing.expect import expect, name_of, same
from mmgraph.testing.perturb import with_new_labels, with_new_rows

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PARTS: tuple[Part, ...] = ("train", "val", "test")


@torch.no_grad()
def check_no_leak(
    model: nn.Module,
    task: Task,
    graph: HeteroData,
    schema: Schema,
    *,
    target: str | None = None,
    seed: int = 0,
) -> None:
    """Checks that what the regime hides has no influence on a model's outputs, to the bit.

    All labels outside training are changed; in the regimes ``cohort_hidden`` and ``single_query`` also the
    payloads and edges of the subjects of the parts that are neither training nor asked for.

    Args:
        model: What to check; it is checked in evaluation mode.
        task: What gives the views.
        graph: A graph with its labels, and the masks of the three parts.
        schema: What the graph means, and its regime.
        target: Name of the target; by default the only one.
        seed: Of the perturbations.

    Raises:
        AssertionError: An output changes.

    Example:
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.fusion import Sum
        >>> from mmgraph.model import Model
        >>> from mmgraph.tasks import NodeClassification
        >>> from mmgraph.testing import check_no_leak, fake_graph
        >>> graph, schema = fake_graph(regime="cohort_hidden")
        >>> encoder = Table({"scan": 3, "text": 5}, 2)
        >>> model = Model(schema=schema, encoder=encoder, fusion=Sum(), head=nn.Identity())
        >>> check_no_leak(model, NodeClassification(schema), graph, schema)
    """
    model, generator = copy.deepcopy(model).eval(), torch.Generator().manual_seed(seed)
    spec = schema.target(target or next(iter(schema.targets)))
    for part in PARTS:
        other = with_new_labels(graph, spec, ~graph[spec.node].train_mask)
        _check_same(model, task, graph, other, part, "labels outside training")
        if schema.regime != "transductive":
            other = _with_new_strangers(graph, schema, spec.node, part, generator)
            _check_same(model, task, graph, other, part, "subjects that are neither training nor asked for")


def _check_same(model: nn.Module, task: Task, graph: HeteroData, other: HeteroData, part: Part, what: str) -> None:
    before, after = (_outputs(model(task.view(one, part))) for one in (graph, other))
    expect(
        all(same(*pair) for pair in zip(before, after, strict=True)),
        f"{name_of(model)} must not depend on {what} in the view of {part!r}, got other outputs where they change",
    )


def _outputs(given: Tensor | Mapping[str, Tensor]) -> list[Tensor]:
    """What a model says: one tensor, or one a view or target."""
    return list(given.values()) if isinstance(given, Mapping) else [given]


def _with_new_strangers(graph: HeteroData, schema: Schema, node: str, part: Part, generator: Generator) -> HeteroData:
    strangers = torch.zeros(graph[node].num_nodes, dtype=torch.bool)
    for other in PARTS:
        if other not in ("train", part):
            strangers |= graph[node][f"{other}_mask"]
    return with_new_rows(graph, schema, node, strangers, generator)
