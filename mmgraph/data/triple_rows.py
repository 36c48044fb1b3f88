"""Facts and literals as they are read from a file, with the lines that were set aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmgraph.data.triples import LITERAL_COLUMNS, BrokenLine, Triples
from mmgraph.errors import DataError

_SHOWN = 200  # characters of a line


@dataclass
class Rows:
    """Takes facts and literals one by one; equal names become one string in memory.

    Args:
        path: The file that is read.
    """

    path: Path
    heads: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    literals: list[tuple[str | None, ...]] = field(default_factory=list)
    broken: list[BrokenLine] = field(default_factory=list)
    num_lines: int = 0
    num_broken: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def fact(self, head: str, relation: str, tail: str) -> None:
        """Takes a fact."""
        one = self.names.setdefault
        self.heads.append(one(head, head))
        self.relations.append(one(relation, relation))
        self.tails.append(one(tail, tail))

    def literal(self, *cells: str | None) -> None:
        """Takes a literal: entity, property, value, datatype, language, unit."""
        self.literals.append(cells)

    def set_aside(self, line: int, text: str, reason: str, *, lines: int = 1) -> None:
        """Sets a line aside, or several that can't be parted."""
        self.num_broken += lines
        clean = text[:_SHOWN].encode(errors="replace").decode()
        self.broken.append(BrokenLine(str(self.path), line, clean, reason))

    def triples(self, most: float) -> Triples:
        """What was read.

        Raises:
            DataError: More than a share of the lines was set aside.
        """
        if self.num_broken > most * self.num_lines:
            first = self.broken[0]
            ((reason, times),) = Counter(line.reason for line in self.broken).most_common(1)
            raise DataError(
                f"At most {most:.1%} of the lines of {str(self.path)!r} may be set aside, got {self.num_broken} of "
                f"{self.num_lines}: {reason} ({times} times; line {first.line} is the first that is broken); mend "
                "them, or raise rejected"
            )
        literals = dict(zip(LITERAL_COLUMNS, zip(*self.literals, strict=True), strict=True)) if self.literals else None
        heads, relations, tails = (np.array(names, dtype=object) for names in (self.heads, self.relations, self.tails))
        return Triples(heads, relations, tails, literals, tuple(self.broken))
