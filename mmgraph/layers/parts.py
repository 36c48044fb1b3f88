"""From the nodes of all modalities to what each of them says of the anchors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.functional.gather import gather
from mmgraph.layers.base import adjacency
from mmgraph.schema import Schema
from mmgraph.typing import EdgeSets, Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def gather_parts(
    features: Features, edges: EdgeSets, graph: HeteroData, schema: Schema, *, owner: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The mean of each anchor's nodes of each modality, along :attr:`~mmgraph.schema.Schema.paths`.

    An anchor with a payload of its own counts as a part of its own name. Nodes of another type have parts along
    :meth:`~mmgraph.schema.Schema.paths_to`.

    Args:
        features: States of node types, ``[rows, channels]``; types that are not there give no part.
        edges: The graph's edges, as :func:`edge_sets` gives them.
        graph: The graph, for its numbers of nodes.
        schema: What it means.
        owner: The node type whose parts are asked for; by default the anchor.

    Returns:
        The parts ``{modality: [anchors, channels]}``, zeros where there is no node, and which anchors have one.

    Example:
        >>> import torch
        >>> from mmgraph.layers import edge_sets
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> parts, present = gather_parts({"scan": graph["scan"].x}, edge_sets(graph), graph, schema)
        >>> parts["scan"].shape, int(present["scan"].sum()) < 40
        (torch.Size([40, 3]), True)
    """
    parts: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    ways = schema.paths if owner is None else schema.paths_to(owner)
    paths = {name: path for name, path in ways.items() if name in features}
    counts = {node: graph[node].num_nodes for node in {edge[2] for path in paths.values() for edge in path}}
    for name, path in paths.items():
        part, there = features[name], None
        for edge in path:
            joins = adjacency(edges, edge, part.shape[0], counts[edge[2]])
            if there is not None or not joins.is_identity:
                part, there = gather(part, joins, there)
        parts[name] = part
        if there is not None:
            present[name] = there
    if (own := schema.anchor if owner is None else owner) in features:
        parts[own] = features[own]
    everywhere = None  # one mask for all parts that each anchor has
    for name in parts.keys() - present.keys():
        if everywhere is None:
            everywhere = parts[name].new_ones(parts[name].shape[0], dtype=torch.bool)
        present[name] = everywhere
    return parts, present
