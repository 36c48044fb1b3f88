"""Which columns the graphs of a collection take apart into: read off the first graph, kept by all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import torch
from pydantic import BaseModel, ConfigDict, Field

from mmgraph.data.format import DTYPE_NAMES, DTYPES, dtype_name
from mmgraph.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

EdgeType = tuple[str, str, str]
StoreType = str | EdgeType | None
"""A node type, an edge type, or None for the graph itself."""

UNIT = ""
"""In place of the name of an offsets column: every sample has one row."""

_INDEX_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttributeLayout(_Part):
    """One attribute of a type.

    Args:
        name: What it is called on the graph.
        kind: ``count`` (``num_nodes``: a Python number), ``rows`` (samples are joined along their first dimension),
            ``scalar`` (a tensor without dimensions), ``index`` (``[2, n]``, raised by the nodes that come before) or
            ``edges`` (the ``edge_index``: an ``index`` that says how many edges there are).
        dtype: The dtype of the tensor; the column's may be narrower.
        shape: The shape of one row in the column.
        column: The column, none for a count.
        offsets: The column of offsets, none for a count, and empty if every sample has one row.
    """

    name: str
    kind: Literal["count", "rows", "scalar", "index", "edges"]
    dtype: str = ""
    shape: tuple[int, ...] = ()
    column: str = ""
    offsets: str = UNIT

    def size(self, value: Any) -> int:
        """How many rows a tensor takes in the column."""
        return 1 if self.kind == "scalar" else int(value.shape[-1 if self.kind in ("index", "edges") else 0])

    def rows(self, value: torch.Tensor) -> torch.Tensor:
        """A tensor as the rows of the column, ``[rows, *shape]``."""
        if self.kind == "scalar":
            return value.unsqueeze(0)
        if self.kind == "index":
            return value.T
        return value.T.to(torch.int32) if self.kind == "edges" else value

    @property
    def stored(self) -> torch.dtype:
        """The dtype of the column."""
        return torch.int32 if self.kind == "edges" else getattr(torch, self.dtype)


class StoreLayout(_Part):
    """One node type, one edge type or the graph itself: its attributes in order.

    Args:
        type: Which it is.
        counted_by: The attribute that says how many nodes or edges there are; none for the graph.
        offsets: The column of offsets of its nodes or edges; none for the graph.
        attributes: Its attributes.
    """

    type: StoreType
    counted_by: str = ""
    offsets: str = UNIT
    attributes: tuple[AttributeLayout, ...] = Field(strict=False)

    @property
    def is_edge(self) -> bool:
        """Whether this is an edge type."""
        return isinstance(self.type, tuple)

    def count(self, store: Any) -> int:
        """How many nodes or edges a store has."""
        if self.counted_by == "":
            return 0
        value = store[self.counted_by]
        return value if self.counted_by == "num_nodes" else int(value.shape[-1 if self.is_edge else 0])


class Layout(_Part):
    """The stores of a graph, in order: itself, its node types, its edge types."""

    stores: tuple[StoreLayout, ...]

    @classmethod
    def of(cls, graph: HeteroData) -> Layout:
        """Reads the layout off a graph.

        Raises:
            DataError: Something on the graph is no tensor, or can't be told apart again once graphs are joined.
        """
        items = _stores(graph)
        return cls(stores=tuple(_store_layout(kind, store) for kind, store in items if kind is not None or len(store)))

    def values(self, graph: HeteroData) -> Iterator[tuple[StoreLayout, Any]]:
        """The stores of a graph beside their layout.

        Raises:
            DataError: The graph has other types or attributes, dtypes or shapes than the first; or edges to nowhere.
        """
        stores = {kind: store for kind, store in _stores(graph) if kind is not None or len(store)}
        if stores.keys() != (known := {one.type for one in self.stores}):
            missing, more = sorted(map(str, known - stores.keys())), sorted(map(str, stores.keys() - known))
            raise DataError(
                f"All graphs of a collection must have the same types; this one lacks {missing} and adds {more}; "
                "a missing modality is a node type with 0 rows, a missing relation an edge type with 0 columns"
            )
        counts = {one.type: one.count(stores[one.type]) for one in self.stores if not one.is_edge}
        for one in self.stores:
            _check_store(one, stores[one.type], counts)
        return ((one, stores[one.type]) for one in self.stores)

    def store(self, kind: StoreType) -> StoreLayout:
        """The layout of one type.

        Raises:
            DataError: There is no such type.
        """
        for one in self.stores:
            if one.type == kind:
                return one
        raise DataError(f"Type must be one of {[one.type for one in self.stores]}, got {kind!r}")

    def attribute(self, kind: StoreType, name: str) -> AttributeLayout:
        """The layout of one attribute that has a column.

        Raises:
            DataError: There is no such type or attribute.
        """
        store = self.store(kind)
        for one in store.attributes:
            if one.name == name and one.kind != "count":
                return one
        names = [one.name for one in store.attributes if one.kind != "count"]
        raise DataError(f"Attribute of {kind!r} must be one of {names}, got {name!r}")

    def with_offsets(self, column: str, offsets: str) -> Layout:
        """The layout in which one column has offsets of its own."""
        return Layout(
            stores=tuple(
                store.model_copy(
                    update={
                        "attributes": tuple(
                            one.model_copy(update={"offsets": offsets}) if one.column == column else one
                            for one in store.attributes
                        )
                    }
                )
                for store in self.stores
            )
        )


def column_name(*parts: str) -> str:
    """The name of a column: its parts with dots between, whatever else is in them percent-encoded.

    Example:
        >>> column_name("node", "scan v1.0", "x")
        'node.scan%20v1%2E0.x'
    """
    return ".".join(quote(part, safe="").replace(".", "%2E") for part in parts)


def parts_of(kind: StoreType) -> tuple[str, ...]:
    """What the names of the columns of a type begin with."""
    if kind is None:
        return ("graph",)
    return ("node", kind) if isinstance(kind, str) else ("edge", *kind)


def _stores(graph: HeteroData) -> list[tuple[StoreType, Any]]:
    return [(None, graph.stores[0]), *graph.node_items(), *graph.edge_items()]


def _store_layout(kind: StoreType, store: Any) -> StoreLayout:
    parts = parts_of(kind)
    counted_by = "" if kind is None else _counted_by(kind, store)
    offsets = column_name("offsets", *parts) if counted_by else UNIT
    draft = StoreLayout(type=kind, counted_by=counted_by, offsets=offsets, attributes=())
    count = draft.count(store)
    attributes = []
    for name, value in store.items():
        _check_name(kind, name)
        if name == "num_nodes" and isinstance(kind, str):
            attributes.append(AttributeLayout(name=name, kind="count"))
            continue
        _check_tensor(kind, name, value)
        one = AttributeLayout(name=name, kind=_kind(kind, name, value), dtype=dtype_name(value.dtype))
        rows, column = one.size(value), column_name(*parts, name)
        own = UNIT if rows == 1 else column_name("offsets", *parts, name)
        shared = one.kind == "edges" or (counted_by and one.kind != "scalar" and rows == count)
        update = {"shape": _row_shape(one.kind, value), "column": column, "offsets": offsets if shared else own}
        attributes.append(one.model_copy(update=update))
    return draft.model_copy(update={"attributes": tuple(attributes)})


def _counted_by(kind: StoreType, store: Any) -> str:
    from torch_geometric.data.storage import N_KEYS

    if isinstance(kind, tuple):
        if "edge_index" not in store:
            raise DataError(f"Edge type {kind} must have an edge_index [2, edges], got {list(store.keys())}")
        return "edge_index"
    if "num_nodes" in store:
        return "num_nodes"
    tensors = [name for name, value in store.items() if isinstance(value, torch.Tensor) and value.dim() > 0]
    for name in [*(name for name in tensors if name in N_KEYS), *(name for name in tensors if "node" in name)]:
        return name
    raise DataError(
        f"Node type {kind!r} must say how many nodes it has, got the attributes {list(store.keys())}; "
        f"set graph[{kind!r}].num_nodes"
    )


def _check_name(kind: StoreType, name: str) -> None:
    """Refuses names under which PyTorch Geometric would change the values when it joins graphs."""
    if name == "ptr" or "batch" in name or (name == "num_nodes" and not isinstance(kind, str)):
        raise DataError(
            f"Attribute {name!r} of {kind!r} must have another name: PyTorch Geometric changes values under 'ptr' and "
            "under names with 'batch' in them when it joins graphs, and num_nodes belongs to node types; rename it"
        )


def _check_tensor(kind: StoreType, name: str, value: Any) -> None:
    if type(value) is not torch.Tensor:
        raise DataError(
            f"Attribute {name!r} of {kind!r} must be a plain tensor, got {type(value).__name__}; numbers go in as "
            "torch.tensor([value]), strings and bytes as payloads"
        )
    if value.layout != torch.strided or value.is_nested or value.is_quantized or value.dtype not in DTYPES:
        raise DataError(
            f"Attribute {name!r} of {kind!r} must be dense and of one of the dtypes {sorted(DTYPE_NAMES)}, "
            f"got {value.layout}, {value.dtype}; convert it"
        )
    if value.device.type != "cpu" or value.requires_grad:
        raise DataError(
            f"Attribute {name!r} of {kind!r} must be on the CPU and need no gradient, got {value.device}, "
            f"requires_grad={value.requires_grad}; give value.detach().cpu()"
        )


def _kind(kind: StoreType, name: str, value: torch.Tensor) -> Literal["rows", "scalar", "index", "edges"]:
    if not isinstance(kind, tuple) or "index" not in name:
        return "scalar" if value.dim() == 0 else "rows"
    if value.dim() != 2 or value.shape[0] != 2 or value.dtype not in _INDEX_DTYPES:
        raise DataError(
            f"Attribute {name!r} of {kind} has 'index' in its name and must be [2, n] of integers, got "
            f"{list(value.shape)} {value.dtype}: PyTorch Geometric raises such values when it joins graphs; rename it"
        )
    return "edges" if name == "edge_index" else "index"


def _row_shape(kind: str, value: torch.Tensor) -> tuple[int, ...]:
    if kind == "scalar":
        return ()
    return (2,) if kind in ("index", "edges") else tuple(value.shape[1:])


def _check_store(layout: StoreLayout, store: Any, counts: dict[StoreType, int]) -> None:
    names = [one.name for one in layout.attributes]
    if set(store.keys()) != set(names):
        raise DataError(
            f"All graphs of a collection must have the same attributes; {layout.type!r} had {names} in the first, "
            f"got {list(store.keys())}"
        )
    for one in layout.attributes:
        value = store[one.name]
        if one.kind == "count":
            if type(value) is not int or value < 0:
                raise DataError(f"num_nodes of {layout.type!r} must be a number of nodes, got {value!r}")
            continue
        _check_tensor(layout.type, one.name, value)
        shape, dims = _row_shape(one.kind, value), 0 if one.kind == "scalar" else 1 + len(one.shape)
        if str(value.dtype) != f"torch.{one.dtype}" or value.dim() != dims or shape != one.shape:
            raise DataError(
                f"All graphs of a collection must have the same dtypes and shapes of rows; {one.name!r} of "
                f"{layout.type!r} was {one.dtype} {list(one.shape)} in the first, got {value.dtype} {list(value.shape)}"
            )
        if one.kind in ("index", "edges") and value.shape[0] != 2:
            raise DataError(f"Attribute {one.name!r} of {layout.type!r} must be [2, n], got {list(value.shape)}")
        if one.kind == "edges":
            _check_edges(layout.type, value, counts)


def _check_edges(kind: Any, index: torch.Tensor, counts: dict[StoreType, int]) -> None:
    for end, name in ((0, "source"), (1, "target")):
        rows = counts.get(kind[2 * end])
        if rows is None:
            raise DataError(f"Edge type {kind} joins {kind[2 * end]!r}, which must be a node type of the graph")
        if rows > 2**31:
            raise DataError(f"A sample must have at most 2³¹ nodes of a type, got {rows} of {kind[2 * end]!r}")
        if index.shape[1] and (int(index[end].min()) < 0 or int(index[end].max()) >= rows):
            wrong = int(((index[end] < 0) | (index[end] >= rows)).nonzero()[0])
            raise DataError(
                f"Edge type {kind} must have {name} rows below {rows} (the nodes of {kind[2 * end]!r}), "
                f"got {int(index[end, wrong])} in column {wrong}; remove the dangling edge or add the node"
            )
