"""Which nodes belong together, and all edges between them: what attention patterns are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.schema import Schema

MOST_EDGES = 50_000_000


class Members(NamedTuple):
    """Which nodes of one type are in which block; a node may be in several, or in none."""

    rows: Tensor  # [members], sorted by block, then by row
    blocks: Tensor  # [members]
    positions: Tensor  # [members]: where in the block's sequence


class Found(NamedTuple):
    """The blocks of a graph, as far as some node types go."""

    members: dict[str, Members]
    anchors: Members  # the anchors of each block
    num_blocks: int  # how many there are, those without members among them


def find_members(
    graph: HeteroData, schema: Schema, types: Sequence[str], *, group: str | None, position: str | None
) -> Found:
    """Finds the blocks of some node types.

    Args:
        graph: The graph.
        schema: What its types mean.
        types: Whose nodes.
        group: The attribute that tells the block of a node, int64 ``[rows]``, -1 for none: of the node type itself, or
            else of the anchor that its nodes are of. ``None``: the nodes of one anchor are a block.
        position: The attribute that tells where in its sequence a node is, ``[rows]``; ``None``: its place among the
            nodes of its type and block, in the order of rows.

    Raises:
        ConfigError: A type without nodes in the graph, or that hangs on no anchor and has no group.
        DataError: A group or a position that can't be read.
    """
    if absent := [node for node in types if node not in graph.node_types]:
        raise ConfigError(f"types must be among the graph's {graph.node_types}, got {absent[0]!r}")
    pairs = [_pairs(graph, schema, node, group) for node in types]
    pairs.append(_anchors(graph, schema, types, group))
    if group is None:
        count = graph[schema.anchor].num_nodes
    else:
        found, numbers = torch.cat([blocks for _, blocks in pairs]).unique(return_inverse=True)
        parts = numbers.split([len(blocks) for _, blocks in pairs])
        pairs, count = [(rows, part) for (rows, _), part in zip(pairs, parts, strict=True)], len(found)
    members = {
        node: _members(*ends, _position(graph, node, position)) for node, ends in zip(types, pairs, strict=False)
    }
    return Found(members, _members(*pairs[-1], None), count)


def join(
    source: Members,
    target: Members,
    *,
    before: float = float("inf"),
    after: float = float("inf"),
    loops: bool = True,
    same: bool = False,
) -> Tensor:
    r"""All edges within blocks, from sources that are not too far before or after the target.

    .. math:: \{u \to v : u \text{ and } v \text{ share a block},\ -before \le p_u - p_v \le after\}

    Args:
        source: Who is attended to.
        target: Who attends.
        before: How far back a target looks, in units of the position.
        after: How far ahead.
        loops: Whether a node attends to itself.
        same: Whether sources and targets are of one type.

    Returns:
        ``[2, edges]``, sorted by target, each pair once.

    Raises:
        DataError: There would be more than 50 million edges.
    """
    if len(source.rows) == 0 or len(target.rows) == 0:
        return source.rows.new_empty(2, 0)
    values = source.positions.unique()  # sorted
    ranks = torch.searchsorted(values, source.positions)
    order = (source.blocks * (len(values) + 1) + ranks).argsort(stable=True)
    keys = (source.blocks * (len(values) + 1) + ranks)[order]
    low = torch.searchsorted(values, target.positions - before)
    high = torch.searchsorted(values, target.positions + after, right=True)
    base = target.blocks * (len(values) + 1)
    first, last = torch.searchsorted(keys, base + low), torch.searchsorted(keys, base + high)
    counts = (last - first).clamp_min(0)
    total = int(counts.sum())
    if total > MOST_EDGES:
        raise DataError(
            f"The blocks must hold at most {MOST_EDGES:,} edges, got {total:,} in {len(target.blocks.unique()):,}; "
            "use smaller groups, windowed(...), or tokens (bottleneck, latents) through which they exchange"
        )
    starts = counts.cumsum(0) - counts
    member = torch.arange(len(counts)).repeat_interleave(counts)
    place = first.index_select(0, member) + torch.arange(total) - starts.index_select(0, member)
    index = torch.stack([source.rows[order].index_select(0, place), target.rows.index_select(0, member)])
    if same and not loops:
        index = index[:, index[0] != index[1]]
    return _once(index)


def joined(
    found: Found,
    pairs: Iterable[tuple[str, str]],
    relation: str,
    *,
    before: float = float("inf"),
    after: float = float("inf"),
    loops: bool = True,
) -> dict[EdgeType, Tensor]:
    """The edges of :func:`join` for some pairs of types, source and target."""
    return {
        (a, relation, b): join(found.members[a], found.members[b], before=before, after=after, loops=loops, same=a == b)
        for a, b in pairs
    }


def check_types(schema: Schema, types: Sequence[str] | None) -> tuple[str, ...]:
    """The node types that a pattern joins, each once: by default the modalities.

    Raises:
        ConfigError: There are none, or a string in place of a sequence.
    """
    if isinstance(types, str):
        raise ConfigError(f"types must be a sequence of node types, got the string {types!r}; wrap it in []")
    chosen = tuple(dict.fromkeys(schema.modalities if types is None else types))
    if not chosen:
        raise ConfigError("A pattern needs at least 1 node type to join, got none; name them by types=")
    return chosen


def _once(index: Tensor) -> Tensor:
    """The pairs by target and source, each once."""
    size = int(index[0].max()) + 1 if index.shape[1] else 1
    keys = index[1] * size + index[0]
    if bool((keys.diff() <= 0).any()):
        keys = keys.unique()
    return torch.stack([keys % size, keys // size])


def _pairs(graph: HeteroData, schema: Schema, node: str, group: str | None) -> tuple[Tensor, Tensor]:
    """The nodes that are in any block, and in which, by their numbers or their group's."""
    anchor, rows = schema.anchor, graph[node].num_nodes
    if group is not None and group in graph[node]:
        blocks = _read(graph, node, group)
        kept = (blocks >= 0).nonzero().flatten()
        return kept, blocks[kept]
    if node == anchor and group is None:
        return torch.arange(rows), torch.arange(rows)
    if anchor is None or (node, "of", anchor) not in graph.edge_types:
        raise ConfigError(
            f"Nodes must be of an anchor, or have a group, to be joined, got {node!r} without "
            f"{(node, 'of', anchor)} edges; set Schema(anchor=...), or graph[{node!r}].{group or 'group'} and group="
        )
    owned, owner = graph[node, "of", anchor].edge_index
    if group is None:
        return owned, owner
    if group not in graph[anchor]:
        raise ConfigError(f"group must be an attribute of {node!r} or of {anchor!r}, got {group!r}, which neither has")
    blocks = _read(graph, anchor, group)[owner]
    kept = blocks >= 0
    return owned[kept], blocks[kept]


def _anchors(graph: HeteroData, schema: Schema, types: Sequence[str], group: str | None) -> tuple[Tensor, Tensor]:
    """The anchors that are in any block, by themselves or by their nodes, and in which."""
    anchor, pairs = schema.anchor, [(torch.empty(0, dtype=torch.int64),) * 2]
    if anchor is not None and (group is None or group in graph[anchor]):
        return _pairs(graph, schema, anchor, group)
    for node in types:
        if (node, "of", anchor) in graph.edge_types and group is not None:
            owned, owner = graph[node, "of", anchor].edge_index
            blocks = _read(graph, node, group)[owned]
            pairs.append((owner[blocks >= 0], blocks[blocks >= 0]))
    rows, blocks = zip(*pairs, strict=True)
    return torch.cat(rows), torch.cat(blocks)


def _members(rows: Tensor, blocks: Tensor, positions: Tensor | None) -> Members:
    rows, blocks = _once(torch.stack([rows, blocks]))
    if positions is not None:
        return Members(rows, blocks, positions[rows].double())
    starts = torch.searchsorted(blocks, blocks)  # the first of each block
    return Members(rows, blocks, (torch.arange(len(rows)) - starts).double())


def _position(graph: HeteroData, node: str, position: str | None) -> Tensor | None:
    if position is None:
        return None
    values, rows = graph[node].get(position), graph[node].num_nodes
    if values is None or values.shape != (rows,):
        got = "none" if values is None else list(values.shape)
        raise DataError(f"{node!r} must have {position} [{rows}], one number a node, got {got}")
    if not bool(values.isfinite().all()):
        row = int((~values.isfinite()).nonzero()[0])
        raise DataError(f"{position} of {node!r} must be finite, got {float(values[row])} in row {row}")
    return values


def _read(graph: HeteroData, node: str, group: str) -> Tensor:
    blocks = graph[node][group]
    rows = graph[node].num_nodes
    if str(blocks.dtype) != "torch.int64" or blocks.shape != (rows,):
        raise DataError(
            f"{group} of {node!r} must be the number of each node's group, int64 [{rows}] (-1 for none), got "
            f"{blocks.dtype} {list(blocks.shape)}"
        )
    return blocks
