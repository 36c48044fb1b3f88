r"""Random walks along the edges of a graph: uniform (DeepWalk), second-order (node2vec), by type (metapath2vec).

.. math:: P(x \mid t, v) \propto \alpha_{pq}(t, x)\, w_{vx}, \qquad \alpha_{pq}(t, x) = \begin{cases}
    1 / p & x = t \\ 1 & t \to x \\ 1 / q & \text{else} \end{cases}

for a walk that came from t to v. Sources: Perozzi, Al-Rfou and Skiena 2014, DeepWalk, arXiv:1403.6652 (p = q = 1);
Grover and Leskovec 2016, node2vec, arXiv:1607.00653; Dong, Chawla and Swami 2017, metapath2vec,
doi:10.1145/3097983.3098036 (relations in turn).

A second-order step is drawn by rejection (Yang et al. 2019, KnightKing, doi:10.1145/3341301.3359634): a neighbour by
its weight, which is taken with probability α over the largest α; after 64 refusals the whole neighbourhood is weighed.
Both draw from the same distribution, and no table is kept for any edge.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.sampling import loops, steps
from mmgraph.data.sampling.draw import key_of, stream
from mmgraph.data.sampling.options import seed_ids
from mmgraph.data.sampling.store import Store
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True, eq=False)
class Outgoing:
    """The edges out of each node, those of one node together and in the order of where they lead.

    Attributes:
        indptr: Where the edges of each node begin, int64 ``[sources + 1]``.
        target: Where each edge leads, int64 ``[edges]``.
        mass: The weights up to and with each edge, added up from its node's first, float64; empty without weights.
    """

    indptr: np.ndarray
    target: np.ndarray
    mass: np.ndarray

    @classmethod
    def of(cls, index: np.ndarray, weight: np.ndarray | None, num_sources: int) -> Outgoing:
        """Sorts edges ``[2, edges]``, and adds up their weights ``[edges]``."""
        order = np.lexsort((index[1], index[0]))
        indptr = np.zeros(num_sources + 1, dtype=np.int64)
        np.cumsum(np.bincount(index[0], minlength=num_sources), out=indptr[1:])
        mass = np.empty(0) if weight is None else weight[order].astype(np.float64)
        if len(mass):
            size = np.diff(indptr)
            rows = indptr[:-1][np.argsort(-size, kind="stable")]  # where the longest begin, first
            longer = len(rows) - np.searchsorted(np.sort(size), np.arange(1, int(size.max())), side="right")
            for place, count in enumerate(longer, start=1):  # one addition after the other, as a loop over rows adds
                mass[rows[:count] + place] += mass[rows[:count] + place - 1]
        return cls(indptr, np.ascontiguousarray(index[1][order], dtype=np.int64), mass)


class Walker:
    """Walks along edges, from their source to their target; the edges are sorted once.

    A walk depends on its start, on how many walks from there were asked for before it, and on the seed: not on the
    other starts nor on their order. It ends where no edge leads on (or none of a weight above 0).

    Args:
        graph: The graph.
        relations: Edge types. They are walked along as one set of edges between nodes of one type, or
        in_turn: one after the other, step after step and from the first again: each begins at the node type where the
            one before it ended (``author -writes-> paper -written_by-> author``).
        p: How unlikely it is to go back at once (return parameter).
        q: How unlikely it is to go to what is no neighbour of the last node (in-out parameter): above 1 walks stay
            near, below 1 they go far. Neighbours of t are the nodes that an edge leads to from t.
        weighted: Draw edges by their ``edge_weight`` (where a type has none, by 1), which must be finite and at least
            0; else each is as likely.
        compiled: Use the loop compiled by numba, or numpy, which draws the same. By default what is there.

    Raises:
        ConfigError: No relation, relations that don't fit each other, a parameter that is not above 0, or p and q for
            relations in turn.
        DataError: An edge type that is not in the graph, an edge to no node, a weight below 0 or not finite.
        MissingPackageError: ``compiled`` without numba.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["room"].num_nodes = 4
        >>> graph["room", "door", "room"].edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> Walker(graph, [("room", "door", "room")])([0, 2], length=2)
        tensor([[ 0,  1,  2],
                [ 2,  3, -1]])
    """

    def __init__(
        self,
        graph: HeteroData,
        relations: Sequence[EdgeType],
        *,
        in_turn: bool = False,
        p: float = 1.0,
        q: float = 1.0,
        weighted: bool = False,
        compiled: bool | None = None,
    ) -> None:
        relations = [(source, relation, target) for source, relation, target in relations]
        self.in_turn, self.p, self.q = in_turn, float(p), float(q)
        self.compiled = importlib.util.find_spec("numba") is not None if compiled is None else compiled
        if not (0 < self.p < np.inf and 0 < self.q < np.inf):
            raise ConfigError(f"p and q must be finite and above 0, got {p} and {q}")
        if in_turn and (p, q) != (1, 1):
            raise ConfigError(f"p and q must be 1 where relations are walked along in turn, got {p} and {q}")
        self.node_types = _places(relations, in_turn=in_turn)
        store = Store.of(graph)
        store.check_edge_types("A relation to walk along", relations)
        self._store = store
        given = [_edges(graph, store, relation, weighted=weighted) for relation in relations]
        if not in_turn:
            given = [(np.concatenate([i for i, _ in given], axis=1), np.concatenate([w for _, w in given]))]
        self.outgoing = [
            Outgoing.of(index, weight if weighted else None, store.num_nodes[source])
            for source, (index, weight) in zip(self.node_types, given, strict=False)
        ]

    @property
    def _again(self) -> bool:
        """Whether the relations can be walked along again and again."""
        return len(self.node_types) == len(self.outgoing)

    def type_at(self, place: int) -> NodeType:
        """The type of the nodes at a place of all walks, 0 for the starts."""
        return self.node_types[place % len(self.outgoing) if self._again else place]

    def __call__(self, starts: Tensor | Sequence[int] | np.ndarray, length: int, *, seed: int = 0) -> Tensor:
        """Walks.

        Args:
            starts: Nodes of the first relation's source type, with repetitions ``[walks]``, or a mask ``[nodes]``.
            length: Steps, at most.
            seed: Of the walks.

        Returns:
            Nodes, int64 ``[walks, length + 1]``; the first is the start, and -1 stands behind the end.

        Raises:
            ConfigError: A length below 0, or more steps than there are relations that can't begin again.
            DataError: A start that is no node.
        """
        if length < 0:
            raise ConfigError(f"length must be at least 0 steps, got {length}")
        if length > len(self.outgoing) and not self._again:
            raise ConfigError(
                f"Relations that end at {self.node_types[-1]!r} and begin at {self.node_types[0]!r} can't begin again: "
                f"length must be at most {len(self.outgoing)}, got {length}"
            )
        nodes = seed_ids(self._store, self.node_types[0], starts)
        walks = np.full((len(nodes), length + 1), -1, dtype=np.int64)
        walks[:, 0] = nodes
        keys, place = _keys(nodes, seed), np.zeros(len(nodes), dtype=np.int64)
        if not self.in_turn:
            self._go_on(self.outgoing[0], keys, length, place, walks)
            return torch.from_numpy(walks)
        for number in range(length):
            place[walks[:, number] < 0] = number + 1  # it has ended
            self._go_on(self.outgoing[number % len(self.outgoing)], keys, number + 1, place, walks)
        return torch.from_numpy(walks)

    def _go_on(self, out: Outgoing, keys: np.ndarray, stop: int, place: np.ndarray, walks: np.ndarray) -> None:
        """Fills all walks up to a column."""
        walk, weigh = steps.walk_at_once, steps.weigh
        if self.compiled:
            walk, weigh = loops.compiled(steps.walk), loops.compiled(steps.weigh)
        rows = np.arange(len(walks))
        while len(rows):
            walk(out.indptr, out.target, out.mass, keys, self.p, self.q, rows, stop, place, walks)
            rows = rows[place[rows] < stop]  # where too many neighbours were refused
            with np.errstate(over="ignore"):  # the products of the stream wrap
                weigh(out.indptr, out.target, out.mass, keys, self.p, self.q, rows, place, walks)


def _places(relations: Sequence[EdgeType], *, in_turn: bool) -> list[NodeType]:
    """The node type at each place of a walk; the last one once, where the relations can't begin again."""
    if not relations:
        raise ConfigError("Walks need at least 1 relation to go along, got none")
    if not in_turn:
        if len(ends := {end for source, _, target in relations for end in (source, target)}) > 1:
            raise ConfigError(
                f"Relations must join nodes of one type, got {sorted(ends)}; "
                "set in_turn=True to walk along one after the other"
            )
        return [relations[0][0]]
    for one, other in itertools.pairwise(relations):
        if one[2] != other[0]:
            raise ConfigError(f"A relation must begin where the one before it ends, got {one} before {other}")
    begins = relations[-1][2] == relations[0][0]
    return [source for source, *_ in relations] + ([] if begins else [relations[-1][2]])


def _edges(graph: HeteroData, store: Store, relation: EdgeType, *, weighted: bool) -> tuple[np.ndarray, np.ndarray]:
    """The edges of a type, ``[2, edges]``, and their weights."""
    index = graph[relation].edge_index.detach().cpu().numpy()
    if index.ndim != 2 or len(index) != 2 or index.dtype.kind not in "iu":
        raise DataError(f"Edges of {relation} must be integers [2, edges], got {list(index.shape)} of {index.dtype}")
    for ends, node in zip(index, (relation[0], relation[2]), strict=True):
        if ends.size and (ends.min() < 0 or ends.max() >= store.num_nodes[node]):
            raise DataError(
                f"Edges of {relation} must join rows of {node!r} in [0, {store.num_nodes[node]}), "
                f"got {int(ends.min())} to {int(ends.max())}; mend edge_index, or the number of nodes"
            )
    given = graph[relation].get("edge_weight") if weighted else None
    if given is None:
        return index, np.ones(index.shape[1])
    weight = given.detach().cpu().double().numpy()
    if weight.shape != (index.shape[1],) or not np.isfinite(weight).all() or (weight < 0).any():
        wrong = weight[~np.isfinite(weight) | (weight < 0)][:1].tolist()
        raise DataError(
            f"Weights of {relation} must be finite and at least 0, [{index.shape[1]}], got {list(weight.shape)}"
            + (f" with {wrong[0]}" if wrong else "")
        )
    return index, weight


def _keys(nodes: np.ndarray, seed: int) -> np.ndarray:
    """A key for each walk, from its start and from how many of those before it start there."""
    order = np.argsort(nodes, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.unique(nodes, return_counts=True)[1])])
    turn = np.empty(len(nodes), dtype=np.int64)
    turn[order] = np.arange(len(nodes)) - np.repeat(first[:-1], np.diff(first))
    of_start: Any = stream(key_of("walks", seed), nodes + 1)
    return stream(of_start, turn + 1)
