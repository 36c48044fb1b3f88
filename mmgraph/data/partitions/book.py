"""The book of a partitioned graph: which part has which node and edge, and what belongs together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmgraph.data.columns.columns import Columns
from mmgraph.data.format import DTYPE_NAMES
from mmgraph.errors import ArtifactError, ConfigError, MMGraphError
from mmgraph.files import sha256
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, NodeType

KIND = "book"
PIECE = "part"

Kind = tuple[torch.dtype, tuple[int, ...]]
"""The dtype of an attribute, and the shape of a row."""


@dataclass(frozen=True, eq=False)
class Type:
    """What the book says of a node type or an edge type.

    Attributes:
        name: The type.
        column: What its columns in the pieces begin with.
        bounds: Where the nodes or edges of each part begin in the order of the parts, and where the last end,
            int64 ``[parts + 1]``.
        attributes: What each attribute is.
        counted: Whether a node type says ``num_nodes`` by itself.
        time: The attribute that the edges of a target are in order of, if they are.
        cut: Edges whose ends are in different parts.
    """

    name: Any
    column: str
    bounds: np.ndarray
    attributes: dict[str, Kind]
    counted: bool = False
    time: str | None = None
    cut: int = 0

    def __len__(self) -> int:
        """Nodes or edges of this type."""
        return int(self.bounds[-1])

    @property
    def columns(self) -> dict[str, str]:
        """Attribute → its column in the pieces."""
        return {name: f"{self.column}.row.{name}" for name in self.attributes}


class Book:
    """What is known of a partitioned graph without its pieces: a few bytes a node, mapped from disk.

    A node has its row in the graph, and a place in the order of the parts, in which the nodes of a part are next to
    each other. Pieces hold rows of the graph, so what is drawn does not depend on the parts.

    Args:
        folder: What :func:`partition_graph` wrote.

    Attributes:
        parts: How many there are.
        nodes: Node type → what is known of it.
        edges: Edge type → what is known of it.
        schema: What the types mean, if that is known.
        digest: Of the book and, through it, of all pieces.

    Raises:
        ArtifactError: The folder is missing, damaged or of something else.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self._columns = Columns.open(self.folder, kind=KIND)
        self.digest = sha256(self.folder / f"{KIND}.json")
        try:
            self._read(self._columns.meta)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, MMGraphError):
                raise
            raise ArtifactError(
                f"{str(self.folder)!r} must be a book of parts, but {error!r}; partition the graph again"
            ) from None
        self.schema = None
        if "schema.json" in self._columns.head.files:
            self.schema = Schema.from_json(self._columns.read_file("schema.json").decode())

    def __repr__(self) -> str:
        nodes, edges = (sum(map(len, one.values())) for one in (self.nodes, self.edges))
        return f"Book({str(self.folder)!r}, parts={self.parts}, nodes={nodes}, edges={edges})"

    @property
    def cut(self) -> float:
        """Share of the edges whose ends are in different parts."""
        total = sum(map(len, self.edges.values()))
        return sum(edge.cut for edge in self.edges.values()) / total if total else 0.0

    @property
    def balance(self) -> dict[NodeType | EdgeType, float]:
        """Type → how many times the mean the largest part has of it."""
        return {
            one.name: float(np.diff(one.bounds).max() * self.parts / len(one)) if len(one) else 1.0
            for one in (*self.nodes.values(), *self.edges.values())
        }

    def place(self, node_type: NodeType, ids: np.ndarray) -> np.ndarray:
        """The places of nodes in the order of the parts, int64 ``[ids]``."""
        column = self._columns[f"{self.nodes[node_type].column}.place"]
        column.check_rows(ids)
        return column.array[ids].astype(np.int64)

    def piece(self, part: int) -> Columns:
        """Opens a piece, checked to be the one that belongs to this book.

        Raises:
            ConfigError: There is no such part.
            ArtifactError: It is missing, damaged, or of another graph.
        """
        if not 0 <= part < self.parts:
            raise ConfigError(f"part must be in [0, {self.parts}), got {part}")
        folder = self.folder / "parts" / str(part)
        columns = Columns.open(folder, kind=PIECE)
        if (got := sha256(folder / f"{PIECE}.json")) != self._pieces[part]:
            raise ArtifactError(
                f"{str(folder)!r} must be the piece that its book names, sha256 {self._pieces[part][:12]}…, got "
                f"{got[:12]}…; copy book and pieces from one partition_graph"
            )
        return columns

    def _read(self, meta: dict[str, Any]) -> None:
        self.parts = int(meta["parts"])
        self.method = str(meta["method"])
        self._pieces = [str(digest) for digest in meta["pieces"]]
        self.nodes = {
            str(one["type"]): Type(
                str(one["type"]), f"node{number}", _bounds(one), _attributes(one), counted=bool(one["counted"])
            )
            for number, one in enumerate(meta["nodes"])
        }
        self.edges = {}
        for number, one in enumerate(meta["edges"]):
            source, relation, target = map(str, one["type"])
            time = None if one["time"] is None else str(one["time"])
            self.edges[source, relation, target] = Type(
                (source, relation, target),
                f"edge{number}",
                _bounds(one),
                _attributes(one),
                time=time,
                cut=int(one["cut"]),
            )
        lengths = {len(one.bounds) for one in (*self.nodes.values(), *self.edges.values())}
        if lengths - {self.parts + 1} or len(self._pieces) != self.parts:
            raise ValueError(f"bounds of {lengths} numbers for {self.parts} parts")


def _bounds(one: dict[str, Any]) -> np.ndarray:
    bounds = np.array(one["bounds"], dtype=np.int64)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any():
        raise ValueError(f"bounds {one['bounds']}")
    return bounds


def _attributes(one: dict[str, Any]) -> dict[str, Kind]:
    return {
        str(name): (DTYPE_NAMES[dtype], tuple(int(size) for size in shape))
        for name, (dtype, shape) in one["attributes"].items()
    }
