"""Graphs that differ from a given one in one respect."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from mmgraph.schema import Schema, TargetSpec

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def with_new_payload(
    graph: HeteroData,
    node: str,
    generator: Generator,
    *,
    rows: Tensor | None = None,
    attributes: Sequence[str] = (),
) -> HeteroData:
    """A copy with other numbers in what some nodes carry: floats are drawn anew, codes change places.

    Args:
        graph: The graph; it is left as it is.
        node: The node type.
        generator: Of the numbers.
        rows: Mask ``[rows]``; by default all.
        attributes: What is changed besides ``x``; what holds nothing (NaN) goes on holding nothing.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.zeros(2, 1)
        >>> other = with_new_payload(graph, "paper", torch.Generator(), rows=torch.tensor([True, False]))
        >>> (other["paper"].x == graph["paper"].x).flatten().tolist()
        [False, True]
    """
    changed = copy.copy(graph)
    for name in ("x", *attributes):
        old = graph[node].get(name)
        if old is None:
            continue
        which = torch.ones(len(old), dtype=torch.bool) if rows is None else rows
        if old.dtype.is_floating_point:
            new = torch.randn(old.shape, generator=generator).to(old.dtype).masked_fill(old.isnan(), float("nan"))
        else:
            new = old.roll(1, dims=0)
        changed[node][name] = torch.where(which.view(-1, *[1] * (old.dim() - 1)), new, old)
    return changed


def with_new_labels(graph: HeteroData, target: TargetSpec, rows: Tensor) -> HeteroData:
    """A copy with other labels in some rows (known ones become unknown too, unknown ones known).

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].y = torch.tensor([0, 1, -1])
        >>> target = TargetSpec(node="paper", kind="binary", classes=("no", "yes"))
        >>> with_new_labels(graph, target, torch.tensor([False, True, True]))["paper"].y.tolist()
        [0, -1, 0]
    """
    changed, y = copy.copy(graph), graph[target.node][target.attribute]
    if y.dtype.is_floating_point:
        new = torch.where(y.isnan(), torch.zeros_like(y), -y - 1)
    else:
        new = (y + 2) % (len(target.classes) + 1) - 1  # the next of -1, 0, …, classes - 1
    changed[target.node][target.attribute] = torch.where(rows, new, y)
    return changed


def with_new_rows(graph: HeteroData, schema: Schema, node: str, rows: Tensor, generator: Generator) -> HeteroData:
    """A copy with other payloads in some rows of a type and in all that is *of* them, and without their edges.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> changed = with_new_rows(graph, schema, "subject", torch.arange(40) < 3, torch.Generator())
        >>> bool((changed["subject", "near", "subject"].edge_index < 3).any())
        False
    """
    hidden = {name: torch.zeros(graph[name].num_nodes, dtype=torch.bool) for name in schema.nodes}
    hidden[node] = rows
    for source, relation, target in schema.edges:
        if relation == "of" and target == node:
            part, owner = graph[source, relation, target].edge_index
            hidden[source][part[rows[owner]]] = True
    changed = copy.copy(graph)
    for name, which in hidden.items():
        attributes = schema.nodes[name].attributes
        changed = with_new_payload(changed, name, generator, rows=which, attributes=attributes)
    for edge in schema.edges:
        store = changed[edge]
        if edge[1] == "of":
            continue
        kept = ~(hidden[edge[0]][store.edge_index[0]] | hidden[edge[2]][store.edge_index[1]])
        for key, value in list(store.items()):
            store[key] = value[:, kept] if key == "edge_index" else value[kept]
    return changed
