"""``mmgraph describe FOLDER``: what a graph or a collection holds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmgraph.data import Collection
from mmgraph.describe import describe
from mmgraph.errors import ConfigError
from mmgraph.report.description import Description, Spread
from mmgraph.report.svg import plain
from mmgraph.report.whole import whole_of

WIDTH = 100  # where there is no terminal to ask
CLASSES = 6  # of a target, in a line
_FIGURES = frozenset("0123456789.,%–- ")


@dataclass
class Options:
    """Says what a graph or a collection holds: types, targets, parts, what is missing, degrees, homophily, samples.

    Examples:
        mmgraph describe shop
        mmgraph describe shop --html shop.html
        mmgraph describe shop --json
    """

    folder: tyro.conf.Positional[Path]
    """What mmgraph build wrote, or any collection."""
    html: Path | None = None
    """Write a page with these figures and a gallery, too."""
    cards: int = 24
    """How many are in the gallery."""
    previews: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 4
    """How many are printed."""
    json: bool = False
    """Print JSON."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph describe``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph describe")
    if min(options.cards, options.previews) < 0:
        raise ConfigError(f"cards and previews must be at least 0, got {options.cards} and {options.previews}")
    whole = whole_of(Collection(options.folder))
    found = describe(whole, previews=options.previews)
    if options.html is not None:
        from mmgraph.report.gallery import write

        write(whole, options.html, cards=options.cards)
    if options.json:
        page = {} if options.html is None else {"page": str(options.html)}
        sys.stdout.write(json.dumps({**asdict(found), **page}, allow_nan=False) + "\n")
        return
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for part in _parts(found):
        console.print(part)
    for warning in found.warnings:
        console.print(Text(f"warning: {_clean(warning)}", style="yellow"))
    if options.html is not None:
        console.print(Text(f"page: {options.html}"), soft_wrap=True)


def _parts(found: Description) -> Iterator[Table | Text]:
    of = f"{found.units:,} × {found.unit}" if found.unit else f"{sum(one.rows for one in found.nodes):,} nodes"
    yield Text(f"{_clean(found.title)}: {_clean(of)}", style="bold")
    if found.samples is not None:
        spreads = {"nodes": found.samples.nodes, "edges": found.samples.edges}
        yield _table("samples", ["each has", "mean", "median", "least", "most"], _spreads(spreads))
    yield _table(
        "nodes",
        ["type", "modality", "rows", "features", "encoder"],
        [
            [one.type, one.modality or "", f"{one.rows:,}", _attributes(one.attributes), one.encoder or ""]
            for one in found.nodes
        ],
    )
    yield _table(
        "edges (degrees: mean, median, most)",
        ["type", "edges", "out", "in", "isolated", "loops", "double"],
        [
            [
                " ".join(one.type) + (" (weighted)" if one.weighted else ""),
                f"{one.edges:,}",
                _degrees(one.out_degree),
                _degrees(one.in_degree),
                *(f"{count:,}" for count in (one.isolated, one.self_loops, one.duplicates)),
            ]
            for one in found.edges
        ],
    )
    yield _table(
        "targets",
        ["name", "of", "kind", "known", "not known", "classes, or least to most"],
        [
            [one.name, one.node, one.kind, f"{one.known:,}", f"{one.unknown:,}", _counts(one.classes, one.values)]
            for one in found.targets
        ],
    )
    yield from _split(found)
    yield _table(
        "relations",
        ["of", "relation", "components", "largest", "target", "equal labels", "by chance"],
        [
            [one.node, " + ".join(one.relations), f"{one.components:,}", _share(one.largest), *rest]
            for one in found.relations
            for rest in [[name, _share(h.share), _share(h.expected)] for name, h in one.homophily.items()] or [[""] * 3]
        ],
    )
    reasons = [[f"{one.count:,}", one.table, one.column, one.reason] for one in found.reasons]
    yield _table(f"set aside: {found.rejected:,}", ["times", "table", "column", "reason"], reasons)
    for card in found.previews:
        rows = [[name, "not known" if label is None else label] for name, label in card.labels.items()]
        rows += [[name, note] for name, note in card.notes.items()]
        rows += [[node, _payloads(items, card.totals[node])] for node, items in card.payloads.items()]
        yield _table(f"{found.unit} {card.key}" + (f" ({card.part})" if card.part else ""), [], rows)


def _payloads(items: Sequence[str], total: int) -> str:
    """One a line, equal ones together."""
    lines = [text if count == 1 else f"{text}, {count} times" for text, count in Counter(items).items()]
    return "\n".join(lines + ([f"and {total - len(items):,} more"] if total > len(items) else [])) or "none"


def _split(found: Description) -> Iterator[Table]:
    names = [part.name for part in found.parts]
    yield _table(
        "parts",
        ["part", "size", *(f"classes of {one.name}" for one in found.targets if one.classes)],
        [
            [part.name, f"{part.units:,}"]
            + [_shares(part.classes.get(one.name, {})) for one in found.targets if one.classes]
            for part in found.parts
        ],
    )
    masks = [name for name in names if any(name in one.parts for one in found.missing)]
    yield _table(
        "missing",
        ["type", "of", "lack it", "share", *(f"in {name}" for name in masks)],
        [
            [one.node, one.of, f"{one.missing:,}", _share(one.share)]
            + [_share(one.parts[name]) if name in one.parts else "" for name in masks]
            for one in found.missing
        ],
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table | Text:
    if not rows:
        return Text(f"{_clean(title)}: none\n") if ":" not in title else Text(f"{title}\n")
    table: Any = Table(
        title=Text(_clean(title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if columns else None,
        show_header=bool(columns),
        padding=(0, 1) if columns else (0, 2),
    )
    for name, cells in zip(columns or [""] * len(rows[0]), zip(*rows, strict=True), strict=True):
        is_number = columns and not name.startswith("classes") and all(set(cell) <= _FIGURES for cell in cells)
        table.add_column(Text(_clean(name)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_clean(cell)) for cell in row))
    if not columns:
        table.add_row("")
    return table


def _clean(text: str) -> str:
    return "\n".join(plain(line, limit=200) for line in text.split("\n"))


def _attributes(attributes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" if shape else name for name, shape in attributes.items() if 0 not in shape)


def _spreads(spreads: Mapping[str, Spread]) -> list[list[str]]:
    return [
        [name, *(_number(value) for value in (one.mean, one.median, one.least, one.most))]
        for name, one in spreads.items()
    ]


def _degrees(one: Spread) -> str:
    return ", ".join(_number(value) for value in (one.mean, one.median, one.most))


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _counts(classes: Mapping[str, int], values: Spread | None) -> str:
    if values is not None:
        return f"{_number(values.least)} to {_number(values.most)}, mean {_number(values.mean)}"
    return _few([f"{name} {count:,}" for name, count in classes.items()])


def _shares(shares: Mapping[str, float]) -> str:
    return _few([f"{name} {_share(share)}" for name, share in shares.items()])


def _few(said: Sequence[str]) -> str:
    return ", ".join(said[:CLASSES]) + (f", and {len(said) - CLASSES} more" if len(said) > CLASSES else "")
