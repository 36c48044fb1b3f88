"""Neighbours drawn around seeds: small graphs out of one that is too large to be read whole."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.csc import Csc, check_times
from mmgraph.data.sampling.draw import key_of
from mmgraph.data.sampling.hidden import HiddenPairs
from mmgraph.data.sampling.memory import Recycler
from mmgraph.data.sampling.options import TimeOf, fan_outs, seed_ids, time_attributes
from mmgraph.data.sampling.pick import Picked, Wanted
from mmgraph.data.sampling.relabel import Scratch, SharedNodes, TreeNodes
from mmgraph.data.sampling.sampled import Sampled
from mmgraph.data.sampling.store import Store
from mmgraph.errors import ConfigError
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.data.collection import Collection

__all__ = ["NeighbourSampler", "Sampled"]

Nodes = SharedNodes | TreeNodes


class NeighbourSampler:
    """Draws neighbours of seeds, and neighbours of these, hop by hop; the result depends on its arguments alone.

    In each hop every node that the hop before has added gets neighbours along every edge type that points at its type:
    ``min(degree, fan_out)`` of them, every choice equally likely, each neighbour once (or, with ``replace``,
    ``fan_out`` of them where there are any). A node is expanded once, so a batch holds a node once, whoever reached it.

    With ``time``, no edge is drawn that is later than its seed's time (edges *at* that time are), at any distance.
    What one seed may see another may not, so each seed has a tree of its own (``disjoint``), and a node that is
    reached from two seeds is there twice.

    Source: Hamilton, Ying and Leskovec 2017, Inductive representation learning on large graphs, arXiv:1706.02216.

    Args:
        graph: One large graph in memory, a collection that holds one, or one that lies in parts (`GraphParts`).
            Attributes are read a batch at a time, and may be mapped from disk.
        fan_out: Neighbours a node in each hop, e.g. ``[10, 5]``, of every edge type; or a list an edge type (types that
            are left out are not followed). -1 takes all.
        replace: Draw each neighbour independently of the others.
        time: Name of the attribute that says when an edge came to be, on all edge types that are followed; or edge
            type → name (the others have no time, and can always be seen). Integers.
        disjoint: Give every seed a tree of its own.
        edges: Sorted edges that an earlier sampler of this graph has made (:attr:`edges`), e.g. of `open_csc`; by
            default they are sorted here.
        compiled: Whether numba compiles the loops; by default if it is installed. Results are the same.

    Raises:
        ConfigError: A fan-out that is neither a count nor -1, lists of different lengths, or edges of another graph.
        DataError: An unknown edge type, a missing time, or edges to nowhere.
        MissingPackageError: ``compiled`` is True, and numba is not installed.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.arange(4.0)[:, None]
        >>> graph["paper", "cites", "paper"].edge_index = torch.tensor([[1, 2, 3], [0, 1, 2]])
        >>> sampler = NeighbourSampler(graph, fan_out=[-1, -1])
        >>> batch = sampler.gather(sampler.sample({"paper": [0]}))
        >>> batch["paper"].n_id.tolist(), batch["paper", "cites", "paper"].edge_index.tolist()
        ([0, 1, 2], [[1, 2], [0, 1]])
        >>> batch["paper"].x.flatten().tolist(), batch["paper"].num_sampled_nodes
        ([0.0, 1.0, 2.0], [1, 1, 1])
    """

    def __init__(
        self,
        graph: HeteroData | Collection | Store,
        fan_out: Sequence[int] | Mapping[EdgeType, Sequence[int]],
        *,
        replace: bool = False,
        time: str | Mapping[EdgeType, str] | None = None,
        disjoint: bool = False,
        edges: Mapping[EdgeType, Csc] | None = None,
        compiled: bool | None = None,
    ) -> None:
        self.store = Store.of(graph)
        self.fan_out = fan_outs(fan_out, self.store)
        self.depth = len(next(iter(self.fan_out.values()), ()))
        self.replace = bool(replace)
        self.time = time_attributes(time, self.store, self.fan_out)
        self.disjoint = bool(disjoint) or time is not None
        self._picker = self.store.picker(self.fan_out, self.time, edges, compiled)
        self._compiled = importlib.util.find_spec("numba") is not None if compiled is None else compiled
        self._memory = Recycler()
        self._idle: list[dict[NodeType, Scratch]] = []  # one for each thread that samples at the same time

    def sample(
        self,
        seeds: Mapping[NodeType, Tensor | np.ndarray | Sequence[int]],
        *,
        seed: int = 0,
        time: TimeOf | None = None,
        hidden: Mapping[EdgeType, Tensor] | None = None,
    ) -> Sampled:
        """Draws the surroundings of some nodes.

        A seed that is given twice has two rows with the same neighbours (two trees, where they are disjoint).

        Args:
            seeds: Node type → rows of the graph.
            seed: Of the draws. Equal arguments draw the same, in any thread and process, compiled or not.
            time: Node type → the time of each seed; needed where the sampler knows times.
            hidden: Edge type → ``[2, pairs]`` of source and target: edges between them are taken out after the draw.

        Raises:
            DataError: An unknown type, a seed that is no node, or times that are missing or not integers.
        """
        given = {node_type: seed_ids(self.store, node_type, ids) for node_type, ids in seeds.items()}
        limit = self._limits(given, time)
        guards = {edge_type: HiddenPairs.of(pairs) for edge_type, pairs in (hidden or {}).items()}
        self.store.check_edge_types("A hidden edge's type", guards)
        scratch = self._scratch()
        nodes: dict[NodeType, Nodes] = {}
        trees = 0
        for name, count in self.store.num_nodes.items():
            trees_of = TreeNodes(count, compiled=self._compiled)
            nodes[name] = trees_of if self.disjoint else SharedNodes(scratch[name], compiled=self._compiled)
        for name in [*given, *(name for name in nodes if name not in given)]:
            ids = given.get(name, np.empty(0, dtype=np.int64))
            nodes[name].start(ids, np.arange(trees, trees + len(ids)))
            trees += len(ids)
        sampled = self._hops(nodes, seed, limit, guards)
        for one in nodes.values():
            one.end()
        self._idle.append(scratch)
        return sampled

    def gather(self, sampled: Sampled) -> HeteroData:
        """Gives a sample its attributes, read from the graph: a small graph, as PyTorch Geometric's loaders give it.

        Every node type has its attributes, ``n_id`` (rows of the graph), ``num_sampled_nodes`` and, where trees are
        disjoint, ``batch`` (whose tree a node is in); every edge type ``edge_index``, its attributes, ``e_id`` (columns
        of the graph's ``edge_index``) and ``num_sampled_edges``. An ``n_id`` or ``e_id`` that the graph has itself is
        kept. Only attributes with a row a node or edge are there.
        """
        from torch_geometric.data import HeteroData

        batch = HeteroData()
        found = self.store.read(sampled, self._memory)
        for node_type, ids in sampled.nodes.items():
            values: dict[str, Any] = {"n_id": ids, **found[node_type]}
            if node_type in self.store.counted:
                values["num_nodes"] = len(ids)
            if sampled.tree is not None:
                values["batch"] = sampled.tree[node_type]
            batch[node_type].update({**values, "num_sampled_nodes": sampled.num_nodes[node_type]})
        for edge_type, index in sampled.edges.items():
            values = {"edge_index": index, "e_id": sampled.columns[edge_type], **found[edge_type]}
            batch[edge_type].update({**values, "num_sampled_edges": sampled.num_edges[edge_type]})
        return batch

    @property
    def edges(self) -> Mapping[EdgeType, Csc]:
        """The sorted edges of each type that is followed; none where another process draws from them."""
        return self._picker.edges

    def _scratch(self) -> dict[NodeType, Scratch]:
        try:
            return self._idle.pop()
        except IndexError:
            return {name: Scratch(count) for name, count in self.store.num_nodes.items()}

    def _limits(self, given: Mapping[NodeType, np.ndarray], time: TimeOf | None) -> np.ndarray | None:
        """The time of each tree, ``[trees]``."""
        if not self.time:
            if time is not None:
                raise ConfigError(
                    "Seeds have times, but the sampler was made without; give it the attribute with the times of edges"
                )
            return None
        parts = []
        for node_type, ids in given.items():
            if time is None or node_type not in time:
                raise ConfigError(
                    f"Seeds of type {node_type!r} must have times, since edges do ({self.time}); "
                    "give the time up to which each seed may see edges"
                )
            parts.append(
                check_times(f"Times of seeds of type {node_type!r}", torch.as_tensor(time[node_type]), len(ids))
            )
        return torch.cat(parts).numpy() if parts else np.empty(0, dtype=np.int64)

    def _hops(
        self, nodes: dict[NodeType, Nodes], seed: int, limit: np.ndarray | None, guards: Mapping[EdgeType, HiddenPairs]
    ) -> Sampled:
        low = dict.fromkeys(nodes, 0)
        high = {name: one.count for name, one in nodes.items()}
        num_nodes = {name: [count] for name, count in high.items()}
        found = {edge_type: _Edges() for edge_type in self.store.edges}
        for hop in range(self.depth):
            before = {edge_type: edges.count for edge_type, edges in found.items()}
            wanted = [
                self._wanted(
                    edge_type, hops[hop], nodes[edge_type[2]].between(*span), key_of(seed, hop, edge_type), limit
                )
                for edge_type, hops in self.fan_out.items()
                if (span := (low[edge_type[2]], high[edge_type[2]]))[0] < span[1] and hops[hop] != 0
            ]
            for one, picked in zip(wanted, self._picker.pick(wanted), strict=True):
                source, _, target = one.edge_type
                guard = guards.get(one.edge_type)
                self._add(found[one.edge_type], nodes[source], nodes[target], low[target], one, picked, guard)
            for edge_type, edges in found.items():
                edges.hops.append(edges.count - before[edge_type])
            low, high = high, {name: one.count for name, one in nodes.items()}
            for name in nodes:
                num_nodes[name].append(high[name] - low[name])
        trees = {name: tree for name, one in nodes.items() if (tree := one.between(0, one.count)[1]) is not None}
        return Sampled(
            {name: torch.from_numpy(one.ids) for name, one in nodes.items()},
            {edge_type: torch.from_numpy(edges.index) for edge_type, edges in found.items()},
            {edge_type: torch.from_numpy(edges.column) for edge_type, edges in found.items()},
            {edge_type: torch.from_numpy(edges.position) for edge_type, edges in found.items()},
            num_nodes,
            {edge_type: edges.hops for edge_type, edges in found.items()},
            {name: torch.from_numpy(tree) for name, tree in trees.items()} or None,
        )

    def _wanted(
        self,
        edge_type: EdgeType,
        fan_out: int,
        targets: tuple[np.ndarray, np.ndarray | None],
        key: np.uint64,
        limit: np.ndarray | None,
    ) -> Wanted:
        """What one hop asks for along one edge type."""
        ids, tree = targets
        place = ids if tree is None else tree * self.store.num_nodes[edge_type[2]] + ids
        mine = None if limit is None or tree is None or edge_type not in self.time else limit[tree]
        return Wanted(edge_type, ids, place, mine, fan_out, self.replace, key)

    def _add(
        self,
        edges: _Edges,
        sources: Nodes,
        targets: Nodes,
        low: int,
        wanted: Wanted,
        picked: Picked,
        guard: HiddenPairs | None,
    ) -> None:
        """Adds the edges that were drawn, and the nodes that they come from."""
        _, tree = targets.between(low, low + len(wanted.ids))
        trees = None if tree is None else np.repeat(tree, picked.size)
        if guard is not None and (hidden := guard.among(picked.source, wanted.ids, picked.size)).any():
            trees = None if trees is None else trees[~hidden]
            picked = picked.without(hidden)
        row = edges.grow(picked)
        np.add(picked.target, low, out=row[1])
        sources.find(picked.source, trees, row[0])


class _Edges:
    """The edges of one type in a batch: rows of both ends, columns in the graph and positions, hop after hop."""

    def __init__(self) -> None:
        self.index = np.empty((2, 0), dtype=np.int64)
        self.column = np.empty(0, dtype=np.int64)
        self.position = np.empty(0, dtype=np.int64)
        self.hops: list[int] = []

    @property
    def count(self) -> int:
        return len(self.column)

    def grow(self, picked: Picked) -> np.ndarray:
        """Adds edges, and gives the room for their rows: ``[2, edges]``."""
        before = self.count
        index = np.empty((2, before + len(picked.column)), dtype=np.int64)
        index[:, :before] = self.index
        self.index = index
        self.column = np.concatenate([self.column, picked.column]) if before else picked.column
        self.position = np.concatenate([self.position, picked.position]) if before else picked.position
        return index[:, before:]
