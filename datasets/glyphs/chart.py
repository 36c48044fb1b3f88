"""What the Unicode database says of characters: properties, ranges, relations; and parts that hold whole blocks."""

import csv
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

PROPERTIES = {
    "category": "category",
    "bidirectional": "category",
    "combining": "category",
    "east_asian_width": "category",
    "mirrored": "category",
    "numeric": "numeric",
    "decimal": "numeric",
    "digit": "numeric",
}


def code(character: str) -> str:
    return f"U+{ord(character):04X}"


def ranges(name: str) -> Callable[[str], str | None]:
    """A character's value in a table of ranges of code points; ``None`` where it is in none of them."""
    with Path(__file__).with_name(f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        rows = [
            (int(first, 16), int(last, 16), value) for first, last, value in list(csv.reader(file, delimiter="\t"))[2:]
        ]
    firsts = [first for first, _, _ in rows]

    def value(character: str) -> str | None:
        place = bisect_right(firsts, ord(character)) - 1
        return rows[place][2] if place >= 0 and ord(character) <= rows[place][1] else None

    return value


def property(name: str, characters: list[str]) -> pa.Array:
    ask = getattr(unicodedata, name)
    if PROPERTIES[name] == "numeric":
        return pa.array([ask(character, None) for character in characters], pa.float64())
    return pa.array([str(ask(character)) or None for character in characters], pa.string())


def parts(
    characters: list[str],
    classes: list[str],
    script_of: Callable[[str], str | None],
    block_of: Callable[[str], str | None],
) -> dict[str, str]:
    """Character → train, val or test, the same for the characters of a block.

    The block with the most characters of a script is for training, so that no script is new in the other parts; its
    further blocks, the largest first, are for test, validation and training in turn.
    """
    counts = Counter((script_of(one), block_of(one)) for one in characters if script_of(one) in classes)
    ranked = {name: [pair[1] for pair, _ in counts.most_common() if pair[0] == name] for name in classes}
    part_of = {blocks[0]: "train" for blocks in ranked.values()}
    for name in classes:
        rest = [block for block in ranked[name] if block not in part_of]
        part_of |= {block: ("test", "val", "train")[place % 3] for place, block in enumerate(rest)}
    return {one: part_of[block_of(one)] for one in characters if script_of(one) in classes}


def relations(characters: list[str]) -> dict[str, pa.Table]:
    """Name of a relation between characters → its pairs of keys."""
    known = set(characters)

    def decomposed(character: str) -> list[str]:
        codes = [part for part in unicodedata.decomposition(character).split() if not part.startswith("<")]
        return list(dict.fromkeys(chr(int(code, 16)) for code in codes))

    def partner(method: Callable[[str], str], character: str) -> list[str]:
        return [other] if (other := method(character)) != character else []

    ways: dict[str, Callable[[str], list[str]]] = {
        "decomposes_to": decomposed,
        "lower": partial(partner, str.lower),
        "upper": partial(partner, str.upper),
        "next_to": lambda character: [chr(ord(character) + 1)],
    }
    found = {
        name: [(one, other) for one in characters for other in way(one) if other in known] for name, way in ways.items()
    }
    return {
        name: pa.table(
            {
                side: pa.array([code(pair[end]) for pair in pairs], pa.string())
                for end, side in enumerate(("source", "target"))
            }
        )
        for name, pairs in found.items()
    }
