"""Drawings as text: figures of matplotlib whose colours are the page's, and the marks of hand-made ones.

A figure is painted in stand-in colours, which become CSS variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE, PANEL, STRONG = "#010101", "#010102", "#010103", "#010104", "#010105"
BLUE, ORANGE, CHOSEN = "#010110", "#010111", "#010114"
VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", PANEL: "panel", STRONG: "on-strong"} | {
    BLUE: "c0",
    ORANGE: "c1",
    CHOSEN: "c4",
}
"""Stand-in colour → the page's variable."""

COLOURS, SHAPES = 8, 4

STYLE = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


class Key(NamedTuple):
    """One line of a legend."""

    swatch: Markup
    text: str


class Panel(NamedTuple):
    """One drawing with its words; where ``svg`` is empty, the note says why there is none."""

    title: str
    note: str
    svg: Markup = Markup("")
    legend: Sequence[Key] = ()
    wide: bool = False


def draw(name: str, label: str, paint: Callable[[Figure], None], *, width: float = 360, height: float = 400) -> Markup:
    """Paints a figure of matplotlib and gives it as SVG for the inside of a page.

    Args:
        name: Unique on the page; starts every id of the drawing.
        label: What the drawing shows, for those who can't see it.
        paint: Paints on the figure, in the stand-in colours of :data:`VARIABLES`.
        width: In pixels.
        height: In pixels.

    Example:
        >>> svg = draw("line", "A line", lambda figure: figure.subplots().plot([0, 1], color=BLUE))
        >>> svg[:34], "stroke: var(--c0)" in svg
        (Markup('<svg viewBox="0 0 270 300" role="i'), True)
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    file = io.StringIO()
    with matplotlib.style.context({**STYLE, "svg.hashsalt": name}, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph.*missing")  # the reader's fonts draw the text, not ours
        figure = Figure(figsize=(width / 96, height / 96), layout="constrained")
        paint(figure)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name, label)


def mark(number: int, x: float, y: float, radius: float, title: str, kind: str = "") -> Markup:
    """A mark in the colour and shape of a label's number; 32 numbers differ.

    Example:
        >>> mark(0, 5, 5, 2, "a < b")
        Markup('<path class="mark c0" d="M5 5m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z"><title>a &lt; b</title></path>')
    """
    r, wide = f"{radius:g}", f"{1.3 * radius:g}"
    shape = (
        f"m-{r} 0a{r} {r} 0 1 0 {2 * radius:g} 0a{r} {r} 0 1 0-{2 * radius:g} 0z",
        f"m0-{wide}l{wide} {wide}l-{wide} {wide}l-{wide}-{wide}z",
        f"m0-{wide}l{wide} {2.2 * radius:g}h-{2.6 * radius:g}z",
        f"m-{0.9 * radius:g}-{0.9 * radius:g}h{1.8 * radius:g}v{1.8 * radius:g}h-{1.8 * radius:g}z",
    )[(number + number // COLOURS) % SHAPES]
    said = Markup("<title>{}</title>").format(title) if title else ""
    classes = f"mark c{number % COLOURS} {kind}".strip()
    return Markup('<path class="{}" d="M{:g} {:g}{}">{}</path>').format(classes, round(x, 1), round(y, 1), shape, said)


def swatch(inside: Markup, width: int = 16) -> Markup:
    """A legend's sample, 16 pixels high."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 {0} 16" width="{0}" height="16" aria-hidden="true">{1}</svg>'
    ).format(width, inside)


def plain(text: object, limit: int = 18) -> str:
    """A text short enough for a drawing, without the characters that XML refuses.

    Example:
        >>> plain("a name of no end at all", limit=8)
        'a name …'
    """
    said = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return said if len(said) <= limit else said[: limit - 1] + "…"


def _inline(text: str, name: str, label: str) -> Markup:
    """Only what a page needs: no prolog, metadata, namespaces or fonts; ids that nothing else has."""
    root = ElementTree.fromstring(text)
    for part in [*root.iter()]:
        for child in [*part]:
            if child.tag.endswith(("}metadata", "}style")):
                part.remove(child)
    for part in root.iter():
        part.tag = part.tag.split("}")[-1]
        attributes = {key.split("}")[-1]: value for key, value in part.attrib.items()}
        part.attrib.clear()
        part.attrib.update({key: _attribute(key, value, name) for key, value in attributes.items()})
    _drop_unused_ids(root)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": label})
    return Markup(re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode")).strip())


def _attribute(key: str, value: str, name: str) -> str:
    if key == "style":
        value = re.sub(r"font-family: [^;]*;? ?", "", value)
        for stand_in, variable in VARIABLES.items():
            value = value.replace(stand_in, f"var(--{variable})")
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    return re.sub(r"url\(#", f"url(#{name}-", value)


def _drop_unused_ids(root: ElementTree.Element) -> None:
    used = {part.attrib["href"].removeprefix("#") for part in root.iter() if "href" in part.attrib}
    for part in root.iter():
        used |= set(re.findall(r"url\(#([^)]+)\)", " ".join(part.attrib.values())))
    for part in root.iter():
        if part.attrib.get("id", "") not in used:
            part.attrib.pop("id", None)
