"""Whether the stores of a graph keep to their specs; each refusal names the type, the value and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmgraph.errors import SchemaError
from mmgraph.schema.spec import EdgeSpec, NodeSpec, TargetSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import HeteroData


MASKS = ("train_mask", "val_mask", "test_mask")


def check_present(
    graph: HeteroData, nodes: Mapping[str, NodeSpec], edges: Mapping[tuple[str, str, str], EdgeSpec]
) -> None:
    """Checks that a graph has all declared types, and says how many rows each has."""
    if absent := [node for node in nodes if node not in graph.node_types]:
        width = nodes[absent[0]].channels or 0
        raise SchemaError(
            f"Graph has no node type {absent}; a missing modality is a node type with 0 rows, "
            f"e.g. graph[{absent[0]!r}].x = torch.empty(0, {width})"
        )
    for node, spec in nodes.items():
        if spec.channels is None and not (graph[node].can_infer_num_nodes or "n_id" in graph[node]):
            raise SchemaError(f"Type {node!r} must say how many rows it has; set graph[{node!r}].num_nodes")
    there = set(graph.edge_types)
    if missing := [edge for edge in edges if edge not in there]:
        raise SchemaError(
            f"Graph has no edge type {missing}; a relation without edges is an edge type with 0 columns, "
            f"e.g. graph[{missing[0]!r}].edge_index = torch.empty(2, 0, dtype=torch.long)"
        )


def check_nodes(graph: HeteroData, specs: Mapping[str, NodeSpec]) -> None:
    """Checks the node types of a graph and their features."""
    if unknown := [node for node in graph.node_types if node not in specs]:
        raise SchemaError(
            f"Graph has node type {unknown}, which the schema does not declare; "
            f"declare it, or remove it with del graph[{unknown[0]!r}]"
        )
    for node, spec in specs.items():
        if spec.channels is not None:
            _check_features(graph[node], f"{node!r}", "x", spec.channels, allow_nan=spec.allow_nan)
        _check_rows(graph[node], node, spec)


def check_edges(graph: HeteroData, specs: Mapping[tuple[str, str, str], EdgeSpec]) -> None:
    """Checks the edge types of a graph: their indices, weights and attributes."""
    if unknown := [edge for edge in graph.edge_types if edge not in specs]:
        raise SchemaError(
            f"Graph has edge type {unknown}, which the schema does not declare; "
            f"declare it, or remove it with del graph[{unknown[0]!r}]"
        )
    for edge_type, spec in specs.items():
        store = graph[edge_type]
        rows = tuple(graph[edge_type[end]].num_nodes for end in (0, 2))
        _check_index(store.get("edge_index"), edge_type, rows, multiple=spec.multiple)
        if spec.weighted:
            _check_weight(store, edge_type)
        if spec.channels is not None:
            _check_features(store, f"edge {edge_type}", "edge_attr", spec.channels, allow_nan=False)
            if len(store.edge_attr) != (count := store.edge_index.shape[1]):
                got = list(store.edge_attr.shape)
                raise SchemaError(f"Edge type {edge_type} must have edge_attr [{count}, {spec.channels}], got {got}")


def check_target(graph: HeteroData, name: str, target: TargetSpec) -> None:
    """Checks the values of a target, if the graph carries it."""
    values = graph[target.node].get(target.attribute)
    if values is None:
        return
    where = f"Target {name!r} on {target.node!r}"
    rows = graph[target.node].num_nodes
    if values.dim() != 1 or len(values) != rows:
        raise SchemaError(f"{where} must be one value a row, [{rows}], got {list(values.shape)}")
    if target.kind == "regression":
        if not values.dtype.is_floating_point:
            raise SchemaError(f"{where} must be floating point, got {values.dtype}; convert with .float()")
        return
    if str(values.dtype) != "torch.int64":  # others can't say -1, or are no classes
        raise SchemaError(
            f"{where} must be class numbers (int64, -1 for unknown), got {values.dtype}; convert with .long()"
        )
    top = len(target.classes) - 1
    wrong = ((values < -1) | (values > top)).nonzero().flatten()
    if wrong.numel():
        row = int(wrong[0])
        raise SchemaError(
            f"{where} must be between -1 (unknown) and {top}, got {int(values[row])} in row {row}; "
            "name its class in TargetSpec.classes, or set it to -1"
        )


def _check_features(store: Any, where: str, key: str, channels: int, *, allow_nan: bool) -> None:
    x = store.get(key)
    if x is None:
        raise SchemaError(f"Type {where} must have {key} [rows, {channels}], got none; set it, even with 0 rows")
    if x.dim() != 2 or x.shape[1] != channels:
        raise SchemaError(
            f"Type {where} must have {key} [rows, {channels}], got {list(x.shape)}; "
            "make the widths agree, or change channels in the schema"
        )
    if not x.dtype.is_floating_point:
        raise SchemaError(f"Type {where} must have floating point {key}, got {x.dtype}; convert with .float()")
    if not allow_nan and not x.isfinite().all():
        row, column = (~x.isfinite()).nonzero()[0].tolist()
        raise SchemaError(
            f"Type {where} must have finite {key}, got {float(x[row, column])} in row {row}, column {column}; "
            "remove the node if its payload is missing, fill the value, or declare allow_nan=True"
        )


def _check_rows(store: Any, node: str, spec: NodeSpec) -> None:
    rows = store.num_nodes
    for key in spec.attributes:
        value = store.get(key)
        if value is None or value.dim() < 1 or len(value) != rows:
            got = "none" if value is None else list(value.shape)
            raise SchemaError(f"Type {node!r} must have {key} [{rows}, …], a row a node, got {got}")
    for key in MASKS:
        mask = store.get(key)
        if mask is not None and (str(mask.dtype) != "torch.bool" or mask.shape != (rows,)):
            raise SchemaError(
                f"Type {node!r}: {key} must be a mask [{rows}] of bool, got {list(mask.shape)} of {mask.dtype}"
            )


def _check_index(index: Tensor | None, edge_type: Any, rows: tuple[int, ...], *, multiple: bool) -> None:
    where = f"Edge type {edge_type}"
    if index is None or index.dim() != 2 or index.shape[0] != 2:
        got = "none" if index is None else list(index.shape)
        raise SchemaError(f"{where} must have edge_index [2, edges], got {got}")
    if index.dtype.is_floating_point or index.dtype.is_complex or index.element_size() < 4:
        raise SchemaError(f"{where} must have integer edge_index, got {index.dtype}; convert with .long()")
    for end, name in ((0, "source"), (1, "target")):
        wrong = ((index[end] < 0) | (index[end] >= rows[end])).nonzero().flatten()
        if wrong.numel():
            column = int(wrong[0])
            raise SchemaError(
                f"{where} must have {name} rows below {rows[end]} (the rows of {edge_type[2 * end]!r}), "
                f"got {int(index[end, column])} in column {column}; remove the dangling edge or add the node"
            )
    if not multiple and index.shape[1] > 1:
        pairs = (index[0].long() * max(rows[1], 1) + index[1]).sort().values
        twice = pairs[1:][pairs[1:] == pairs[:-1]]
        if twice.numel():
            source, target = divmod(int(twice[0]), max(rows[1], 1))
            raise SchemaError(
                f"{where} must join a pair once, got {source} → {target} more than once; "
                "coalesce the edges, or declare multiple=True"
            )


def _check_weight(store: Any, edge_type: Any) -> None:
    weight = store.get("edge_weight")
    count = store.edge_index.shape[1]
    if weight is None or weight.shape != (count,):
        got = "none" if weight is None else list(weight.shape)
        raise SchemaError(f"Edge type {edge_type} must have edge_weight [{count}], got {got}")
    if not weight.isfinite().all():
        column = int((~weight.isfinite()).nonzero()[0])
        raise SchemaError(
            f"Edge type {edge_type} must have finite edge_weight, got {float(weight[column])} in column {column}"
        )
