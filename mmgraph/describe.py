r"""What a graph or a collection holds, in figures: types, targets, parts, what is missing, degrees, homophily.

Two figures tell whether the relations may help: the *homophily*, the share of the edges that join nodes of one class,

.. math:: h = \frac{|\{(u, v) \in E : y_u = y_v\}|}{|E|},

and what it would be if the edges were dealt out anew and each node kept its degrees,
:math:`\sum_c s_c t_c`, with :math:`s_c` and :math:`t_c` the shares of the edges whose source and target are of class
:math:`c` (Newman, "Mixing patterns in networks", Phys. Rev. E 67, 2003, arXiv:cond-mat/0209450). Self loops and edges
at a node whose class is not known are left out of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mmgraph.assembly import Built
from mmgraph.data import Collection
from mmgraph.report.cards import Card, cards, choose, class_name
from mmgraph.report.description import (
    Description,
    Edges,
    Homophily,
    Missing,
    Nodes,
    Part,
    Preview,
    Reason,
    Relation,
    Samples,
    Spread,
    Target,
)
from mmgraph.report.payloads import said
from mmgraph.report.whole import Whole, whole_of
from mmgraph.schema import TargetSpec
from mmgraph.typing import EdgeType

REASONS = 20
NO_PART = "in no part"


def describe(source: Built | Collection | Whole, *, previews: int = 4) -> Description:
    """Describes a graph, or a collection.

    Args:
        source: A built graph; or a collection, of which the figures are over samples where there are several; or what
            :func:`mmgraph.report.whole.whole_of` has opened of it.
        previews: How many units are shown.

    Raises:
        ArtifactError: A file is missing or damaged.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> films = pa.table({"id": ["a", "b"], "plot": ["A dog runs in the rain.", None], "next": ["b", None]})
        >>> config = GraphConfig(
        ...     nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}},
        ...     edges=[{"type": ("film", "next", "film"), "column": "next"}],
        ... )
        >>> found = describe(build_graph(Source(config, {"films": films})))
        >>> found.missing[0].share, found.relations[0].components, found.previews[0].payloads
        (0.5, 1, {'plot': ('A dog runs in the rain.',)})
    """
    whole = whole_of(source)
    missing = _missing(whole)
    parts = _parts(whole)
    reasons = Counter((one.table, one.column, one.reason) for one in whole.rejected).most_common(REASONS)
    return Description(
        title=whole.title,
        unit=whole.unit,
        units=whole.units,
        samples=Samples(whole.units, *(Spread.of(one) for one in whole.samples)) if whole.samples else None,
        nodes=tuple(_nodes(whole, node) for node in whole.schema.nodes),
        edges=tuple(_edges(whole, kind) for kind in whole.schema.edges),
        targets=tuple(_target(whole, name) for name in whole.answers),
        parts=parts,
        missing=missing,
        relations=tuple(_relations(whole)),
        rejected=len(whole.rejected),
        reasons=tuple(Reason(*where, count) for where, count in reasons),
        previews=tuple(_preview(card) for card in cards(whole, choose(whole, previews).tolist())),
        warnings=(*_lacking(missing), *_unseen(parts), *_overlaps(whole)),
    )


def _nodes(whole: Whole, node: str) -> Nodes:
    spec = whole.schema.nodes[node]
    asked = {target.attribute for target in whole.schema.targets.values() if target.node == node}
    wanted = [name for name in ("x", *spec.attributes) if name in whole.shapes.get(node, {}) and name not in asked]
    return Nodes(
        type=node,
        modality=str(spec.modality) if spec.modality else None,
        rows=whole.rows[node],
        attributes={name: tuple(map(int, whole.shapes[node][name])) for name in wanted},
        encoder=str(spec.encoder) if spec.encoder else None,
    )


def _edges(whole: Whole, kind: EdgeType) -> Edges:
    source, _, target = kind
    index = whole.edges[kind]
    out = np.bincount(index[0], minlength=whole.rows[source])
    into = np.bincount(index[1], minlength=whole.rows[target])
    within = source == target
    pairs = np.sort(index[0].astype(np.int64) * max(whole.rows[target], 1) + index[1])  # np.unique hashes: 50 × slower
    return Edges(
        type=kind,
        edges=index.shape[1],
        weighted=whole.schema.edges[kind].weighted,
        out_degree=Spread.of(out),
        in_degree=Spread.of(into),
        isolated=int((out + into == 0).sum() if within else (out == 0).sum() + (into == 0).sum()),
        self_loops=int((index[0] == index[1]).sum()) if within else 0,
        duplicates=int((np.diff(pairs) == 0).sum()),
    )


def _target(whole: Whole, name: str) -> Target:
    spec, values = whole.schema.targets[name], whole.answers[name]
    known = _known(spec, values)
    return Target(
        name=name,
        node=spec.node,
        kind=spec.kind,
        known=int(known.sum()),
        unknown=int((~known).sum()),
        classes=_counted(spec, values[known]) if spec.kind != "regression" else {},
        values=Spread.of(values[known]) if spec.kind == "regression" else None,
    )


def _known(spec: TargetSpec, values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) if spec.kind == "regression" else values >= 0


def _counted(spec: TargetSpec, values: np.ndarray) -> dict[str, int]:
    counts = np.bincount(values, minlength=len(spec.classes))
    return {class_name(spec.classes, number): int(count) for number, count in enumerate(counts)}


def _parts(whole: Whole) -> tuple[Part, ...]:
    masks = dict(whole.parts)
    rest = ~np.any([*masks.values()], axis=0) if masks else np.zeros(0, dtype=bool)
    if rest.any():
        masks[NO_PART] = rest
    return tuple(Part(name, int(mask.sum()), _shares(whole, mask)) for name, mask in masks.items())


def _shares(whole: Whole, mask: np.ndarray) -> dict[str, dict[str, float]]:
    shares = {}
    for name, values in whole.answers.items():
        spec = whole.schema.targets[name]
        if spec.kind == "regression" or spec.node not in whole.members:
            continue
        rows, units = whole.members[spec.node]
        mine = values[rows[mask[units]]]
        counts = _counted(spec, mine[mine >= 0])
        total = sum(counts.values())
        shares[name] = {one: count / total for one, count in counts.items()} if total else {}
    return shares


def _missing(whole: Whole) -> tuple[Missing, ...]:
    found = []
    for node in whole.modalities:
        lacks = np.bincount(whole.members[node][1], minlength=whole.units) == 0
        parts = {part: _share(lacks[mask]) for part, mask in whole.parts.items()}
        found.append(Missing(node, whole.unit, int(lacks.sum()), _share(lacks), parts))
    for (source, relation, target), index in whole.edges.items():
        if relation == "of" and source not in whole.modalities:
            lacks = np.bincount(index[1], minlength=whole.rows[target]) == 0
            found.append(Missing(source, target, int(lacks.sum()), _share(lacks), {}))
    return tuple(found)


def _share(mask: np.ndarray) -> float | None:
    return float(mask.mean()) if len(mask) else None


def _relations(whole: Whole) -> list[Relation]:
    hang = {source for source, relation, _ in whole.schema.edges if relation == "of"}
    found = []
    for node in whole.schema.nodes:
        if node in hang:
            continue
        names = [relation for _, relation, _ in whole.schema.relations(node)]
        for some in [[name] for name in names] + ([names] if len(names) > 1 else []):
            index = np.concatenate([whole.edges[node, name, node] for name in some], axis=1)
            count, largest = _components(index, whole.rows[node])
            found.append(Relation(node, tuple(some), count, largest, _homophilies(whole, node, index)))
    return found


def _components(index: np.ndarray, rows: int) -> tuple[int, float | None]:
    """How many connected parts edges make of some nodes, and the share of the largest."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not rows:
        return 0, None
    ones = np.ones(index.shape[1], dtype=np.int8)
    count, part = connected_components(coo_array((ones, (index[0], index[1])), shape=(rows, rows)), directed=False)
    return int(count), float(np.bincount(part).max() / rows)


def _homophilies(whole: Whole, node: str, index: np.ndarray) -> dict[str, Homophily]:
    found = {}
    for name, values in whole.answers.items():
        spec = whole.schema.targets[name]
        if spec.node == node and spec.kind != "regression":
            one = homophily(index, values)
            if one is not None:
                found[name] = one
    return found


def homophily(index: np.ndarray, labels: np.ndarray) -> Homophily | None:
    """The homophily of edges ``[2, edges]`` with class numbers ``[nodes]``, -1 for not known; ``None`` of no edge.

    Example:
        >>> homophily(np.array([[0, 1, 2, 2], [1, 2, 0, 2]]), np.array([0, 0, 1]))
        Homophily(share=0.33..., expected=0.55..., edges=3)
    """
    index = index[:, index[0] != index[1]]
    source, target = labels[index]
    known = (source >= 0) & (target >= 0)
    source, target, edges = source[known], target[known], int(known.sum())
    if not edges:
        return None
    classes = int(max(source.max(), target.max())) + 1
    outward, inward = (np.bincount(one, minlength=classes) / edges for one in (source, target))
    return Homophily(float((source == target).mean()), float(outward @ inward), edges)


def _preview(card: Card) -> Preview:
    payloads = {node: tuple(said(item) for item in items) for node, items in card.items.items()}
    return Preview(card.key, card.part, card.labels, card.notes, payloads, card.totals)


def _lacking(missing: Sequence[Missing]) -> list[str]:
    found = []
    for one in missing:
        if one.share == 1:
            found.append(f"No {one.of} has a node of {one.node!r}")
            continue
        for part, share in one.parts.items():
            if share == 1:
                found.append(f"No {one.of} of the part {part!r} has a node of {one.node!r}, others do")
    return found


def _unseen(parts: Sequence[Part]) -> list[str]:
    """Classes that are asked for and never taught."""
    train = next((part for part in parts if part.name == "train"), None)
    if train is None:
        return []
    return [
        f"The class {label!r} of {name!r} is in the part {part.name!r}, but not in 'train'"
        for part in parts
        if part.name != NO_PART
        for name, shares in part.classes.items()
        for label, share in shares.items()
        if share > 0 and not train.classes[name].get(label)
    ]


def _overlaps(whole: Whole) -> list[str]:
    names = list(whole.parts)
    pairs = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    both = {pair: int((whole.parts[pair[0]] & whole.parts[pair[1]]).sum()) for pair in pairs}
    return [f"{count} are in the parts {one!r} and {other!r}" for (one, other), count in both.items() if count]
