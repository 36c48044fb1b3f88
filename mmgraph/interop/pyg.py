"""PyTorch Geometric: a sample is its ``HeteroData`` already; here are graphs of one type, and events."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.interop.rows import check_nothing_loose, check_rows
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData, TemporalData

_MASKS = ("train_mask", "val_mask", "test_mask")
EDGE = "edge"
_OF_EDGES = ("edge_weight", "edge_attr")
_OWN = ("src", "dst", "t", "msg", "e_id", "y")


def to_homogeneous(graph: HeteroData, schema: Schema) -> Data:
    """A graph with one node type and one edge type: what they were is in ``node_type`` and ``edge_type``.

    PyG's own ``graph.to_homogeneous()`` leaves out what not all types have, and says nothing. This raises instead. Only
    answers and masks may be on some types alone: on others they are unknown (-1, NaN), and False.

    Args:
        graph: The graph.
        schema: What its types mean.

    Returns:
        Nodes of the first type first, with the tensors that all types have, ``edge_index``, ``node_type [nodes]`` and
        ``edge_type [edges]``: the places of their types in the schema. Tensors of edges are called ``edge_…``.

    Raises:
        DataError: A tensor is not on all node types (or all edge types), or with another shape or dtype.
        SchemaError: The graph is not what the schema says.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> to_homogeneous(graph, schema)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: 'x' must be alike on all node types, got [0] of torch.float32 on 'subject' and [3]...
    """
    from torch_geometric.data import Data

    schema.check(graph)
    check_nothing_loose(graph, "A graph of one type")
    nodes, edges = list(schema.nodes), list(schema.edges)
    counts = [int(graph[node].num_nodes or 0) for node in nodes]
    starts = dict(zip(nodes, [0, *torch.tensor(counts).cumsum(0).tolist()], strict=False))
    found = Data(num_nodes=sum(counts))
    partial = _partial(schema)
    for key, parts in _columns(graph, nodes, counts).items():
        if EDGE in key:  # PyG tells the tensors of nodes and edges apart by it
            raise DataError(f"A tensor of nodes must not be called {key!r}; rename it")
        if key in partial:
            parts = _filled(key, parts, nodes, counts, partial[key])
        found[key] = _alike(key, parts, nodes, "node")
    index = [graph[s, r, t].edge_index + torch.tensor([[starts[s]], [starts[t]]]) for s, r, t in edges]
    sizes = [one.shape[1] for one in index]
    found.edge_index = torch.cat([torch.empty(2, 0, dtype=torch.long), *index], dim=1)
    for key, parts in _columns(graph, edges, sizes).items():
        if EDGE in key and key not in _OF_EDGES:
            raise DataError(f"A tensor of edges must not be called {key!r}; rename it")
        found[key if key in _OF_EDGES else f"{EDGE}_{key}"] = _alike(key, parts, edges, "edge")
    found.node_type = torch.arange(len(nodes)).repeat_interleave(torch.tensor(counts))
    found.edge_type = torch.arange(len(edges)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
    return found


def from_homogeneous(found: Data, schema: Schema) -> HeteroData:
    """The graph that :func:`to_homogeneous` gave; nodes and edges that were taken out in between stay out.

    Raises:
        DataError: It does not say what the types were, or an edge joins nodes of other types than its own.
        SchemaError: The graph is not what the schema says.
    """
    from torch_geometric.data import HeteroData

    nodes, edges = list(schema.nodes), list(schema.edges)
    kinds = {"node_type": (found.num_nodes, len(nodes)), "edge_type": (found.num_edges, len(edges))}
    for key, (count, limit) in kinds.items():
        kind = found.get(key)
        if kind is None or kind.shape != (count,) or (count and not 0 <= int(kind.min()) <= int(kind.max()) < limit):
            got = "none" if kind is None else f"{int(kind.min())} to {int(kind.max())}" if len(kind) else "[0]"
            raise DataError(f"{key} must be a type of the schema, 0 to {limit - 1}, of each of {count}, got {got}")
    partial = _partial(schema)
    place = torch.empty(found.num_nodes, dtype=torch.long)
    graph = HeteroData()
    for number, node in enumerate(nodes):
        rows = (found.node_type == number).nonzero()[:, 0]
        place[rows] = torch.arange(len(rows))
        for key, value in found.items():
            if EDGE not in key and key not in ("node_type", "num_nodes") and node in partial.get(key, (node,)):
                graph[node][key] = value[rows]
        if schema.nodes[node].channels is None:
            graph[node].num_nodes = len(rows)
    for number, edge in enumerate(edges):
        rows = (found.edge_type == number).nonzero()[:, 0]
        index = found.edge_index[:, rows]
        for end, ends in zip((edge[0], edge[2]), index, strict=True):
            if (found.node_type[ends] != nodes.index(end)).any():
                raise DataError(f"Edges of {edge} must join {edge[0]!r} to {edge[2]!r}, got one with another end")
        graph[edge].edge_index = place[index]
        for key, value in found.items():
            if EDGE in key and key not in ("edge_index", "edge_type"):
                graph[edge][key if key in _OF_EDGES else key.removeprefix(f"{EDGE}_")] = value[rows]
    schema.check(graph)
    return graph


def to_temporal(
    graph: HeteroData, schema: Schema, edge: EdgeType, *, time: str = "time", message: str | None = None
) -> TemporalData:
    """The edges of one type as events, in order of time: ``torch_geometric.data.TemporalData``.

    Where an edge type joins two node types, targets are numbered on from the sources, as in PyG's own data. All tensors
    of the edges come along; ``e_id`` says which edge each event was, so that :func:`from_temporal` gives them back.

    Args:
        graph: The graph.
        schema: What its types mean.
        edge: The edge type.
        time: The tensor with the time of each edge, ``[edges]``.
        message: The tensor that is ``msg [edges, channels]``; by default ``edge_attr``, if there is one.

    Raises:
        DataError: There is no such edge type, no such tensor, or a name that events have for themselves.
        SchemaError: The graph is not what the schema says.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> near = ("subject", "near", "subject")
        >>> graph[near].time = torch.arange(graph[near].num_edges).flip(0)
        >>> events = to_temporal(graph, schema, near)
        >>> back = from_temporal(events, graph, schema, near)
        >>> events.t[:3].tolist(), bool((back[near].time == graph[near].time).all())
        ([0, 1, 2], True)
    """
    from torch_geometric.data import TemporalData

    schema.check(graph)
    if edge not in schema.edges:
        raise DataError(f"edge must be one of {list(schema.edges)}, got {edge}")
    store = graph[edge]
    count = store.edge_index.shape[1]
    message = "edge_attr" if message is None and "edge_attr" in store else message
    values = {key: check_rows(key, one, count, edge) for key, one in store.items() if key != "edge_index"}
    for name, key in (("time", time), ("message", message)):
        if key is not None and key not in values:
            raise DataError(f"{name} must be a tensor of {edge}, one of {list(values)}, got {key!r}")
    if values[time].dim() != 1:
        raise DataError(f"Times must be one an edge, [{count}], got {list(values[time].shape)}")
    if taken := [key for key in values if key in _OWN and key not in (time, message)]:
        raise DataError(f"A tensor of events must not be called {taken[0]!r}, got one on {edge}; rename it")
    order = torch.argsort(values[time], stable=True)
    source, target = store.edge_index[:, order]
    if edge[0] != edge[2]:
        target = target + int(graph[edge[0]].num_nodes or 0)
    events = TemporalData(src=source, dst=target, t=values.pop(time)[order])
    if message is not None:
        events.msg = values.pop(message)[order]
    for key, value in values.items():
        events[key] = value[order]
    events.e_id = order
    return events


def from_temporal(
    events: TemporalData,
    graph: HeteroData,
    schema: Schema,
    edge: EdgeType,
    *,
    time: str = "time",
    message: str | None = None,
) -> HeteroData:
    """A graph whose edges of one type are some events; with ``e_id``, in the order that they had.

    Args:
        events: What :func:`to_temporal` gave, or some of it.
        graph: Has the nodes and all other edges; it stays as it is.
        schema: What the types mean.
        edge: The edge type.
        time: What to call the times.
        message: What to call the messages; by default ``edge_attr``.

    Raises:
        DataError: There is no such edge type.
        SchemaError: The graph is not what the schema says: an event is of a node that is not there.
    """
    if edge not in schema.edges:
        raise DataError(f"edge must be one of {list(schema.edges)}, got {edge}")
    rows = torch.arange(len(events.src))
    order = torch.argsort(events.e_id) if "e_id" in events else rows
    shift = int(graph[edge[0]].num_nodes or 0) if edge[0] != edge[2] else 0
    made = copy(graph)
    made[edge].clear()
    made[edge].edge_index = torch.stack([events.src, events.dst - shift])[:, order]
    names = {"t": time, "msg": message or "edge_attr"}
    for key in events.keys():  # noqa: SIM118 - it is no mapping
        if key not in ("src", "dst", "e_id"):
            made[edge][names.get(key, key)] = events[key][order]
    schema.check(made)
    return made


def _partial(schema: Schema) -> dict[str, list[str]]:
    """Which node types have answers and masks."""
    found: dict[str, list[str]] = {}
    for one in schema.targets.values():
        found.setdefault(one.attribute, []).append(one.node)
    asked = [node for node in schema.nodes if node == schema.anchor or any(node in one for one in found.values())]
    return {**found, **dict.fromkeys(_MASKS, asked)}


def _columns(graph: HeteroData, names: list[Any], rows: list[int]) -> dict[str, dict[Any, Tensor]]:
    """Tensor → type → its rows."""
    found: dict[str, dict[Any, Tensor]] = {}
    for name, count in zip(names, rows, strict=True):
        for key, value in graph[name].items():
            if key not in ("num_nodes", "edge_index"):
                found.setdefault(key, {})[name] = check_rows(key, value, count, name)
    return found


def _filled(
    key: str, parts: dict[Any, Tensor], nodes: list[str], counts: list[int], owners: list[str]
) -> dict[Any, Tensor]:
    """Answers and masks of all types: unknown where they are of others."""
    if odd := [node for node in nodes if (node in owners) != (node in parts)]:
        raise DataError(f"{key!r} must be on {owners}, which are asked about, and on no other type; see {odd[0]!r}")
    like = next(iter(parts.values()))
    unknown = False if like.dtype == torch.bool else float("nan") if like.dtype.is_floating_point else -1
    return {
        node: parts.get(node, torch.full((count, *like.shape[1:]), unknown, dtype=like.dtype))
        for node, count in zip(nodes, counts, strict=True)
    }


def _alike(key: str, parts: dict[Any, Tensor], names: list[Any], what: str) -> Tensor:
    if missing := [name for name in names if name not in parts]:
        raise DataError(f"{key!r} must be on all {what} types, got none on {missing[0]!r}; add it, or remove it")
    first = parts[names[0]]
    for name, one in parts.items():
        if (one.shape[1:], one.dtype) != (first.shape[1:], first.dtype):
            raise DataError(
                f"{key!r} must be alike on all {what} types, got {list(first.shape[1:])} of {first.dtype} on "
                f"{names[0]!r} and {list(one.shape[1:])} of {one.dtype} on {name!r}; bring them to one width first, or "
                "leave types out"
            )
    return torch.cat([parts[name] for name in names])
