"""What is asked of a knowledge graph: paths of relations from entities, and where several of them meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmgraph.errors import DataError

MOST_HOPS = 3
SHAPES = {
    "1p": ((1,), 0),
    "2p": ((2,), 0),
    "3p": ((3,), 0),
    "2i": ((1, 1), 0),
    "3i": ((1, 1, 1), 0),
    "ip": ((1, 1), 1),
    "pi": ((1, 2), 0),
}
"""Name → hops of each branch, ascending, and hops from where they meet (Ren, Hu & Leskovec 2020, arXiv:2002.05969)."""


@dataclass(frozen=True)
class Path:
    """Relations to follow from an entity, one after the other.

    Args:
        entity: Its number.
        relations: Names; ``^r`` follows ``r`` backwards.
    """

    entity: int
    relations: tuple[str, ...]

    def __post_init__(self) -> None:
        entity: object = self.entity  # read from JSON it may be anything
        if not isinstance(entity, int) or isinstance(entity, bool) or entity < 0:
            raise DataError(f"A path must start at the number of an entity, at least 0, got {self.entity!r}")
        _check_relations(self.relations, least=1)


@dataclass(frozen=True)
class Query:
    """A question: the entities that every branch reaches, and what relations lead to from there.

    One branch makes a path query, several an intersection; with ``then`` the path goes on from where they meet.

    Args:
        branches: At least 1.
        then: Relations to follow from where the branches meet.

    Raises:
        DataError: No branch, more than 3 hops in one go, or something that is no relation or entity.

    Example:
        >>> query = Query((Path(7, ("parents",)), Path(9, ("spouse",))), then=("nationality",))
        >>> query.shape, Query.from_json(query.to_json()) == query
        ('ip', True)
        >>> query.to_json()["branches"][0]
        {'entity': 7, 'relations': ['parents']}
    """

    branches: tuple[Path, ...]
    then: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.branches or not all(isinstance(branch, Path) for branch in self.branches):
            raise DataError(f"A query must have at least 1 branch, each a Path, got {self.branches!r}")
        _check_relations(self.then, least=0)

    @property
    def shape(self) -> str:
        """Its name, e.g. ``"2p"``, ``"3i"``, ``"pi"``; of another shape its hops, e.g. ``"2+2"`` or ``"1+1>2"``."""
        hops = tuple(sorted(len(branch.relations) for branch in self.branches))
        for name, shape in SHAPES.items():
            if shape == (hops, len(self.then)):
                return name
        return "+".join(map(str, hops)) + (f">{len(self.then)}" if self.then else "")

    def to_json(self) -> dict[str, Any]:
        """The query in lists, strings and numbers."""
        branches = [{"entity": one.entity, "relations": list(one.relations)} for one in self.branches]
        return {"branches": branches, "then": list(self.then)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Query:
        """Reads what :meth:`to_json` gave.

        Raises:
            DataError: It is no query.
        """
        match fields:
            case {"branches": [*branches], **others} if set(others) <= {"then"}:
                paths = []
                for branch in branches:
                    match branch:
                        case {"entity": entity, "relations": [*relations]} if len(branch) == 2:
                            paths.append(Path(entity, tuple(relations)))
                        case _:
                            raise DataError(f"A branch must be {{'entity': …, 'relations': […]}}, got {branch!r}")
                return cls(tuple(paths), tuple(others.get("then", ())))
        raise DataError(f"A query must be {{'branches': […], 'then': […]}}, got {fields!r}")


def path(entity: int, *relations: str) -> Query:
    """The query of one path.

    Example:
        >>> path(3, "parents", "gender").shape
        '2p'
    """
    return Query((Path(entity, relations),))


def _check_relations(relations: object, *, least: int) -> None:
    if not isinstance(relations, tuple) or not all(isinstance(name, str) and name for name in relations):
        raise DataError(f"Relations must be a tuple of names, got {relations!r}")
    if not least <= len(relations) <= MOST_HOPS:
        raise DataError(f"A path must have {least} to {MOST_HOPS} relations, got {len(relations)}: {relations!r}")
