"""Draws the picture of the README from the measured results: an idea, a score beside its controls, a search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

STYLE = """
  .ink { fill: #1f2933 } .soft { fill: #66727f } .line { stroke: #9aa5b1; stroke-width: 1.6 }
  .card { fill: #ffffff; stroke: #d9e0e6 } .track { fill: #e9eef2 }
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif }
  @media (prefers-color-scheme: dark) {
    .ink { fill: #e6ebef } .soft { fill: #9aa8b5 } .line { stroke: #566573 }
    .card { fill: #161d24; stroke: #2c3843 } .track { fill: #26313b }
  }
"""
COLOURS = {"text": "#0072b2", "image": "#e69f00", "audio": "#009e73", "anchor": "#cc79a7"}
WIDTH, HEIGHT = 960, 300


def draw(entries: Sequence[Mapping[str, Any]]) -> str:
    body = [_card(0, "1  Every sample is a graph"), *_samples(), _card(1, "2  Every score beside its controls")]
    body += [*_bars(entries), _card(2, "3  Subgraphs that find their like"), *_search()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Samples as graphs, a score beside its controls, and a search over subgraphs">'
        f"<style>{STYLE}</style>{''.join(body)}</svg>\n"
    )


def _card(place: int, title: str) -> str:
    x = 8 + place * 318
    return (
        f'<rect class="card" x="{x}" y="8" width="306" height="284" rx="14"/>'
        f'<text class="ink" x="{x + 18}" y="38" font-size="15" font-weight="650">{title}</text>'
    )


def _samples() -> list[str]:
    """Three anchors with their modality nodes; one of them has no sound: the node is not there."""
    drawn, anchors = [], [(92, 122), (226, 116), (156, 206)]
    for (x, y), (u, v) in ((anchors[0], anchors[1]), (anchors[1], anchors[2]), (anchors[0], anchors[2])):
        drawn.append(f'<line class="line" x1="{x}" y1="{y}" x2="{u}" y2="{v}" stroke-dasharray="5 5"/>')
    kinds = [("text", "image", "audio"), ("text", "image"), ("text", "image", "audio")]
    starts = (-150, -60, 70)
    for (x, y), own, start in zip(anchors, kinds, starts, strict=True):
        for number, kind in enumerate(own):
            angle = math.radians(start + number * 52 - 52)
            u, v = x + 42 * math.cos(angle), y + 42 * math.sin(angle)
            drawn.append(f'<line class="line" x1="{x}" y1="{y}" x2="{u:.0f}" y2="{v:.0f}"/>')
            drawn.append(
                f'<rect x="{u - 8:.0f}" y="{v - 8:.0f}" width="16" height="16" rx="4" fill="{COLOURS[kind]}"/>'
            )
        drawn.append(f'<circle cx="{x}" cy="{y}" r="12" fill="{COLOURS["anchor"]}"/>')
    for number, (kind, said) in enumerate(
        (("text", "text"), ("image", "image"), ("audio", "sound"), ("anchor", "anchor"))
    ):
        x = 30 + number * 72
        drawn.append(f'<circle cx="{x}" cy="276" r="5" fill="{COLOURS[kind]}"/>')
        drawn.append(f'<text class="soft" x="{x + 9}" y="280" font-size="12">{said}</text>')
    return drawn


def _bars(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The accuracy of the citation graph's recipe beside its controls, as measured."""
    found = [e for e in entries if e["recipe"] == "kipf2017_gcn_cora" and e["metric"] == "accuracy"]
    if not found:
        return ['<text class="soft" x="344" y="150" font-size="13">run `make results` for the scores</text>']
    one = found[0]
    names = ("no_graph", "shuffled_edges", "flat_linear", "majority")
    rows = [("full", one["mean"]), *((name, one["controls"][name]["mean"]) for name in names)]
    drawn = [f'<text class="soft" x="344" y="62" font-size="12">Cora, accuracy, {one["runs"]} seeds</text>']
    for number, (name, value) in enumerate(rows):
        y = 84 + number * 40
        fill = COLOURS["text"] if name == "full" else "#8a97a3"
        drawn.append(f'<text class="ink" x="344" y="{y}" font-size="13">{name}</text>')
        drawn.append(f'<rect class="track" x="344" y="{y + 6}" width="220" height="10" rx="5"/>')
        drawn.append(f'<rect x="344" y="{y + 6}" width="{220 * value:.0f}" height="10" rx="5" fill="{fill}"/>')
        drawn.append(f'<text class="ink" x="574" y="{y + 16}" font-size="14" font-weight="600">{value:.3f}</text>')
    return drawn


def _search() -> list[str]:
    """A query's subgraph, and three like it."""
    drawn = ['<text class="soft" x="662" y="62" font-size="12">a query, and those most like it</text>']
    drawn += _small(720, 160, 1.25)
    drawn.append('<path class="line" d="M782 160 h44 m-8 -6 l8 6 l-8 6" fill="none"/>')
    for number, size in enumerate((0.78, 0.7, 0.62)):
        drawn += _small(880, 104 + number * 66, size)
    return drawn


def _small(x: float, y: float, size: float) -> list[str]:
    drawn = []
    for number, kind in enumerate(("text", "image", "audio", "anchor", "anchor")):
        angle = math.radians(number * 72 - 90)
        u, v = x + 40 * size * math.cos(angle), y + 40 * size * math.sin(angle)
        drawn.append(f'<line class="line" x1="{x}" y1="{y}" x2="{u:.0f}" y2="{v:.0f}"/>')
        drawn.append(f'<circle cx="{u:.0f}" cy="{v:.0f}" r="{8 * size:.1f}" fill="{COLOURS[kind]}"/>')
    return [*drawn, f'<circle cx="{x}" cy="{y}" r="{11 * size:.1f}" fill="{COLOURS["anchor"]}"/>']
