"""One large graph as its sampler sees it: sizes, edges, and attributes of which some rows are read at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.collection import Collection
from mmgraph.data.columns.columns import Column
from mmgraph.data.columns.contents import read_contents
from mmgraph.data.csc import Csc
from mmgraph.data.format import DTYPES
from mmgraph.data.sampling.memory import Recycler
from mmgraph.data.sampling.pick import Draw, Picker, SortedEdges
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.data.sampling.sampled import Sampled

_BITS = {1: torch.int8, 2: torch.int16}


class Rows:
    """An attribute with a row a node or edge, in memory or mapped from a file.

    Args:
        values: ``[rows, *shape]``, a tensor, or an array that need not be writable.
        dtype: What the rows are as tensors, where ``values`` holds their bits; by default what they are.
        check: Is called with the rows that are about to be read.
    """

    def __init__(
        self,
        values: Tensor | np.ndarray,
        *,
        dtype: torch.dtype | None = None,
        check: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self.values = values
        self._check = check
        if isinstance(values, np.ndarray):
            self.dtype = dtype or torch.from_numpy(np.empty(0, values.dtype)).dtype
            return
        self.dtype = values.dtype
        if values.device.type == "cpu" and values.layout == torch.strided and not values.requires_grad:
            bits = values.dtype.is_floating_point and DTYPES[values.dtype].kind == "i"
            self.values = (values.view(_BITS[values.element_size()]) if bits else values.resolve_conj()).numpy()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray, memory: Recycler) -> Tensor:
        """A copy of some rows, ``[len(rows), *shape]``; a tensor that needs a gradient passes it on."""
        if self._check is not None:
            self._check(rows)
        if isinstance(self.values, Tensor):
            return self.values.index_select(0, torch.from_numpy(rows).to(self.values.device))
        out = memory.empty((len(rows), *self.values.shape[1:]), self.values.dtype)
        if self.values.flags.c_contiguous:
            np.take(self.values, rows, axis=0, out=out, mode="clip")  # clip: no copy in between; all rows are in range
        else:
            out[...] = self.values[rows]  # numpy's take would copy the whole array first
        return torch.from_numpy(out).view(self.dtype)


@dataclass(eq=False)
class Store:
    """A graph's types, sizes and attributes.

    Attributes:
        num_nodes: Nodes of each type.
        nodes: Attributes of each node type.
        edges: Attributes of each edge type, without ``edge_index``.
        edge_counts: Edges of each type.
        index: Gives the ``edge_index`` of an edge type.
        counted: Node types that say ``num_nodes`` by itself.
    """

    num_nodes: Mapping[NodeType, int]
    nodes: Mapping[NodeType, Mapping[str, Rows]]
    edges: Mapping[EdgeType, Mapping[str, Rows]]
    edge_counts: Mapping[EdgeType, int]
    index: Callable[[EdgeType], Tensor]
    counted: frozenset[NodeType]

    @classmethod
    def of(cls, graph: HeteroData | Collection | Store) -> Store:
        """Reads a graph, or a collection that holds one.

        Raises:
            DataError: A type does not say how many nodes or edges it has, an edge type joins a type that is not there,
                or the collection holds more than one graph.
        """
        if isinstance(graph, Store):
            return graph
        if isinstance(graph, Collection):
            return cls._of_collection(graph)
        counts: dict[NodeType, int] = {}
        for node_type, store in graph.node_items():
            count = store.num_nodes
            if count is None:
                raise DataError(
                    f"Node type {node_type!r} must say how many nodes it has; set graph[{node_type!r}].num_nodes"
                )
            counts[node_type] = int(count)
        for edge_type, store in graph.edge_items():
            if "edge_index" not in store:
                raise DataError(f"Edge type {edge_type} must have an edge_index [2, edges], got {list(store.keys())}")
            for end in (edge_type[0], edge_type[2]):
                if end not in counts:
                    raise DataError(f"Edge type {edge_type} joins {end!r}, which must be a node type of the graph")
        return cls(
            num_nodes=counts,
            nodes={node_type: _rows(store, counts[node_type]) for node_type, store in graph.node_items()},
            edges={edge_type: _rows(store, store.edge_index.shape[1]) for edge_type, store in graph.edge_items()},
            edge_counts={edge_type: store.edge_index.shape[1] for edge_type, store in graph.edge_items()},
            index=lambda edge_type: graph[edge_type].edge_index,
            counted=frozenset(name for name, store in graph.node_items() if "num_nodes" in store),
        )

    @classmethod
    def _of_collection(cls, collection: Collection) -> Store:
        if len(collection) != 1:
            raise DataError(
                f"A collection to sample from must hold 1 large graph, got {len(collection)}; "
                "use collection.batch for many small ones, or give collection[i]"
            )
        layout, columns = read_contents(collection.columns).layout, collection.columns
        counts = {one.type: int(columns[one.offsets].read(1, 2)) for one in layout.stores if one.type is not None}
        rows = {
            one.type: {
                attribute.name: _mapped(columns[attribute.column])
                for attribute in one.attributes
                if attribute.kind == "rows" and attribute.offsets == one.offsets and "index" not in attribute.name
            }
            for one in layout.stores
        }

        def index(edge_type: EdgeType) -> Tensor:
            column = collection.column(edge_type, "edge_index")
            return column.read(0, column.rows).T  # [2, edges]

        node_types = [one.type for one in layout.stores if isinstance(one.type, str)]
        edge_types = [one.type for one in layout.stores if isinstance(one.type, tuple)]
        return cls(
            num_nodes={name: counts[name] for name in node_types},
            nodes={name: rows[name] for name in node_types},
            edges={name: rows[name] for name in edge_types},
            edge_counts={name: counts[name] for name in edge_types},
            index=index,
            counted=frozenset(
                one.type for one in layout.stores if isinstance(one.type, str) and one.counted_by == "num_nodes"
            ),
        )

    def picker(
        self,
        followed: Iterable[EdgeType],
        time: Mapping[EdgeType, str],
        edges: Mapping[EdgeType, Csc] | None,
        compiled: bool | None,
    ) -> Picker:
        """What draws from the edges of this graph.

        Args:
            followed: The edge types that are drawn from.
            time: The attribute with the times, for each of them that has some.
            edges: The sorted edges, where they are known.
            compiled: As :class:`Draw` takes it.

        Raises:
            ConfigError: ``edges`` are those of another graph.
            DataError: There are edges to nowhere.
        """
        draws = Draw(compiled=compiled)
        if edges is not None:
            return SortedEdges(self._check_edges(edges, followed, time), draws)
        counts = self.num_nodes
        made = {
            edge_type: Csc.from_edges(
                self.index(edge_type),
                num_sources=counts[edge_type[0]],
                num_targets=counts[edge_type[2]],
                time=self.edge_time(edge_type, time[edge_type]) if edge_type in time else None,
            )
            for edge_type in followed
        }
        return SortedEdges(made, draws)

    def read(self, sampled: Sampled, memory: Recycler) -> dict[NodeType | EdgeType, dict[str, Tensor]]:
        """The attributes of what was drawn: type → name → ``[rows, …]``."""
        found: dict[NodeType | EdgeType, dict[str, Tensor]] = {}
        for node_type, ids in sampled.nodes.items():
            found[node_type] = {name: rows.take(ids.numpy(), memory) for name, rows in self.nodes[node_type].items()}
        for edge_type, columns in sampled.columns.items():
            mine = self.edges[edge_type]
            found[edge_type] = {name: rows.take(columns.numpy(), memory) for name, rows in mine.items()}
        return found

    def edge_time(self, edge_type: EdgeType, name: str) -> Tensor:
        """All times of an edge type."""
        rows = self.edges[edge_type][name]
        return rows.take(np.arange(len(rows)), Recycler())

    def check_node_type(self, what: str, name: Any) -> None:
        """Raises a DataError where there is no such node type."""
        if name not in self.num_nodes:
            raise DataError(f"{what} must be a node type of the graph, {list(self.num_nodes)}, got {name!r}")

    def check_edge_types(self, what: str, names: Iterable[Any]) -> None:
        """Raises a DataError where there is no such edge type."""
        for name in names:
            if name not in self.edges:
                raise DataError(f"{what} must be an edge type of the graph, {list(self.edges)}, got {name!r}")

    def _check_edges(
        self, edges: Mapping[EdgeType, Csc], followed: Iterable[EdgeType], time: Mapping[EdgeType, str]
    ) -> dict[EdgeType, Csc]:
        for edge_type in followed:
            if edge_type not in edges:
                raise ConfigError(
                    f"edges must have all edge types that are followed, got no {edge_type}; sort them again"
                )
            csc = edges[edge_type]
            must = (self.num_nodes[edge_type[0]], self.num_nodes[edge_type[2]], self.edge_counts[edge_type])
            if must != (got := (csc.num_sources, csc.num_targets, len(csc))):
                raise ConfigError(
                    f"edges[{edge_type}] must have the graph's sources, targets and edges, {must}, got {got}; "
                    "sort them again"
                )
            if (csc.time is not None) != (edge_type in time):
                have, want = ("no times", "with") if csc.time is None else ("times", "without")
                raise ConfigError(f"edges[{edge_type}] has {have}, and the sampler was made {want}; sort them again")
        return {edge_type: edges[edge_type] for edge_type in followed}


def _mapped(column: Column) -> Rows:
    return Rows(column.array, dtype=column.dtype, check=column.check_rows)


def _rows(store: Any, count: int) -> dict[str, Rows]:
    """The attributes of a type that have a row each; what has "index" in its name says something of other rows."""
    return {
        name: Rows(value)
        for name, value in store.items()
        if isinstance(value, Tensor) and value.dim() > 0 and len(value) == count and "index" not in name
    }
