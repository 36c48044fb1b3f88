"""Changes: anchors that are added, updated and deleted together, as payloads in and as a small graph on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch_geometric.data import HeteroData

from mmgraph.assembly.built import KEY, PAYLOAD, Built
from mmgraph.data import Collection, CollectionWriter
from mmgraph.engine.query import encode, node_of, read_payload
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import new_folder, read_json, write_json
from mmgraph.schema import Modality
from mmgraph.schema.schema import EdgeType

if TYPE_CHECKING:
    from mmgraph.data.columns.payload import PayloadKey, Value
    from mmgraph.encoders import FeatureCache

FILE = "change.json"
Join = tuple[EdgeType, str, str]


@dataclass(frozen=True)
class Change:
    """What one write changes.

    Args:
        graph: The new anchors with their modality nodes, encoded; all other types have no rows.
        ids: The keys of the new anchors.
        updated: Those of them that take the place of one by that key.
        deleted: The keys of anchors that are deleted.
        joins: Edges to and from new anchors: type, key of the source, key of the target.
        notes: Column that is kept → what it is for each new anchor.
        payloads: Modality node type → what its nodes stand for.
    """

    graph: HeteroData
    ids: Sequence[str]
    updated: Sequence[str]
    deleted: Sequence[str]
    joins: Sequence[Join]
    notes: Mapping[str, Sequence[str | None]]
    payloads: Mapping[str, Sequence[str | bytes]]

    def write(self, folder: Path, built: Built) -> None:
        """Writes the change to a new folder, all of it or nothing."""
        written: dict[PayloadKey, Sequence[Value]] = {(built.anchor, KEY): list(self.ids)}
        written.update({(built.anchor, name): list(values) for name, values in self.notes.items()})
        written.update({(node, PAYLOAD): list(values) for node, values in self.payloads.items()})
        with new_folder(folder) as draft:
            with CollectionWriter(draft, built.schema) as writer:
                writer.add(self.graph, payloads=written)
            joins = [[list(edge), source, target] for edge, source, target in self.joins]
            write_json(draft / FILE, {"updated": list(self.updated), "deleted": list(self.deleted), "joins": joins})

    @classmethod
    def read(cls, folder: Path, built: Built) -> Change:
        """Reads a change that was written; payloads stay on disk until they are asked for.

        Raises:
            ArtifactError: It is damaged.
        """
        facts, collection = read_json(folder / FILE), Collection(folder)
        try:
            joins = [(tuple(edge), source, target) for edge, source, target in facts["joins"]]
            return cls(
                graph=collection[0],
                ids=collection.payload(built.anchor, KEY).to_pylist(),
                updated=facts["updated"],
                deleted=facts["deleted"],
                joins=joins,
                notes={
                    name: collection.payload(built.anchor, name).to_pylist()
                    for node, name in built.notes
                    if node == built.anchor
                },
                payloads={node: Column(collection, node) for node in built.payloads},
            )
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise ArtifactError(f"Change {str(folder)!r} is damaged: {error!r}; restore a copy") from None


class Column(Sequence[str | bytes]):
    """The payloads of a node type in a collection, read one by one."""

    def __init__(self, collection: Collection, node: str) -> None:
        self.values = collection.payload(node, PAYLOAD)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        return self.values[row].as_py()


def make_change(
    built: Built,
    anchors: Mapping[str, Mapping[str, Any]],
    *,
    updated: Sequence[str] = (),
    deleted: Sequence[str] = (),
    joins: Sequence[Join] = (),
    cache: FeatureCache | None = None,
) -> Change:
    """Reads and encodes what new anchors are to have.

    Args:
        built: The graph that they join.
        anchors: Key → {modality node type, or modality: payload or list of them; column that is kept: text}.
        updated: Those that take the place of one by that key.
        deleted: Keys of anchors to delete.
        joins: Edges to and from new anchors.
        cache: Where features are looked up and kept.

    Raises:
        ConfigError: A modality or a column that an anchor does not have, or an edge type that the graph has not.
        DataError: A payload can't be read.
    """
    mine = [node for node in built.payloads if node in built.schema.modalities]
    kept = [name for node, name in built.notes if node == built.anchor]
    owners: dict[str, list[int]] = {node: [] for node in mine}
    payloads: dict[str, list[Any]] = {node: [] for node in mine}
    notes: dict[str, list[str | None]] = {name: [] for name in kept}
    for row, (id, given) in enumerate(anchors.items()):
        _check_id(id)
        for name, value in given.items():
            if name in kept:
                continue
            node = node_of(built, name, mine)
            for payload in read_payload(value, built, node, whose=f"The new {node!r} of {id!r}"):
                owners[node].append(row)
                payloads[node].append(payload)
        for name in kept:
            notes[name].append(None if given.get(name) is None else str(given[name]))
    for edge, source, target in joins:
        _check_join(built, edge, source, target, anchors)
    features = encode(built, {node: given for node, given in payloads.items() if given}, cache, whose="A new")
    graph = _graph(built, len(anchors), owners, features)
    stored = {node: [_stored(one, built, node) for one in payloads.get(node, ())] for node in built.payloads}
    return Change(graph, list(anchors), list(updated), list(deleted), list(joins), notes, stored)


def _graph(
    built: Built, anchors: int, owners: Mapping[str, Sequence[int]], features: Mapping[str, torch.Tensor]
) -> HeteroData:
    """The graph of new anchors: as the whole graph has it, with nothing known of labels and no part of a split."""
    graph = HeteroData()
    targets = {(one.node, one.attribute) for one in built.schema.targets.values()}
    for node in built.schema.nodes:
        rows = anchors if node == built.anchor else len(owners.get(node, ()))
        for key, value in built.graph[node].items():
            if key == "num_nodes":
                graph[node].num_nodes = rows
            elif node in features and key == built.encoder(node).attribute:
                graph[node][key] = features[node]
            else:
                unknown = (node, key) in targets
                fill = (float("nan") if value.dtype.is_floating_point else -1) if unknown else 0
                graph[node][key] = torch.full((rows, *value.shape[1:]), fill, dtype=value.dtype)
    for edge in built.schema.edges:
        for key, value in built.graph[edge].items():
            graph[edge][key] = value[:, :0] if key == "edge_index" else value[:0]
        if edge[1:] == ("of", built.anchor) and edge[0] in owners:
            owner = torch.tensor(owners[edge[0]], dtype=torch.long)
            graph[edge].edge_index = torch.stack([torch.arange(len(owner)), owner])
    return graph


def _stored(payload: Any, built: Built, node: str) -> str | bytes:
    """A payload as a file can hold it."""
    if isinstance(payload, str | bytes):
        return payload
    if built.schema.nodes[node].modality in (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO):
        raise DataError(f"A new {node!r} must be given as bytes or as a path, got {type(payload).__name__}")
    try:
        return json.dumps(payload, ensure_ascii=False, default=str)
    except (TypeError, ValueError) as error:
        raise DataError(f"A new {node!r} must be written as JSON, got {type(payload).__name__}: {error}") from None


def _check_id(id: Any) -> None:
    if not isinstance(id, str) or not id.strip():
        raise DataError(f"A key must be a str that is not empty, got {id!r}")


def _check_join(built: Built, edge: Any, source: str, target: str, anchors: Mapping[str, Any]) -> None:
    relations = [one for one in built.schema.edges if one[1] != "of" and {one[0], one[2]} <= set(built.keys)]
    if edge not in relations:
        raise ConfigError(f"An edge must be of one of the types {relations}, got {edge!r}")
    for node, id in ((edge[0], source), (edge[2], target)):
        if id not in built.keys[node] and not (node == built.anchor and id in anchors):
            raise DataError(f"An edge must join keys that are there, got {id!r}, which is no {node!r}")
