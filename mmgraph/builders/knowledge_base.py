"""What a knowledge graph stands on: the graph with the payloads, and the names of its entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.schema.facts import INVERSE

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.typing import EdgeType

QUERY, ANSWER = "query", "answer"
EDGE_ATTRIBUTES = ("edge_index", "edge_weight", "edge_attr")


class BuiltGraph(Protocol):
    """A graph with its schema and the names of its nodes, as ``mg.build_graph`` gives."""

    @property
    def graph(self) -> HeteroData:
        """All nodes and relations."""

    @property
    def schema(self) -> Schema:
        """What they mean."""

    @property
    def keys(self) -> Mapping[str, Sequence[str]]:
        """Node type → the name of each node."""


Payloads: TypeAlias = BuiltGraph | tuple[Any, Schema, Sequence[str] | Mapping[str, Sequence[str]]]
"""A graph with its schema and the names of its entities: of the anchors, or by node type."""


@dataclass(frozen=True)
class Base:
    """A graph with named entities.

    Args:
        graph: Its nodes and edges.
        schema: What they mean.
        names: Node type → the name of each entity, in the order of the schema's node types.
        entity: The node type that gets the entities to come.
    """

    graph: HeteroData
    schema: Schema
    names: Mapping[str, tuple[str, ...]]
    entity: str

    @property
    def index(self) -> dict[str, int]:
        """Name → number: entities are numbered through, type after type."""
        every = [name for names in self.names.values() for name in names]
        return {name: number for number, name in enumerate(every)}

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The type (a number in the order of ``names``) and the row of each entity, ``[entities]`` each."""
        sizes = [len(names) for names in self.names.values()]
        kinds = np.repeat(np.arange(len(sizes)), sizes)
        return kinds, np.concatenate([np.arange(size) for size in sizes])

    def grown(self, node: str, names: Sequence[str]) -> Base:
        """With further entities of one type, which may be a new one; they have no payload.

        Raises:
            DataError: The nodes of the type have features, which the new ones can't have.
        """
        graph, nodes = shallow(self.graph), dict(self.schema.nodes)
        if node in nodes and names:
            _grow(graph[node], nodes[node], node, names)
        elif node not in nodes:
            graph[node].num_nodes = len(names)
            nodes[node] = NodeSpec()
        grown = {**self.names, node: (*self.names.get(node, ()), *names)}
        ordered = {one: grown[one] for one in nodes if one in grown}
        return replace(self, graph=graph, schema=self.schema.model_copy(update={"nodes": nodes}), names=ordered)

    def split(self, kinds: Mapping[str, str]) -> Base:
        """With the entities of ``entity`` parted into one node type a kind; those without a kind stay.

        Raises:
            ConfigError: A kind has the name of another node type, or the entities carry a target.
        """
        own = self.names[self.entity]
        if taken := sorted(set(kinds.values()) & (set(self.schema.nodes) | {QUERY}) - {self.entity}):
            raise ConfigError(f"A type of entities must not have the name of another node type, got {taken[0]!r}")
        if asked := [name for name, one in self.schema.targets.items() if one.node == self.entity]:
            raise ConfigError(
                f"Entities with a target must stay one node type, got target {asked[0]!r} on {self.entity!r}; "
                "give types_as='edges', or payloads without it"
            )
        kind_of = np.array([kinds.get(name, self.entity) for name in own], dtype=object)
        found = sorted(set(kind_of), key=lambda kind: (kind != self.entity, kind))
        rows = {kind: np.flatnonzero(kind_of == kind) for kind in found}
        graph, nodes, names = shallow(self.graph), dict[str, NodeSpec](), dict[str, tuple[str, ...]]()
        store = dict(graph[self.entity].items())
        del graph[self.entity]
        for node, spec in self.schema.nodes.items():
            if node != self.entity:
                nodes[node] = spec
                names |= {node: self.names[node]} if node in self.names else {}
                continue
            for kind in found:
                nodes[kind], names[kind] = spec, tuple(own[row] for row in rows[kind].tolist())
                for key, value in store.items():
                    graph[kind][key] = len(rows[kind]) if key == "num_nodes" else value[torch.from_numpy(rows[kind])]
        edges: dict[EdgeType, EdgeSpec] = {}
        for edge_type, edge_spec in self.schema.edges.items():
            if self.entity in (edge_type[0], edge_type[2]):
                attributes = dict(graph[edge_type].items())
                del graph[edge_type]
                edges |= dict.fromkeys(_split_edges(graph, attributes, edge_type, rows, self.entity), edge_spec)
            else:
                edges[edge_type] = edge_spec
        schema = self.schema.model_copy(update={"nodes": nodes, "edges": edges, "anchor": found[0]})
        return Base(graph, schema, names, found[0])


def shallow(graph: HeteroData) -> HeteroData:
    """A graph with stores of its own and the same tensors."""
    from copy import copy

    return copy(graph)


def read_base(payloads: Payloads | None, entity: str | None) -> Base:
    """The graph with the payloads and its names, or an empty one.

    Raises:
        DataError: Names that are not one a node, or not all different.
        ConfigError: A graph without an anchor, or with names that a knowledge graph needs.
    """
    from torch_geometric.data import HeteroData

    if payloads is None:
        base = Base(HeteroData(), Schema(nodes={}), {}, entity or "entity")
        return base.grown(base.entity, ())
    graph, schema, ids = payloads if isinstance(payloads, tuple) else (payloads.graph, payloads.schema, payloads.keys)
    anchor = schema.anchor
    if anchor is None or (entity is not None and entity != anchor):
        raise ConfigError(f"The anchor of payloads must be the entities, {entity!r}, got {anchor!r}; name it in entity")
    if QUERY in schema.nodes or ANSWER in schema.targets:
        raise ConfigError(f"payloads must have no node type {QUERY!r} and no target {ANSWER!r}: both are made here")
    if inverse := [edge for edge in schema.edges if edge[1].startswith(INVERSE)]:
        raise ConfigError(f"payloads must have no relation that begins with {INVERSE!r}, got {inverse[0]}; rename it")
    schema.check(graph)
    given = dict(ids) if isinstance(ids, Mapping) else {anchor: ids}
    names = {node: tuple(given[node]) for node in schema.nodes if node in given and node not in schema.modalities}
    if anchor not in names:
        raise DataError(f"payloads must name its anchors, {anchor!r}, got names of {list(given)}")
    seen: dict[str, str] = {}
    for node, own in names.items():
        if len(own) != (rows := graph[node].num_nodes):
            raise DataError(f"payloads must name each node of {node!r} once ({rows} nodes), got {len(own)} names")
        for name in own:
            _check_name(name, node)
            if name in seen:
                raise DataError(f"Names of entities must be different, got {name!r} of {seen[name]!r} and of {node!r}")
            seen[name] = node
    return Base(graph, schema, names, anchor)


def _check_name(name: object, node: str) -> None:
    if not isinstance(name, str) or not name:
        raise DataError(f"The name of an entity must be a string that is not empty, got {name!r} of {node!r}")


def _grow(store: Any, spec: NodeSpec, node: str, names: Sequence[str]) -> None:
    if spec.channels or spec.attributes:
        what = "x" if spec.channels else spec.attributes[0]
        raise DataError(
            f"Entities that triples alone name must need no features of their own, but {node!r} has {what!r} "
            f"and {names[0]!r} has none; hang features on entities as nodes, by (modality, 'of', {node!r}) edges"
        )
    for key, value in list(store.items()):
        if key == "num_nodes":
            store[key] = value + len(names)
        elif isinstance(value, Tensor):
            unknown = float("nan") if value.dtype.is_floating_point else False if value.dtype == torch.bool else -1
            more = torch.full((len(names), *value.shape[1:]), unknown, dtype=value.dtype)
            store[key] = torch.cat([value, more])


def _split_edges(
    graph: HeteroData, attributes: Mapping[str, Any], edge_type: EdgeType, rows: Mapping[str, np.ndarray], entity: str
) -> list[EdgeType]:
    """Writes the edges of a type between the kinds of its ends; returns the types that have edges."""
    source, relation, target = edge_type
    index = attributes["edge_index"]
    local = torch.empty(sum(map(len, rows.values())), dtype=torch.long)
    kind_of = torch.empty_like(local)
    for number, own in enumerate(rows.values()):
        local[torch.from_numpy(own)] = torch.arange(len(own))
        kind_of[torch.from_numpy(own)] = number
    written = []
    for head, first in enumerate(rows) if source == entity else [(0, source)]:
        for tail, second in enumerate(rows) if target == entity else [(0, target)]:
            mask = torch.ones(index.shape[1], dtype=torch.bool)
            ends = [index[0], index[1]]
            if source == entity:
                mask &= kind_of[index[0]] == head
                ends[0] = local[index[0]]
            if target == entity:
                mask &= kind_of[index[1]] == tail
                ends[1] = local[index[1]]
            if not mask.any():
                continue
            store = graph[first, relation, second]
            store.edge_index = torch.stack(ends)[:, mask]
            for key in EDGE_ATTRIBUTES[1:]:
                if key in attributes:
                    store[key] = attributes[key][mask]
            written.append((first, relation, second))
    return written
