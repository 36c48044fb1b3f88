"""A few units of a graph to look at: chosen, with their labels, payloads and neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmgraph.data.columns.payload import Value
from mmgraph.report.whole import SAMPLE, Whole
from mmgraph.schema import Modality
from mmgraph.typing import EdgeType

SHOWN = 4  # nodes of one type on a card
NEAR = 8  # neighbours by one relation
_INCOMPLETE = 4  # one in four lacks a modality, if there are such


@dataclass(frozen=True)
class Item:
    """One node of a card.

    Args:
        modality: What it carries, where that is known.
        payload: What it stands for, if that is kept.
        features: Else its features; ``None`` if it has none.
        names: Names of the features' channels.
    """

    modality: Modality | None
    payload: Value
    features: np.ndarray | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Neighbours:
    """Those that a unit is joined to by one relation, in one direction (``→``, ``←``) or both (``↔``)."""

    relation: str
    direction: str
    node: str
    rows: tuple[int, ...]
    keys: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class Card:
    """One unit: an anchor with what hangs on it, or a sample.

    Args:
        unit: Its number.
        key: What it is called.
        part: Part of the split; empty if it is in none.
        labels: Target → its label; ``None`` if that is not known.
        notes: What is kept beside it.
        items: Node type → some of its nodes.
        totals: Node type → how many there are.
        neighbours: Those that it is joined to.
    """

    unit: int
    key: str
    part: str
    labels: Mapping[str, str | None]
    notes: Mapping[str, str]
    items: Mapping[str, Sequence[Item]]
    totals: Mapping[str, int]
    neighbours: Sequence[Neighbours] = ()


def choose(whole: Whole, count: int) -> np.ndarray:
    """Some units, in order, always the same: some of each class and part, up to a quarter that lack a modality.

    Example:
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> from mmgraph.report.whole import whole_of
        >>> import pyarrow as pa
        >>> films = pa.table({"plot": ["one", "two", "three", None], "genre": ["a", "a", "a", "b"]})
        >>> config = GraphConfig(
        ...     nodes={"film": {"table": "films", "columns": {"plot": "text"}}}, targets={"genre": {"column": "genre"}}
        ... )
        >>> choose(whole_of(build_graph(Source(config, {"films": films}))), 2).tolist()
        [0, 3]
    """
    lacks = np.stack(
        [np.bincount(whole.members[node][1], minlength=whole.units) == 0 for node in whole.modalities]
        or [np.zeros(whole.units, dtype=bool)]
    )  # [modalities, units]
    strata = [_parts(whole), *(_classes(whole, name) for name in whole.answers)]
    incomplete = lacks.any(axis=0)
    few = min(count, max(1, count // _INCOMPLETE))
    some = _spread(np.flatnonzero(incomplete), [*strata, _joint(lacks)], few)
    others = _spread(np.flatnonzero(~incomplete), strata, count - len(some))
    more = np.setdiff1d(np.flatnonzero(incomplete), some)
    rest = _spread(more, strata, count - len(some) - len(others))
    return np.sort(np.concatenate([some, others, rest])).astype(np.int64)


def _spread(units: np.ndarray, strata: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Some units, such that each value of each stratum is met about equally often, the rarest first."""
    if count <= 0 or not len(units):
        return np.empty(0, dtype=np.int64)
    kinds = np.stack([stratum[units] for stratum in strata])  # [strata, units]
    cell = _joint(kinds)
    order = np.argsort(cell, kind="stable")
    sizes = np.bincount(cell)
    starts = np.cumsum(sizes) - sizes
    cells = kinds[:, order[starts]]  # [strata, cells]
    taken = np.zeros(len(sizes), dtype=np.int64)
    met = np.zeros(cells.shape, dtype=np.int64)  # how often each cell's values were met
    found: list[int] = []
    while len(found) < min(count, len(units)):
        cost = np.where(taken < sizes, met.sum(axis=0), np.iinfo(np.int64).max)
        best = int(cost.argmin())
        found.append(int(units[order[starts[best] + taken[best]]]))
        taken[best] += 1
        met += cells == cells[:, best : best + 1]
    return np.array(found, dtype=np.int64)


def part_of(whole: Whole) -> np.ndarray:
    """The part of each unit, ``[units]`` of strings; empty for those in none."""
    names = np.full(whole.units, "", dtype=object)
    for part, mask in whole.parts.items():
        names[mask] = part
    return names


def _parts(whole: Whole) -> np.ndarray:
    numbers = np.full(whole.units, -1, dtype=np.int64)
    for number, mask in enumerate(whole.parts.values()):
        numbers[mask] = number
    return numbers


def _joint(kinds: np.ndarray) -> np.ndarray:
    """One number for each combination that there is of ``[strata, units]``, from 0: ``[units]``."""
    joint = np.zeros(kinds.shape[1], dtype=np.int64)
    for stratum in kinds.astype(np.int64):
        width = int(stratum.max(initial=0)) + 2
        joint = np.unique(joint * width + stratum + 1, return_inverse=True)[1].reshape(-1)
    return joint


def _classes(whole: Whole, name: str) -> np.ndarray:
    """The class of each unit by its first node with one; measures in three thirds; -1 where it is not known."""
    spec, values = whole.schema.targets[name], whole.answers[name]
    found = np.full(whole.units, -1, dtype=np.int64)
    if spec.node not in whole.members:
        return found
    rows, units = whole.members[spec.node]
    if spec.kind == "regression":
        known = np.isfinite(values)
        thirds = np.quantile(values[known], [1 / 3, 2 / 3]) if known.any() else []
        values = np.where(known, np.searchsorted(thirds, values), -1)
    found[units[::-1]] = values[rows[::-1]]
    return found


def cards(whole: Whole, chosen: Sequence[int]) -> list[Card]:
    """The cards of some units."""
    parts = part_of(whole)
    near = _neighbours(whole, chosen)
    items: dict[str, list[tuple[int, list[Item]]]] = {}
    for node, (rows, units) in whole.members.items():
        if _is_shown(whole, node):
            mine = [rows[units == unit] for unit in chosen]
            items[node] = _items(whole, node, mine)
    return [
        Card(
            unit=int(unit),
            key=whole.names(whole.unit, int(unit)),
            part=str(parts[unit]),
            labels={
                name: _label(whole, name, int(unit))
                for name in whole.answers
                if whole.schema.targets[name].node in whole.members
            },
            notes=whole.notes(int(unit)),
            items={node: found[place][1] for node, found in items.items()},
            totals={node: found[place][0] for node, found in items.items()},
            neighbours=near[place],
        )
        for place, unit in enumerate(chosen)
    ]


def _is_shown(whole: Whole, node: str) -> bool:
    if node in whole.modalities:
        return True
    attributes = [name for name in whole.shapes.get(node, {}) if _attribute(whole, node) == name]
    return bool(attributes) and whole.rows[node] > 0


def _attribute(whole: Whole, node: str) -> str | None:
    """The attribute that shows what a node carries."""
    spec, shapes = whole.schema.nodes[node], whole.shapes.get(node, {})
    for name in (*spec.attributes, "x"):
        if name in shapes and 0 not in shapes[name] and shapes[name]:
            return name
    return None


def _items(whole: Whole, node: str, mine: Sequence[np.ndarray]) -> list[tuple[int, list[Item]]]:
    wanted = [row for rows in mine for row in rows[:SHOWN].tolist()]
    payloads = dict(zip(wanted, whole.payloads(node, wanted), strict=True))
    spec, name = whole.schema.nodes[node], _attribute(whole, node)
    bare = [row for row in wanted if payloads[row] is None]
    features: dict[int, Any] = {}
    if name is not None and bare:
        features = dict(zip(bare, whole.features(node, name, bare), strict=True))
    names = spec.names if name == "x" else ()

    def one(row: int) -> Item:
        return Item(spec.modality, payloads[row], features.get(row), names)

    return [(len(rows), [one(row) for row in rows[:SHOWN].tolist()]) for rows in mine]


def _label(whole: Whole, name: str, unit: int) -> str | None:
    spec = whole.schema.targets[name]
    rows, units = whole.members[spec.node]
    values = whole.answers[name][rows[units == unit]]
    if spec.kind == "regression":
        said = [f"{value:g}" for value in values[np.isfinite(values)].tolist()]
    else:
        said = [class_name(spec.classes, value) for value in values[values >= 0].tolist()]
    distinct = list(dict.fromkeys(said))
    return ", ".join(distinct[:SHOWN]) + ("…" if len(distinct) > SHOWN else "") if distinct else None


def class_name(classes: Sequence[str], number: int) -> str:
    """The name of a class, or its number where it has none."""
    return classes[number] if number < len(classes) else str(number)


def _neighbours(whole: Whole, chosen: Sequence[int]) -> list[list[Neighbours]]:
    found: list[list[Neighbours]] = [[] for _ in chosen]
    if whole.unit == SAMPLE and whole.samples is not None:
        return found
    for kind, index in whole.edges.items():
        source, relation, target = kind
        if relation == "of" and source in whole.members:
            continue
        if whole.unit in (source, target):
            some = np.isin(index[0], chosen) if source == whole.unit else np.zeros(index.shape[1], dtype=bool)
            some |= np.isin(index[1], chosen) if target == whole.unit else False
            for place, unit in enumerate(chosen):
                found[place] += _joined(whole, kind, index[:, some], int(unit))
    return found


def _joined(whole: Whole, kind: EdgeType, index: np.ndarray, unit: int) -> list[Neighbours]:
    source, relation, target = kind
    ahead = index[1][index[0] == unit] if source == whole.unit else np.empty(0, dtype=np.int64)
    back = index[0][index[1] == unit] if target == whole.unit else np.empty(0, dtype=np.int64)
    ways = {"→": (target, _distinct(ahead)), "←": (source, _distinct(back))}
    if source == target and set(ways["→"][1]) == set(ways["←"][1]):
        ways = {"↔": ways["→"]}
    return [
        Neighbours(
            relation=relation,
            direction=sign,
            node=node,
            rows=tuple(rows[:NEAR]),
            keys=tuple(whole.names(node, row) for row in rows[:NEAR]),
            total=len(rows),
        )
        for sign, (node, rows) in ways.items()
        if rows
    ]


def _distinct(rows: np.ndarray) -> list[int]:
    return list(dict.fromkeys(rows.tolist()))
