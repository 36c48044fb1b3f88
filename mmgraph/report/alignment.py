"""Which node goes with which, to look at: weights as a heat map, and the pairs as arcs between two rows of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from mmgraph.files import write_bytes
from mmgraph.report.html import fill_template, flatten
from mmgraph.report.svg import Panel, plain

if TYPE_CHECKING:
    from mmgraph.align import Alignment

INK = "var(--c0)"
SIDE, CELL = 520, 30  # largest side of the cells together, and of one cell, in pixels
LEFT, ABOVE = 128, 96  # room for the names of rows and of columns
MOST_NAMED = 32  # rows or columns whose names have room
MOST_SAID = 12  # pairs in words
MOST_DRAWN = 4000  # cells, or arcs: the heaviest
STEP, HIGH = 60, 220  # between two names of the arcs, and between their rows


class Card(NamedTuple):
    """One alignment: in words, as a heat map, as arcs."""

    title: str
    text: str
    heat: Panel
    arcs: Panel


def render(
    alignments: Sequence[Alignment], *, title: str, threshold: float = 0.5, record: Mapping[str, Any] | None = None
) -> str:
    """Gives the page of some alignments: one HTML document that needs nothing beside it.

    Args:
        alignments: What :func:`mmgraph.align.align` found.
        title: What was aligned.
        threshold: Which pairs are drawn as arcs and told in words, see :meth:`Alignment.pairs`.
        record: Versions, machine, command, as :func:`mmgraph.train.record` gives them.

    Example:
        >>> import torch
        >>> from mmgraph.align import Alignment
        >>> some = torch.arange(2)
        >>> found = Alignment(
        ...     method="nearest", anchor=0, a="region", b="word", rows=("<1>", "2"), columns=("a", "dog"),
        ...     index=(some, some), weights=torch.eye(2), cost=0.0,
        ... )
        >>> page = render([found], title="A dog")
        >>> page[:15], "&lt;1&gt; with a" in page, page.count("<svg")
        ('<!doctype html>', True, 2)
    """
    cards = [
        Card(
            title=f"{one.a} and {one.b} of anchor {one.anchor}",
            text=words(one, threshold),
            heat=heat(one),
            arcs=arcs(one, threshold),
        )
        for one in alignments
    ]
    return fill_template("alignment.html.j2", {"title": title, "cards": cards, "details": flatten(dict(record or {}))})


def write(
    alignments: Sequence[Alignment],
    path: Path,
    *,
    title: str,
    threshold: float = 0.5,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the page of some alignments, whole or not at all, and gives its path."""
    write_bytes(path, render(alignments, title=title, threshold=threshold, record=record).encode())
    return path


def words(found: Alignment, threshold: float = 0.5) -> str:
    """What an alignment says, in two sentences."""
    pairs = found.pairs(threshold)
    said = "; ".join(f"{pair.row} with {pair.column} ({pair.weight:.2f})" for pair in pairs[:MOST_SAID])
    more = f"; and {len(pairs) - MOST_SAID} more" if len(pairs) > MOST_SAID else ""
    cost = "" if found.cost is None else f", at a cost of {found.cost:.3f}"
    return f"By {found.method}{cost}. " + (f"{said}{more}." if pairs else "Nothing goes with anything.")


def heat(found: Alignment) -> Panel:
    """A cell a pair, the darker the heavier; names where they have room."""
    rows, columns = found.weights.shape
    side = min(CELL, SIDE / max(rows, columns))
    largest = float(found.weights.max()) or 1.0
    cells, left_out = _heaviest(found.weights.nonzero().tolist(), found)
    wide, high = LEFT + side * columns + 8, ABOVE + side * rows + 8
    frame = '<rect x="{}" y="{}" width="{:.1f}" height="{:.1f}" fill="none" stroke="var(--line)"/>'
    drawn = [Markup(frame).format(LEFT, ABOVE, side * columns, side * rows)]
    place = '<rect x="{:.1f}" y="{:.1f}" width="{:.2f}" height="{:.2f}"'
    cell = place + ' fill="{}" fill-opacity="{:.3f}"><title>{}</title></rect>'
    for i, j in cells:
        weight = float(found.weights[i, j])
        spot = (LEFT + side * j, ABOVE + side * i, side, side)
        drawn.append(Markup(cell).format(*spot, INK, weight / largest, _said(found, i, j)))
    if rows <= MOST_NAMED:
        name = '<text class="name" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        drawn += [
            Markup(name).format(LEFT - 6, ABOVE + side * (i + 0.5) + 4, plain(one, 16))
            for i, one in enumerate(found.rows)
        ]
    if columns <= MOST_NAMED:
        name = '<text class="name" transform="translate({:.1f} {}) rotate(-50)">{}</text>'
        drawn += [
            Markup(name).format(LEFT + side * (j + 0.5) + 3, ABOVE - 6, plain(one, 12))
            for j, one in enumerate(found.columns)
        ]
    label = f"Heat map of {rows} {found.a} by {columns} {found.b}"
    note = f"Rows are {found.a}, columns {found.b}; the darkest cell weighs {largest:.3f}." + left_out
    return Panel("Weights", note, _svg(wide, high, label, drawn))


def arcs(found: Alignment, threshold: float = 0.5) -> Panel:
    """The rows above, the columns below, and an arc a pair, the wider the heavier."""
    edges = found.as_edges(threshold).index
    place = [{row: at for at, row in enumerate(rows.tolist())} for rows in found.index]
    pairs, left_out = _heaviest([[place[0][i], place[1][j]] for i, j in edges.T.tolist()], found)
    most = max(found.weights.shape)
    step = min(STEP, 2 * SIDE / most)
    wide = step * most + 16
    spots = [[wide / 2 + step * (at - (count - 1) / 2) for at in range(count)] for count in found.weights.shape]
    largest = float(found.weights.max()) or 1.0
    top, bottom = 30, HIGH - 30
    path = '<path class="edge" style="--c:{};stroke-width:{:.1f};stroke-opacity:{:.2f}" d="{}"><title>{}</title></path>'
    drawn = []
    for i, j in pairs:
        share = float(found.weights[i, j]) / largest
        x, y, half = spots[0][i], spots[1][j], HIGH / 2
        line = f"M{x:.1f} {top}C{x:.1f} {half:.1f} {y:.1f} {half:.1f} {y:.1f} {bottom}"
        drawn.append(Markup(path).format(INK, 0.8 + 3 * share, 0.3 + 0.7 * share, line, _said(found, i, j)))
    text = '<text class="name" x="{:.1f}" y="{}" text-anchor="middle">{}</text>'
    for names, across, down in ((found.rows, spots[0], top - 10), (found.columns, spots[1], bottom + 18)):
        if len(names) <= MOST_NAMED:
            drawn += [
                Markup(text).format(x, down, plain(one, int(step / 7))) for one, x in zip(names, across, strict=True)
            ]
    label = f"Arcs of {len(pairs)} pairs between {len(found.rows)} {found.a} and {len(found.columns)} {found.b}"
    note = f"{found.a} above, {found.b} below; a pair is drawn from {threshold:g} of its row's largest weight."
    return Panel("Pairs", note + left_out, _svg(wide, HIGH, label, drawn))


def _heaviest(cells: Sequence[Sequence[int]], found: Alignment) -> tuple[Sequence[Sequence[int]], str]:
    """The heaviest cells, lightest first, and what is left out."""
    ordered = sorted(cells, key=lambda cell: float(found.weights[cell[0], cell[1]]))
    left_out = len(ordered) - MOST_DRAWN
    return ordered[-MOST_DRAWN:], f" The {left_out:,} lightest are left out." if left_out > 0 else ""


def _said(found: Alignment, row: int, column: int) -> str:
    return (
        f"{plain(found.rows[row], 80)} with {plain(found.columns[column], 80)}: {float(found.weights[row, column]):.4f}"
    )


def _svg(width: float, height: float, label: str, inside: Sequence[Markup]) -> Markup:
    frame = Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>')
    return frame.format(width, height, label, Markup("\n").join(inside))
