"""What a sampler has drawn, before its attributes are read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmgraph.typing import EdgeType, NodeType


@dataclass(frozen=True, eq=False)
class Sampled:
    """Which nodes and edges were drawn, as rows of the batch and of the graph; every type is there.

    Attributes:
        nodes: Node type → the graph's row of each node, ``[rows]``: seeds first, in their order, then hop by hop.
        edges: Edge type → ``[2, edges]``, rows of the batch: the neighbour, and the node it was drawn for.
        columns: Edge type → the column of each edge in the graph's ``edge_index``, ``[edges]``.
        positions: Edge type → where each edge lies among the sorted edges, ``[edges]``; -1 where the graph lies in
            parts and edges of the type have no attributes.
        num_nodes: Node type → how many nodes are seeds, and how many each hop added.
        num_edges: Edge type → how many edges each hop added.
        tree: Node type → the seed whose tree each node is in, ``[rows]``; None where nodes are shared.
    """

    nodes: dict[NodeType, Tensor]
    edges: dict[EdgeType, Tensor]
    columns: dict[EdgeType, Tensor]
    positions: dict[EdgeType, Tensor]
    num_nodes: dict[NodeType, list[int]]
    num_edges: dict[EdgeType, list[int]]
    tree: dict[NodeType, Tensor] | None
