"""What is known of a relation, and the facts that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmgraph.builders.facts import close, first_of_each, keys, reverse
from mmgraph.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What is known of a relation (in OWL, the kind of a property).

    Args:
        symmetric: Each of its facts holds in the other direction too; both are written.
        asymmetric: None of its facts holds in the other direction, and none joins an entity with itself; pairs with
            both, and self-loops, are reported.
        transitive: Where it leads from a to b and from b to c it leads from a to c; what follows from the training
            facts is written. No entity is joined with itself by this.
        functional: A head has one tail; heads with several are reported.
        inverse_of: The relation that says the same from tail to head. The facts of both are written as facts of that
            one, and this one is its inverse.
        opposite_of: The relation that can't hold of the same pair; pairs with both are reported.

    Raises:
        ConfigError: An inverse that is marked as anything else, or a relation that is symmetric and asymmetric.

    Example:
        >>> marks = {"married_to": Mark(symmetric=True), "parent_of": Mark(inverse_of="child_of")}
    """

    symmetric: bool = False
    asymmetric: bool = False
    transitive: bool = False
    functional: bool = False
    inverse_of: str | None = None
    opposite_of: str | None = None

    def __post_init__(self) -> None:
        if self.symmetric and self.asymmetric:
            raise ConfigError("A relation must not be marked symmetric=True and asymmetric=True; take one of them out")
        others = (self.symmetric, self.asymmetric, self.transitive, self.functional, self.opposite_of is not None)
        if self.inverse_of is not None and any(others):
            raise ConfigError(
                f"A relation that is inverse_of {self.inverse_of!r} must have no other mark: mark that one"
            )


@dataclass(frozen=True)
class Relations:
    """The relations of a graph, and how each name that triples use is written.

    Args:
        names: Those that are written.
        inverses: Name that is not written → the one whose inverse it is.
    """

    names: tuple[str, ...]
    inverses: Mapping[str, str]

    def written(self, facts: np.ndarray, stated: Sequence[str]) -> np.ndarray:
        """Facts by the numbers of stated names → facts by the numbers of those that are written, -1 for unknown."""
        index = {name: number for number, name in enumerate(self.names)}
        number = np.array([index.get(self.inverses.get(name, name), -1) for name in stated], np.int64)
        turned = np.array([name in self.inverses for name in stated], bool)
        turn = turned[facts[:, 1]]
        written = np.where(turn[:, None], reverse(facts), facts)
        written[:, 1] = number[facts[:, 1]]
        return written

    def facts_of(self, name: str, facts: np.ndarray) -> np.ndarray:
        """Those of written facts that a name says, heads first as it says them."""
        own = facts[facts[:, 1] == self.names.index(self.inverses.get(name, name))]
        return reverse(own) if name in self.inverses else own


def read_marks(marks: Mapping[str, Mark] | None, declared: Sequence[str], found: Sequence[str]) -> Relations:
    """Which relations are written: the declared ones in their order, then the others found, sorted.

    Raises:
        ConfigError: A mark names a relation that is not there, or inverses contradict each other.
    """
    marks = dict(marks or {})
    every = [*dict.fromkeys(declared), *sorted(set(found) - set(declared))]
    for name, mark in marks.items():
        for one in (name, mark.inverse_of, mark.opposite_of):
            if one is not None and one not in every:
                raise ConfigError(f"marks must name relations of the training facts, {every}, got {one!r}")
        if name in (mark.inverse_of, mark.opposite_of):
            raise ConfigError(f"Relation {name!r} must not be its own inverse or opposite; mark it symmetric=True")
    inverses: dict[str, str] = {}
    for name, mark in marks.items():
        other = mark.inverse_of
        if other is None or inverses.get(other) == name:
            continue  # said of both, once each
        if other in inverses or name in inverses.values() or other in inverses.values():
            pairs = [f"{one!r} of {its!r}" for one, its in [*inverses.items(), (name, other)]]
            raise ConfigError(f"A relation must have one inverse at most, got {', '.join(pairs)}")
        inverses[name] = other
    return Relations(tuple(name for name in every if name not in inverses), inverses)


def follow(
    facts: np.ndarray, relations: Sequence[str], marks: Mapping[str, Mark], num_entities: int
) -> tuple[np.ndarray, dict[str, int]]:
    """The facts that follow from others by marks (and are not among them), and how many by which kind."""
    derived, counts = [np.empty((0, 3), np.int64)], {"symmetric": 0, "transitive": 0}
    for number, name in enumerate(relations):
        mark = marks.get(name)
        if mark is None or not (mark.symmetric or mark.transitive):
            continue
        own = known = facts[facts[:, 1] == number]
        if mark.symmetric:
            both = np.concatenate([own, reverse(own)])
            known = both[first_of_each(keys(both, num_entities, len(relations)))]
            counts["symmetric"] += len(known) - len(own)
        if mark.transitive:
            pairs = close(known[:, [0, 2]], num_entities, name)
            known = np.concatenate([known, np.insert(pairs, 1, number, axis=1)])
            counts["transitive"] += len(pairs)
        derived.append(known[len(own) :])
    return np.concatenate(derived), counts
