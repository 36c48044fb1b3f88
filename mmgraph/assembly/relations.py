"""Relations between nodes: from tables of pairs, columns of keys, nearest features, and an order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mmgraph.assembly.cells import Cell, keys_of, label_of, number_of, ranks_of
from mmgraph.assembly.config import EdgeConfig, GraphConfig
from mmgraph.assembly.nodes import Nodes
from mmgraph.assembly.rejected import Rejected
from mmgraph.assembly.source import Source
from mmgraph.assembly.tables import open_table
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import nearest_rows
from mmgraph.typing import EdgeSet


def value_nodes(config: GraphConfig, nodes: Mapping[str, Nodes]) -> dict[str, Nodes]:
    """The node types without a table: a node for each distinct value of the columns that lead to them, sorted."""
    values: dict[str, set[str]] = defaultdict(set)
    for edge in config.edges:
        source, _, target = edge.type
        if edge.column is not None and target not in config.nodes:
            for cell in nodes[source].columns[edge.column]:
                try:
                    values[target].update(keys_of(cell, edge.separator) if cell is not None else ())
                except DataError:  # said when the edges are made
                    continue
    return {name: Nodes(sorted(found)) for name, found in values.items()}


def read_edges(
    source: Source,
    edge: EdgeConfig,
    nodes: Mapping[str, Nodes],
    features: Mapping[str, EdgeFeatures],
    rejected: Rejected,
) -> EdgeSet:
    """The edges of one relation; those that can't be made are set aside.

    Args:
        source: What the graph is built from.
        edge: The relation.
        nodes: Node type → its nodes.
        features: Modality node type → its features and whose they are.
        rejected: Takes what is set aside.

    Raises:
        DataError: A table or column is missing.
        ConfigError: The nearest are wanted by features that are no vectors.
    """
    if edge.table is not None:
        found = _from_table(source, edge, nodes, rejected)
    elif edge.column is not None:
        found = _from_column(edge, nodes, rejected, table=source.config.nodes[edge.type[0]].table)
    elif edge.nearest is not None:
        found = _nearest(*features[edge.nearest], edge)
    else:
        found = _in_order(edge, nodes[edge.type[0]], rejected, table=source.config.nodes[edge.type[0]].table)
    return _both_ways(found) if edge.symmetric else found


EdgeFeatures = tuple[Tensor, Tensor]
"""Features ``[rows, channels]``, and the node that each row hangs on ``[rows]``."""


def _from_table(source: Source, edge: EdgeConfig, nodes: Mapping[str, Nodes], rejected: Rejected) -> EdgeSet:
    assert edge.table is not None
    assert edge.source is not None
    assert edge.target is not None
    table, ends = open_table(source, edge.table), (nodes[edge.type[0]], nodes[edge.type[2]])
    columns = [edge.source, edge.target, *([edge.weight] if edge.weight else [])]
    broken: set[int] = set()

    def complain(row: int, reason: str) -> None:
        broken.add(row)
        rejected.add(table.name, row, "", None, reason)

    pairs: dict[tuple[int, int], float] = {}
    for first, cells in table.blocks(list(dict.fromkeys(columns)), complain):
        rows = list(zip(*(cells[column] for column in columns), strict=True))
        rejected.count(table.name, "", len(rows))
        for row, values in enumerate(rows, first):
            if row in broken:
                continue
            try:
                pair = _row(ends[0], values[0], columns[0]), _row(ends[1], values[1], columns[1])
                weight = _weight(values[2], columns[2]) if edge.weight else 1.0
                if edge.weight and pair in pairs:
                    raise DataError(f"a weighted pair must be given once, got {values[0]!r} → {values[1]!r} again")
            except DataError as error:
                rejected.add(table.name, row, "", " → ".join(map(str, values)), str(error))
                continue
            pairs[pair] = weight
    return _edges(pairs, weighted=edge.weight is not None)


def _row(nodes: Nodes, cell: Cell, column: str) -> int:
    if cell is None:
        raise DataError(f"column {column!r} must hold a key, got nothing")
    (key,) = keys_of(cell, None)
    node = nodes.find(key)
    if node is None:
        raise DataError(f"column {column!r} must hold the key of a node, got {key!r}, which is none")
    return node


def _weight(cell: Cell, column: str) -> float:
    value = number_of(cell) if cell is not None else None
    if value is None:
        raise DataError(f"column {column!r} must hold a weight, got nothing")
    return value


def _from_column(edge: EdgeConfig, nodes: Mapping[str, Nodes], rejected: Rejected, *, table: str) -> EdgeSet:
    assert edge.column is not None
    owners, targets = nodes[edge.type[0]], nodes[edge.type[2]]
    pairs: dict[tuple[int, int], float] = {}
    for node, cell in enumerate(owners.columns[edge.column]):
        if cell is None:
            continue
        row, key = int(owners.rows[node]), owners.keys[node]
        try:
            wanted = keys_of(cell, edge.separator)
        except DataError as error:
            rejected.count(table, edge.column, 1)
            rejected.add(table, row, edge.column, cell, str(error), key=key)
            continue
        rejected.count(table, edge.column, len(wanted))
        for one in wanted:
            target = targets.find(one)
            if target is not None:
                pairs[node, target] = 1.0
            else:
                reason = f"the key of a {edge.type[2]!r} is wanted, got {one!r}, which is none"
                rejected.add(table, row, edge.column, cell, reason, key=key)
    return _edges(pairs)


def _in_order(edge: EdgeConfig, nodes: Nodes, rejected: Rejected, *, table: str) -> EdgeSet:
    assert edge.order is not None
    groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
    cells, within = nodes.columns[edge.order], nodes.columns[edge.by] if edge.by else ["all"] * len(nodes)
    for node, (cell, rank, by) in enumerate(zip(cells, ranks_of(cells), within, strict=True)):
        if rank is None or by is None:
            continue
        rejected.count(table, edge.order, 1)
        try:
            if isinstance(rank, DataError):
                raise rank
            groups[label_of(by)].append((rank, node))
        except DataError as error:
            rejected.add(table, int(nodes.rows[node]), edge.order, cell, str(error), key=nodes.keys[node])
    pairs: dict[tuple[int, int], float] = {}
    for members in groups.values():
        ranked = [node for _, node in sorted(members)]
        pairs.update(dict.fromkeys(pairwise(ranked), 1.0))
    return _edges(pairs)


def _nearest(features: Tensor, owner: Tensor, edge: EdgeConfig) -> EdgeSet:
    """Joins each node to the ``k`` nearest by the mean of its features: from the near one to the node."""
    if features.dim() != 2 or not features.is_floating_point():
        raise ConfigError(
            f"Edge {list(edge.type)} needs vectors of {edge.nearest!r}, [rows, channels], got {list(features.shape)} "
            f"of {features.dtype}; choose an encoder that makes features"
        )
    owners, place = owner.unique(return_inverse=True)
    if len(owners) < 2:
        return EdgeSet(torch.empty(2, 0, dtype=torch.long))
    counts = torch.bincount(place).unsqueeze(1)
    means = torch.zeros(len(owners), features.shape[1]).index_add_(0, place, features) / counts
    k = min(edge.k, len(owners) - 1)
    found = nearest_rows(means, means, k=k, metric=edge.metric, exclude=torch.arange(len(owners))).neighbours.index
    target = torch.arange(len(owners)).repeat_interleave(k)
    return EdgeSet(torch.stack([owners[found.flatten()], owners[target]]))


def _both_ways(edges: EdgeSet) -> EdgeSet:
    index = torch.cat([edges.index, edges.index.flip(0)], dim=1)
    if edges.weight is None:
        return EdgeSet(index.unique(dim=1))
    weight = torch.cat([edges.weight, edges.weight])
    _, first = np.unique(index.numpy(), axis=1, return_index=True)
    return EdgeSet(index[:, first], weight[first])


def _edges(pairs: Mapping[tuple[int, int], float], *, weighted: bool = False) -> EdgeSet:
    index = torch.tensor(list(pairs), dtype=torch.long).reshape(-1, 2).T.contiguous()
    return EdgeSet(index, torch.tensor(list(pairs.values()), dtype=torch.float32) if weighted else None)
