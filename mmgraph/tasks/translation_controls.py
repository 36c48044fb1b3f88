"""Controls of translation: nothing to translate from, another's sources, and answers without a model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.errors import DataError
from mmgraph.schema import Schema
from mmgraph.schema.checks import MASKS
from mmgraph.schema.view import empty_edges
from mmgraph.tasks.base import Part
from mmgraph.tasks.columns import PIECES, anchor_columns

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.tasks.generation import Generation


def translation_controls(schema: Schema, target: str, attribute: str) -> tuple[str, ...]:
    """The controls that apply to making the payloads of one modality from the others.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> edges = dict.fromkeys([("image", "of", "a"), ("text", "of", "a")], EdgeSpec())
        >>> schema = Schema(nodes=dict.fromkeys(["a", "image", "text"], NodeSpec()), edges=edges, anchor="a")
        >>> translation_controls(schema, "text", "tokens")
        ('no_source', 'shuffled_sources', 'nearest', 'most_common')
    """
    others = [name for name in schema.paths if name != target]
    without = tuple(f"without:{name}" for name in others) if len(others) > 1 else ()
    return ("no_source", "shuffled_sources", *without, "nearest", "most_common" if attribute in PIECES else "mean")


def without_sources(graph: HeteroData, schema: Schema, target: str) -> HeteroData:
    """The graph with the target alone: no node that could be translated from, and no relation."""
    changed = copy.copy(graph)
    for node, spec in schema.nodes.items():
        if node not in (target, schema.anchor):
            for key, value in list(changed[node].items()):
                changed[node][key] = 0 if key == "num_nodes" else value[:0] if isinstance(value, Tensor) else value
        elif node == schema.anchor and spec.channels:
            changed[node].x = torch.zeros_like(changed[node].x)
    for edge in schema.edges:
        if edge != (target, "of", schema.anchor):
            empty_edges(changed[edge])
    return changed


def with_others_sources(graph: HeteroData, schema: Schema, target: str, *, seed: int) -> HeteroData:
    """The graph in which all but the target is another anchor's of the same part of the split; nobody keeps its own.

    Relations go with their ends: what is around the target is a sample, but that of another.
    """
    anchor, changed = schema.anchor or "", copy.copy(graph)
    store = changed[anchor]
    parts = store.val_mask.long() + 2 * store.test_mask.long()
    to = torch.arange(len(parts))
    generator = torch.Generator().manual_seed(seed)
    for part in parts.unique():
        circle = (parts == part).nonzero()[:, 0]
        circle = circle[torch.randperm(len(circle), generator=generator)]
        to[circle] = circle.roll(-1)
    for edge in schema.edges:
        if edge == (target, "of", anchor):
            continue
        source, end = changed[edge].edge_index
        ends = (to[source] if edge[0] == anchor else source, to[end] if edge[2] == anchor else end)
        changed[edge].edge_index = torch.stack(ends)
    for key in ("x", *schema.nodes[anchor].attributes):
        if key in store and key not in MASKS:
            store[key] = store[key].clone().index_copy_(0, to, store[key])
    return changed


def _nearest(folds: Sequence[HeteroData], task: Generation, part: Part) -> Tensor:
    """The payload of the training anchor whose sources are the most alike, by the cosine of standardised columns."""
    graph = folds[0]
    known, owner = _known(graph, task)
    store = graph[task.node]
    if not len(known):
        raise DataError(f"Training must have payloads of {task.made!r} to take the nearest, got none")
    sides = []
    for name, x in anchor_columns(graph, task.schema).items():
        if name == task.made:
            continue
        rows = x[store.train_mask]
        centre = rows.nanmean(dim=0)
        deviation = (rows - centre).square().nanmean(dim=0).sqrt()
        scaled = ((x - centre) / torch.where(deviation > 0, deviation, 1)).nan_to_num(0.0)
        sides.append(F.normalize(scaled, dim=1))  # each modality counts the same
    x = torch.cat(sides, dim=1) if sides else torch.zeros(store.num_nodes, 1)
    asked = x[store[f"{part}_mask"]]
    candidates, first = owner.unique(return_inverse=True)
    node = torch.full((len(candidates),), len(known)).scatter_reduce(0, first, torch.arange(len(known)), "amin")
    best = torch.cat([(block @ x[candidates].T).argmax(dim=1) for block in asked.split(1024)])
    payload: Tensor = graph[task.made][task.attribute][known[node[best]]]
    return payload


def _mean(folds: Sequence[HeteroData], task: Generation, part: Part) -> Tensor:
    """The mean of training's payloads, of what is there; in the payload's own unit and dtype."""
    graph = folds[0]
    payload = graph[task.made][task.attribute]
    mean = payload[_known(graph, task)[0]].float().nanmean(dim=0)
    mean = mean if payload.dtype.is_floating_point else mean.round()
    return mean.to(payload.dtype).expand(int(graph[task.node][f"{part}_mask"].sum()), *mean.shape)


def _most_common(folds: Sequence[HeteroData], task: Generation, part: Part) -> Tensor:
    """The payload that is the most frequent in training; of equally frequent ones the first."""
    graph = folds[0]
    known = graph[task.made][task.attribute][_known(graph, task)[0]]
    different, which, counts = known.unique(dim=0, return_inverse=True, return_counts=True)
    first = int((counts[which] == counts.max()).nonzero()[0]) if len(different) else 0
    return known[first : first + 1].expand(int(graph[task.node][f"{part}_mask"].sum()), *known.shape[1:])


def _known(graph: HeteroData, task: Generation) -> tuple[Tensor, Tensor]:
    """The nodes of the target that training has, and their anchors."""
    node, owner = graph[task.made, "of", task.node].edge_index
    there = graph[task.node].train_mask[owner]
    return node[there], owner[there]


TRANSLATION_BASELINES: dict[str, Callable[[Sequence[HeteroData], Any, Part], Tensor]] = {
    "nearest": _nearest,
    "mean": _mean,
    "most_common": _most_common,
}
