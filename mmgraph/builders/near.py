"""Who is joined to whom: the nearest rows under a rule, group by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import ConfigError
from mmgraph.functional.cells import nearest_rows
from mmgraph.functional.similarity import (
    BLOCK_ELEMENTS,
    Metric,
    Neighbours,
    agree,
    agreement,
    distance,
    nearest,
    pair_distance,
    rbf,
)


class Group(NamedTuple):
    """Subjects that get neighbours, and those whom they may have as neighbours."""

    targets: np.ndarray
    sources: np.ndarray
    mutual: bool  # whether each edge also leads back


class Rule(NamedTuple):
    """What makes two rows neighbours, and how much an edge weighs."""

    metric: Metric | None  # None: phenotypes alone
    width: float | None  # of the kernel; None: distances only rank
    thresholds: Sequence[float | None]
    k: int | None
    what: str  # for messages
    recall: float | None = None  # of the nearest by the metric, if they need not all be found


class Joined(NamedTuple):
    """Edges between rows, and how many of those asked for they are."""

    index: Tensor  # [2, edges]
    weight: Tensor  # [edges]
    recall: float  # estimated share of the nearest that was found, the least of all groups; 1 where all were compared


MOST_PAIRS = 50_000_000


def join(x: Tensor | None, owner: Tensor, groups: Sequence[Group], rule: Rule, phenotypes: Sequence[Tensor]) -> Joined:
    """The edges of some groups.

    Args:
        x: ``[rows, channels]``, or ``None`` where phenotypes alone decide.
        owner: ``[rows]``, the subject of each row.
        groups: Who is joined to whom.
        rule: What makes two rows neighbours.
        phenotypes: ``[subjects]`` each.

    Returns:
        The edges, each pair once, sorted by target, and their weights.
    """
    found = [_join_group(x, owner, group, rule, [values[owner] for values in phenotypes]) for group in groups]
    index = torch.cat([group.index for group in found], dim=1)
    weight = torch.cat([group.weight for group in found])
    keys, first = _unique(index[1] * len(owner) + index[0])
    index = torch.stack([keys % len(owner), keys // len(owner)])
    return Joined(index, weight[first], min(group.recall for group in found))


def mean_distance(x: Tensor, *, metric: Metric) -> float:
    """Mean distance over all pairs of rows, block by block: the width of the kernel (Parisot et al. 2018).

    Raises:
        ConfigError: All rows are equal (or there is one), so that there is no width.
    """
    total, rows = 0.0, len(x)
    step = max(1, BLOCK_ELEMENTS // max(rows, 1))
    for start in range(0, rows, step):
        apart = distance(x[start : start + step], x, metric=metric)
        apart.diagonal(start).zero_()  # a row and itself are no pair
        total += float(apart.double().sum())
    mean = total / max(rows * (rows - 1), 1)
    if not mean > 0:
        raise ConfigError(
            f"A kernel needs subjects that differ, got {rows} with mean distance {mean}; set kernel=False"
        )
    return mean


def _join_group(x: Tensor | None, owner: Tensor, group: Group, rule: Rule, phenotypes: Sequence[Tensor]) -> Joined:
    targets = torch.from_numpy(np.flatnonzero(np.isin(owner.numpy(), group.targets)))
    sources = torch.from_numpy(np.flatnonzero(np.isin(owner.numpy(), group.sources)))
    own = torch.full((len(owner),), -1)
    own[sources] = torch.arange(len(sources))
    rivals = len(sources) - int((own[targets] >= 0).any())
    if rule.k is not None and len(targets) and rule.k > rivals:
        raise ConfigError(
            f"k must be at most the {rivals} other subjects who have {rule.what} and may be seen, got {rule.k}"
        )
    if rule.k is None and len(targets) * len(sources) > MOST_PAIRS:
        raise ConfigError(f"k=None would hold {len(targets) * len(sources):,} pairs, more than {MOST_PAIRS:,}; give k")
    found, recall = _nearest(x, targets, sources, own[targets], rule, phenotypes)
    hit = found.index >= 0
    index = torch.stack([sources[found.index[hit]], targets[:, None].expand_as(hit)[hit]])
    if group.mutual:
        index = torch.cat([index, index.flip(0)], dim=1)
    weight = _weight(x, index, rule, phenotypes)
    return Joined(index[:, weight > 0], weight[weight > 0], recall)  # where a kernel underflows there is no edge


def _nearest(
    x: Tensor | None, targets: Tensor, sources: Tensor, own: Tensor, rule: Rule, phenotypes: Sequence[Tensor]
) -> tuple[Neighbours, float]:
    """The best sources of each target, and the share of them that was found."""
    k = len(sources) if rule.k is None else rule.k
    if x is not None and not phenotypes:
        assert rule.metric is not None
        known = x[sources]
        asked = known if torch.equal(targets, sources) else x[targets]
        found = nearest_rows(asked, known, k=k, metric=rule.metric, recall=rule.recall, exclude=own)
        return found.neighbours, found.recall
    score = _scorer(x, targets, sources, rule, phenotypes)
    return nearest(len(targets), len(sources), score, k=k, exclude=own), 1.0


def _scorer(
    x: Tensor | None, targets: Tensor, sources: Tensor, rule: Rule, phenotypes: Sequence[Tensor]
) -> Callable[[slice], Tensor]:
    """The weight of blocks of targets against all sources; -inf where it is zero."""
    shared = [values[sources] for values in phenotypes]

    def score(rows: slice) -> Tensor:
        block = targets[rows]
        common = agreement([values[block] for values in phenotypes], shared, thresholds=rule.thresholds)
        weight = common
        if x is not None:
            assert rule.metric is not None
            assert rule.width is not None
            weight = rbf(distance(x[block], x[sources], metric=rule.metric), rule.width) * common
        return weight.masked_fill(common == 0, -torch.inf)

    return score


def _weight(x: Tensor | None, index: Tensor, rule: Rule, phenotypes: Sequence[Tensor]) -> Tensor:
    """Weights of given edges, exact to the last digit whatever the blocks were."""
    weight = torch.ones(index.shape[1])
    if x is not None and rule.width is not None:
        assert rule.metric is not None
        weight = rbf(pair_distance(x[index[0]], x[index[1]], metric=rule.metric), rule.width)
    if phenotypes:
        common = torch.zeros(index.shape[1])
        for values, threshold in zip(phenotypes, rule.thresholds, strict=True):
            common += agree(values[index[0]], values[index[1]], threshold=threshold)
        weight = weight * common
    return weight


def _unique(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted unique keys, and where each first stands."""
    order = keys.argsort(stable=True)
    ordered = keys[order]
    first = torch.ones(len(keys), dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], order[first]
