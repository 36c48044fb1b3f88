"""What is to be predicted, and which anchors are for training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor

from mmgraph.assembly.cells import Cell, label_of, number_of, ranks_of
from mmgraph.assembly.config import GraphConfig, SplitConfig, TargetConfig
from mmgraph.assembly.nodes import Nodes
from mmgraph.assembly.rejected import Rejected
from mmgraph.data.split import stratified_split
from mmgraph.errors import DataError
from mmgraph.schema import TargetSpec

PARTS = ("train", "val", "test")
_MOST_CLASSES = 1000


def read_target(
    config: GraphConfig, name: str, nodes: Mapping[str, Nodes], rejected: Rejected
) -> tuple[TargetSpec, Tensor]:
    """A target and its values, one a node; answers that can't be read are set aside and not known.

    Raises:
        DataError: There are no answers, or too few or too many classes.
    """
    target = config.targets[name]
    node = target.node or config.anchor
    owner, table = nodes[node], config.nodes[node].table
    cells = owner.columns[target.column]
    others = [one for one in config.targets if (config.targets[one].node or config.anchor) == node]
    attribute = "y" if others[0] == name else f"y_{name}"
    rejected.count(table, target.column, sum(cell is not None for cell in cells))
    kind, classes = _kind(name, target, cells, most=config.limits.rejected)
    known = {value: number for number, value in enumerate(classes)}
    values: list[float] = []
    for row, cell in enumerate(cells):
        try:
            values.append(_answer(cell, known))
        except DataError as error:
            rejected.add(table, int(owner.rows[row]), target.column, cell, str(error), key=owner.keys[row])
            values.append(-1 if known else float("nan"))
    spec = TargetSpec(node=node, attribute=attribute, kind=kind, classes=classes)
    return spec, torch.tensor(values, dtype=torch.long if known else torch.float32)


def _kind(name: str, target: TargetConfig, cells: Sequence[Cell], *, most: float) -> tuple[str, tuple[str, ...]]:
    found = [cell for cell in cells if cell is not None]
    if not found:
        raise DataError(f"Target {name!r} must have an answer in at least one row of {target.column!r}, got none")
    if target.kind == "regression" or (target.kind is None and not target.classes and _is_measure(found, most)):
        return "regression", ()
    classes = target.classes or tuple(sorted(set(_labels(found)), key=_natural))
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise DataError(
            f"Target {name!r} must have 2 to {_MOST_CLASSES} classes, got {len(classes)} in {target.column!r}; "
            "choose another column, or set kind to regression"
        )
    return target.kind or ("binary" if len(classes) == 2 else "multiclass"), classes


def _is_measure(cells: Sequence[Cell], most: float) -> bool:
    """Whether all but a share that may be set aside are numbers, and some have a fraction."""
    fractions = wrong = 0
    for cell in cells:
        try:
            value = number_of(cell)
        except DataError:
            wrong += 1
            continue
        fractions += value is not None and not value.is_integer()
    return fractions > 0 and wrong <= most * len(cells)


def _labels(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        try:
            yield label_of(cell)
        except DataError:  # said when the answer is read
            continue


def _natural(label: str) -> tuple[int, float, str]:
    """Numbers by their size, before words by the alphabet."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _answer(cell: Cell, known: Mapping[str, int]) -> float:
    if not known:
        value = None if cell is None else number_of(cell)
        return float("nan") if value is None else value
    if cell is None:
        return -1
    label = label_of(cell)
    if label not in known:
        raise DataError(f"one of {list(known)[:20]} is wanted, got {label!r}")
    return known[label]


def read_split(
    config: GraphConfig,
    nodes: Mapping[str, Nodes],
    answers: Mapping[str, tuple[TargetSpec, Tensor]],
    rejected: Rejected,
) -> dict[str, np.ndarray]:
    """Part → mask of the anchors in it; empty if no split is declared.

    Raises:
        DataError: A part would be empty, or a column says nothing of the kind.
    """
    split, anchors = config.split, nodes[config.anchor]
    if split is None:
        return {}
    table = config.nodes[config.anchor].table
    chance = np.random.default_rng(split.seed)
    if split.by == "stratified":
        name = split.column or next(name for name, (spec, _) in answers.items() if spec.node == config.anchor)
        if not answers[name][0].classes:
            raise DataError(f"A stratified split needs a target with classes, got {name!r}; use by = 'random'")
        labels = answers[name][1].numpy()
        drawn = stratified_split(labels, test=split.test, val=split.val / (1 - split.test), seed=split.seed)
        parts = {part: getattr(drawn, part) for part in PARTS}
    elif split.by == "random":
        parts = _dealt(chance.permutation(len(anchors)), split)
    elif split.by == "group":
        parts = _by_group(split, anchors, table, rejected)
    elif split.by == "time":
        parts = _dealt(_by_time(split, anchors, table, rejected)[::-1], split)
    else:
        parts = _by_column(split, anchors, table, rejected)
    masks = {}
    for part in PARTS:
        masks[part] = np.zeros(len(anchors), dtype=bool)
        masks[part][parts[part]] = True
        if not masks[part].any():
            raise DataError(f"The split by {split.by!r} must leave a node in each part, got none for {part}")
    return masks


def _dealt(order: np.ndarray, split: SplitConfig) -> dict[str, np.ndarray]:
    """The first of an order are the test, the next validation, the rest training."""
    test = round(len(order) * split.test)
    val = test + round(len(order) * split.val)
    return {"test": order[:test], "val": order[test:val], "train": order[val:]}


def _by_group(split: SplitConfig, anchors: Nodes, table: str, rejected: Rejected) -> dict[str, np.ndarray]:
    """Whole groups; the anchors without one are in no part."""
    column = split.column or ""
    groups: dict[int, str] = {}
    for row, cell in enumerate(anchors.columns[column]):
        if cell is None:
            continue
        rejected.count(table, column, 1)
        try:
            groups[row] = label_of(cell)
        except DataError as error:
            rejected.add(table, int(anchors.rows[row]), column, cell, str(error), key=anchors.keys[row])
    rows, names = np.array(list(groups), dtype=np.int64), np.array(list(groups.values()))
    try:
        dealer = GroupShuffleSplit(1, test_size=split.test, random_state=split.seed)
        rest, test = next(dealer.split(rows, groups=names))  # places in rows
        dealer = GroupShuffleSplit(1, test_size=split.val / (1 - split.test), random_state=split.seed)
        train, val = next(dealer.split(rest, groups=names[rest]))
    except ValueError as error:
        raise DataError(f"{len(set(names))} groups of {split.column!r} can't be split: {error}") from None
    return {"test": rows[test], "val": rows[rest[val]], "train": rows[rest[train]]}


def _by_time(split: SplitConfig, anchors: Nodes, table: str, rejected: Rejected) -> np.ndarray:
    """The anchors by their time; those without one are in no part."""
    column = split.column or ""
    found: list[tuple[float, int]] = []
    cells = anchors.columns[column]
    for row, (cell, rank) in enumerate(zip(cells, ranks_of(cells), strict=True)):
        if rank is None:
            continue
        rejected.count(table, column, 1)
        if isinstance(rank, DataError):
            rejected.add(table, int(anchors.rows[row]), column, cell, str(rank), key=anchors.keys[row])
        else:
            found.append((rank, row))
    return np.array([row for _, row in sorted(found)], dtype=np.int64)


def _by_column(split: SplitConfig, anchors: Nodes, table: str, rejected: Rejected) -> dict[str, np.ndarray]:
    column = split.column or ""
    names = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
    names |= {"test": "test", "testing": "test"}
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, cell in enumerate(anchors.columns[column]):
        if cell is None:
            continue
        rejected.count(table, column, 1)
        part = names.get(str(cell).strip().lower())
        if part is None:
            reason = f"train, val or test is wanted, got {str(cell)[:40]!r}"
            rejected.add(table, int(anchors.rows[row]), column, cell, reason, key=anchors.keys[row])
        else:
            rows[part].append(row)
    return {part: np.array(found, dtype=np.int64) for part, found in rows.items()}
