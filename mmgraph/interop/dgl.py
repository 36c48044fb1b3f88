"""DGL: heterographs both ways, also where a type has nodes and no edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgraph.errors import DataError
from mmgraph.interop.rows import check_nothing_loose, check_rows
from mmgraph.optional import require
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

KEPT = "mmgraph_schema"
NOTHING = ("_", "_", "_")


def to_dgl(graph: HeteroData, schema: Schema) -> Any:
    """A graph as a ``dgl.DGLGraph``, all tensors with it; those of nodes are shared, not copied.

    Types without edges, and types without nodes, stay. PyG's own ``to_dgl`` fails on the first. What the types mean is
    kept on the graph, as long as DGL keeps it there: ``from_dgl(graph, schema)`` takes it as an argument.

    Args:
        graph: The graph.
        schema: What its types mean.

    Raises:
        DataError: Something would be lost: an attribute of the graph itself, one that is no tensor or has another
            number of rows than its type, or whose name DGL keeps for itself.
        SchemaError: The graph is not what the schema says.
        MissingPackageError: DGL is not installed.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> joined = to_dgl(graph, schema)
        >>> joined.num_nodes("scan") == graph["scan"].num_nodes, ("scan", "of", "subject") in joined.canonical_etypes
        (True, True)
        >>> bool((from_dgl(joined, schema)["scan"].x == graph["scan"].x).all())
        True
    """
    dgl = require("dgl", extra="dgl")
    schema.check(graph)
    check_nothing_loose(graph, "DGL")
    counts = {node: int(graph[node].num_nodes or 0) for node in graph.node_types}
    joins = {edge: tuple(graph[edge].edge_index) for edge in graph.edge_types}
    if not joins:  # DGL has no graph without an edge type
        node = next(iter(counts), "_")
        joins = {(node, NOTHING[1], node): (torch.empty(0, dtype=torch.long),) * 2}
        counts.setdefault(node, 0)
    found = dgl.heterograph(joins, num_nodes_dict=counts)
    for node in graph.node_types:
        for key, value in graph[node].items():
            if key != "num_nodes":
                _check(key, value, counts[node], node)
                found.nodes[node].data[key] = value
    for edge in graph.edge_types:
        for key, value in graph[edge].items():
            if key != "edge_index":
                _check(key, value, len(joins[edge][0]), edge)
                found.edges[edge].data[key] = value
    setattr(found, KEPT, schema.to_json())
    return found


def from_dgl(graph: Any, schema: Schema | None = None) -> HeteroData:
    """The graph that a ``dgl.DGLGraph`` is, in the order of its edges' numbers.

    Args:
        graph: Of DGL.
        schema: What its types mean; by default what :func:`to_dgl` kept on it.

    Raises:
        DataError: It is no graph of DGL, or a block, whose sources and targets are numbered apart.
        SchemaError: The graph is not what the schema says.
        MissingPackageError: DGL is not installed.
    """
    from torch_geometric.data import HeteroData

    dgl = require("dgl", extra="dgl")
    if not isinstance(graph, dgl.DGLGraph) or graph.is_block:
        raise DataError(f"from_dgl takes a graph of DGL that is no block, got {type(graph).__name__}")
    kept = getattr(graph, KEPT, None)
    known = schema or (None if kept is None else Schema.from_json(kept))
    found = HeteroData()
    for node in graph.ntypes if known is None else known.nodes:
        if node not in graph.ntypes:
            raise DataError(f"The graph must have the node types {list(known.nodes if known else ())}, got no {node!r}")
        for key, value in graph.nodes[node].data.items():
            found[node][key] = value
        if known is None or known.nodes[node].channels is None:
            found[node].num_nodes = graph.num_nodes(node)
    for edge in graph.canonical_etypes:
        if edge[1] == NOTHING[1]:
            continue
        found[edge].edge_index = torch.stack(graph.edges(etype=edge, order="eid")).long()
        for key, value in graph.edges[edge].data.items():
            found[edge][key] = value
    if known is not None:
        known.check(found)
        return _in_order(found, known)
    return found


def _in_order(graph: HeteroData, schema: Schema) -> HeteroData:
    """The same with edge types in the order of the schema; DGL sorts them."""
    from torch_geometric.data import HeteroData

    ordered = HeteroData()
    for node in schema.nodes:
        ordered[node].update(dict(graph[node].items()))
    for edge in schema.edges:
        ordered[edge].update(dict(graph[edge].items()))
    return ordered


def _check(key: str, value: Any, rows: int, name: Any) -> None:
    check_rows(key, value, rows, name)
    if key.startswith("_"):
        raise DataError(f"DGL keeps names that begin with '_' for itself, got {key!r} of {name!r}; rename it")
