"""Why a model said what it said of a few: bars by modality and relation, and the graph that spoke for and against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from mmgraph.files import write_bytes
from mmgraph.report.html import fill_template, flatten
from mmgraph.report.svg import Key, Panel, plain, swatch

if TYPE_CHECKING:
    from mmgraph.explain import Attribution, Case, Cases

FOR, AGAINST = "var(--c0)", "var(--c4)"
MOST_OTHERS = 16  # marks on the outer ring
MOST_BARS = 12
WIDTH, HEIGHT, INNER, OUTER = 440, 400, 70, 150  # of the drawing of a graph, in pixels
ROW, NAMES, BARS = 26, 128, 240  # of the bars: height of a row, width of the names, and of both directions


class Section(NamedTuple):
    """What the page says of some cases: a note, a card a case, and a legend."""

    note: str
    control: str
    cards: Sequence[Card]
    legend: Sequence[Key]


class Card(NamedTuple):
    """One case: in words, as bars, as a graph."""

    title: str
    text: str
    bars: Panel
    around: Panel


class Mark(NamedTuple):
    """What is drawn as one: the anchor, all its nodes of a modality, another anchor with its nodes, or another node."""

    name: str
    ring: int  # 0: the anchor itself, 1: its own, 2: others
    value: float


def section(cases: Cases) -> Section:
    """Pours cases into what a template shows.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.explain import explain_cases
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> cases = explain_cases(classifier(schema), graph, [5], ids=[f"s<{row}>" for row in range(40)], draws=1)
        >>> made = section(cases)
        >>> made.cards[0].title[:5], "<svg" in made.cards[0].bars.svg, "s<" in made.cards[0].around.svg
        ('s<5>:', True, False)
    """
    found = cases.sanity
    known = found.correlation == found.correlation
    control = (
        f"Control: with the model's weights shuffled ({len(found.draws)} times), the attributions of nodes and edges "
        f"have a rank correlation of {found.correlation:+.2f} with these ({found.magnitude:+.2f} without signs). Near "
        "0, they are about what the model has learned; near 1, about the data alone."
        if known
        else "Control: there are fewer than 3 nodes and edges, too few for a rank correlation with shuffled weights."
    )
    line = '<path d="M1 8h26" stroke="{}" stroke-width="4"/>'
    legend = [Key(swatch(Markup(line.format(ink)), 28), said) for ink, said in ((FOR, "for it"), (AGAINST, "against"))]
    note = (
        "The log-odds of what the model said, taken apart. Bars are Shapley values of the subject's own modalities and "
        "of the relations by which others speak; they add up to the log-odds exactly. The graph shows integrated "
        "gradients of its nodes and edges, from a subject of mean features among mean neighbours."
    )
    return Section(note, control, [_card(cases, case) for case in cases.cases], legend)


def render(cases: Cases, *, title: str, record: Mapping[str, Any] | None = None) -> str:
    """Gives the page of some cases: one HTML document that needs nothing beside it."""
    context = {"title": title, "explained": section(cases), "details": flatten(dict(record or {}))}
    return fill_template("explain.html.j2", context)


def write(cases: Cases, path: Path, *, title: str, record: Mapping[str, Any] | None = None) -> Path:
    """Writes the page of some cases, whole or not at all, and gives its path."""
    write_bytes(path, render(cases, title=title, record=record).encode())
    return path


def _card(cases: Cases, case: Case) -> Card:
    truth = f", truly {case.truth}" if case.truth else ""
    verdict = "" if not case.truth else " (right)" if case.truth == case.said else " (wrong)"
    return Card(
        title=f"{case.id}: said {case.said}{truth}{verdict}",
        text=words(case.shares, case.said),
        bars=bars(case.shares),
        around=around(cases, case),
    )


def words(shares: Attribution, said: str) -> str:
    """What a sum of parts says, in two sentences.

    Example:
        >>> from mmgraph.explain import Attribution
        >>> parts = {"scan": 2.0, "near": -1.0, "text": 0.0}
        >>> words(Attribution(method="shapley", anchor=0, output=1, score=1.5, baseline=0.5, parts=parts), "ill")
        'Log-odds of ill: 1.50, and 0.50 where nothing is known. For it: scan (+2.00). Against it: near (−1.00).'
    """
    ordered = sorted(shares.parts.items(), key=lambda part: -abs(part[1]))
    least = 0.005
    towards = [f"{name} ({_signed(value)})" for name, value in ordered if value >= least]
    against = [f"{name} ({_signed(value)})" for name, value in ordered if value <= -least]
    text = f"Log-odds of {said}: {_signed(shares.score, plus='')}, and {_signed(shares.baseline, plus='')} where "
    text += "nothing is known."
    text += f" For it: {', '.join(towards)}." if towards else " Nothing speaks for it."
    return text + (f" Against it: {', '.join(against)}." if against else " Nothing speaks against it.")


def bars(shares: Attribution) -> Panel:
    """A bar a part, to the right for what is said, to the left against it; the largest first."""
    ordered = sorted(shares.parts.items(), key=lambda part: -abs(part[1]))
    shown, rest = ordered[:MOST_BARS], ordered[MOST_BARS:]
    if rest:
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    largest = max((abs(value) for _, value in shown), default=0.0) or 1.0
    middle, height = NAMES + BARS / 2, ROW * max(len(shown), 1) + 12
    drawn = [
        Markup('<path d="M{0:.1f} 2V{1}" stroke="var(--soft)" stroke-dasharray="2 2"/>').format(middle, height - 2)
    ]
    for place, (name, value) in enumerate(shown):
        y, wide = 6 + ROW * place, abs(value) / largest * BARS / 2
        ink, x = (FOR, middle) if value >= 0 else (AGAINST, middle - wide)
        drawn.append(
            Markup(
                '<text class="name" x="{}" y="{}" text-anchor="end">{}</text>'
                '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="2" fill="{}"><title>{}: {}</title></rect>'
                '<text class="name" x="{}" y="{}">{}</text>'
            ).format(
                *(NAMES - 8, y + 14, plain(name, 18)),
                *(x, y + 2, max(wide, 0.5), ROW - 10, ink, name, _signed(value, digits=4)),
                *(NAMES + BARS + 8, y + 14, _signed(value)),
            )
        )
    label = f"Bar chart of {len(shown)} parts of the log-odds, {_signed(shares.score)} in all"
    note = f"They add up to {_signed(shares.total)}; {_residual(shares)}"
    return Panel("Modalities and relations", note, _svg(WIDTH, height, label, drawn))


def around(cases: Cases, case: Case) -> Panel:
    """The anchor, its own modalities, and the others that speak to it: coloured by what they add, and as wide."""
    marks, lines = graph_of(cases, case)
    title = "Nodes and edges"
    spots = _places([mark.ring for mark in marks])
    widest = max((abs(value) for value in lines.values()), default=0.0) or 1.0
    largest = max((abs(mark.value) for mark in marks), default=0.0) or 1.0
    drawn = [
        _line(spots, marks, ends, relation, value, widest)
        for (*ends, relation), value in sorted(lines.items(), key=lambda one: abs(one[1]))
    ]
    drawn += [_mark(spots[place], mark, largest) for place, mark in enumerate(marks)]
    detail, others = case.detail, sum(mark.ring == 2 for mark in marks)
    note = (
        f"{case.id} with its modalities (squares) and {others} of {_others(cases, case)} others, those that add most. "
        f"Sizes compare nodes, widths edges. Of the sum, {_residual(detail)}"
    )
    if detail.kept:
        note += f" Not gated, and so part of the nodes: {', '.join(' '.join(name) for name in detail.kept)}."
    label = f"Graph of {case.id} with its modalities and {others} others, coloured by attribution"
    return Panel(title, note, _svg(WIDTH, HEIGHT, label, drawn))


def graph_of(cases: Cases, case: Case) -> tuple[list[Mark], dict[tuple[int, int, str], float]]:
    """The marks to draw, and the lines among them: (position, position, relation) → what the edges add."""
    detail, anchor = case.detail, cases.anchor
    owner = _owners(detail, anchor, cases.modalities)
    own = (anchor, detail.anchor)
    value: dict[tuple[str, int], float] = defaultdict(float)
    key: dict[tuple[str, int], tuple[str, int]] = {}  # node → the mark it is drawn as
    for node, rows in detail.n_id.items():
        each = detail.nodes[node].tolist() if node in detail.nodes else [0.0] * len(rows)
        for row, one in zip(rows.tolist(), each, strict=True):
            at = owner.get((node, row), (node, row))
            key[node, row] = (node, -1) if at == own and node != anchor else at
            value[key[node, row]] += one
    lines: dict[tuple[tuple[str, int], tuple[str, int], str], float] = defaultdict(float)
    for name, index in detail.index.items():
        each = detail.edges[name].tolist() if name in detail.edges else [0.0] * index.shape[1]
        for source, target, one in zip(*index.tolist(), each, strict=True):
            ends = (key[name[0], source], key[name[2], target])
            if ends[0] != ends[1] and (one != 0 or (name[1] == "of" and own in ends)):
                lines[(*ends, name[1])] += one
    weight = {mark: abs(number) for mark, number in value.items()}
    for (first, second, _), number in lines.items():
        weight[first] += abs(number)
        weight[second] += abs(number)
    others = sorted((mark for mark in value if mark != own and mark[1] >= 0), key=lambda mark: (-weight[mark], mark))
    others = [mark for mark in others if weight[mark] > 0][:MOST_OTHERS]
    shown = [own, *(mark for mark in value if mark[1] < 0), *others]
    place = {mark: position for position, mark in enumerate(shown)}
    marks = [_named(mark, own, anchor, case.names, value[mark]) for mark in shown]
    kept = {(place[a], place[b], name): one for (a, b, name), one in lines.items() if a in place and b in place}
    return marks, kept


def _owners(detail: Attribution, anchor: str, modalities: Sequence[str]) -> dict[tuple[str, int], tuple[str, int]]:
    """Modality node → the anchor that it hangs on."""
    return {
        (node, source): (anchor, target)
        for node in modalities
        if (node, "of", anchor) in detail.index
        for source, target in detail.index[node, "of", anchor].T.tolist()
    }


def _named(mark: tuple[str, int], own: tuple[str, int], anchor: str, names: Mapping[int, str], value: float) -> Mark:
    if mark == own:
        return Mark(names[mark[1]], 0, value)
    if mark[1] < 0:
        return Mark(mark[0], 1, value)
    return Mark(names[mark[1]] if mark[0] == anchor else f"{mark[0]} {mark[1]}", 2, value)


def _places(rings: Sequence[int]) -> np.ndarray:
    """Places ``[marks, 2]``: the anchor in the middle, its own near it, the others around."""
    spots = np.full((len(rings), 2), (WIDTH / 2, HEIGHT / 2))
    for ring, radius, turned in ((1, INNER, 0.0), (2, OUTER, 0.5)):
        members = [place for place, one in enumerate(rings) if one == ring]
        for turn, place in enumerate(members):
            angle = 2 * np.pi * (turn + turned) / len(members) - np.pi / 2
            spots[place] += radius * np.cos(angle), radius * np.sin(angle)
    return spots


def _line(
    spots: np.ndarray, marks: Sequence[Mark], ends: Sequence[int], relation: str, value: float, widest: float
) -> Markup:
    """A join, bent a little to the side that its relation's name is on; faint where it adds nothing."""
    start, end = spots[ends[0]], spots[ends[1]]
    along = end - start
    side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    bend = (start + end) / 2 + side * (sum(map(ord, relation)) % 5 - 2) * 8
    share = abs(value) / widest
    ink = "var(--line)" if value == 0 else FOR if value > 0 else AGAINST
    style = f"--c:{ink};stroke-width:{1 + 5 * share:.1f};stroke-opacity:{0.35 + 0.6 * min(1.0, 2 * share):.2f}"
    said = f"{marks[ends[0]].name} → {marks[ends[1]].name}: {relation}"
    said += f", {_signed(value, digits=4)}" if value != 0 else ""
    path = "M{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}".format(*start, *bend, *end)
    return Markup('<path class="edge" style="{}" d="{}"><title>{}</title></path>').format(style, path, said)


def _mark(spot: np.ndarray, mark: Mark, largest: float) -> Markup:
    """A disc, or a square for what is the anchor's own, coloured by what it adds, and its name."""
    x, y = spot.tolist()
    share = abs(mark.value) / largest
    radius = (13.0, 9.0, 7.0)[mark.ring] + 4 * share
    ink = "var(--soft)" if mark.value == 0 else FOR if mark.value > 0 else AGAINST
    said = f"{mark.name}: {_signed(mark.value, digits=4)}"
    shape = Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{:.1f}" fill="{}" fill-opacity="{:.2f}" '
        'stroke="{}" stroke-width="1.5"><title>{}</title></rect>'
    ).format(
        *(x - radius, y - radius, 2 * radius, 2 * radius, 3 if mark.ring == 1 else radius),
        *(ink, 0.2 + 0.8 * min(1.0, 2 * share), ink if mark.ring else "var(--ink)", said),
    )
    below = y + radius + 14 if y >= HEIGHT / 2 or mark.ring < 2 else y - radius - 6
    kind = "name centre" if mark.ring == 0 else "name"
    aside = (x - WIDTH / 2) / OUTER
    side = "middle" if mark.ring < 2 or abs(aside) < 0.01 or abs(aside) > 0.35 else "start" if aside > 0 else "end"
    text = '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'
    return shape + Markup(text).format(kind, x, below, side, plain(mark.name, 12))


def _others(cases: Cases, case: Case) -> int:
    """How many other nodes there are besides those that are drawn with the anchor that they hang on."""
    owned = len(_owners(case.detail, cases.anchor, cases.modalities))
    return sum(map(len, case.detail.n_id.values())) - owned - 1


def _residual(found: Attribution) -> str:
    if abs(found.residual) < 1e-9 * max(1.0, abs(found.score)):
        return "nothing is left over."
    return f"{abs(found.residual):.1g} of {abs(found.score - found.baseline):.3g} is left over."


def _signed(value: float, *, plus: str = "+", digits: int = 2) -> str:
    """A number with its sign, and no minus before a 0.

    Example:
        >>> _signed(1.234), _signed(-0.5), _signed(-0.001)
        ('+1.23', '−0.50', '+0.00')
    """
    text = f"{abs(value):.{digits}f}"
    return ("−" if value < 0 and float(text) > 0 else plus) + text


def _svg(width: int, height: float, label: str, inside: Sequence[Markup]) -> Markup:
    frame = Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>')
    return frame.format(width, height, label, Markup("\n").join(inside))
