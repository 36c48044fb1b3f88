"""A graph cut into pieces, each with its own nodes, the edges that point at them, and the attributes of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mmgraph.data.collection import Collection
from mmgraph.data.columns.writer import ColumnsWriter
from mmgraph.data.csc import Csc
from mmgraph.data.format import dtype_name, row_bytes
from mmgraph.data.partitions.assign import Owners, as_given, by_chance, by_metis, masks
from mmgraph.data.partitions.book import KIND, PIECE, Book
from mmgraph.data.sampling.memory import Recycler
from mmgraph.data.sampling.options import time_attributes
from mmgraph.data.sampling.store import Rows, Store
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.files import new_folder, sha256
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

CHUNK_BYTES = 16 << 20
"""About how many bytes of an attribute are read at once."""


def partition_graph(
    graph: HeteroData | Collection,
    folder: str | Path,
    *,
    parts: int,
    method: str | Mapping[NodeType, Tensor | np.ndarray] = "metis",
    schema: Schema | None = None,
    time: str | Mapping[EdgeType, str] | None = None,
    balance: Mapping[NodeType, Tensor | np.ndarray] | None = None,
    seed: int = 0,
) -> Book:
    """Cuts a graph into pieces on disk, which `GraphParts` reads together and `PartServer` serves one by one.

    A piece has some of the nodes, all edges that point at them, and the attributes with a row a node or edge of both;
    all bytes have digests. Attributes are copied a few MiB at a time; edges, 20 bytes each, are sorted in memory, and
    METIS takes about 300 bytes an edge more. The folder appears when it is complete.

    Args:
        graph: One large graph in memory, or a collection that holds one.
        folder: Where to write; there must be nothing yet.
        parts: How many pieces.
        method: ``"metis"`` cuts few edges, and balances the nodes of every type; ``"random"`` needs no DGL, and cuts
            ``1 - 1 / parts`` of the edges. Or node type → the part of each node, ``[nodes]``.
        schema: What the types mean; by default what the collection says.
        time: As `NeighbourSampler` takes it, which can draw up to a time only from edges that are sorted by it.
        balance: Node type → a mask ``[nodes]``: METIS balances these nodes by themselves, e.g. the seeds of training.
        seed: Of the random parts.

    Returns:
        The book of the parts; ``book.cut`` is the share of edges between parts, ``book.balance`` how even they are.

    Raises:
        ConfigError: No part, more parts than nodes, an unknown method, or METIS has failed.
        DataError: The graph can't be sampled from, or an argument does not fit it.
        ArtifactError: The folder holds something, or the disk refuses.
        MissingPackageError: ``"metis"``, and DGL is not installed.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.arange(4.0)[:, None]
        >>> graph["paper", "cites", "paper"].edge_index = torch.tensor([[1, 0, 3, 1], [0, 1, 2, 2]])
        >>> folder = getfixture("tmp_path") / "parts"
        >>> book = partition_graph(graph, folder, parts=2, method={"paper": torch.tensor([0, 0, 1, 1])})
        >>> book.cut, book.balance["paper"]
        (0.25, 1.0)
    """
    store = Store.of(graph)
    total = sum(store.num_nodes.values())
    if not 1 <= parts <= max(total, 1):
        raise ConfigError(f"parts must be at least 1 and at most one a node, {total}, got {parts}")
    if (path := Path(folder)).exists() and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(f"Folder {str(path)!r} must be empty or not there; give another, or remove it")
    if schema is None and isinstance(graph, Collection):
        schema = graph.schema
    times = time_attributes(time, store, store.edges)
    edges = store.picker(store.edges, times, None, None).edges
    if isinstance(method, Mapping):
        owners = as_given(method, store.num_nodes, parts)
    elif method == "random":
        owners = by_chance(store.num_nodes, parts, seed)
    elif method == "metis":
        owners = by_metis(store.num_nodes, edges, parts, masks(balance or {}, store.num_nodes))
    else:
        raise ConfigError(f"method must be 'metis', 'random', or the part of each node, got {method!r}")
    with new_folder(path) as draft:
        work = _Cut(store, edges, times, owners, parts)
        digests = [work.write_piece(draft / "parts" / str(part), part) for part in range(parts)]
        name = method if isinstance(method, str) else "given"
        work.write_book(draft, {"parts": parts, "method": name, "pieces": digests}, schema)
    return Book(path)


class _Cut:
    """A graph, and the part of each of its nodes."""

    def __init__(
        self, store: Store, edges: Mapping[EdgeType, Csc], times: Mapping[EdgeType, str], owners: Owners, parts: int
    ) -> None:
        self._store, self._edges, self._times, self._owners = store, edges, times, owners
        self._order = {name: np.argsort(owner, kind="stable") for name, owner in owners.items()}  # rows, part by part
        self._bounds = {
            name: np.concatenate([[0], np.bincount(owner, minlength=parts).cumsum()]) for name, owner in owners.items()
        }
        self._edge_bounds = {edge_type: [0] for edge_type in edges}
        self._cut = dict.fromkeys(edges, 0)
        self._memory = Recycler()

    def write_piece(self, folder: Path, part: int) -> str:
        """Writes one part, and gives the digest of its head."""
        far: dict[NodeType, list[np.ndarray]] = {name: [] for name in self._order}
        with ColumnsWriter(folder, kind=PIECE) as writer:
            for number, edge_type in enumerate(self._edges):
                outside = self._write_edges(writer, f"edge{number}", edge_type, part)
                far[edge_type[0]].append(outside)
            for number, (node_type, order) in enumerate(self._order.items()):
                mine = order[slice(*self._bounds[node_type][part : part + 2])]
                writer.append(f"node{number}.id", _narrow(mine, len(order)))
                writer.append(f"node{number}.hot", _narrow(_most_common(far[node_type]), len(order)))
                self._write_rows(writer, f"node{number}", self._store.nodes[node_type], mine)
            writer.commit({"part": part})
        return sha256(folder / f"{PIECE}.json")

    def write_book(self, folder: Path, meta: dict[str, Any], schema: Schema | None) -> None:
        """Writes what is known of all parts."""
        with ColumnsWriter(folder, kind=KIND) as writer:
            nodes, edges = [], []
            for number, (node_type, order) in enumerate(self._order.items()):
                place = np.empty(len(order), dtype=np.int64)
                place[order] = np.arange(len(order))
                writer.append(f"node{number}.place", _narrow(place, len(order)))
                nodes.append(
                    {
                        "type": node_type,
                        "counted": node_type in self._store.counted,
                        "bounds": self._bounds[node_type].tolist(),
                        "attributes": _kinds(self._store.nodes[node_type]),
                    }
                )
            for edge_type, bounds in self._edge_bounds.items():
                edges.append(
                    {
                        "type": list(edge_type),
                        "time": self._times.get(edge_type),
                        "cut": self._cut[edge_type],
                        "bounds": bounds,
                        "attributes": _kinds(self._store.edges[edge_type]),
                    }
                )
            if schema is not None:
                writer.put("schema.json", schema.to_json().encode())
            writer.commit({**meta, "nodes": nodes, "edges": edges})

    def _write_edges(self, writer: ColumnsWriter, name: str, edge_type: EdgeType, part: int) -> np.ndarray:
        """Writes the edges that point at nodes of a part, and gives their sources in other parts."""
        csc, (source_type, _, target_type) = self._edges[edge_type], edge_type
        mine = self._order[target_type][slice(*self._bounds[target_type][part : part + 2])]
        start, stop = csc.indptr[mine], csc.indptr[mine + 1]
        indptr = np.concatenate([[0], np.cumsum(stop - start)])
        position = np.arange(indptr[-1]) + np.repeat(start - indptr[:-1], stop - start)
        source, column = csc.source[position], csc.edge[position]
        writer.append(f"{name}.indptr", indptr)
        writer.append(f"{name}.source", source)
        writer.append(f"{name}.edge", column)
        if csc.time is not None:
            writer.append(f"{name}.time", csc.time[position])
        self._write_rows(writer, name, self._store.edges[edge_type], column)
        outside = source[self._owners[source_type][source] != part]
        self._cut[edge_type] += len(outside)
        self._edge_bounds[edge_type].append(self._edge_bounds[edge_type][-1] + len(source))
        return outside

    def _write_rows(self, writer: ColumnsWriter, name: str, attributes: Mapping[str, Rows], which: np.ndarray) -> None:
        for attribute, rows in attributes.items():
            column = f"{name}.row.{attribute}"
            step = max(1, CHUNK_BYTES // max(1, row_bytes(rows.dtype, tuple(rows.values.shape[1:]))))
            for first in range(0, max(len(which), 1), step):  # once at least, so that the column is there
                chunk = which[first : first + step].astype(np.int64)
                writer.append(column, rows.take(chunk, self._memory).detach().cpu())


def _kinds(attributes: Mapping[str, Rows]) -> dict[str, Any]:
    return {name: [dtype_name(rows.dtype), list(rows.values.shape[1:])] for name, rows in attributes.items()}


def _most_common(nodes: list[np.ndarray]) -> np.ndarray:
    """Each node once, the ones that are there most often first."""
    found, count = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *nodes]), return_counts=True)
    return found[np.argsort(-count, kind="stable")]


def _narrow(rows: np.ndarray, count: int) -> np.ndarray:
    return rows.astype(np.int32 if count < 1 << 31 else np.int64)
