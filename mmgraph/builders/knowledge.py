"""Knowledge graphs: entities with payloads, joined by typed facts, and asked for the facts that are held back.

The facts of training are edges: ``(entity, r, entity)``, with their inverses ``(entity, ^r, entity)``. Each fact of any
part is two rows of the node type ``query``: row i asks ``(h, r, ?)`` and row F + i asks ``(t, ^r, ?)``; the entity that
answers is the target ``answer``. So completing a graph is classifying queries, held-back facts are in no edge, and a
task's view hides their answers.

| what | where |
|---|---|
| an entity's text, picture or numbers | nodes that hang on it by ``of`` edges, as everywhere |
| a training fact | an edge, an edge of the inverse relation, and two queries |
| a fact of validation or test | two queries |
| the type of an entity | an edge to a node ``class``, or the entity's node type |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from mmgraph.builders.facts import distinct, numbers
from mmgraph.builders.knowledge_base import ANSWER, Base, Payloads, read_base
from mmgraph.builders.knowledge_graph import write_graph
from mmgraph.builders.knowledge_marks import Mark, follow, read_marks
from mmgraph.builders.knowledge_report import CLASS, SHOWN, TYPE, Counted, KnowledgeReport, make_report
from mmgraph.builders.knowledge_stated import PARTS, Stated, check_relations, read_parts, say, state, strangers
from mmgraph.data.graph_file import load_graph, save_graph
from mmgraph.data.triples import Triples
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_bytes, write_json
from mmgraph.schema import Schema
from mmgraph.schema.facts import INVERSE, Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT = "mmgraph.knowledge/1"

Types: TypeAlias = Mapping[str, str | Sequence[str]]
"""Entity → its type, or its types."""


@dataclass(frozen=True, kw_only=True)
class KnowledgeGraph:
    """A graph of entities, relations and questions, with the facts behind it.

    Made by :meth:`fit`.

    Args:
        graph: Entities, their payloads, an edge type a relation (and one for its inverse), and ``query``.
        schema: What they mean; its target ``answer`` names all entities.
        facts: Part → facts ``[facts, 3]``: number of the head, of the relation, of the tail. Those of ``train`` are all
            edges of the graph, with types and what follows by marks.
        stated: The facts as they were given.
        report: What a person should know of them.
        marks: What is known of relations.

    Example:
        >>> train = Triples(["ann", "bob", "bob"], ["knows", "knows", "likes"], ["bob", "cid", "ann"])
        >>> test = Triples(["ann"], ["likes"], ["cid"])
        >>> knowledge = KnowledgeGraph.fit({"train": train, "test": test})
        >>> knowledge.entities, knowledge.relations
        (('ann', 'bob', 'cid'), ('knows', 'likes'))
        >>> knowledge.graph["entity", "^knows", "entity"].edge_index.tolist()
        [[1, 2], [0, 1]]
        >>> knowledge.graph["query"].relation.tolist()
        [0, 0, 1, 1, 2, 2, 3, 3]
        >>> list(knowledge.triples()["test"])
        [('ann', 'likes', 'cid')]
    """

    graph: HeteroData
    schema: Schema
    facts: Mapping[str, Tensor]
    stated: Stated
    report: KnowledgeReport
    marks: Mapping[str, Mark] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        triples: Triples | Mapping[str, Triples],
        *,
        payloads: Payloads | None = None,
        entity: str | None = None,
        inverse: bool = True,
        marks: Mapping[str, Mark] | None = None,
        types: Types | None = None,
        types_as: Literal["edges", "nodes"] = "edges",
        relations: Sequence[str] = (),
        unknown: Literal["aside", "error"] = "aside",
    ) -> KnowledgeGraph:
        """Builds the graph of some facts.

        Entities of ``payloads`` keep their rows; those that training facts alone name follow, sorted. Relations are
        sorted by name.

        Args:
            triples: The facts, all for training; or by part, ``train``, ``val`` and ``test``.
            payloads: A graph whose anchors are the entities, with its schema and the names of the anchors (or, by node
                type, of all that may be entities): e.g. what ``mg.build_graph`` gives. All of it stays; its relations
                between entities are training facts too.
            entity: The entities' node type; by default the anchor of ``payloads``, or ``"entity"``.
            inverse: Whether each relation has an edge type of its inverse.
            marks: Relation → what is known of it.
            types: Entity → its type or types. Types of entities that are not there are not used.
            types_as: ``edges``: a type is a node of type ``class``, and a relation ``type`` joins entities with it.
                ``nodes``: the entities of a type are a node type, and a relation has an edge type for each pair of
                types that it joins; an entity has one type at most.
            relations: Relations that are there even without a training fact; they are numbered first, in this order.
            unknown: What to do with facts of validation and test whose entity or relation is in no training fact:
                set them aside and count them, or raise.

        Raises:
            DataError: No facts, parts that are none, unknown names where they are refused, names that clash.
            ConfigError: Options or marks that contradict each other or the facts.
        """
        marks = dict(marks or {})
        stated, duplicates = state(read_parts(triples))
        base = read_base(payloads, entity)
        trained = distinct(stated.facts["train"][:, [0, 2]].ravel())
        known = base.index
        named = [stated.entities[row] for row in trained.tolist() if stated.entities[row] not in known]
        base = base.grown(base.entity, named)
        base, typed, unused = _type(base, types or {}, types_as)  # typed [facts, 3], without a relation
        index, extra = base.index, (TYPE,) if len(typed) else ()
        found = [stated.relations[row] for row in distinct(stated.facts["train"][:, 1]).tolist()]
        relation = read_marks(marks, relations, found)
        joined = [edge[1] for edge in base.schema.edges if edge[1] != "of"]
        check_relations([*relation.names, *relation.inverses], joined, extra)
        if not (relation.names or joined or extra):
            raise DataError("A knowledge graph needs at least 1 fact in training, got none")
        said, strange = say(stated, index, relation), strangers(stated, index, relation)
        _check_known(said.aside, strange, unknown)
        derived, kinds = follow(said.facts["train"], relation.names, marks, len(index))
        typed[:, 1] = len(relation.names)
        every = {**said.facts, "train": np.concatenate([said.facts["train"], derived, typed])}
        graph, schema, written = write_graph(base, every, (*relation.names, *extra), inverse=inverse)
        report = make_report(
            said,
            Counted(duplicates, strange, kinds, len(typed), unused, sum(map(len, base.names.values()))),
            tuple(index),
            relation,
            marks,
            derived,
            written["train"],
            Numbering(schema).relations,
        )
        return cls(graph=graph, schema=schema, facts=written, stated=stated, report=report, marks=marks)

    @property
    def entities(self) -> tuple[str, ...]:
        """The names of the entities, by number."""
        return self.schema.target(ANSWER).classes

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the anchors, by row."""
        first = Numbering(self.schema).offsets(self.graph)[self.schema.anchor or ""]
        return self.entities[first : first + int(self.graph[self.schema.anchor or ""].num_nodes)]

    @cached_property
    def relations(self) -> tuple[str, ...]:
        """The names of the relations, by number; that of the inverse ``^r`` is the number of r plus their count."""
        return Numbering(self.schema).relations

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Name → number of the entity."""
        return {name: number for number, name in enumerate(self.entities)}

    def triples(self) -> dict[str, Triples]:
        """The facts as they were given, by part and in their order, each once: a graph is a set of facts.

        What was added (by marks, types, payloads) is not among them; what was set aside is. How often a part said
        again what it had said is counted in ``report.duplicates``, as :meth:`~mmgraph.data.triples.Triples.unique`
        counts it. Literals are all there.

        Example:
            >>> given = Triples(["ann", "bob", "ann"], ["knows", "knows", "knows"], ["bob", "ann", "bob"])
            >>> knowledge = KnowledgeGraph.fit(given)
            >>> knowledge.triples()["train"] == given.unique()[0], knowledge.report.duplicates["train"]
            (True, 1)
        """
        return self.stated.triples()

    def facts_of(self, triples: Triples, *, unknown: Literal["aside", "error"] = "error") -> tuple[Tensor, Tensor]:
        """The numbers of facts that are given by name, e.g. to ask a :class:`mmgraph.Linker` whether they hold.

        Args:
            triples: Any facts, in the graph or not; a relation may be an inverse, ``^r``, or one that a mark says to be
                the inverse of another.
            unknown: What to do with facts whose entity or relation is not in the graph: raise, or set them aside.

        Returns:
            The facts ``[known, 3]``, number of the head, of the relation, of the tail, in the order given; and which of
            the triples they are, a mask ``[triples]``.

        Raises:
            DataError: Names that are not in the graph, where they are refused.
            ConfigError: ``unknown`` is neither.

        Example:
            >>> knowledge = KnowledgeGraph.fit(Triples(["ann", "bob"], ["knows", "likes"], ["bob", "ann"]))
            >>> asked = Triples(["bob", "zoe"], ["^knows", "likes"], ["ann", "ann"])
            >>> facts, known = knowledge.facts_of(asked, unknown="aside")
            >>> facts.tolist(), known.tolist(), list(asked.take(~known.numpy()))
            ([[1, 2, 0]], [True, False], [('zoe', 'likes', 'ann')])
        """
        if unknown not in ("aside", "error"):
            raise ConfigError(f"unknown must be 'aside' or 'error', got {unknown!r}")
        names = (*self.relations, *(f"{INVERSE}{name}" for name in self.relations))
        kinds = {name: number for number, name in enumerate(names)}
        for name, other in read_marks(self.marks, [*self.relations, *self.marks], ()).inverses.items():
            kinds |= {name: kinds[INVERSE + other], INVERSE + name: kinds[other]}
        asked = ((triples.heads, self.numbers), (triples.relations, kinds), (triples.tails, self.numbers))
        columns = [numbers(column, index) for column, index in asked]
        facts = torch.from_numpy(np.stack(columns, axis=1))  # [triples, 3]
        known = (facts >= 0).all(dim=1)
        if unknown == "error" and not known.all():
            bare = Triples(triples.heads, triples.relations, triples.tails)  # literals name entities, too
            entities = [name for name in bare.entities if name not in self.numbers]
            strange = [name for name in triples.relation_names if name not in kinds]
            raise DataError(
                f"Triples must name entities and relations of the graph, but {int((~known).sum())} of {len(triples)} "
                f"do not: {len(entities)} unknown entities {entities[:SHOWN]}, {len(strange)} relations "
                f"{strange[:SHOWN]}; fit the graph with them, or set them aside by unknown='aside'"
            )
        return facts[known], known

    def pairs(self, relation: str) -> dict[str, Tensor]:
        """Part → the pairs of entities that a relation joins there, ``[facts, 2]``.

        Raises:
            SchemaError: There is no such relation.
        """
        number = Numbering(self.schema).number(relation)
        turned = number >= len(self.relations)
        found = {part: facts[facts[:, 1] == number % len(self.relations)] for part, facts in self.facts.items()}
        return {part: facts[:, [2, 0] if turned else [0, 2]] for part, facts in found.items()}

    def save(self, folder: Path) -> None:
        """Writes the graph and its facts to a folder, whole or not at all, without pickle."""
        import pyarrow.parquet as parquet

        with new_folder(folder) as draft:
            save_graph(self.graph, draft / "graph.safetensors")
            arrays = {f"facts|{part}": facts.numpy() for part, facts in self.facts.items()}
            arrays |= {f"stated|{part}": facts for part, facts in self.stated.facts.items()}
            contiguous = {name: np.ascontiguousarray(one) for name, one in arrays.items()}  # their bytes are written
            write_bytes(draft / "facts.safetensors", save(contiguous))
            for part, table in self.stated.literals.items():
                parquet.write_table(table, draft / f"literals-{part}.parquet")
            write_json(
                draft / "knowledge.json",
                {
                    "format": FORMAT,
                    "schema": json.loads(self.schema.to_json()),
                    "stated": {"entities": self.stated.entities, "relations": self.stated.relations},
                    "literals": list(self.stated.literals),
                    "marks": {name: asdict(mark) for name, mark in self.marks.items()},
                    "report": self.report.to_dict(),
                },
            )
            seal(draft)

    @classmethod
    def load(cls, folder: Path) -> KnowledgeGraph:
        """Reads a graph that :meth:`save` wrote.

        Raises:
            ArtifactError: A file is missing or damaged, or another version wrote it.
        """
        import pyarrow.parquet as parquet

        folder = Path(folder)
        check_seal(folder)
        meta = read_json(folder / "knowledge.json")
        if meta.get("format") != FORMAT:
            raise ArtifactError(
                f"{str(folder)!r} must have the format {FORMAT!r}, got {meta.get('format')!r}; "
                "it was written by another version of mmgraph: fit the graph again"
            )
        arrays = load_file(folder / "facts.safetensors")
        stated = Stated(
            entities=tuple(meta["stated"]["entities"]),
            relations=tuple(meta["stated"]["relations"]),
            facts={part: arrays[f"stated|{part}"] for part in PARTS},
            literals={part: parquet.read_table(folder / f"literals-{part}.parquet") for part in meta["literals"]},
        )
        return cls(
            graph=load_graph(folder / "graph.safetensors"),
            schema=Schema.from_json(json.dumps(meta["schema"])),
            facts={part: torch.from_numpy(arrays[f"facts|{part}"]) for part in PARTS},
            stated=stated,
            report=KnowledgeReport.from_dict(meta["report"]),
            marks={name: Mark(**mark) for name, mark in meta.get("marks", {}).items()},
        )


def _type(base: Base, types: Types, types_as: str) -> tuple[Base, np.ndarray, int]:
    """Writes the types of entities; returns facts ``[facts, 3]`` to write (without relation), and how many are unused.

    Raises:
        ConfigError: An entity with several types, each of which is to be its node type, or a name that clashes.
    """
    if types_as not in ("edges", "nodes"):
        raise ConfigError(f"types_as must be 'edges' or 'nodes', got {types_as!r}")
    there = base.index if types_as == "edges" else dict.fromkeys(base.names[base.entity])
    given = {name: (one,) if isinstance(one, str) else tuple(one) for name, one in types.items() if name in there}
    facts, unused = np.empty((0, 3), np.int64), len(types) - len(given)
    if types_as == "nodes":
        if several := [name for name, own in given.items() if len(set(own)) > 1]:
            raise ConfigError(
                f"An entity must have one type to be a node of it, but {several[0]!r} has {list(given[several[0]])}; "
                "choose one, or types_as='edges'"
            )
        kinds = {name: own[0] for name, own in given.items() if own}
        return (base.split(kinds) if kinds else base), facts, unused
    classes = sorted({one for own in given.values() for one in own})
    if not classes:
        return base, facts, unused
    if CLASS in base.schema.nodes:
        raise ConfigError(f"With types_as='edges' payloads must have no node type {CLASS!r}; rename it")
    if both := [name for name in classes if name in there]:
        raise ConfigError(
            f"A type must not have the name of an entity, got {both[0]!r}; rename it, or give types as triples"
        )
    base = base.grown(CLASS, classes)
    index = base.index
    pairs = sorted({(index[name], index[one]) for name, own in given.items() for one in own})
    return base, np.insert(np.array(pairs, np.int64), 1, 0, axis=1), unused


def _check_known(aside: Mapping[str, np.ndarray], strange: tuple[tuple[str, ...], ...], unknown: str) -> None:
    def names(what: str, found: Sequence[str]) -> str:
        some = f"{SHOWN} of {len(found)} " if len(found) > SHOWN else ""
        return f"{some}{what} {list(found[:SHOWN])}"

    if unknown not in ("aside", "error"):
        raise ConfigError(f"unknown must be 'aside' or 'error', got {unknown!r}")
    found = {part: len(rows) for part, rows in aside.items() if len(rows)}
    if found and unknown == "error":
        raise DataError(
            f"Facts must have entities and relations of training, but {found} have not: "
            f"{names('entities', strange[0])}, {names('relations', strange[1])}; give entities in payloads and "
            "relations in relations, or unknown='aside'"
        )
