"""Two knowledge graphs as one: side by side with links to be predicted, or with linked entities made one.

Aligning entities is completing a graph: a link is a fact of the relation ``same`` from an entity of the first graph to
one of the second. So what is trained, asked and judged of facts is so of links. (:func:`mmgraph.builders.pair` makes
anchors of links instead, for :class:`mmgraph.EntityAligner`.)

What comes of it is a graph like any other: marks hold, and :meth:`~mmgraph.KnowledgeGraph.triples` gives all that
either graph was given, as it was said, with literals and what was set aside.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgraph.builders.knowledge import KnowledgeGraph
from mmgraph.builders.knowledge_base import QUERY, Base
from mmgraph.builders.knowledge_marks import Mark, read_marks
from mmgraph.builders.knowledge_report import CLASS
from mmgraph.builders.knowledge_stated import PARTS, state
from mmgraph.data.triples import Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.schema.facts import INVERSE, Numbering

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
    begin with it: ``first:…``. Relations of the same name are one relation, with what is known of it in either graph;
    payloads of the same node type are one node type. Links of ``train`` are edges, those of ``val`` and ``test`` are
    queries alone. Weights of relations are not kept.

    Args:
        first: A graph.
        second: Another.
        links: Which entities are the same, each at most once; by part, or all for training.
        names: What the two are called.
        relation: What a link is called.

    Raises:
        ConfigError: The two have one name, the relation is there already, or one is marked in two ways.
        DataError: A link of an entity that is not there, one that is linked twice (be it in two parts), or payloads of
            one type with different features.

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
    check_names(names)
    for name, one in zip(names, (first, second), strict=True):
        if relation in {*one.relations, *one.marks, *one.stated.relations}:
            raise ConfigError(f"Links must have a relation of their own, got {relation!r}, which is in {name!r}")
    parts = read_links(first, second, links)
    sides, stated, called = [], [], []
    ids: dict[str, Sequence[str]] = {}
    for name, one in zip(names, (first, second), strict=True):
        own, prefix = _names_by_type(one), f"{name}:"
        rename = {node: name if len(own) == 1 else f"{name} {node}" for node in own}
        ids |= {rename[node]: [prefix + entity for entity in entities] for node, entities in own.items()}
        sides.append(_Side(one.graph, one.schema, rename, name))
        called.append(prefix.__add__)
        stated.append(_stated(one, called[-1]))
    linked = {part: _linked(pairs, called, relation) for part, pairs in parts.items()}
    return _fit((first, second), called, [*stated, linked], (*_join(sides), ids), [relation])


def merge(first: KnowledgeGraph, second: KnowledgeGraph, links: Pairs) -> KnowledgeGraph:
    """Makes one graph of two: entities that are linked become one, under the name that the first graph gives them.

    Such an entity has the facts of both, and the payloads of both. Facts of any part stay in their part, with what is
    known of their relations in either graph. Targets are those of the first. Node types of entities of one name are one
    type, and so are the two where each graph has one; types that are nodes (``class``) of one name are one without a
    link. Weights of relations are not kept.

    Args:
        first: A graph.
        second: Another.
        links: Which entities are the same, each at most once.

    Raises:
        ConfigError: A relation is marked in two ways.
        DataError: A link of an entity that is not there, is linked twice or is of another node type, entities of one
            name that are not linked, entities with features of their own, or payloads of one type with different
            features.

    Example:
        >>> english = KnowledgeGraph.fit(Triples(["paris"], ["in"], ["france"]))
        >>> german = KnowledgeGraph.fit(Triples(["Paris"], ["an_der"], ["Seine"]))
        >>> merged = merge(english, german, [("paris", "Paris")])
        >>> [*merged.triples()["train"]]
        [('paris', 'in', 'france'), ('paris', 'an_der', 'Seine')]
    """
    ours, theirs = (_names_by_type(one) for one in (first, second))
    called = {theirs: ours for ours, theirs in read_links(first, second, links)["train"]}
    called |= {name: name for name in theirs.get(CLASS, ()) if name in set(ours.get(CLASS, ()))}
    _check_apart(first, second, called)
    rename = _one_type(tuple(ours), tuple(theirs))
    base = Base(first.graph, first.schema, ours, first.schema.anchor or "")
    for node, entities in theirs.items():
        spec = second.schema.nodes[node]
        if spec.channels or spec.attributes:
            raise DataError(
                f"Entities that are merged must need no features of their own, but {node!r} of the second graph has "
                f"{'x' if spec.channels else spec.attributes[0]!r}; hang them on entities as nodes, by 'of' edges"
            )
        base = base.grown(rename[node], [name for name in entities if name not in called])
    rows = {}
    for node, entities in theirs.items():
        place = {name: row for row, name in enumerate(base.names[rename[node]])}
        named = [called.get(name, name) for name in entities]
        if odd := [pair for pair in zip(named, entities, strict=True) if pair[0] not in place]:
            raise DataError(
                f"Entities that are linked must be of one node type, got {odd[0][0]!r} and {odd[0][1]!r} of {node!r}; "
                "name their types alike in both graphs, or keep types as edges"
            )
        rows[rename[node]] = torch.tensor([place[name] for name in named], dtype=torch.long)
    sides = [
        _Side(base.graph, base.schema, {node: node for node in base.names}, ""),
        _Side(second.graph, second.schema, rename, "", rows),
    ]
    names: list[Callable[[str], str]] = [str, lambda name: called.get(name, name)]
    stated = [_stated(one, own) for one, own in zip((first, second), names, strict=True)]
    return _fit((first, second), names, stated, (*_join(sides), base.names), [])


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


def read_links(
    first: KnowledgeGraph, second: KnowledgeGraph, links: Pairs | Mapping[str, Pairs]
) -> dict[str, list[tuple[str, str]]]:
    """The links of each part.

    Raises:
        DataError: A part that is none, an entity that is not there, or one that is linked twice.
    """
    given = dict(links) if isinstance(links, Mapping) else {"train": links}
    if wrong := [part for part in given if part not in PARTS]:
        raise DataError(f"The parts of links must be among {list(PARTS)}, got {wrong[0]!r}; rename it")
    parts = {part: [(ours, theirs) for ours, theirs in given.get(part, ())] for part in PARTS}
    for end, (one, where) in enumerate(((first, "first"), (second, "second"))):
        named = [(pair[end], part) for part, pairs in parts.items() for pair in pairs]
        for name, part in named:
            if name not in one.numbers:
                raise DataError(
                    f"Links of {part!r} must join entities that are there, got {name!r}, which the {where} has not"
                )
        name, count = Counter(name for name, _ in named).most_common(1)[0] if named else ("", 0)
        if count > 1:
            where_twice = [part for other, part in named if other == name]
            raise DataError(
                f"An entity must be linked once, in one part, got {name!r} of the {where} graph {count} times, "
                f"in {where_twice}; keep one of its links, and merge what is there twice"
            )
    return parts


def check_names(names: tuple[str, str]) -> None:
    """Checks what two graphs are called.

    Raises:
        ConfigError: They have one name, or none.
    """
    if names[0] == names[1] or "" in names:
        raise ConfigError(f"The two graphs must have different names, got {names}")


@dataclass(frozen=True)
class _Side:
    """A graph to be joined with another, and what its entity types are called then."""

    graph: HeteroData
    schema: Schema
    rename: Mapping[str, str]
    name: str
    rows: Mapping[str, Tensor] = field(default_factory=dict)  # new type → the row of each node, where it is there


def _fit(
    graphs: Sequence[KnowledgeGraph],
    called: Sequence[Callable[[str], str]],
    stated: Sequence[Mapping[str, Triples]],
    payloads: tuple[HeteroData, Schema, Mapping[str, Sequence[str]]],
    relations: Sequence[str],
) -> KnowledgeGraph:
    """The graph of what several were given; what types and payloads say is written besides, and was not given."""
    marks: dict[str, Mark] = {}
    for one in graphs:
        if odd := [name for name, mark in one.marks.items() if marks.get(name, mark) != mark]:
            raise ConfigError(
                f"A relation must have one mark in both graphs, but {odd[0]!r} has {marks[odd[0]]} and "
                f"{one.marks[odd[0]]}; mark it alike, or name it differently"
            )
        marks |= one.marks
    given = {part: stated[0][part].concat(*(one[part] for one in stated[1:])) for part in PARTS}
    added = [_added(one, own) for one, own in zip(graphs, called, strict=True)]
    names = [name for one in graphs for name in (*one.relations, *one.marks)]
    whole = KnowledgeGraph.fit(
        {**given, "train": given["train"].concat(*added)},
        payloads=payloads,
        inverse=any(edge[1].startswith(INVERSE) for one in graphs for edge in one.schema.edges),
        marks=marks,
        relations=[*dict.fromkeys([*names, *relations])],
    )
    return replace(whole, stated=state(given)[0])


def _stated(knowledge: KnowledgeGraph, called: Callable[[str], str]) -> dict[str, Triples]:
    """What a graph was given, by other names of its entities."""
    import pyarrow as pa

    stated, literals = knowledge.stated, {}
    for part, table in stated.literals.items():
        named = pa.array([called(name) for name in table.column("entity").to_pylist()], pa.string())
        literals[part] = table.set_column(table.column_names.index("entity"), "entity", named)
    return replace(stated, entities=tuple(called(name) for name in stated.entities), literals=literals).triples()


def _linked(pairs: Pairs, called: Sequence[Callable[[str], str]], relation: str) -> Triples:
    ours, theirs = (np.array([name(pair[end]) for pair in pairs], object) for end, name in enumerate(called))
    return Triples(ours, np.full(len(pairs), relation, object), theirs)


def _added(knowledge: KnowledgeGraph, called: Callable[[str], str]) -> Triples:
    """The training facts that types and relations of payloads say, by other names of the entities."""
    names, stated = knowledge.relations, knowledge.stated
    inverses = read_marks(knowledge.marks, [*names, *knowledge.marks], ()).inverses
    said = {stated.relations[number] for number in np.unique(stated.facts["train"][:, 1]).tolist()}
    said = {inverses.get(name, name) for name in said}
    facts = knowledge.facts["train"].numpy()
    heads, relations, tails = facts[np.isin(facts[:, 1], [i for i, name in enumerate(names) if name not in said])].T
    entities = np.array([called(name) for name in knowledge.entities], object)
    return Triples(entities[heads], np.array(names, object)[relations], entities[tails])


def _names_by_type(knowledge: KnowledgeGraph) -> dict[str, tuple[str, ...]]:
    """Node type → the names of its entities, by row."""
    first = Numbering(knowledge.schema).offsets(knowledge.graph)
    return {node: knowledge.entities[at : at + knowledge.graph[node].num_nodes] for node, at in first.items()}


def _one_type(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """What the second graph's types of entities are called where it is merged into the first."""
    own, other = ([node for node in nodes if node != CLASS] for nodes in (ours, theirs))
    alone = len(own) == len(other) == 1
    return {node: own[0] if alone and node != CLASS else node for node in theirs}


def _check_apart(first: KnowledgeGraph, second: KnowledgeGraph, called: Mapping[str, str]) -> None:
    """Checks that no name means two entities; what is set aside in both graphs stays so."""
    known, strange = first.numbers, set(first.stated.entities)
    same = [name for name in second.entities if name not in called and (name in known or name in strange)]
    same += [name for name in second.stated.entities if name not in second.numbers and name in known]
    if same:
        raise DataError(f"Entities of one name must be linked, got {same[0]!r} in both graphs; link or rename it")


def _join(sides: Sequence[_Side]) -> tuple[HeteroData, Schema]:
    """The entities and payloads of graphs, without relations and questions."""
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    nodes: dict[str, NodeSpec] = {}
    edges: dict[EdgeType, EdgeSpec] = {}
    targets: dict[str, TargetSpec] = {}
    for side in sides:
        rows: dict[str, Tensor] = {}
        for node, spec in side.schema.nodes.items():
            new = side.rename.get(node, node)
            if node == QUERY:
                continue
            if new in side.rows:
                rows[node] = side.rows[new]
                continue
            if new in nodes and nodes[new] != spec:
                raise DataError(
                    f"Nodes {new!r} of two graphs must have features of one kind, got {nodes[new]} and {spec}; give "
                    f"build_graph of one the other's encoder, encoders={{{new!r}: other.encoder({new!r})}}, "
                    "or name the node types differently"
                )
            start = int(graph[new].num_nodes) if new in nodes else 0
            rows[node] = torch.arange(start, start + int(side.graph[node].num_nodes))
            _append(graph[new], dict(side.graph[node].items()), known=new in nodes)
            nodes[new] = spec
        for edge_type, edge_spec in side.schema.edges.items():
            source, name, target = edge_type
            if name != "of":
                continue
            new_type = (side.rename.get(source, source), name, side.rename.get(target, target))
            index = side.graph[edge_type].edge_index
            own = {
                **side.graph[edge_type].to_dict(),
                "edge_index": torch.stack([rows[source][index[0]], rows[target][index[1]]]),
            }
            _append(graph[new_type], own, known=new_type in edges)
            edges[new_type] = edge_spec
        for name, one in side.schema.targets.items():
            if one.node in side.rename and not side.rows:
                called = f"{side.name} {name}" if side.name else name
                targets[called] = one.model_copy(update={"node": side.rename[one.node]})
    anchor = sides[0].rename[sides[0].schema.anchor or ""]
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


def _plain(label: str) -> str:
    """A label by which two are compared."""
    last = re.split(r"[/#]", label)[-1] if "://" in label else label
    return " ".join(unicodedata.normalize("NFKC", last).casefold().replace("_", " ").split())
