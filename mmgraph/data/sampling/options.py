"""What a sampler is told, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.sampling.store import Store
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import EdgeType, NodeType

TimeOf: TypeAlias = Mapping[NodeType, Tensor | np.ndarray | Sequence[int]]
"""Node type → the time of each of its seeds."""


def fan_outs(
    fan_out: Sequence[int] | Mapping[EdgeType, Sequence[int]], store: Store
) -> dict[EdgeType, tuple[int, ...]]:
    """The fan-out of every hop for each edge type that is followed, in the order of the graph.

    Raises:
        ConfigError: One is neither a count nor -1, or the lists differ in length.
        DataError: An unknown edge type.
    """
    given = dict(fan_out) if isinstance(fan_out, Mapping) else dict.fromkeys(store.edges, fan_out)
    store.check_edge_types("A type in fan_out", given)
    for edge_type, hops in given.items():
        if isinstance(hops, str | bytes) or not isinstance(hops, Sequence):
            raise ConfigError(f"fan_out must be a list with a number a hop, e.g. [10, 5], got {hops!r} for {edge_type}")
        for number in hops:
            if type(number) is bool or not isinstance(number, int | np.integer) or number < -1:  # type: ignore[redundant-expr]
                raise ConfigError(
                    f"fan_out must be counts of neighbours, or -1 for all, got {number!r} for {edge_type}; "
                    "0 follows no edge in that hop"
                )
    if len(lengths := {len(hops) for hops in given.values()}) > 1:
        raise ConfigError(
            f"fan_out must have as many hops for every edge type, got {sorted(lengths)}; write 0 for a hop without"
        )
    return {edge_type: tuple(int(n) for n in given[edge_type]) for edge_type in store.edges if edge_type in given}


def time_attributes(
    time: str | Mapping[EdgeType, str] | None, store: Store, followed: Mapping[EdgeType, Any]
) -> dict[EdgeType, str]:
    """The attribute with the times, for each edge type that has some.

    Raises:
        DataError: An unknown edge type, or one without that attribute.
    """
    if time is None:
        return {}
    named = dict(time) if isinstance(time, Mapping) else dict.fromkeys(followed, time)
    store.check_edge_types("A type in time", named)
    for edge_type, name in named.items():
        if name not in store.edges[edge_type]:
            raise DataError(
                f"Edge type {edge_type} must have times in an attribute {name!r} [edges], it has "
                f"{list(store.edges[edge_type])}; give time={{edge type: name}} if some edge types have no times"
            )
    return {edge_type: name for edge_type, name in named.items() if edge_type in followed}


def seed_ids(store: Store, node_type: NodeType, ids: Any) -> np.ndarray:
    """Seeds as rows of the graph, int64 ``[seeds]``; a mask ``[nodes]`` names the rows where it is True.

    Raises:
        DataError: They are no integers, or no nodes of that type.
    """
    store.check_node_type("The type of seeds", node_type)
    count = store.num_nodes[node_type]
    rows = torch.as_tensor(ids).detach().cpu().numpy()
    if rows.dtype == np.bool_ and rows.shape == (count,):
        return np.flatnonzero(rows)
    if rows.size == 0 and rows.ndim == 1:
        return np.empty(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(
            f"Seeds must be rows of {node_type!r}, [seeds] of integers, or a mask [{count}], "
            f"got {list(rows.shape)} of {rows.dtype}"
        )
    if rows.min() < 0 or rows.max() >= count:
        wrong = rows[(rows < 0) | (rows >= count)][0]
        raise DataError(f"Seeds must be rows of {node_type!r}, which has {count} nodes, got {wrong}")
    return np.ascontiguousarray(rows, dtype=np.int64)
