"""The nearest rows at scale: sources sorted by k-means cell, each query compared with the cells nearest to it.

A query's nearest rows lie in few cells, and how few can be measured: a sample of the queries is compared with all
sources, and the ranks of the cells in which their true neighbours lie say what any number of probes would have found.
So recall is what is asked for and the number of probes follows, not the other way round. Where cells save too little
(few queries, few rows, or no structure to find, as in isotropic noise of many channels) every source is compared.

Both ways run as one: blocks of queries against blocks of sources, one matrix product each, from which only what beats
a query's present ``k``-th best is taken further. So the price is that of the products, and no large matrix is held.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mmgraph.functional.kmeans import POINTS, kmeans, nearest_centres
from mmgraph.functional.similarity import Metric, Neighbours, directions, in_order

BLOCK_ELEMENTS = 1 << 19  # scores held at once: 2 MiB of float32
LANES = 32  # columns of a block of scores whose best are looked at first
PENDING = 1 << 22  # contenders held before they are merged
BLOCK_PROBES = 1 << 22  # (query, cell) pairs sorted at once
TILE = 1024  # sources of one product where all are compared
ROUNDS = 5  # of k-means
SAMPLE = 1000  # queries that are compared with all sources, to measure recall
HEAD = 8  # cells a query that are found along with its own
WORTH = 0.5  # of the comparisons of an exact search: above, it is searched exactly


class Search(NamedTuple):
    """Nearest rows, and how well and how cheaply they were found."""

    neighbours: Neighbours
    recall: float  # share of the true neighbours that is found, by a sample of the queries; 1 if all were compared
    share: float  # of all pairs of a query and a source that were compared, by the same sample


class _Blocks(NamedTuple):
    """Sources, block after block."""

    rows: Tensor  # [sources, channels]
    half: Tensor  # [sources], added to the products
    order: Tensor | None  # [sources], which source each row is; None: as they came
    starts: list[int]  # [blocks + 1]


def nearest_rows(
    x: Tensor,
    y: Tensor,
    *,
    k: int,
    metric: Metric = "euclidean",
    recall: float | None = None,
    exclude: Tensor | None = None,
    seed: int = 0,
) -> Search:
    r"""The ``k`` nearest sources of each query: all of them, or as many as ``recall`` asks for and much sooner.

    With ``recall``, sources are sorted into about :math:`3\sqrt{n}` k-means cells, and a query is compared with the
    sources of its nearest cells (an inverted file: Jégou, Douze & Schmid 2011, Product Quantization for Nearest
    Neighbor Search, IEEE TPAMI 33, doi:10.1109/TPAMI.2010.57). Their number is the least with which 1,000 sampled
    queries, compared with all sources, find the asked share of their neighbours, two standard errors to spare. Where
    that would take half of the work of an exact search or more, the search is exact; so it is for queries whose cells
    hold fewer than ``k`` sources. Equal calls give equal results.

    Scores are those of :func:`closeness`: :math:`x \cdot y - \|y\|^2/2`, or the cosine (of the centred rows), in
    float32. Which of several equal ones are among the ``k`` is arbitrary; those that are stand by source row.

    Args:
        x: Queries, ``[queries, channels]``.
        y: Sources, ``[sources, channels]``; may be ``x`` itself, which saves a pass.
        k: How many neighbours.
        metric: Which distance.
        recall: Share of the true neighbours to find, below 1, e.g. .98; ``None`` for all.
        exclude: ``[queries]``: for each query the source row that it may not have (itself), or -1.
        seed: Draws the sample, and the first centres.

    Returns:
        The neighbours, best first (-1 where there are fewer than ``k``), the estimated recall, and the share of all
        pairs that were compared.

    Raises:
        ValueError: ``recall`` is not between 0 and 1.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> found = nearest_rows(x, x, k=1, exclude=torch.arange(3))
        >>> found.neighbours.index.tolist(), found.recall
        ([[1], [0], [1]], 1.0)
    """
    if recall is not None and not 0 < recall < 1:
        raise ValueError(f"recall must be above 0 and below 1, or None for an exact search, got {recall}")
    same = x is y
    x, y = x.detach().float(), y.detach().float()
    if metric == "euclidean":
        half = -y.square().sum(dim=1) / 2  # [sources]
    else:
        y = directions(y, metric=metric)
        x, half = y if same else directions(x, metric=metric), y.new_zeros(len(y))
    cells = round(3 * math.sqrt(len(y)))
    affordable = WORTH * len(x) * len(y)
    if recall is None or k > WORTH * len(y) or _price(len(x), len(y), cells) > affordable:
        found, reached, share = _exact(x, y, half, k, exclude), 1.0, 1.0
    else:
        found, reached, share = _by_cells(x, x if same else y, half, k, exclude, cells, recall, seed)
    return Search(in_order(found), reached, share)


def _price(queries: int, sources: int, cells: int) -> int:
    """Comparisons made before the first neighbour is found."""
    train = min(POINTS * cells, sources) * cells * ROUNDS
    return train + (sources + queries) * cells + min(SAMPLE, queries) * sources


def _exact(x: Tensor, y: Tensor, half: Tensor, k: int, exclude: Tensor | None) -> Neighbours:
    tiles = -(-len(y) // TILE)
    blocks = _Blocks(y, half, None, [min(tile * TILE, len(y)) for tile in range(tiles + 1)])
    return _search(x, blocks, torch.arange(tiles, dtype=torch.int32, device=x.device).expand(len(x), -1), k, exclude)


def _by_cells(
    x: Tensor, y: Tensor, half: Tensor, k: int, exclude: Tensor | None, cells: int, recall: float, seed: int
) -> tuple[Neighbours, float, float]:
    chance = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(x), generator=chance)[:SAMPLE].to(x.device)  # none that the centres started from
    centres = kmeans(y, cells, rounds=ROUNDS, seed=int(torch.randint(1 << 31, (), generator=chance)))
    head = nearest_centres(y, centres, min(HEAD, cells))  # [sources, head]
    cell = head[:, 0].long()
    size = torch.bincount(cell, minlength=cells)  # [cells]
    ranking = nearest_centres(x[drawn], centres, cells).long()  # [sample, cells]
    true = _exact(x[drawn], y, half, k, None if exclude is None else exclude[drawn]).index  # [sample, k]
    ranks = ranking.argsort(dim=1).gather(1, cell[true])  # [sample, k]: in which of its nearest cells each one lies
    probes, reached = _probes(ranks, cells, recall)
    share = float(size[ranking[:, :probes]].sum()) / (len(drawn) * len(y))
    if share > WORTH:
        return _exact(x, y, half, k, exclude), 1.0, 1.0
    order = cell.argsort(stable=True)
    blocks = _Blocks(y[order], half[order], order, [0, *size.cumsum(0).tolist()])
    if x is not y or probes > head.shape[1]:
        head = nearest_centres(x, centres, probes)  # [queries, probes]
    found = _search(x, blocks, head[:, :probes], k, exclude)
    short = (found.index < 0).any(dim=1).nonzero().flatten()  # whose cells hold fewer than k
    if len(short):
        own = None if exclude is None else exclude[short]
        found.index[short], found.score[short] = _exact(x[short], y, half, k, own)
    return found, reached, share


def _probes(ranks: Tensor, cells: int, recall: float) -> tuple[int, float]:
    """How many cells a query must be compared with, and the recall that they give.

    Args:
        ranks: ``[sample, k]``: which nearest cell of the query each true neighbour lies in.
        cells: How many there are.
        recall: The least recall, at two standard errors below the sample's.
    """
    hits = torch.zeros(len(ranks), cells, device=ranks.device).scatter_add_(1, ranks, torch.ones_like(ranks).float())
    found = hits.cumsum(1) / ranks.shape[1]  # [sample, cells], with one probe, two, ...
    mean, error = found.mean(0), found.std(0, correction=0) / math.sqrt(len(ranks))
    low = (mean - 2 * error < recall).nonzero().flatten()  # never the last: all cells hold all neighbours
    least = int(low[-1]) + 2 if len(low) else 1
    return least, float(mean[least - 1])


def _search(x: Tensor, blocks: _Blocks, probes: Tensor, k: int, exclude: Tensor | None) -> Neighbours:
    """The best sources of each query among those of its blocks, ``probes`` ``[queries, probes]``, nearest first."""
    wanted = k if exclude is None else k + 1
    index = torch.full((len(x), wanted), -1, device=x.device)
    score = x.new_full((len(x), wanted), -torch.inf)
    if index.numel() == 0 or probes.shape[1] == 0:
        return Neighbours(index[:, :k], score[:, :k])
    neighbouring = probes[:, 0].argsort(stable=True)  # queries of one cell together: their cells are the same few
    for rows in neighbouring.split(max(1, BLOCK_PROBES // probes.shape[1])):
        block, own = x.index_select(0, rows), probes.index_select(0, rows)
        best = Neighbours(index[rows], score[rows])
        low, high = 0, 1
        while low < probes.shape[1]:  # the first block, three more, twelve more: what is known by then bars the rest
            best = _further(block, blocks, own[:, low:high], best)
            low, high = high, 4 * high
        index[rows] = best.index if blocks.order is None else blocks.order[best.index].where(best.index >= 0, -1)
        score[rows] = best.score
    found = Neighbours(index, score)
    return found if exclude is None else _without(found, exclude)


def _further(x: Tensor, blocks: _Blocks, probes: Tensor, best: Neighbours) -> Neighbours:
    """The best of what was best and of some further blocks a query."""
    largest = max(end - start for start, end in pairwise(blocks.starts))
    buffer = x.new_empty(max(BLOCK_ELEMENTS, largest + LANES))
    pairs = probes.flatten()
    queries = pairs.argsort(stable=True).div_(probes.shape[1], rounding_mode="floor")
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    pending = 0
    for number, rows in enumerate(queries.split(torch.bincount(pairs, minlength=len(blocks.starts) - 1).tolist())):
        start, end = blocks.starts[number], blocks.starts[number + 1]
        if start == end or len(rows) == 0:
            continue
        sources, half = blocks.rows[start:end], blocks.half[start:end]
        steps = -(-(end - start) // LANES)
        for block in rows.split(max(1, BLOCK_ELEMENTS // (steps * LANES))):
            whole = buffer[: len(block) * steps * LANES].view(len(block), steps * LANES)
            score = whole[:, : end - start]
            whole[:, end - start :] = -torch.inf
            torch.addmm(half, x.index_select(0, block), sources.T, out=score)
            row, column, value = _contenders(whole, best.score[:, -1].index_select(0, block), best.score.shape[1])
            found.append((block.index_select(0, row), column + start, value))
            pending += len(row)
            if pending > PENDING:
                best, found, pending = _merge(best, found), [], 0
    return _merge(best, found)


def _contenders(score: Tensor, bars: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values of scores ``[block, columns]`` above the bar of their row, at most ``k`` a row or so.

    The columns stand in ``LANES`` lanes, whose largest are taken first: most hold nothing that is above.
    """
    peaks = score.view(len(score), -1, LANES).amax(dim=1)  # [block, lanes]
    some = (peaks.amax(dim=1) > bars).nonzero().flatten()
    row, lane = (peaks.index_select(0, some) > bars.index_select(0, some)[:, None]).nonzero().unbind(1)
    row = some.index_select(0, row)
    first = row * score.shape[1] + lane
    if len(row) <= k * len(score):
        place = first[:, None] + torch.arange(0, score.shape[1], LANES, device=score.device)  # [hits, steps]
        value = score.view(-1).take(place)
        hit, step = (value > bars.index_select(0, row)[:, None]).nonzero().unbind(1)
        if len(hit) <= k * len(score):
            return row.index_select(0, hit), lane.index_select(0, hit) + LANES * step, value[hit, step]
    value, column = score.topk(min(k, score.shape[1]), dim=1)  # as at first, where nothing is barred
    row, place = (value > bars[:, None]).nonzero().unbind(1)
    return row, column[row, place], value[row, place]


def _merge(best: Neighbours, found: list[tuple[Tensor, Tensor, Tensor]]) -> Neighbours:
    """The best of what was best and what is new, by one sort of integers: the query first, then its scores, falling."""
    rows, k = best.index.shape
    kept = torch.arange(rows, device=best.index.device).repeat_interleave(k)
    known = (kept, best.index.flatten(), best.score.flatten())
    query, place, score = (torch.cat(parts) for parts in zip(known, *found, strict=True))
    bits = score.view(torch.int32)
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers that are ordered as the numbers are
    order = ((query << 32) - rising).argsort()
    first = torch.bincount(query, minlength=rows).cumsum(0).roll(1)
    first[0] = 0
    kept = order[first[:, None] + torch.arange(k, device=order.device)]  # [rows, k]
    return Neighbours(place[kept], score[kept])


def _without(found: Neighbours, exclude: Tensor) -> Neighbours:
    """Leaves one of ``k + 1`` out: the excluded one where it is among them, otherwise the last."""
    k = found.index.shape[1] - 1
    hit = found.index == exclude[:, None]
    place = hit.byte().argmax(dim=1).where(hit.any(dim=1), k)  # [queries]
    column = torch.arange(k, device=place.device)
    column = column + (column >= place[:, None])  # [queries, k]
    return Neighbours(found.index.gather(1, column), found.score.gather(1, column))
