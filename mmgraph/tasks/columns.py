"""What anchors carry, as columns: what the controls without a graph model read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.gather import gather
from mmgraph.schema import NodeSpec, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PIECES = ("tokens", "codes", "symbol")
"""Tensors of numbers that stand for something each, and have no size."""


def anchor_columns(graph: HeteroData, schema: Schema) -> dict[str, Tensor]:
    """The features of the anchors, one matrix a modality; NaN where it is absent."""
    anchor = schema.anchor or next(iter(schema.nodes))
    found = {}
    for modality, path in schema.paths.items():
        x, there = _flat(graph[modality], schema.nodes[modality]), None
        for edge in path:
            step = Adjacency(graph[edge].edge_index, len(x), graph[edge[2]].num_nodes)
            x, there = gather(x, step, there)
        assert there is not None
        found[modality] = x.masked_fill(~there[:, None], float("nan"))
    if schema.nodes[anchor].channels:
        found[anchor] = graph[anchor].x
    return found


def sources(schema: Schema) -> tuple[str, ...]:
    """What features can be of: the modalities, and the anchor if it has some."""
    own = (schema.anchor,) if schema.anchor and schema.nodes[schema.anchor].channels else ()
    return (*schema.paths, *own)


def present(graph: HeteroData, schema: Schema, name: str) -> Tensor:
    """Which anchors have a node of a modality, ``[anchors]``."""
    rows = graph[name].num_nodes
    there = torch.ones(rows, 1).bool()
    for edge in schema.paths.get(name, ()):
        source, target = graph[edge].edge_index
        reached = torch.zeros(graph[edge[2]].num_nodes, 1).bool()
        reached[target[there[source, 0]]] = True
        there = reached
    return there[:, 0]


def _flat(store: Any, spec: NodeSpec) -> Tensor:
    """What a node carries as one row, ``[rows, channels]``: its ``x``; else its tensors side by side.

    A tensor (pixels, a spectrogram) is divided by the scale of its dtype, or centred on its own mean, which also stands
    where it holds nothing (NaN). Of numbers of pieces (tokens, codes) it is known which there are, not where.
    """
    if spec.channels is not None:
        return store.x
    parts = []
    for name in spec.attributes:
        value = store[name].flatten(1) if store[name].dim() > 1 else store[name][:, None]
        if name in PIECES:
            parts.append(_bag(value))
            continue
        if value.dtype.is_floating_point:
            value = value.float()
            value = (value - value.nanmean(dim=1, keepdim=True)).nan_to_num(0.0)
        else:
            value = value.float() / torch.iinfo(value.dtype).max
        parts.append(value)
    return torch.cat(parts, dim=1) if parts else torch.empty(store.num_nodes, 0)


def _bag(numbers: Tensor) -> Tensor:
    """How often each number above 0 is in each row, as a vector of length 1, ``[rows, numbers]``."""
    found = torch.zeros(len(numbers), int(numbers.max()) + 1 if numbers.numel() else 1)
    found.scatter_add_(1, numbers, (numbers > 0).float())
    return torch.nn.functional.normalize(found, dim=1)
