"""Two knowledge graphs as one: side by side with links to be predicted, or with linked entities made one.

Aligning entities is completing a graph: a link is a fact of the relation ``same`` from an entity of the first graph to
one of the second. So what is trained, asked and judged of facts is so of links.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgraph.builders.knowledge import KnowledgeGraph
from mmgraph.builders.knowledge_base import QUERY, Base
from mmgraph.builders.knowledge_stated import NOTHING, PARTS, read_parts
from mmgraph.data.triples import Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.schema.facts import Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.typing import EdgeType

Pairs: TypeAlias = Sequence[tuple[str, str]]
"""Names: of an entity of the first graph, and of one of the second."""


def align(
    first: KnowledgeGraph,
    second: KnowledgeGraph,
    links: Pairs | Mapping[str, Pairs],
    *,
    names: tuple[str, str] = ("first", "second"),
    relation: str = "same",
) -> KnowledgeGraph:
    """Puts two graphs side by side, with links between their entities as facts of one more relation.

    The entities of each graph are a node type (one a type, where a graph has several), called after it, and their names
    begin with it: ``first:…``. Relations of the same name are one relation; payloads of the same node type are one
    node type. Links of ``train`` are edges, those of ``val`` and ``test`` are queries alone. Weights of relations are
    not kept.

    Args:
        first: A graph.
        second: Another.
        links: Which entities are the same; by part, or all for training.
        names: What the two are called.
        relation: What a link is called.

    Raises:
        ConfigError: The two have one name, or the relation is there already.
        DataError: A link of an entity that is not there, or payloads of one type with different features.

    Example:
        >>> english = KnowledgeGraph.fit(Triples(["paris"], ["in"], ["france"]))
        >>> german = KnowledgeGraph.fit(Triples(["Paris"], ["liegt_in"], ["Frankreich"]))
        >>> links = {"train": [("paris", "Paris")], "test": [("france", "Frankreich")]}
        >>> both = align(english, german, links, names=("en", "de"))
        >>> both.entities, both.relations
        (('en:france', 'en:paris', 'de:Frankreich', 'de:Paris'), ('in', 'liegt_in', 'same'))
        >>> {part: pairs.tolist() for part, pairs in both.pairs("same").items()}
        {'train': [[1, 3]], 'val': [], 'test': [[0, 2]]}
    """
    if names[0] == names[1] or "" in names:
        raise ConfigError(f"The two graphs must have different names, got {names}")
    if taken := [name for name, one in zip(names, (first, second), strict=True) if relation in one.relations]:
        raise ConfigError(f"Links must have a relation of their own, got {relation!r}, which is in {taken[0]!r}")
    parts = dict(links) if isinstance(links, Mapping) else {"train": links}
    for part, pairs in parts.items():
        _check_links(first, second, pairs, f"links of {part!r}")
    sides, called = [], []
    for name, one in zip(names, (first, second), strict=True):
        own = Numbering(one.schema).entities
        rename = {node: name if len(own) == 1 else f"{name} {node}" for node in own}
        sides.append(_Side(one, rename, name))
        called.append(_prefixed(one.entities, name))
    linked = read_parts({"train": NOTHING} | {part: _linked(pairs, names, relation) for part, pairs in parts.items()})
    triples = {
        part: _named(first, part, called[0]).concat(_named(second, part, called[1]), linked[part]) for part in PARTS
    }
    graph, schema = _join(sides)
    ids: dict[str, Sequence[str]] = {}
    for side, every in zip(sides, called, strict=True):
        start = 0
        for node, new in side.rename.items():
            count = int(side.knowledge.graph[node].num_nodes)
            ids[new], start = every[start : start + count].tolist(), start + count
    relations = dict.fromkeys([*first.relations, *second.relations, relation])
    return KnowledgeGraph.fit(triples, payloads=(graph, schema, ids), relations=[*relations])


def merge(first: KnowledgeGraph, second: KnowledgeGraph, links: Pairs) -> KnowledgeGraph:
    """Makes one graph of two: entities that are linked become one, under the name that the first graph gives them.

    Such an entity has the facts of both, and the payloads of both. Facts of any part stay in their part.

    Args:
        first: A graph whose entities are one node type.
        second: Another.
        links: Which entities are the same, each at most once.

    Raises:
        ConfigError: A graph has several types of entities.
        DataError: A link of an entity that is not there or linked twice, entities of one name that are not linked, or
            payloads of one type with different features.

    Example:
        >>> english = KnowledgeGraph.fit(Triples(["paris"], ["in"], ["france"]))
        >>> german = KnowledgeGraph.fit(Triples(["Paris"], ["an_der"], ["Seine"]))
        >>> merged = merge(english, german, [("paris", "Paris")])
        >>> [*merged.triples()["train"]]
        [('paris', 'in', 'france'), ('paris', 'an_der', 'Seine')]
    """
    _check_links(first, second, links, "links")
    types = [Numbering(one.schema).entities for one in (first, second)]
    if several := [own for own in types if len(own) > 1]:
        raise ConfigError(f"Graphs that are merged must have one type of entities, got {several[0]}")
    for end in (0, 1):
        name, count = Counter(pair[end] for pair in links).most_common(1)[0] if links else ("", 0)
        if count > 1:
            raise DataError(f"An entity must be linked once to be made one with another, got {name!r} {count} times")
    called = {theirs: ours for ours, theirs in links}
    if same := [name for name in second.entities if name not in called and name in first.numbers]:
        raise DataError(f"Entities of one name must be linked, got {same[0]!r} in both graphs; link or rename it")
    (ours,), (theirs,) = types
    base = Base(first.graph, first.schema, {ours: first.entities}, ours)
    grown = base.grown(ours, [name for name in second.entities if name not in called])
    index = grown.index
    named = np.array([called.get(name, name) for name in second.entities], object)
    rows = torch.tensor([index[name] for name in named], dtype=torch.long)
    larger = _Side(first, {ours: ours}, "", graph=grown.graph)
    graph, schema = _join([larger, _Side(second, {theirs: ours}, "", rows={ours: rows})])
    triples = {
        part: _named(first, part, np.array(first.entities, object)).concat(_named(second, part, named))
        for part in PARTS
    }
    relations = dict.fromkeys([*first.relations, *second.relations])
    return KnowledgeGraph.fit(triples, payloads=(graph, schema, grown.names[ours]), relations=[*relations])


def match_names(
    first: Mapping[str, str] | Sequence[str], second: Mapping[str, str] | Sequence[str]
) -> list[tuple[str, str]]:
    """Candidates for links: entities whose names are equal once case, underscores and the like are set aside.

    A name that several entities of one graph have links none of them. Of an address (``http://…/Paris``) the last part
    counts.

    Args:
        first: Entity → its label; or entities, whose names are their labels.
        second: Likewise.

    Example:
        >>> match_names(["http://a.org/New_York", "b"], {"Q60": "new york", "Q1": "universe"})
        [('http://a.org/New_York', 'Q60')]
    """
    sides = []
    for one in (first, second):
        labels = one if isinstance(one, Mapping) else {name: name for name in one}
        plain = {name: _plain(label) for name, label in labels.items()}
        counts = Counter(plain.values())
        sides.append({label: name for name, label in plain.items() if label and counts[label] == 1})
    return [(name, sides[1][label]) for label, name in sides[0].items() if label in sides[1]]


@dataclass(frozen=True)
class _Side:
    """A graph to be joined with another, and what its entity types are called then."""

    knowledge: KnowledgeGraph
    rename: Mapping[str, str]
    name: str
    rows: Mapping[str, Tensor] = field(default_factory=dict)  # new type → the row of each node, where it is there
    graph: HeteroData | None = None  # in place of its own


def _join(sides: Sequence[_Side]) -> tuple[HeteroData, Schema]:
    """The entities and payloads of graphs, without relations and questions."""
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    nodes: dict[str, NodeSpec] = {}
    edges: dict[EdgeType, EdgeSpec] = {}
    targets: dict[str, TargetSpec] = {}
    for side in sides:
        given, schema = (side.knowledge.graph if side.graph is None else side.graph), side.knowledge.schema
        rows: dict[str, Tensor] = {}
        for node, spec in schema.nodes.items():
            new = side.rename.get(node, node)
            if node == QUERY:
                continue
            if new in side.rows:
                rows[node] = side.rows[new]
                continue
            if new in nodes and nodes[new] != spec:
                raise DataError(
                    f"Nodes {new!r} of two graphs must have features of one kind, got {nodes[new]} and {spec}; "
                    "encode both with one encoder, or name the node types differently"
                )
            start = int(graph[new].num_nodes) if new in nodes else 0
            rows[node] = torch.arange(start, start + int(given[node].num_nodes))
            _append(graph[new], dict(given[node].items()), known=new in nodes)
            nodes[new] = spec
        for edge_type, edge_spec in schema.edges.items():
            source, name, target = edge_type
            if name != "of":
                continue
            new_type = (side.rename.get(source, source), name, side.rename.get(target, target))
            index = given[edge_type].edge_index
            own = {
                **given[edge_type].to_dict(),
                "edge_index": torch.stack([rows[source][index[0]], rows[target][index[1]]]),
            }
            _append(graph[new_type], own, known=new_type in edges)
            edges[new_type] = edge_spec
        for name, one in schema.targets.items():
            if one.node in side.rename and one.node not in side.rows and side.name:
                targets[f"{side.name} {name}"] = one.model_copy(update={"node": side.rename[one.node]})
            elif one.node in side.rename and not side.rows:
                targets[name] = one
    anchor = next(iter(sides[0].rename.values()))
    return graph, Schema(nodes=nodes, edges=edges, targets=targets, anchor=anchor)


def _append(store: Any, values: Mapping[str, Any], *, known: bool) -> None:
    """Puts values into a store, behind those that are there; what only one of the two has is left out."""
    if known:
        for key in set(store.keys()) - set(values):
            del store[key]
    for key, value in values.items():
        if not known:
            store[key] = value
        elif key == "num_nodes":
            store[key] = store[key] + value
        elif key in store:
            store[key] = torch.cat([store[key], value], dim=1 if key == "edge_index" else 0)


def _named(knowledge: KnowledgeGraph, part: str, names: np.ndarray) -> Triples:
    """The written facts of a part by given names of its entities."""
    heads, relations, tails = knowledge.facts[part].numpy().T
    return Triples(names[heads], np.array(knowledge.relations, object)[relations], names[tails])


def _linked(pairs: Pairs, names: tuple[str, str], relation: str) -> Triples:
    first, second = (_prefixed([pair[end] for pair in pairs], name) for end, name in enumerate(names))
    return Triples(first, np.full(len(pairs), relation, object), second)


def _prefixed(names: Sequence[str], graph: str) -> np.ndarray:
    return np.array([f"{graph}:{name}" for name in names], object)


def _check_links(first: KnowledgeGraph, second: KnowledgeGraph, links: Pairs, what: str) -> None:
    for pair in links:
        for name, one, where in zip(pair, (first, second), ("first", "second"), strict=True):
            if name not in one.numbers:
                raise DataError(f"{what} must join entities that are there, got {name!r}, which the {where} has not")


def _plain(label: str) -> str:
    """A label by which two are compared."""
    last = re.split(r"[/#]", label)[-1] if "://" in label else label
    return " ".join(unicodedata.normalize("NFKC", last).casefold().replace("_", " ").split())
