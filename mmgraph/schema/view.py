"""The view: the part of a graph that a computation may see. It is the guard against leaks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from mmgraph.errors import SchemaError
from mmgraph.schema.checks import MASKS, check_present

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import HeteroData
    from torch_geometric.data.storage import EdgeStorage

    from mmgraph.schema.schema import EdgeType, Schema


def view(
    graph: HeteroData,
    schema: Schema,
    *,
    keep: Mapping[str, Tensor] | None = None,
    hide: Collection[str] = (),
    drop_edges: Collection[EdgeType] = (),
    labels: Mapping[str, Tensor] | None = None,
) -> HeteroData:
    """Returns the part of a graph that a computation may see; the graph itself is left as it is.

    Safe by default: only what the schema declares is in a view, and no label is, unless it is asked for.
    Every node type stays (with zero rows, if nothing of it may be seen), so that a view batches and keeps
    to the same schema. ``n_id [rows]`` on each node type says which row of ``graph`` each node was.

    Args:
        graph: The whole graph.
        schema: What its types mean.
        keep: Node type → mask ``[rows]`` of the nodes that may be seen. Modality nodes go with the node
            that they are *of*, and the nodes of those with them.
        hide: Node types of which nothing may be seen, nor of the nodes that are *of* them.
        drop_edges: Edge types of which no edge may be seen.
        labels: Target name → mask ``[rows]`` of the nodes whose label may be seen; the others read -1
            (NaN in a regression). Targets not named are absent.

    Raises:
        SchemaError: A type or target that the schema does not declare or the graph does not have, or a mask
            of the wrong length.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.schema import Schema
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.ones(3, 2)
        >>> graph["paper"].y = torch.tensor([0, 1, 1])
        >>> graph["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1], [1, 2]])
        >>> seen = view(graph, Schema.infer(graph), keep={"paper": torch.tensor([True, True, False])})
        >>> "y" in seen["paper"], seen["paper", "cites", "paper"].edge_index.tolist()
        (False, [[0], [1]])
    """
    import torch

    check_present(graph, schema.nodes, schema.edges)
    keep, labels = dict(keep or {}), dict(labels or {})
    _check_names("keep", keep, schema.nodes)
    _check_names("hide", hide, schema.nodes)
    _check_names("drop_edges", drop_edges, schema.edges)
    _check_names("labels", labels, schema.targets)
    for node, mask in keep.items():
        _check_mask(f"keep[{node!r}]", mask, graph[node].num_nodes)
    seen = _declared(graph, schema)
    for name, mask in labels.items():
        target = schema.targets[name]
        _check_mask(f"labels[{name!r}]", mask, graph[target.node].num_nodes)
        values = graph[target.node].get(target.attribute)
        if values is None:
            raise SchemaError(f"labels[{name!r}] must be in the graph, got no {target.attribute!r} on {target.node!r}")
        unknown = float("nan") if values.dtype.is_floating_point else -1
        seen[target.node][target.attribute] = torch.where(mask, values, torch.full_like(values, unknown))
    for edge_type in drop_edges:
        empty_edges(seen[edge_type])
    hidden = {node: torch.zeros(graph[node].num_nodes, dtype=torch.bool) for node in hide}
    masks = _with_owners(graph, schema, {**keep, **hidden})
    return seen.subgraph(masks) if masks else seen


def _declared(graph: HeteroData, schema: Schema) -> HeteroData:
    import torch
    from torch_geometric.data import HeteroData

    seen = HeteroData()
    for node, spec in schema.nodes.items():
        allowed = {"num_nodes", *MASKS, *spec.attributes} | ({"x"} if spec.channels is not None else set())
        seen[node].update({key: value for key, value in graph[node].items() if key in allowed})
        seen[node].n_id = torch.arange(graph[node].num_nodes)
    for edge_type, edge in schema.edges.items():
        declared = {"edge_index": True, "edge_weight": edge.weighted, "edge_attr": edge.channels is not None}
        seen[edge_type].update({key: value for key, value in graph[edge_type].items() if declared.get(key)})
    return seen


def _with_owners(graph: HeteroData, schema: Schema, keep: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks of ``keep``, and those of the nodes that hang on them by ``of`` edges, however far."""
    import torch

    masks, changed = dict(keep), list(keep)
    while changed:
        node = changed.pop()
        for source, _, _ in [edge for edge in schema.edges if edge[1:] == ("of", node)]:
            owner = graph[source, "of", node].edge_index
            mask = masks.get(source, torch.ones(graph[source].num_nodes, dtype=torch.bool)).clone()
            mask[owner[0][~masks[node][owner[1]]]] = False
            if source not in masks or not torch.equal(mask, masks[source]):
                masks[source] = mask
                changed.append(source)
    return masks


def empty_edges(store: EdgeStorage) -> None:
    """Takes the edges out of a store of a copied graph; the type stays."""
    for key in list(store):
        store[key] = store[key][:, :0] if key == "edge_index" else store[key][:0]


def _check_names(what: str, names: Collection, declared: Collection) -> None:
    for name in names:
        if name not in declared:
            raise SchemaError(f"{what} must name types of the schema, {list(declared)}, got {name!r}")


def _check_mask(what: str, mask: Tensor, rows: int) -> None:
    if str(mask.dtype) != "torch.bool" or mask.shape != (rows,):
        raise SchemaError(f"{what} must be a mask [{rows}] of bool, got {list(mask.shape)} of {mask.dtype}")
