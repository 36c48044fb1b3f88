"""What batches are drawn around: nodes, or edges with negatives beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.csc import Csc, check_times
from mmgraph.data.sampling.draw import key_of
from mmgraph.data.sampling.negatives import draw_negatives
from mmgraph.data.sampling.options import seed_ids
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.data.sampler import NeighbourSampler


@dataclass(frozen=True, eq=False)
class NodeSeeds:
    """Nodes to draw batches around.

    A batch has them first, in their order: rows 0 to ``batch_size - 1`` of their type, where ``input_id`` says which of
    the seeds they are.

    Args:
        node_type: Their type.
        ids: Rows of the graph ``[seeds]``, or a mask ``[nodes]``; by default all nodes.
        time: ``[seeds]`` of integers: up to when each may see edges.
    """

    node_type: NodeType
    ids: Tensor | np.ndarray | Sequence[int] | None = None
    time: Tensor | np.ndarray | Sequence[int] | None = None

    def on(self, sampler: NeighbourSampler) -> NodeDraws:
        """What the seeds are in the graph of a sampler.

        Raises:
            DataError: An unknown type, a seed that is no node, or times that are missing or no integers.
        """
        return NodeDraws(self, sampler)


@dataclass(frozen=True, eq=False)
class LinkSeeds:
    """Edges to draw batches around, for link prediction.

    In a batch the edge type has ``edge_label_index [2, labelled]`` (rows of the batch), ``edge_label`` and
    ``input_id`` (which of the seed edges the first of them are). Negatives follow the seed edges: number j has the
    source of seed edge ``j mod seeds`` and a target drawn uniformly from all nodes of the target type, and label 0.

    The seed edges of a batch are taken out of its message edges, all edges between the same two nodes too, and with
    ``reverse`` the ones that run back. Otherwise a model would read its answer off the edges.

    Args:
        edge_type: Their type.
        index: Rows of the graph ``[2, seeds]``; by default all edges of the type.
        label: ``[seeds]``; by default 1. Only edges with another label than 0 are taken out.
        time: ``[seeds]`` of integers: up to when each may see edges; by default the times of the edges, if ``index``
            is left out.
        negatives: Negatives a seed edge, e.g. 1.0 or 0.5; rounded to a whole number a batch.
        unseen: Never draw a negative that is an edge of the graph or a seed edge.
        hide: Whether the seed edges are taken out.
        reverse: Edge type that holds the same edges, target to source; it may be the edge type itself.
    """

    edge_type: EdgeType
    index: Tensor | None = None
    label: Tensor | None = None
    time: Tensor | None = None
    negatives: float = 1.0
    unseen: bool = False
    hide: bool = True
    reverse: EdgeType | None = None

    def on(self, sampler: NeighbourSampler) -> LinkDraws:
        """What the seeds are in the graph of a sampler.

        Raises:
            DataError: An unknown type, an end that is no node, labels or times of another length.
            ConfigError: ``negatives`` is negative, or ``reverse`` joins other types.
        """
        return LinkDraws(self, sampler)


class NodeDraws:
    """Draws batches around nodes; the n-th seed is the n-th sample."""

    def __init__(self, seeds: NodeSeeds, sampler: NeighbourSampler) -> None:
        self.sampler = sampler
        self.node_type = seeds.node_type
        sampler.store.check_node_type("The type of seeds", seeds.node_type)
        everything = np.arange(sampler.store.num_nodes[seeds.node_type]) if seeds.ids is None else seeds.ids
        self.ids = seed_ids(sampler.store, seeds.node_type, everything)
        self.time = _times(seeds.time, len(self.ids), sampler, "a time for each of NodeSeeds")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def parts(self) -> list[np.ndarray]:
        """All that says which seeds these are."""
        return [self.ids] if self.time is None else [self.ids, self.time.numpy()]

    def draw(self, numbers: np.ndarray, seed: int) -> HeteroData:
        """The batch around some of the seeds, ``[batch]``."""
        rows = torch.from_numpy(numbers)
        time = None if self.time is None else self.time[rows]
        sampled = self.sampler.sample(
            {self.node_type: self.ids[numbers]}, seed=seed, time=None if time is None else {self.node_type: time}
        )
        batch = self.sampler.gather(sampled)
        store = batch[self.node_type]
        store.input_id, store.batch_size = rows, len(rows)
        if time is not None:
            store.seed_time = time
        return batch


class LinkDraws:
    """Draws batches around edges; the n-th seed edge is the n-th sample."""

    def __init__(self, seeds: LinkSeeds, sampler: NeighbourSampler) -> None:
        store, self.sampler, self.seeds = sampler.store, sampler, seeds
        store.check_edge_types("The type of seeds", [seeds.edge_type])
        self.source_type, _, self.target_type = seeds.edge_type
        index = store.index(seeds.edge_type) if seeds.index is None else seeds.index
        if index.dim() != 2 or len(index) != 2:
            raise DataError(f"Seed edges must be [2, seeds], got {list(index.shape)}")
        self.index = np.stack(
            [seed_ids(store, self.source_type, index[0]), seed_ids(store, self.target_type, index[1])]
        )
        time = seeds.time
        if time is None and seeds.index is None and seeds.edge_type in sampler.time:
            time = store.edge_time(seeds.edge_type, sampler.time[seeds.edge_type])
        self.time = _times(time, len(self), sampler, "a time for each of LinkSeeds")
        self.label = self._labels()
        self._check_options()
        positive = self.index[:, self.label.cpu().numpy() != 0] if self.label.dim() == 1 else self.index
        self._known: list[Csc] = []
        if seeds.unseen:
            self._known = [self._sorted(torch.from_numpy(positive))]
            csc = sampler.edges.get(seeds.edge_type)
            self._known.append(self._sorted(store.index(seeds.edge_type)) if csc is None else csc)

    def __len__(self) -> int:
        return self.index.shape[1]

    @property
    def parts(self) -> list[np.ndarray]:
        """All that says which seeds these are."""
        options = np.frombuffer(repr(self.seeds.edge_type).encode(), np.uint8)
        return [options, self.index, *([] if self.time is None else [self.time.numpy()])]

    def draw(self, numbers: np.ndarray, seed: int) -> HeteroData:
        """The batch around some of the seed edges, ``[batch]``."""
        rows = torch.from_numpy(numbers)
        source, target = self.index[:, numbers]
        label = self.label[rows]
        count = round(self.seeds.negatives * len(numbers))
        whose = np.arange(count) % max(len(numbers), 1)  # the seed edge of each negative
        away = draw_negatives(
            source[whose], self.sampler.store.num_nodes[self.target_type], key_of(seed, "negatives"), self._known
        )
        targets = np.concatenate([target, away])
        time = None if self.time is None else self.time[rows]
        nodes, ends, owner = self._ends(source, targets, np.concatenate([np.arange(len(numbers)), whose]))
        sampled = self.sampler.sample(
            nodes,
            seed=seed,
            time=None if time is None else {name: time[torch.from_numpy(mine)] for name, mine in owner.items()},
            hidden=self._hidden(source, target, label),
        )
        batch = self.sampler.gather(sampled)
        if sampled.tree is not None:
            whole = torch.from_numpy(np.concatenate([owner[name] for name in nodes]))
            for name, tree in sampled.tree.items():
                batch[name].batch = whole[tree]
        store = batch[self.seeds.edge_type]
        sources = np.concatenate([ends[0], ends[0][whose]])
        store.edge_label_index = torch.from_numpy(np.stack([sources, ends[1]]))
        store.edge_label = torch.cat([label, label.new_zeros(count, *label.shape[1:])])
        store.input_id = rows
        if time is not None:
            store.seed_time = time
        return batch

    def _ends(
        self, source: np.ndarray, target: np.ndarray, owner: np.ndarray
    ) -> tuple[dict[NodeType, np.ndarray], tuple[np.ndarray, np.ndarray], dict[NodeType, np.ndarray]]:
        """The seed nodes of each type, the row of each source and target, and which seed edge each node is there for.

        Where trees are disjoint, every end is a node of its own; else a node is there once.
        """
        first = np.arange(len(source))
        if self.source_type == self.target_type:
            ids, whose = np.concatenate([source, target]), np.concatenate([first, owner])
            ids, rows, whose = self._once(ids, whose)
            return {self.source_type: ids}, (rows[: len(source)], rows[len(source) :]), {self.source_type: whose}
        sources, source_rows, of_source = self._once(source, first)
        targets, target_rows, of_target = self._once(target, owner)
        return (
            {self.source_type: sources, self.target_type: targets},
            (source_rows, target_rows),
            {self.source_type: of_source, self.target_type: of_target},
        )

    def _once(self, ids: np.ndarray, whose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.sampler.disjoint:
            return ids, np.arange(len(ids)), whose
        _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return ids[first[order]], rank[inverse], whose[first[order]]

    def _hidden(self, source: np.ndarray, target: np.ndarray, label: Tensor) -> dict[EdgeType, Tensor]:
        if not self.seeds.hide:
            return {}
        there = label.cpu().numpy() != 0 if label.dim() == 1 else np.ones(len(source), dtype=bool)
        pairs = torch.from_numpy(np.stack([source[there], target[there]]))
        hidden = {self.seeds.edge_type: pairs}
        if self.seeds.reverse is not None:
            known = hidden.get(self.seeds.reverse, pairs[:, :0])
            hidden[self.seeds.reverse] = torch.cat([known, pairs.flip(0)], dim=1)
        return hidden

    def _labels(self) -> Tensor:
        label = torch.ones(len(self)) if self.seeds.label is None else self.seeds.label
        if label.dim() == 0 or len(label) != len(self):
            raise DataError(f"Labels of seed edges must be [{len(self)}], got {list(label.shape)}")
        return label

    def _check_options(self) -> None:
        negatives = self.seeds.negatives
        if not isinstance(negatives, int | float) or not 0 <= negatives < math.inf:  # type: ignore[redundant-expr]
            raise ConfigError(f"negatives must be a number of at least 0, got {negatives!r}")
        if negatives and not self.sampler.store.num_nodes[self.target_type]:
            raise ConfigError(f"negatives need nodes of type {self.target_type!r}, got 0; set negatives=0")
        if negatives and self.label.dim() == 1 and bool((self.label == 0).any()):
            raise ConfigError(
                f"negatives must be 0 where some labels are 0 already, got {negatives}: the drawn ones get label 0 too"
            )
        reverse = self.seeds.reverse
        if reverse is not None:
            self.sampler.store.check_edge_types("reverse", [reverse])
            if (reverse[0], reverse[2]) != (self.target_type, self.source_type):
                raise ConfigError(f"reverse must run from {self.target_type!r} to {self.source_type!r}, got {reverse}")

    def _sorted(self, index: Tensor) -> Csc:
        counts = self.sampler.store.num_nodes
        return Csc.from_edges(index, num_sources=counts[self.source_type], num_targets=counts[self.target_type])


def _times(
    time: Tensor | np.ndarray | Sequence[int] | None, rows: int, sampler: NeighbourSampler, what: str
) -> Tensor | None:
    if (time is None) != (not sampler.time):
        raise ConfigError(
            f"The sampler was made with time={sampler.time or None}: {'' if sampler.time else 'leave out '}{what}"
            + (" must be given" if sampler.time else ", or make it with the attribute that holds the times of edges")
        )
    return None if time is None else check_times("Times of seeds", torch.as_tensor(time), rows)
