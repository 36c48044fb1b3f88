"""The page of a graph or a collection: its figures, and a gallery of what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from mmgraph.assembly import Built
from mmgraph.data import Collection
from mmgraph.describe import describe
from mmgraph.files import write_bytes
from mmgraph.report.cards import Card, choose
from mmgraph.report.cards import cards as cards_of
from mmgraph.report.description import Description, Nodes, Relation, Spread, Target
from mmgraph.report.html import fill_template
from mmgraph.report.payloads import WORDS, Budget, clean, shown
from mmgraph.report.svg import COLOURS, swatch
from mmgraph.report.whole import Whole, whole_of

CARDS = 24
BUDGET = 8_000_000  # characters of pictures and recordings
_LEGEND = 12  # classes


class Group(NamedTuple):
    """The nodes of one type on a card."""

    name: str
    parts: list[Markup]
    more: int
    absent: str


class Shown(NamedTuple):
    """A card, drawn."""

    card: Card
    groups: list[Group]


def render(source: Built | Collection | Whole, *, cards: int = CARDS, budget: int = BUDGET) -> str:
    """Gives the page of a graph or a collection: one HTML document that needs nothing beside it.

    Equal graphs give equal text. Pictures and recordings are decoded and encoded anew, made smaller, cut, and at last
    left out where the page would grow too large; the page says so. What can't be decoded says why.

    Args:
        source: A built graph, or a collection.
        cards: How many anchors or samples are in the gallery: some of each class and part, some that lack a modality.
        budget: How many characters the pictures and recordings may take together.

    Raises:
        ArtifactError: A file is missing or damaged.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> films = pa.table({"id": ["a", "b"], "plot": ["A <b>dog</b> runs.", None]})
        >>> config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
        >>> page = render(build_graph(Source(config, {"films": films})))
        >>> "A &lt;b&gt;dog&lt;/b&gt; runs." in page, "no text" in page
        (True, True)
    """
    filters: dict[str, Callable[..., Any]] = {"percent": _percent, "number": _number, "clean": _cleaned, "zip": zip}
    return fill_template("gallery.html.j2", _context(whole_of(source), cards, budget), filters=filters)


def write(source: Built | Collection | Whole, path: Path, *, cards: int = CARDS, budget: int = BUDGET) -> Path:
    """Writes the page of a graph or a collection, whole or not at all, and gives its path."""
    write_bytes(path, render(source, cards=cards, budget=budget).encode())
    return path


def _context(whole: Whole, count: int, budget: int) -> dict[str, Any]:
    found = describe(whole, previews=0)
    chosen = cards_of(whole, choose(whole, count).tolist())
    purse = Budget()
    drawn = [Shown(card, _groups(whole, card, purse)) for card in chosen]
    if sum(purse.sizes) > budget:
        purse = purse.within(budget)
        drawn = [Shown(card, _groups(whole, card, purse)) for card in chosen]
    return {
        "found": found,
        "facts": _facts(found),
        "cards": drawn,
        "linked": {card.unit for card in chosen},
        "smaller": purse.smaller,
        "dropped": purse.dropped,
        "parts": _part_names(found),
        "legends": {one.name: _legend(one.classes) for one in found.targets},
        "stacks": {one.name: _stacks(found, one) for one in found.targets},
        **_rows(found),
    }


def _rows(found: Description) -> dict[str, list[list[Any]]]:
    """The rows of the tables, their first cell a heading."""
    degrees = [
        [value for one in (edge.out_degree, edge.in_degree) for value in _spread(one)[:3]] for edge in found.edges
    ]
    samples = {} if found.samples is None else {"nodes": found.samples.nodes, "edges": found.samples.edges}
    return {
        "node_rows": [
            [
                clean(one.type),
                one.modality or "",
                _number(one.rows),
                clean(_attributes(one)),
                clean(one.encoder or ""),
            ]
            for one in found.nodes
        ],
        "edge_rows": [
            [clean(" ".join(one.type)), _number(one.edges), *told]
            + [_number(count) for count in (one.isolated, one.self_loops, one.duplicates)]
            for one, told in zip(found.edges, degrees, strict=True)
        ],
        "missing_rows": [
            [clean(one.node), clean(one.of), _number(one.missing), _percent(one.share), bar(one.share)]
            + [_percent(one.parts[name]) if name in one.parts else "" for name in _part_names(found)]
            for one in found.missing
        ],
        "relation_rows": [
            [clean(" + ".join(one.relations)), clean(one.node), _number(one.components), _percent(one.largest), *told]
            for one in found.relations
            for told in _homophilies(one)
        ],
        "sample_rows": [[name, *_spread(one)] for name, one in samples.items()],
        "reason_rows": [
            [clean(one.table), clean(one.column), clean(one.reason), _number(one.count)] for one in found.reasons
        ],
    }


def _homophilies(relation: Relation) -> list[list[Any]]:
    return [
        [
            clean(name),
            _percent(one.share),
            _percent(one.expected),
            bar(one.share, one.expected, label=f"{_percent(one.share)}, {_percent(one.expected)} by chance"),
        ]
        for name, one in relation.homophily.items()
    ] or [["", "", "", ""]]


def _spread(one: Spread) -> list[str]:
    """Mean, median, most and least."""
    return [_number(value) for value in (one.mean, one.median, one.most, one.least)]


def _attributes(nodes: Nodes) -> str:
    return ", ".join(
        f"{name} {list(shape)}" if shape else name for name, shape in nodes.attributes.items() if 0 not in shape
    )


def _part_names(found: Description) -> list[str]:
    return [part.name for part in found.parts if any(part.name in one.parts for one in found.missing)]


def _stacks(found: Description, target: Target) -> dict[str, Markup]:
    shares = {name: count / max(target.known, 1) for name, count in target.classes.items()}
    parts = {part.name: stack(part.classes[target.name]) for part in found.parts if target.name in part.classes}
    return {"all": stack(shares), **parts}


def _facts(found: Description) -> list[str]:
    facts = [f"{found.units:,} × {found.unit}"] if found.unit else []
    facts += [f"{sum(one.rows for one in found.nodes):,} nodes of {len(found.nodes)} types"]
    facts += [f"{sum(one.edges for one in found.edges):,} edges of {len(found.edges)} types"]
    return facts + [f"{part.units:,} {part.name}" for part in found.parts]


def _groups(whole: Whole, card: Card, purse: Budget) -> list[Group]:
    return [
        Group(
            name=node,
            parts=[shown(item, purse) for item in items],
            more=card.totals[node] - len(items),
            absent=f"no {WORDS[whole.schema.nodes[node].modality]}",
        )
        for node, items in card.items.items()
    ]


def bar(share: float | None, expected: float | None = None, *, label: str = "") -> Markup:
    """A share as a bar, with a line where it would be by chance.

    Example:
        >>> bar(0.5, label="half")
        Markup('<svg class="share" viewBox="0 0 100 8" role="img" aria-label="half"><path class="rest"
        d="M0 0h100v8h-100z"/><path class="part" d="M0 0h50.0v8H0z"/></svg>')
    """
    if share is None:
        return Markup("")
    mark = Markup('<path class="chance" d="M{:.1f} 0v8"/>').format(100 * expected) if expected is not None else ""
    return Markup(
        '<svg class="share" viewBox="0 0 100 8" role="img" aria-label="{}"><path class="rest" d="M0 0h100v8h-100z"/>'
        '<path class="part" d="M0 0h{:.1f}v8H0z"/>{}</svg>'
    ).format(label or _percent(share), 100 * share, mark)


def stack(shares: Mapping[str, float]) -> Markup:
    """Shares of classes side by side, each in the colour of its number.

    Example:
        >>> "<title>a: 25.0%</title>" in stack({"a": 0.25, "b": 0.75})
        True
    """
    parts, before = [], 0.0
    for number, (name, share) in enumerate(shares.items()):
        if share > 0:
            parts.append(
                Markup('<path class="class c{}" d="M{:.2f} 0h{:.2f}v8h-{:.2f}z"><title>{}: {}</title></path>').format(
                    number % COLOURS, before, 100 * share, 100 * share, clean(name[:60]), _percent(share)
                )
            )
        before += 100 * share
    label = ", ".join(f"{clean(name[:60])} {_percent(share)}" for name, share in list(shares.items())[:_LEGEND])
    return Markup('<svg class="share" viewBox="0 0 100 8" role="img" aria-label="{}">{}</svg>').format(
        label, Markup("").join(parts)
    )


def _legend(classes: Mapping[str, int]) -> list[tuple[Markup, str, int]]:
    square = Markup('<path class="class c{}" d="M2 2h12v12H2z"/>')
    some = list(classes.items())[:_LEGEND]
    return [(swatch(square.format(number % COLOURS)), name, count) for number, (name, count) in enumerate(some)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _cleaned(value: object) -> str:
    return clean(str(value))
