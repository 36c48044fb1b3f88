"""All that is to be described as one graph: a built one, or the samples of a collection side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.assembly.built import BESIDE, KEY, PAYLOAD, Built
from mmgraph.assembly.rejected import Rejection
from mmgraph.data import Collection
from mmgraph.data.columns.contents import read_contents
from mmgraph.data.columns.payload import Payload, PayloadHead, Value
from mmgraph.errors import SchemaError
from mmgraph.schema import Schema
from mmgraph.schema.checks import MASKS
from mmgraph.schema.spec import EdgeSpec, NodeSpec
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SAMPLE = "sample"
_KEYS = (KEY, "id", "ids")


@dataclass(frozen=True)
class Whole:
    """A graph, or all samples of a collection as one, and how what its nodes stand for is read.

    What figures are over, its *units*, are the anchors of a graph, or the samples of a collection of several.

    Args:
        title: What it is called.
        schema: What its types mean.
        rows: Node type → how many nodes.
        shapes: Node type → attribute → shape of the row of a node.
        edges: Edge type → ``[2, edges]``.
        unit: Node type of the units, or ``sample``; empty where there are none.
        units: How many.
        members: Node type → its rows, and the unit that each belongs to; a row of several units is there often.
        parts: Part of the split → mask ``[units]``.
        answers: Target → the values of its nodes.
        samples: Nodes of each sample, and edges of each; ``None`` for a graph.
        rejected: What was set aside when it was built.
        names: (node type, row) → its key.
        notes: Unit → what is kept beside it.
        payloads: (node type, rows) → what each stands for; ``None`` where that is not kept.
        features: (node type, attribute, rows) → an array.
    """

    title: str
    schema: Schema
    rows: Mapping[str, int]
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
    edges: Mapping[EdgeType, np.ndarray]
    unit: str
    units: int
    members: Mapping[str, tuple[np.ndarray, np.ndarray]]
    parts: Mapping[str, np.ndarray]
    answers: Mapping[str, np.ndarray]
    names: Callable[[str, int], str] = field(repr=False)
    notes: Callable[[int], dict[str, str]] = field(repr=False)
    payloads: Callable[[str, Sequence[int]], list[Value]] = field(repr=False)
    features: Callable[[str, str, Sequence[int]], np.ndarray] = field(repr=False)
    samples: tuple[np.ndarray, np.ndarray] | None = None
    rejected: Sequence[Rejection] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The node types that a unit may lack."""
        if self.samples is None or self.schema.modalities:
            return tuple(node for node in self.schema.modalities if node in self.members)
        return tuple(node for node in self.members if node != self.schema.anchor)


def whole_of(source: Built | Collection | Whole) -> Whole:
    """Opens what is to be described.

    Args:
        source: A built graph, or a collection: of a folder that ``mmgraph build`` wrote it is the graph in it. What is
            open already is given back.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    if isinstance(source, Whole):
        return source
    if isinstance(source, Built):
        return _of_built(source, _reread(source))
    if (source.path / BESIDE / "graph.json").is_file():
        return _of_built(Built.open(source.path), _stored(source))
    if len(source) == 1:
        graph, stored = source[0], _stored(source)
        schema = source.schema or _inferred(graph)
        unit = schema.anchor or _lone(schema)
        noted = {head.name for head in _heads(source, unit) if head.kind == "string"} - {*_KEYS, PAYLOAD}
        keyed = next((key for key in _KEYS if any(head.name == key for head in _heads(source, unit))), None)
        return _of_graph(
            source.path.name,
            graph,
            schema,
            names=lambda node, row: (
                str(stored(node, keyed, [row])[0]) if keyed is not None and node == unit else str(row)
            ),
            notes=lambda row: {name: str(stored(unit, name, [row])[0]) for name in sorted(noted)},
            payloads=lambda node, rows: stored(node, _payload_name(source, node), rows),
        )
    return _of_samples(source)


def _of_built(built: Built, stored: _Stored) -> Whole:
    def names(node: str, row: int) -> str:
        return built.keys[node][row] if node in built.keys else str(row)

    def notes(row: int) -> dict[str, str]:
        found = {name: values[row] for (node, name), values in built.notes.items() if node == built.anchor}
        return {name: value for name, value in found.items() if value is not None}

    return _of_graph(
        built.config.name,
        built.graph,
        built.schema,
        names=names,
        notes=notes,
        payloads=lambda node, rows: stored(node, PAYLOAD if node in built.payloads else None, rows),
        rejected=tuple(built.rejected),
    )


def _of_graph(title: str, graph: HeteroData, schema: Schema, **read: Any) -> Whole:
    edges = {kind: graph[kind].edge_index.numpy() for kind in schema.edges}
    rows = {node: int(graph[node].num_nodes) for node in schema.nodes}
    unit = schema.anchor or _lone(schema)
    members: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    parts: dict[str, np.ndarray] = {}
    if unit:
        members[unit] = (np.arange(rows[unit]), np.arange(rows[unit]))
        for source, relation, target in schema.edges:
            if relation == "of" and target == unit:
                members[source] = tuple(edges[source, relation, target])
        found = {mask.removesuffix("_mask"): graph[unit].get(mask) for mask in MASKS}
        parts = {
            part: mask.numpy().astype(bool) for part, mask in found.items() if mask is not None and mask.dim() == 1
        }
    answers = {
        name: _plain(graph[target.node][target.attribute])
        for name, target in schema.targets.items()
        if target.attribute in graph[target.node] and graph[target.node][target.attribute].dim() == 1
    }
    return Whole(
        title=title,
        schema=schema,
        rows=rows,
        shapes={
            node: {name: tuple(value.shape[1:]) for name, value in graph[node].items() if hasattr(value, "shape")}
            for node in schema.nodes
        },
        edges=edges,
        unit=unit,
        units=rows.get(unit, 0),
        members=members,
        parts=parts,
        answers=answers,
        features=lambda node, name, wanted: _plain(graph[node][name][list(wanted)]),
        **read,
    )


def _of_samples(collection: Collection) -> Whole:
    contents, stored, count = read_contents(collection.columns), _stored(collection), len(collection)
    schema = collection.schema or (_inferred(collection[0]) if count else Schema(nodes={}))
    numbers = np.arange(count)
    ends: dict[str, np.ndarray] = {}  # node type → where the nodes of each sample begin, and the last end
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for store in contents.layout.stores:
        if isinstance(store.type, str):
            collection.columns[store.offsets].verify()
            ends[store.type] = collection.columns[store.offsets].array
            shapes[store.type] = {one.name: one.shape for one in store.attributes if one.kind == "rows"}
    ends |= {node: np.zeros(count + 1, dtype=np.int64) for node in schema.nodes if node not in ends}
    edges, sizes = {}, np.zeros(count, dtype=np.int64)
    for kind in schema.edges:
        edges[kind] = np.empty((2, 0), dtype=np.int64)
        if count:
            per_sample = np.diff(collection.offsets(kind, "edge_index"))
            column = collection.column(kind, "edge_index")
            column.verify()
            first = np.stack([ends[kind[0]][:-1], ends[kind[2]][:-1]])  # [2, samples]
            edges[kind] = column.array.T + np.repeat(first, per_sample, axis=1)
            sizes += per_sample
    rows = {node: int(ends[node][-1]) for node in schema.nodes}
    masks = {part: np.isin(numbers, chosen) for part, chosen in collection.splits.items()}
    answers = {}
    for name, target in schema.targets.items():
        if shapes.get(target.node, {}).get(target.attribute) == ():
            column = collection.column(target.node, target.attribute)
            answers[name] = _plain(column.read(0, len(column)))
    noted = [head.name for head in _heads(collection, None)]

    def features(node: str, name: str, wanted: Sequence[int]) -> np.ndarray:
        column = collection.column(node, name)
        return _plain(torch.cat([column.read(row, row + 1) for row in wanted]))

    return Whole(
        title=collection.path.name,
        schema=schema,
        rows=rows,
        shapes=shapes,
        edges=edges,
        unit=SAMPLE,
        units=count,
        members={node: (np.arange(rows[node]), np.repeat(numbers, np.diff(ends[node]))) for node in schema.nodes},
        parts=masks,
        answers={name: values for name, values in answers.items() if len(values) == rows[schema.targets[name].node]},
        names=lambda _, row: str(row),
        notes=lambda unit: {name: _said(stored(None, name, [unit])[0]) for name in noted},
        payloads=lambda node, wanted: stored(node, _payload_name(collection, node), wanted),
        features=features,
        samples=(sum((np.diff(one) for one in ends.values()), np.zeros(count, dtype=np.int64)), sizes),
    )


_Stored = Callable[[str | None, str | None, Sequence[int]], list[Value]]
"""(node type, name of a payload, rows) → values; ``None`` each where there is no such payload."""


def _stored(collection: Collection) -> _Stored:
    """Reads single payloads of a collection, and no more files than they are in."""
    heads = {(head.type, head.name): Payload(collection.columns, head) for head in _heads(collection)}

    def read(node: str | None, name: str | None, rows: Sequence[int]) -> list[Value]:
        if name is None or (node, name) not in heads:
            return [None] * len(rows)
        return [heads[node, name].values(row, row + 1)[0] for row in rows]

    return read


def _reread(built: Built) -> _Stored:
    """Reads payloads of a graph that was not written, no further than to the last that is wanted."""

    def read(node: str | None, name: str | None, rows: Sequence[int]) -> list[Value]:
        if node is None or name is None or not rows:
            return [None] * len(rows)
        found = islice(built.payloads[node](), max(rows) + 1)
        wanted = set(rows)
        kept = {row: value for row, value in enumerate(found) if row in wanted}
        return [kept[row] for row in rows]

    return read


_ALL = object()


def _heads(collection: Collection, node: Any = _ALL) -> list[PayloadHead]:
    heads = read_contents(collection.columns).payloads
    return [head for head in heads if node is _ALL or head.type == node]


def _payload_name(collection: Collection, node: str) -> str | None:
    """Of the payloads of a node type, the one that it stands for: so called, of bytes, or the first."""
    names = {head.name: head.kind for head in _heads(collection, node) if head.name not in _KEYS}
    if PAYLOAD in names:
        return PAYLOAD
    return next((name for name, kind in names.items() if kind == "binary"), next(iter(names), None))


def _plain(values: Tensor) -> np.ndarray:
    """As numpy has it, which lacks some kinds of floats."""
    found: np.ndarray = (values.double() if values.is_floating_point() else values).numpy()
    return found


def _lone(schema: Schema) -> str:
    """The node type that figures are over where there is no anchor: the one with targets, or the only one."""
    asked = list(dict.fromkeys(target.node for target in schema.targets.values()))
    nodes = asked or list(schema.nodes)
    return nodes[0] if len(nodes) == 1 else ""


def _inferred(graph: HeteroData) -> Schema:
    try:
        return Schema.infer(graph)
    except SchemaError:  # of other shapes than [rows, channels]
        nodes = {node: NodeSpec() for node in graph.node_types}
        return Schema(nodes=nodes, edges={kind: EdgeSpec() for kind in graph.edge_types})


def _said(value: Value) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else "—" if value is None else value
