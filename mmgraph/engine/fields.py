"""Fields: the vectors of one modality, or of one view of a model, that queries are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmgraph.errors import ConfigError
from mmgraph.index import Index

if TYPE_CHECKING:
    from torch import Tensor

    from mmgraph.assembly import Built


@dataclass(frozen=True)
class Near:
    """An index of most items of a field.

    Args:
        index: The index.
        item: Which item each of it is, ``[indexed]``; -1 for one that is gone.
        fresh: The items that it does not have.
    """

    index: Index
    item: np.ndarray
    fresh: np.ndarray

    def items(self, vector: np.ndarray, count: int) -> np.ndarray:
        """About ``count`` items near to a vector, and all that are too fresh to be known."""
        found = self.item[self.index.search_arrays(vector[None], count)[0][0]]
        return np.concatenate([found[found >= 0], self.fresh])


@dataclass(frozen=True)
class Field:
    """Vectors of nodes, sorted by what the nodes hang on.

    Args:
        name: A modality node type, or a view of a model.
        nodes: The node types that it stands for.
        owner: The node type that they hang on.
        vectors: Less their mean, float32 ``[items, channels]``.
        centre: The mean that was taken off, float32 ``[channels]``.
        rows: Which node each is, ``[items]``; of a view: which owner.
        start: Where the items of each owner begin, and where the last end, ``[owners + 1]``.
        is_view: Whether its items are owners as a model sees them.
        near: Finds items near to a vector without a look at all of them; ``None`` looks at all.
    """

    name: str
    nodes: tuple[str, ...]
    owner: str
    vectors: np.ndarray
    centre: np.ndarray
    rows: np.ndarray
    start: np.ndarray
    near: Near | None = None
    is_view: bool = False

    @classmethod
    def of(
        cls, name: str, nodes: tuple[str, ...], owner: str, x: Tensor, rows: np.ndarray, owners: np.ndarray, count: int
    ) -> Field:
        """Takes the mean off vectors ``[items, channels]``, and sorts them by their owners ``[items]``."""
        centre = x.mean(dim=0, dtype=torch.float64).to(x.dtype) if len(x) else x.new_zeros(x.shape[1])
        order = np.argsort(owners, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(np.int64)
        vectors = (x - centre)[torch.from_numpy(order)].numpy()
        return cls(name, nodes, owner, vectors, centre.numpy(), rows[order], start)

    @cached_property
    def squares(self) -> np.ndarray:
        """The squared length of each vector, float64 ``[items]``."""
        return np.einsum("ic,ic->i", self.vectors, self.vectors, dtype=np.float64)

    @cached_property
    def scale(self) -> np.ndarray:
        """One over the length of each vector, float32 ``[items]``; 0 for zero vectors."""
        lengths = np.sqrt(self.squares)
        return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(np.float32)

    def with_index(self, index: Index, base: np.ndarray) -> Field:
        """The same with an index whose ids are rows of a base.

        Args:
            index: The index.
            base: The row in the base of each row that ``rows`` may name; -1 for none.
        """
        place = dict(zip(index.ids, range(len(index)), strict=True))
        known = np.array([place.get(str(row), -1) for row in base[self.rows].tolist()], dtype=np.int64)  # [items]
        item = np.full(len(index), -1)
        item[known[known >= 0]] = np.flatnonzero(known >= 0)
        return replace(self, near=Near(index, item, np.flatnonzero(known < 0)))

    @cached_property
    def owners(self) -> np.ndarray:
        """What each item hangs on, ``[items]``."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def modality_fields(built: Built) -> dict[str, Field]:
    """A field for each modality node type whose features can be compared; none for what a model made."""
    fields = {}
    for node in built.payloads:
        if built.schema.nodes[node].generated is not None:
            continue
        owner = owner_of(built, node)
        x = built.graph[node].get("x")
        if x is None or x.dim() != 2 or not x.shape[1]:
            continue
        row, owners = built.graph[node, "of", owner].edge_index.numpy()
        fields[node] = Field.of(
            node, (node,), owner, x[torch.from_numpy(row)], row, owners, built.graph[owner].num_nodes
        )
    return fields


def view_fields(built: Built, vectors: Mapping[str, Tensor], views: Mapping[str, tuple[str, ...]]) -> dict[str, Field]:
    """A field for each view of a model, from its vectors of all anchors, NaN where there is none."""
    fields = {}
    for name, states in vectors.items():
        rows = (~states.isnan().any(dim=1)).nonzero().flatten()
        found = rows.numpy()
        one = Field.of(name, views[name], built.anchor, states[rows], found, found, len(states))
        fields[name] = replace(one, is_view=True)
    return fields


def owner_of(built: Built, node: str) -> str:
    """The type that the nodes of a modality hang on.

    Raises:
        ConfigError: There is no such modality node type.
    """
    if node not in built.payloads:
        raise ConfigError(f"A modality node type must be one of {sorted(built.payloads)}, got {node!r}")
    return next(edge[2] for edge in built.schema.edges if edge[:2] == (node, "of"))
