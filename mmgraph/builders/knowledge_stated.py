"""Facts as they were given, in numbers; and what of them a graph can say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmgraph.builders.facts import first_of_each, keys, numbers
from mmgraph.builders.knowledge_marks import Relations
from mmgraph.data.graph_file import SEPARATOR
from mmgraph.data.triples import Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema.facts import INVERSE

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("train", "val", "test")
NOTHING = Triples(np.empty(0, object), np.empty(0, object), np.empty(0, object))


@dataclass(frozen=True)
class Stated:
    """The facts as they were given, each once in a part, in their order.

    Args:
        entities: Names.
        relations: Names.
        facts: Part → ``[facts, 3]``, numbers of those names.
        literals: Part → what was said of entities in numbers and words.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    facts: Mapping[str, np.ndarray]
    literals: Mapping[str, pa.Table] = field(default_factory=dict)

    def triples(self) -> dict[str, Triples]:
        """Part → its facts by name."""
        entities, relations = np.array(self.entities, object), np.array(self.relations, object)
        return {
            part: Triples(entities[facts[:, 0]], relations[facts[:, 1]], entities[facts[:, 2]], self.literals.get(part))
            for part, facts in self.facts.items()
        }


@dataclass(frozen=True)
class Said:
    """Which of the facts given a graph can say, each once in a part.

    Args:
        facts: Part → facts by number of entity and of written relation.
        aside: Part → rows of the facts given that are set aside: their entity or relation is unknown.
        restated: Part → how many facts said the same as another by the inverse relation.
    """

    facts: Mapping[str, np.ndarray]
    aside: Mapping[str, np.ndarray]
    restated: Mapping[str, int]


def read_parts(triples: Triples | Mapping[str, Triples]) -> dict[str, Triples]:
    """The triples of each part; what is not there is empty.

    Raises:
        DataError: A part that is none, or no training.
    """
    parts = {"train": triples} if isinstance(triples, Triples) else dict(triples)
    if wrong := [part for part in parts if part not in PARTS]:
        raise DataError(f"The parts of triples must be among {list(PARTS)}, got {wrong[0]!r}; rename it")
    if "train" not in parts:
        raise DataError(f"triples must have a part 'train', got {list(parts)}")
    for part, given in parts.items():
        if not isinstance(given, Triples):
            raise DataError(
                f"triples of {part!r} must be Triples, got {type(given).__name__}; use mmgraph.data.Triples"
            )
    return {part: parts.get(part, NOTHING) for part in PARTS}


def state(parts: Mapping[str, Triples]) -> tuple[Stated, dict[str, int]]:
    """Facts in numbers, each once a part, and how many repetitions each part had."""
    entities = sorted({name for part in parts.values() for name in (*part.heads.tolist(), *part.tails.tolist())})
    relations = sorted({name for part in parts.values() for name in part.relations.tolist()})
    index, kinds = _index(entities), _index(relations)
    facts, duplicates = {}, {}
    for part, given in parts.items():
        columns = [numbers(given.heads, index), numbers(given.relations, kinds), numbers(given.tails, index)]
        every = np.stack(columns, axis=1)  # [facts, 3]
        facts[part] = every[first_of_each(keys(every, len(entities), len(relations)))]
        duplicates[part] = len(every) - len(facts[part])
    literals = {part: given.literals for part, given in parts.items() if given.literals is not None}
    return Stated(tuple(entities), tuple(relations), facts, literals), duplicates


def say(stated: Stated, index: Mapping[str, int], relations: Relations) -> Said:
    """Writes the facts by the numbers of a graph's entities and written relations."""
    entity = numbers(stated.entities, index)
    facts, aside, restated = {}, {}, {}
    for part, given in stated.facts.items():
        written = relations.written(
            np.stack([entity[given[:, 0]], given[:, 1], entity[given[:, 2]]], axis=1), stated.relations
        )
        known = (written >= 0).all(axis=1)
        kept = written[known]
        once = first_of_each(keys(kept, len(index), len(relations.names)))
        facts[part], aside[part], restated[part] = kept[once], np.flatnonzero(~known), len(kept) - len(once)
    return Said(facts, aside, restated)


def strangers(stated: Stated, index: Mapping[str, int], relations: Relations) -> tuple[tuple[str, ...], ...]:
    """The entities, and the relations, that are given and not known."""
    known = {*relations.names, *relations.inverses}
    entities = tuple(name for name in stated.entities if name not in index)
    return entities, tuple(name for name in stated.relations if name not in known)


def check_relations(names: Iterable[str], joined: Iterable[str], reserved: Iterable[str]) -> None:
    """Checks that relations may have the names they have.

    Raises:
        ConfigError: A name that means something else, or is that of a relation of the payloads' graph.
    """
    taken, kept = set(joined), {"of", *reserved}
    for name in names:
        if name in kept or name.startswith(INVERSE) or SEPARATOR in name:
            raise ConfigError(
                f"A relation must not be called {sorted(kept)}, begin with {INVERSE!r} or hold {SEPARATOR!r}, "
                f"got {name!r}; rename it in the triples"
            )
        if name in taken:
            raise ConfigError(f"Relation {name!r} is in triples and in the graph of payloads; rename one of them")


def _index(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
