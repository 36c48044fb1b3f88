r"""Graphs written as text, and how the triples that were found are judged.

A graph is written triple by triple, ``head | relation | tail``, with ``;`` between two of them. What is read need not
have been written so: a part that is no triple is kept as it is, and is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Triple: TypeAlias = tuple[str, ...]
"""Head, relation and tail by name; of another length if what was read is no triple."""

BETWEEN, AFTER = " | ", " ; "


def linearise(triples: Iterable[Triple]) -> str:
    """Writes triples as one line of text.

    Raises:
        ValueError: A triple has not three names, or a name holds one of the signs between them, or is empty.

    Example:
        >>> linearise([("ann", "knows", "bob"), ("bob", "lives in", "rome")])
        'ann | knows | bob ; bob | lives in | rome'
    """
    written = []
    for triple in triples:
        if len(triple) != 3 or any(not name.strip() or {"|", ";"} & set(name) for name in triple):
            raise ValueError(f"A triple must be three names that are not empty and without '|' and ';', got {triple!r}")
        written.append(BETWEEN.join(" ".join(name.split()) for name in triple))
    return AFTER.join(written)


def read_triples(text: str) -> list[Triple]:
    """Reads what :func:`linearise` wrote; of any other text it gives parts of other lengths than three.

    Example:
        >>> read_triples("ann | knows | bob;bob | lives")
        [('ann', 'knows', 'bob'), ('bob', 'lives')]
        >>> read_triples("")
        []
    """
    parts = [tuple(" ".join(name.split()) for name in part.split("|")) for part in text.split(";")]
    return [part for part in parts if any(part)]


def triple_counts(found: Iterable[Triple], truth: Iterable[Triple]) -> tuple[int, int, int]:
    """How many triples are right, were found, and are true.

    A triple is right as often as it is in both: one that is found twice and true once is right once. Order does not
    matter; all names of a triple must be equal.

    Example:
        >>> triple_counts([("a", "r", "b"), ("a", "r", "b"), ("b", "r")], [("a", "r", "b"), ("c", "r", "d")])
        (1, 3, 2)
    """
    ours, theirs = Counter(found), Counter(truth)
    return (ours & theirs).total(), ours.total(), theirs.total()


def triple_scores(counts: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    r"""Precision, recall and F1 over the triples of all texts together.

    .. math:: P = \frac{\sum_i |F_i \cap T_i|}{\sum_i |F_i|}, \qquad
        R = \frac{\sum_i |F_i \cap T_i|}{\sum_i |T_i|}, \qquad F_1 = \frac{2 P R}{P + R}

    Where nothing was found the precision is 0, and 1 if there was nothing to find; recall likewise.

    Args:
        counts: What :func:`triple_counts` gave for each text.

    Example:
        >>> triple_scores([(1, 2, 1), (0, 0, 1)])
        {'triple_precision': 0.5, 'triple_recall': 0.5, 'triple_f1': 0.5}
    """
    right, found, true = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    nothing = float(found == true == 0)
    precision = right / found if found else nothing
    recall = right / true if true else nothing
    both = precision + recall
    return {
        "triple_precision": precision,
        "triple_recall": recall,
        "triple_f1": 2 * precision * recall / both if both else 0.0,
    }
