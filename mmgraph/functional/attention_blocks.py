"""Where an edge set is a stack of blocks: groups of targets and sources, joined (nearly) completely.

Such blocks are what dense attention is fast on; other edges are better followed one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency

PAIR, BLOCK, STACK = 1 / 8, 12.0, 500.0
"""What dense attention takes for a pair of nodes, a block and a stack of blocks, in edges that are followed one by one.

Measured on a processor with 64 channels in 4 heads, forwards and backwards (benchmarks/attention.py).
"""

ROUNDS = 8
"""How often labels are passed on: enough for what is nearly complete; a chain takes more, and is no block."""


class Side(NamedTuple):
    """The targets, or the sources, of some blocks."""

    rows: Tensor  # [rows], block by block
    places: Tensor | None  # [rows]: their places in the padded blocks; None: one after the other, nothing is padded
    whole: bool  # whether these are all rows, in order


class Block(NamedTuple):
    """Some blocks, padded to one size."""

    shape: tuple[int, int, int]  # blocks, targets a block, sources a block
    targets: Side
    sources: Side
    edges: Tensor  # [edges]: which edges, in the order in which they were given
    pairs: Tensor  # [edges]: their places among blocks * targets * sources
    mask: Tensor | None  # [blocks, 1, targets or 1, sources], True where there is an edge; None: everywhere


class Blocks(NamedTuple):
    """An edge set, as far as it is blocks."""

    dense: tuple[Block, ...]
    rest: tuple[Adjacency, Tensor] | None  # the other edges, and which they are; None: none, if anything is dense


class _Parts(NamedTuple):
    """The connected parts of an edge set; the label of a part is the least of its sources."""

    of_target: Tensor  # [targets]: label of each; of one that no edge points at, the number of sources
    of_source: Tensor  # [sources]
    of_edge: Tensor  # [edges], by target
    whole: Tensor  # [labels]: whether it is all that is connected


def find_blocks(edges: Adjacency) -> Blocks:
    """Splits an edge set into stacks of padded blocks for dense attention, and the rest.

    A block is a connected part: some targets, and all sources that point at any of them. A stack of blocks, padded to
    the largest, is dense if following its edges one by one would take longer: if

    ``edges > PAIR * pairs + BLOCK * blocks + STACK``

    where pairs are all of the padded blocks. Blocks form one stack, or a stack for each octave of their sizes,
    whichever is less. Where an edge is there twice, its stack is not dense.

    Args:
        edges: Who points at whom.

    Example:
        >>> pairs = torch.cartesian_prod(torch.arange(40), torch.arange(40)).T
        >>> (block,), rest = find_blocks(Adjacency(torch.cat([pairs, pairs + 40], dim=1), 80, 80))
        >>> block.shape, block.mask, rest
        ((2, 40, 40), None, None)
        >>> find_blocks(Adjacency(pairs.new_tensor([[0, 1], [1, 2]]), 80, 80)).dense  # too few to pay
        ()
    """
    if edges.num_edges <= STACK:
        return Blocks((), None)
    parts = _parts(edges)
    size = edges.num_sources + 1
    counts = [torch.bincount(labels, minlength=size) for labels in (parts.of_target, parts.of_source, parts.of_edge)]
    stacks, count = _stacks(torch.stack(counts), parts.whole)  # [labels]
    of_edge = stacks.index_select(0, parts.of_edge)  # [edges], by target
    left = of_edge < 0
    dense = []
    for number in range(count):
        mine = of_edge == number
        block = _block(edges, parts, None if bool(mine.all()) else mine.nonzero().flatten(), stacks == number)
        if block is None:
            left |= mine
        else:
            dense.append(block)
    if not dense:
        return Blocks((), None)
    return Blocks(tuple(dense), _rest(edges, left) if bool(left.any()) else None)


def _parts(edges: Adjacency) -> _Parts:
    sources, targets = edges.sources.long(), edges.targets.long()
    nobody = edges.num_sources
    of_source = torch.arange(nobody, device=sources.device)
    for _ in range(ROUNDS):
        of_edge = of_source.index_select(0, sources)
        of_target = of_edge.new_full((edges.num_targets,), nobody).scatter_reduce(0, targets, of_edge, "amin")
        of_edge = of_target.index_select(0, targets)
        after = of_source.scatter_reduce(0, sources, of_edge, "amin")
        if torch.equal(after, of_source):
            break
        of_source = after
    at_source = of_source.index_select(0, sources)
    whole = torch.ones(nobody + 1, dtype=torch.bool, device=sources.device)
    split = (of_edge != at_source).nonzero().flatten()
    whole[of_edge.index_select(0, split)] = False
    whole[at_source.index_select(0, split)] = False
    whole[nobody] = False
    return _Parts(of_target, of_source, of_edge, whole)


def _stacks(counts: Tensor, whole: Tensor) -> tuple[Tensor, int]:
    """Number of the stack that each part is in, -1 for none, and how many stacks there are."""
    targets, sources, edges = counts  # of each part
    found = torch.full_like(targets, -1)
    pairs = targets * sources
    good = (whole & (edges <= pairs) & (edges > PAIR * pairs)).nonzero().flatten()
    if len(good) == 0:
        return found, 0
    targets, sources, edges = counts.index_select(1, good)
    octaves = torch.frexp((torch.maximum(targets, sources) - 1).double()).exponent  # 1 → 0, 2 → 1, 3 to 4 → 2, …
    gain, kept = 0.0, 0
    for octave in octaves.unique().tolist():
        mine = (octaves == octave).nonzero().flatten()
        if (more := _gain(targets[mine], sources[mine], edges[mine])) > 0:
            found[good[mine]] = kept
            gain, kept = gain + more, kept + 1
    if _gain(targets, sources, edges) > gain:
        found[good], kept = 0, 1
    return found, kept


def _gain(targets: Tensor, sources: Tensor, edges: Tensor) -> float:
    """How much less a stack of padded blocks takes than its edges one by one, in edges."""
    blocks = len(edges)
    pairs = blocks * int(targets.max()) * int(sources.max())
    return int(edges.sum()) - PAIR * pairs - BLOCK * blocks - STACK


def _block(edges: Adjacency, parts: _Parts, mine: Tensor | None, chosen: Tensor) -> Block | None:
    """The stack of some parts; ``None`` if an edge is there twice."""
    number = chosen.long().cumsum(0) - 1  # [labels]: which block
    count = int(number[-1]) + 1
    targets, target_places, most_targets = _places(parts.of_target, number, chosen, count)
    sources, source_places, most_sources = _places(parts.of_source, number, chosen, count)
    place = targets.new_empty(edges.num_targets).index_copy(0, targets, target_places * most_sources)
    slot = sources.new_empty(edges.num_sources).index_copy(0, sources, source_places % most_sources)
    ends = [ends if mine is None else ends.index_select(0, mine) for ends in (edges.targets, edges.sources)]
    pairs = place.index_select(0, ends[0]) + slot.index_select(0, ends[1])
    joined = torch.zeros(count * most_targets * most_sources, dtype=torch.bool, device=pairs.device)
    joined.index_fill_(0, pairs, True)
    if int(joined.count_nonzero()) < len(pairs):
        return None
    mask = None
    if len(pairs) < len(joined):
        mask = _mask(joined.view(-1, most_sources), target_places, source_places, count)
    sides = [
        Side(rows, None if len(rows) == count * most else places, _is_range(rows, total))
        for rows, places, most, total in (
            (targets, target_places, most_targets, edges.num_targets),
            (sources, source_places, most_sources, edges.num_sources),
        )
    ]
    order = edges.order if mine is None else edges.order.index_select(0, mine)
    return Block((count, most_targets, most_sources), sides[0], sides[1], order, pairs, mask)


def _places(labels: Tensor, number: Tensor, chosen: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
    """The rows of some parts, block by block, their places in the padded blocks, and the most rows of a block."""
    rows = chosen.index_select(0, labels).nonzero().flatten()
    block, order = number.index_select(0, labels.index_select(0, rows)).sort(stable=True)
    counts = torch.bincount(block, minlength=count)
    starts, most = counts.cumsum(0) - counts, int(counts.max())
    places = block * most + torch.arange(len(rows), device=rows.device) - starts.index_select(0, block)
    return rows.index_select(0, order), places, most


def _mask(joined: Tensor, targets: Tensor, sources: Tensor, count: int) -> Tensor:
    """Which of the pairs ``[blocks * targets, sources]`` are joined, said as briefly as it can be.

    Rows that hold no target read all, for nobody: reading nothing would give NaN.
    """
    there = torch.zeros(count * joined.shape[1], dtype=torch.bool, device=joined.device)
    there = there.index_fill_(0, sources, True).reshape(count, 1, -1)  # [blocks, 1, sources]
    padding = torch.ones(len(joined), dtype=torch.bool, device=joined.device).index_fill_(0, targets, False)
    joined = (joined | padding[:, None]).reshape(count, -1, joined.shape[1]) & there
    return there[:, None] if bool((joined == there).all()) else joined[:, None]


def _is_range(rows: Tensor, count: int) -> bool:
    return len(rows) == count and torch.equal(rows, torch.arange(count, device=rows.device))


def _rest(edges: Adjacency, left: Tensor) -> tuple[Adjacency, Tensor]:
    """Those edges as an edge set of their own, and which they are."""
    mine = left.nonzero().flatten()
    index = torch.stack([edges.sources.index_select(0, mine), edges.targets.index_select(0, mine)]).long()
    return Adjacency(index, edges.num_sources, edges.num_targets), edges.order.index_select(0, mine)
