"""A graph that lies in parts, as its sampler sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.csc import Csc
from mmgraph.data.format import DTYPES
from mmgraph.data.partitions.book import Book, Type
from mmgraph.data.partitions.owners import Owners
from mmgraph.data.partitions.rows import Kept, Reader
from mmgraph.data.partitions.wire import Message
from mmgraph.data.sampling.memory import Recycler
from mmgraph.data.sampling.options import seed_ids
from mmgraph.data.sampling.pick import Picked, Wanted
from mmgraph.data.sampling.sampled import Sampled
from mmgraph.data.sampling.store import Rows, Store
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.typing import EdgeType, NodeType

SLICE = 1 << 22
"""Edges that are asked for at once, where all are wanted."""


class GraphParts(Store):
    """A partitioned graph: give it to `NeighbourSampler` in the place of the graph, and the batches are the same.

    Each part draws from its own edges, and what was drawn goes over the network, not what might have been: of a node
    with a million neighbours, as many edges as the fan-out says. A draw depends on its seed, hop, edge type and node
    alone, so the batches are equal bit for bit to those of the whole graph, however it is cut. In a hop every part is
    asked once, all at the same time, and once more for the attributes of a batch.

    Every process needs the book, and 4 bytes a node of memory for its sampler. `LinkSeeds` without an ``index``, and
    with ``unseen=True``, read all edges of their type into this process.

    Args:
        folder: What :func:`partition_graph` wrote; of the pieces, those without an address are needed.
        addresses: Part → ``"host:port"`` of its `PartServer`; by default all are read from the folder.
        home: The part that this process trains on; says whose neighbours are worth keeping.
        keep_mib: MiB of rows of other parts that are read once and kept: those that most edges into ``home`` come
            from, the same share of every node type.
        wait_s: How long a part that is gone may take to come back, before it is given up.
        reply_s: How long a part may take to send the next bytes.

    Attributes:
        book: What is known of the parts.

    Raises:
        ConfigError: An address is none or of another part, or ``keep_mib`` without ``home``.
        ArtifactError: Book or pieces are missing, damaged, or do not belong together.
        PartLostError: A part does not answer.

    Source: Zheng et al. 2020, DistDGL, arXiv:2010.05337, for parts that draw from their own edges; Lin et al. 2020,
    PaGraph, doi:10.1145/3419111.3421281, for what is kept.

    Example:
        >>> from mmgraph.data import NeighbourSampler
        >>> from mmgraph.data.partitions import partition_graph
        >>> from mmgraph.testing import fake_graph
        >>> whole, folder = fake_graph()[0], getfixture("tmp_path") / "parts"
        >>> _ = partition_graph(whole, folder, parts=2, method="random")
        >>> seeds = {"subject": [0, 1]}
        >>> mine, must = (NeighbourSampler(one, [2, 2]).sample(seeds) for one in (GraphParts(folder), whole))
        >>> all(torch.equal(mine.nodes[name], must.nodes[name]) for name in whole.node_types)
        True
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        addresses: Mapping[int, str] | None = None,
        home: int | None = None,
        keep_mib: float = 0.0,
        wait_s: float = 5.0,
        reply_s: float = 60.0,
    ) -> None:
        self.book = book = Book(folder)
        if keep_mib and (home is None or not 0 <= home < book.parts):
            raise ConfigError(f"keep_mib needs home, the part that trains here, in [0, {book.parts}), got {home}")
        self.owners = Owners(book, addresses or {}, wait_s=wait_s, reply_s=reply_s)
        super().__init__(
            num_nodes={name: len(one) for name, one in book.nodes.items()},
            nodes={name: self._rows(one) for name, one in book.nodes.items()},
            edges={name: self._rows(one) for name, one in book.edges.items()},
            edge_counts={name: len(one) for name, one in book.edges.items()},
            index=lambda edge_type: torch.from_numpy(np.stack(self._all(edge_type)[:2])),
            counted=frozenset(name for name, one in book.nodes.items() if one.counted),
        )
        self.kept: dict[NodeType, Kept] = {}
        if keep_mib and home is not None:
            self._keep(home, int(keep_mib * (1 << 20)))

    def __repr__(self) -> str:
        return f"GraphParts({str(self.book.folder)!r}, parts={self.book.parts}, here={sorted(self.owners.here)})"

    def picker(
        self,
        followed: Iterable[EdgeType],
        time: Mapping[EdgeType, str],
        edges: Mapping[EdgeType, Csc] | None,
        compiled: bool | None,
    ) -> PartsPicker:
        """What draws from the parts.

        Raises:
            ConfigError: Edges are given, or those of a type are in order of another time.
        """
        if edges is not None:
            raise ConfigError("edges must be left out where a graph lies in parts: each part has its own, sorted")
        for edge_type in followed:
            if (have := self.book.edges[edge_type].time) != (want := time.get(edge_type)):
                raise ConfigError(
                    f"The edges {edge_type} are sorted by {have!r} in their parts, and the sampler was made with time "
                    f"{want!r}; give it that, or partition the graph again with time={want!r}"
                )
        return PartsPicker(self.book, self.owners)

    def read(self, sampled: Sampled, memory: Recycler) -> dict[NodeType | EdgeType, dict[str, Tensor]]:
        """The attributes of what was drawn, by one question to each part."""
        reader = Reader(self.owners, memory)
        found: dict[NodeType | EdgeType, dict[str, Tensor]] = {}
        for name, node in self.book.nodes.items():
            places = self.book.place(name, sampled.nodes[name].numpy())
            found[name] = reader.want(node, places, list(node.attributes), self.kept.get(name))
        for edge_type, edge in self.book.edges.items():
            found[edge_type] = reader.want(edge, sampled.positions[edge_type].numpy(), list(edge.attributes))
        reader.read()
        return found

    def node_rows(self, node_type: NodeType, name: str, ids: Tensor | np.ndarray) -> Tensor:
        """Rows of one attribute, ``[ids, …]``.

        Raises:
            DataError: There is no such type, attribute or node.
        """
        self.check_node_type("The type of rows", node_type)
        return self.nodes[node_type][name].take(seed_ids(self, node_type, ids), Recycler())

    def edge_time(self, edge_type: EdgeType, name: str) -> Tensor:
        """All times of an edge type.

        Raises:
            ConfigError: Its edges are in order of another time.
        """
        if (have := self.book.edges[edge_type].time) != name:
            raise ConfigError(f"The edges {edge_type} are sorted by {have!r} in their parts, got {name!r}")
        return torch.from_numpy(self._all(edge_type)[2])

    def _all(self, edge_type: EdgeType) -> list[np.ndarray]:
        """Source, target and time of all edges of a type, by their columns in the graph."""
        one = self.book.edges[edge_type]
        number = list(self.book.edges).index(edge_type)
        out = [np.zeros(len(one), dtype=np.int64) for _ in range(2 if one.time is None else 3)]
        for part, count in enumerate(np.diff(one.bounds).tolist()):
            for start in range(0, count, SLICE):
                fields = {"ask": "edges", "edge": number, "start": start, "stop": min(start + SLICE, count)}
                source, target, column, *time = self.owners.ask({part: Message(fields, [])})[part].arrays
                for whole, found in zip(out, (source, target, *time), strict=True):
                    whole[column] = found
        return out

    def _keep(self, home: int, size: int) -> None:
        """Reads the rows of other parts that are needed most."""
        row_bytes = {
            name: sum(int(np.prod(shape)) * DTYPES[dtype].itemsize for dtype, shape in node.attributes.values())
            for name, node in self.book.nodes.items()
        }
        hot = {}
        for number, (name, row) in enumerate(row_bytes.items()):
            if row:
                fields = {"ask": "hot", "node": number, "most": size // row}
                hot[name] = self.owners.ask({home: Message(fields, [])})[home].arrays[0].astype(np.int64)
        wanted = sum(len(ids) * row_bytes[name] for name, ids in hot.items())
        share = min(1.0, size / wanted) if wanted else 0.0
        reader = Reader(self.owners, Recycler())
        places = {name: np.sort(self.book.place(name, ids[: int(len(ids) * share)])) for name, ids in hot.items()}
        rows = {
            name: reader.want(node := self.book.nodes[name], at, list(node.attributes)) for name, at in places.items()
        }
        reader.read()
        for name, at in places.items():
            values = {key: Rows(value).values for key, value in rows[name].items()}
            self.kept[name] = Kept(at, {key: value for key, value in values.items() if isinstance(value, np.ndarray)})

    def _rows(self, one: Type) -> dict[str, Rows]:
        return {name: _PartRows(self, one, name) for name in one.attributes}


class _PartRows(Rows):
    """An attribute whose rows lie in several parts; of edges, rows are positions."""

    def __init__(self, graph: GraphParts, one: Type, name: str) -> None:
        self.dtype, shape = one.attributes[name]
        self.values = torch.empty(0, *shape, dtype=self.dtype).expand(0, *shape)
        self._graph, self._type, self._name = graph, one, name

    def __len__(self) -> int:
        return len(self._type)

    def take(self, rows: np.ndarray, memory: Recycler) -> Tensor:
        """A copy of some rows."""
        graph, one = self._graph, self._type
        reader = Reader(graph.owners, memory)
        places = graph.book.place(one.name, rows) if one.name in graph.book.nodes else rows
        found = reader.want(one, places, [self._name], graph.kept.get(one.name))
        reader.read()
        return found[self._name]


class PartsPicker:
    """Lets every part draw from its own edges.

    Args:
        book: What is known of the parts.
        owners: Who is asked.
    """

    def __init__(self, book: Book, owners: Owners) -> None:
        self.edges: dict[EdgeType, Csc] = {}
        self._book, self._owners = book, owners
        self._numbers = {edge_type: number for number, edge_type in enumerate(book.edges)}

    def pick(self, wanted: Sequence[Wanted]) -> Iterator[Picked]:
        """Draws what a hop wants, by one question to each part."""
        shares: list[_Shares] = []
        fields: dict[int, list[dict[str, object]]] = {}
        arrays: dict[int, list[np.ndarray]] = {}
        for one in wanted:
            share = _Shares(self._book, one)
            shares.append(share)
            for part, mine, rows in share.of_parts():
                timed = [] if one.limit is None else [one.limit[mine]]
                fields.setdefault(part, []).append(
                    {
                        "edge": self._numbers[one.edge_type],
                        "key": int(one.key),
                        "fan_out": one.fan_out,
                        "replace": one.replace,
                        "timed": bool(timed),
                    }
                )
                arrays.setdefault(part, []).extend([rows, one.place[mine], *timed])
        asked = {part: Message({"ask": "draw", "wanted": fields[part]}, arrays[part]) for part in fields}
        replies = {part: iter(reply.arrays) for part, reply in self._owners.ask(asked).items()}
        for share in shares:
            yield share.joined(replies)


class _Shares:
    """What is wanted along one edge type, part by part."""

    def __init__(self, book: Book, wanted: Wanted) -> None:
        source, _, target = wanted.edge_type
        self._sources = len(book.nodes[source])
        self._node, self._edge = book.nodes[target], book.edges[wanted.edge_type]
        self._places = book.place(target, wanted.ids)
        owner = np.searchsorted(self._node.bounds[1:], self._places, side="right")
        self._order = np.argsort(owner, kind="stable")
        self._cuts = np.searchsorted(owner[self._order], np.arange(len(self._node.bounds)))

    def of_parts(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Each part that is asked, which of the targets it has, and which of its rows these are."""
        for part, (start, stop) in enumerate(zip(self._cuts[:-1], self._cuts[1:], strict=True)):
            if start < stop:
                mine = self._order[start:stop]
                yield part, mine, self._places[mine] - self._node.bounds[part]

    def joined(self, replies: Mapping[int, Iterator[np.ndarray]]) -> Picked:
        """What the parts have drawn, in the order of the targets.

        Raises:
            ArtifactError: One has sent something else.
        """
        size = np.zeros(len(self._order), dtype=np.int64)
        parts = []
        for part, mine, _ in self.of_parts():
            sizes, source, column, position = (next(replies[part], None) for _ in range(4))
            if sizes is None or source is None or column is None or position is None:
                raise self._wrong(part, "too few arrays")
            self._check(part, len(mine), sizes, source, column)
            size[mine] = sizes
            parts.append((part, mine, source, column, position))
        offset = np.concatenate([[0], np.cumsum(size)])
        source, column = np.empty((2, offset[-1]), dtype=np.int64)
        position = np.full(offset[-1], -1)
        for part, mine, its_source, its_column, its_position in parts:
            sizes = size[mine]
            where = np.arange(len(its_source)) + np.repeat(offset[mine] - (np.cumsum(sizes) - sizes), sizes)
            source[where], column[where] = its_source, its_column
            if self._edge.attributes:
                position[where] = its_position + self._edge.bounds[part]
        target = np.repeat(np.arange(len(size)), size)
        return Picked(size, target, source, column, position)

    def _check(self, part: int, targets: int, sizes: np.ndarray, source: np.ndarray, column: np.ndarray) -> None:
        """Raises where a compiled loop would read beyond an array."""
        if sizes.shape != (targets,) or sizes.dtype.kind != "i" or (sizes < 0).any():
            raise self._wrong(part, f"sizes {list(sizes.shape)} of {sizes.dtype} for {targets} targets")
        count = int(sizes.sum())
        for name, ends, most in (("sources", source, self._sources), ("columns", column, len(self._edge))):
            if ends.shape != (count,) or ends.dtype.kind != "i":
                raise self._wrong(part, f"{name} {list(ends.shape)} of {ends.dtype} for {count} edges")
            if count and not 0 <= ends.min() <= ends.max() < most:
                raise self._wrong(part, f"{name} beyond {most}")

    def _wrong(self, part: int, why: str) -> ArtifactError:
        return ArtifactError(
            f"Part {part} must send what it has drawn of {self._edge.name}, got {why}; "
            "install the same mmgraph on all machines"
        )
