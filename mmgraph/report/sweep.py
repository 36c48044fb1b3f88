"""The page of a sweep: a drawing a modality, score against what is missing, and the numbers below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from mmgraph.files import write_bytes
from mmgraph.report.html import fill_template, flatten
from mmgraph.report.svg import SOFT, Key, Panel, draw, plain, swatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmgraph.sweep import Sweep

INKS = tuple(f"#01012{number}" for number in range(8))  # stand-ins for the page's --c0 to --c7
MARKS = ("o", "D", "^", "s", "v", "P", "X", "*")


def panels(sweep: Sweep) -> list[Panel]:
    """Score against missing rate, a drawing a modality, a line a strategy with its spread, chance dashed.

    All have one scale. Chance is left out where it is so far off that nothing else could be read.
    """
    ends = [(sweep.mean(*point), sweep.std(*point)) for point in _points(sweep)]
    low, high = min(mean - std for mean, std in ends), max(mean + std for mean, std in ends)
    near = low - sweep.chance <= high - low and sweep.chance - high <= high - low
    if near:
        low, high = min(low, sweep.chance), max(high, sweep.chance)
    room = 0.05 * (high - low) or 0.05
    return [_panel(sweep, number, (low - room, high + room), near=near) for number in range(len(sweep.modalities))]


def render(sweep: Sweep, *, title: str, record: Mapping[str, Any] | None = None) -> str:
    """Gives the page of a sweep: one HTML document that needs nothing beside it; equal sweeps give equal text.

    Args:
        sweep: The scores.
        title: What was swept.
        record: Versions, machine, command, as :func:`mmgraph.train.record` gives them.

    Example:
        >>> from mmgraph.sweep import Sweep
        >>> from mmgraph.train import Cell
        >>> cell = dict(val_metrics={}, seconds=0.0, data_sha256="", parts=(6, 2, 2), test_sha256="")
        >>> scores = {"leave||0": 0.9, "leave|scan|0.5": 0.7, "majority": 0.5}
        >>> cells = [Cell(run=0, variant=name, metrics={"auroc": one}, **cell) for name, one in scores.items()]
        >>> sweep = Sweep(
        ...     cells=cells, metric="auroc", rates=(0.0, 0.5), modalities=("scan",), how=("leave",), parts="test"
        ... )
        >>> page = render(sweep, title="What if <scans> are missing?")
        >>> page[:15], "&lt;scans&gt;" in page, "0.700" in page
        ('<!doctype html>', True, True)
    """
    where = "the test part alone; training was complete" if sweep.parts == "test" else "all parts"
    context = {
        "title": title,
        "sweep": sweep,
        "where": where,
        "panels": panels(sweep),
        "legend": [_key(number, how) for number, how in enumerate(sweep.how)],
        "details": [("Settings", flatten(dict(sweep.about))), ("Versions and machine", flatten(dict(record or {})))],
    }
    return fill_template("sweep.html.j2", context)


def write(sweep: Sweep, path: Path, *, title: str, record: Mapping[str, Any] | None = None) -> Path:
    """Writes the page of a sweep, whole or not at all, and gives its path."""
    write_bytes(path, render(sweep, title=title, record=record).encode())
    return path


def _panel(sweep: Sweep, number: int, limits: tuple[float, float], *, near: bool) -> Panel:
    modality = sweep.modalities[number]
    title = "Each modality missing" if modality == "all" else f"{plain(modality, 30)} missing"

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if near:
            axes.axhline(sweep.chance, linestyle=(0, (4, 3)), color=SOFT, linewidth=1.2)
        _lines(axes, sweep, modality)
        axes.set(ylim=limits, xlabel="missing", ylabel=plain(sweep.metric, 30))
        axes.set_xticks(sweep.rates, [f"{rate:.0%}" for rate in sweep.rates])

    label = f"Line chart of {sweep.metric} against the share that lack {modality}, a line for each of {len(sweep.how)}"
    svg = draw(f"sweep{number}", label, paint, height=340)
    for place, ink in enumerate(INKS):
        svg = Markup(svg.replace(ink, f"var(--c{place})"))
    chance = "dashed: chance" if near else f"chance, {sweep.chance:.3f}, is off the drawing"
    note = f"Mean and standard deviation over {sweep.runs} run{'' if sweep.runs == 1 else 's'}; {chance}."
    return Panel(title, note, svg)


def _lines(axes: Axes, sweep: Sweep, modality: str) -> None:
    rates = np.array(sweep.rates)
    for number, how in enumerate(sweep.how):
        mean = np.array([sweep.mean(modality, rate, how) for rate in sweep.rates])
        std = np.array([sweep.std(modality, rate, how) for rate in sweep.rates])
        ink = INKS[number % len(INKS)]
        axes.fill_between(rates, mean - std, mean + std, color=ink, alpha=0.12, linewidth=0)
        axes.plot(rates, mean, color=ink, marker=MARKS[number % len(MARKS)], markersize=4.5, linewidth=1.6)


def _points(sweep: Sweep) -> Sequence[tuple[str, float, str]]:
    return [(modality, rate, how) for modality in sweep.modalities for rate in sweep.rates for how in sweep.how]


def _key(number: int, how: str) -> Key:
    line = Markup('<path d="M1 8h22" stroke="var(--c{})" stroke-width="3"/>').format(number % len(INKS))
    return Key(swatch(line, 24), how)
