"""What a person should know of the facts of a knowledge graph before a figure on it is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from torch import Tensor

from mmgraph.builders.facts import among, distinct, first_of_each, keys
from mmgraph.builders.knowledge_leaks import Exposure, Leak, find_exposed, find_leaks
from mmgraph.builders.knowledge_marks import Mark, Relations
from mmgraph.builders.knowledge_stated import Said
from mmgraph.functional.relations import CATEGORIES, categories
from mmgraph.schema.facts import INVERSE

TYPE, CLASS = "type", "class"
"""The relation that joins an entity with its type, and the node type of types."""

SHOWN = 5
"""Unknown names that a report keeps, and exposures of a part that it shows as text."""

MOST_LEAKS = 20
"""Leaks that it shows as text."""


@dataclass(frozen=True)
class Counted:
    """What was counted while a graph was built.

    Args:
        duplicates: Part → repetitions.
        strange: The unknown entities, and the unknown relations.
        derived: Kind → facts that follow by marks.
        types: Facts that say a type.
        unused_types: Entities that have a type and are not there.
        entities: How many entities there are.
    """

    duplicates: Mapping[str, int]
    strange: tuple[tuple[str, ...], ...]
    derived: Mapping[str, int]
    types: int
    unused_types: int
    entities: int


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """Facts that can't hold together by the marks of their relations.

    Args:
        relation: The one that is marked.
        other: Its opposite; the relation itself where it is functional; its inverse ``^r`` where it is asymmetric.
        count: How many pairs have both (a self-loop is one, where asymmetric), or heads several tails.
        example: One of them: the names of head and tail, or of head and two tails.
    """

    relation: str
    other: str
    count: int
    example: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class KnowledgeReport:
    """What a knowledge graph was made of, what was set aside, and what would make a figure on it too good.

    Args:
        entities: How many entities there are, types among them where they are nodes.
        relations: How many relations, without inverses.
        facts: Part → how many facts it has, each counted once.
        duplicates: Part → how many rows said again what another row of the part says.
        restated: Part → how many facts said the same as another by the inverse relation.
        unknown: Part → how many facts were set aside, as training has not their entity or relation. No metric knows
            of them.
        unknown_entities: Some of those entities, by name.
        unknown_relations: Some of those relations.
        num_unknown_entities: How many such entities there are.
        num_unknown_relations: How many such relations.
        derived: Kind → how many training facts follow from others by marks.
        types: How many training facts say the type of an entity.
        unused_types: How many entities have a type, and are not there.
        in_train: Part → how many of its facts are training facts too.
        implied: Part → how many follow from training facts by marks.
        leaks: Pairs of relations of which one gives the other away (training facts with more than 80 % of the pairs
            of each in common; Akrami et al. 2020, Realistic re-evaluation of knowledge graph completion methods,
            SIGMOD, after Toutanova & Chen 2015, Observed versus latent features for knowledge base and text inference).
            They are found in training alone, so that what is chosen by them has seen no held-out fact.
        exposed: Pairs of relations of which one says in training what the other holds out, those of most facts first.
            Facts split at random show here where each direction went to another part.
        leaked: Part → how many of its facts are said in training by a relation of ``leaks`` or of ``exposed``.
        contradictions: Pairs with opposite relations or with both directions of an asymmetric one, and functional
            relations with several tails.
        self_loops: How many facts of all parts join an entity with itself.
        empty: Relations without a training fact.
        once: Relations with one.
        alone: How many entities are in no training fact.
        categories: Relation → ``1-1``, ``1-n``, ``n-1`` or ``n-n``, by its training facts.
    """

    entities: int
    relations: int
    facts: Mapping[str, int]
    duplicates: Mapping[str, int]
    restated: Mapping[str, int]
    unknown: Mapping[str, int]
    unknown_entities: tuple[str, ...]
    unknown_relations: tuple[str, ...]
    num_unknown_entities: int
    num_unknown_relations: int
    derived: Mapping[str, int]
    types: int
    unused_types: int
    in_train: Mapping[str, int]
    implied: Mapping[str, int]
    leaks: tuple[Leak, ...]
    exposed: tuple[Exposure, ...]
    leaked: Mapping[str, int]
    contradictions: tuple[Contradiction, ...]
    self_loops: int
    empty: tuple[str, ...]
    once: tuple[str, ...]
    alone: int
    categories: Mapping[str, str]

    def describe(self) -> str:
        """The report as text; what is nothing is left out."""
        parts = ", ".join(f"{count:,} {part}" for part, count in self.facts.items())
        lines = [f"{self.entities:,} entities, {self.relations:,} relations; facts: {parts}"]
        for text, counts, relative in (
            ("repeated and dropped", self.duplicates, False),
            ("said again by the inverse relation and dropped", self.restated, False),
            ("also in training", self.in_train, True),
            ("following from training by marks", self.implied, True),
            ("said in training by a relation that gives them away", self.leaked, True),
        ):
            for part, count in counts.items():
                share = f" ({count / self.facts[part]:.1%})" if count and relative else ""
                lines += [f"{part}: {count:,} facts{share} {text}"] * (count > 0)
        for part, count in self.unknown.items():
            every = count + self.facts[part]
            text = f"{part}: {count:,} of {every:,} facts ({count / max(every, 1):.1%}) set aside, in no metric"
            lines += [f"{text}: their entity or relation is in no training fact"] * (count > 0)
        lines += _some("unknown entities", self.unknown_entities, self.num_unknown_entities)
        lines += _some("unknown relations", self.unknown_relations, self.num_unknown_relations)
        lines += [f"{count:,} training facts added: {kind}" for kind, count in self.derived.items() if count]
        lines += [f"{self.types:,} training facts are types"] * (self.types > 0)
        lines += [f"{self.unused_types:,} types are of entities that are not there"] * (self.unused_types > 0)
        for part in self.facts:
            told = [_told(one) for one in self.exposed if one.part == part]
            lines += [f"{part}: {line}" for line in told[:SHOWN]]
            lines += [f"{part}: and so {len(told) - SHOWN:,} more pairs of relations: see exposed"] * (
                len(told) > SHOWN
            )
        lines += [_advised(leak) for leak in self.leaks[:MOST_LEAKS]]
        more = len(self.leaks) - MOST_LEAKS
        lines += [f"and so {more:,} more pairs of relations: see leaks"] * (more > 0)
        lines += [_against(one) for one in self.contradictions]
        lines += [f"{self.self_loops:,} facts join an entity with itself"] * (self.self_loops > 0)
        lines += [f"{self.alone:,} entities are in no training fact"] * (self.alone > 0)
        lines += [f"relations without a training fact: {', '.join(self.empty)}"] * (len(self.empty) > 0)
        lines += [f"relations with one training fact: {', '.join(self.once)}"] * (len(self.once) > 0)
        kinds = list(self.categories.values())
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in CATEGORIES if kind in kinds)
        return "\n".join([*lines, f"relations by category: {counted}"])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KnowledgeReport:
        """Reads what :meth:`to_dict` gave, after JSON."""
        plain = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        for name in ("unknown_entities", "unknown_relations", "empty", "once"):
            plain[name] = tuple(plain[name])
        for name in ("unknown_entities", "unknown_relations"):  # older reports have neither their number nor exposures
            plain.setdefault(f"num_{name}", len(plain[name]))
        plain["leaks"] = tuple(Leak(**one) for one in plain["leaks"])
        plain["exposed"] = tuple(Exposure(**one) for one in plain.get("exposed", ()))
        plain["contradictions"] = tuple(
            Contradiction(**{**one, "example": tuple(one["example"])}) for one in plain["contradictions"]
        )
        return cls(**plain)


def find_contradictions(
    facts: np.ndarray, relations: Relations, marks: Mapping[str, Mark], names: Sequence[str]
) -> list[Contradiction]:
    """What marks rule out, in facts that are each given once."""
    found: list[Contradiction] = []
    told: set[frozenset[str]] = set()
    for name, mark in marks.items():
        own = relations.facts_of(name, facts)
        if mark.functional:
            heads, counts = np.unique(own[:, 0], return_counts=True)
            if len(several := heads[counts > 1]):
                tails = own[own[:, 0] == several[0], 2][:2]
                example = tuple(names[row] for row in (several[0], *tails))
                found.append(Contradiction(relation=name, other=name, count=len(several), example=example))
        if mark.asymmetric:
            turned = distinct(own[:, 2] * len(names) + own[:, 0])
            both = own[among(own[:, 0] * len(names) + own[:, 2], turned) & (own[:, 0] <= own[:, 2])]
            if len(both):
                example = (names[both[0, 0]], names[both[0, 2]])
                found.append(Contradiction(relation=name, other=INVERSE + name, count=len(both), example=example))
        if mark.opposite_of is not None and (pair := frozenset((name, mark.opposite_of))) not in told:
            told.add(pair)
            other = relations.facts_of(mark.opposite_of, facts)
            pairs = distinct(other[:, 0] * len(names) + other[:, 2])
            both = own[among(own[:, 0] * len(names) + own[:, 2], pairs)]
            if len(both):
                example = (names[both[0, 0]], names[both[0, 2]])
                found.append(Contradiction(relation=name, other=mark.opposite_of, count=len(both), example=example))
    return found


def make_report(
    said: Said,
    counted: Counted,
    names: Sequence[str],
    relations: Relations,
    marks: Mapping[str, Mark],
    derived: np.ndarray,
    train: Tensor,
    called: Sequence[str],
) -> KnowledgeReport:
    """Looks for what a person should know.

    Args:
        said: The facts that the graph can say.
        counted: What was counted on the way.
        names: Of the entities, by the numbers of ``said``.
        relations: The relations, by the numbers of ``said``.
        marks: What is known of them.
        derived: What follows from the training facts by marks.
        train: All training facts, by the numbers of the graph.
        called: All relations, by the numbers of the graph.
    """
    stated, held = said.facts["train"], {part: facts for part, facts in said.facts.items() if part != "train"}
    size, count = len(names), len(relations.names)
    in_train, implied = distinct(keys(stated, size, count)), distinct(keys(derived, size, count))
    leaks, rows = find_leaks(stated, size, relations.names)
    every = np.concatenate([stated, *held.values()])
    once = first_of_each(keys(every, size, count))
    every = every[once]
    exposed, leaked = find_exposed(held, every, once < len(stated), rows, size, relations.names)
    facts_of = train[:, 1].bincount(minlength=len(called)).tolist()
    linked = train if not counted.types else train[train[:, 1] != called.index(TYPE)]
    classes = 0 if not counted.types else len(train[train[:, 1] == called.index(TYPE), 2].unique())
    kinds = categories(train, len(called)).tolist()
    return KnowledgeReport(
        entities=counted.entities,
        relations=len(called),
        facts={part: len(facts) for part, facts in said.facts.items()},
        duplicates=counted.duplicates,
        restated=said.restated,
        unknown={part: len(aside) for part, aside in said.aside.items()},
        unknown_entities=counted.strange[0][:SHOWN],
        unknown_relations=counted.strange[1][:SHOWN],
        num_unknown_entities=len(counted.strange[0]),
        num_unknown_relations=len(counted.strange[1]),
        derived=counted.derived,
        types=counted.types,
        unused_types=counted.unused_types,
        in_train={part: _count(facts, in_train, size, count) for part, facts in held.items()},
        implied={part: _count(facts, implied, size, count) for part, facts in held.items()},
        leaks=tuple(leaks),
        exposed=tuple(exposed),
        leaked=leaked,
        contradictions=tuple(find_contradictions(every, relations, marks, names)),
        self_loops=int((every[:, 0] == every[:, 2]).sum()),
        empty=tuple(name for name, number in zip(called, facts_of, strict=True) if number == 0),
        once=tuple(name for name, number in zip(called, facts_of, strict=True) if number == 1),
        alone=counted.entities - classes - len(linked[:, [0, 2]].unique()),
        categories={name: CATEGORIES[kind] for name, kind in zip(called, kinds, strict=True) if kind >= 0},
    )


def _count(facts: np.ndarray, known: np.ndarray, num_entities: int, num_relations: int) -> int:
    return int(among(keys(facts, num_entities, num_relations), known).sum())


def _told(one: Exposure) -> str:
    how = {
        "inverse": f"in training from tail to head as {one.other!r}",
        "symmetric": "in training from tail to head",
        "same": f"in training as {one.other!r}",
    }
    return f"{one.count:,} facts of {one.relation!r} ({one.share:.0%}) stand {how[one.kind]}"


def _advised(leak: Leak) -> str:
    """A leak, and what can be done about it."""
    pair = f"{leak.relation!r}" if leak.kind == "symmetric" else f"{leak.relation!r} and {leak.other!r}"
    advice = {
        "symmetric": "Mark(symmetric=True) says so",
        "inverse": f"Mark(inverse_of={leak.other!r}) of {leak.relation!r} says so",
        "same": f"call both {leak.other!r} in the triples, or leave one out",
    }
    return f"{leak.kind} in the data: {pair}, {leak.share:.0%} of pairs; {advice[leak.kind]}"


def _against(one: Contradiction) -> str:
    if one.relation == one.other:
        return f"{one.count:,} heads of {one.relation!r}, which is functional, have several tails: {one.example}"
    if one.other == INVERSE + one.relation:
        return f"{one.count:,} pairs have {one.relation!r}, which is asymmetric, both ways: {one.example}"
    return f"{one.count:,} pairs have {one.relation!r} and its opposite {one.other!r}: {one.example}"


def _some(what: str, names: Sequence[str], count: int) -> list[str]:
    some = f"{len(names)} of {count:,}" if len(names) < count else f"{count:,}"
    return [f"{some} {what}: {', '.join(map(repr, names))}"] if count else []
