"""The page: a story poured into its template."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgraph.files import write_bytes

if TYPE_CHECKING:
    from mmgraph.report.story import Story
    from mmgraph.train.results import Results


SHOWN = 24  # lines of a table of what was made


def render(story: Story) -> str:
    """Gives the page of a story: one HTML document that needs nothing beside it.

    Equal stories give equal text. What a story lacks is left out, and the page says why.

    Example:
        >>> from mmgraph.report import Story
        >>> from mmgraph.train import Cell, Results
        >>> cell = dict(val_metrics={}, seconds=1.0, data_sha256="", parts=(60, 20, 20), test_sha256="")
        >>> results = Results(
        ...     [Cell(run=run, variant="full", metrics={"accuracy": 0.8}, **cell) for run in range(3)],
        ...     metric="accuracy",
        ... )
        >>> page = render(Story(title="Does <b> hold?", lead="We ask.", results=results, config={}, record={}))
        >>> page[:15], "Does &lt;b&gt; hold?" in page, "0.800" in page
        ('<!doctype html>', True, True)
    """
    return fill_template("page.html.j2", _context(story))


def fill_template(
    name: str, context: Mapping[str, Any], *, filters: Mapping[str, Callable[..., Any]] | None = None
) -> str:
    """Pours values into a template of this room; what it prints is escaped, and a name without a value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mmgraph.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(name).render(context) + "\n"


def write(story: Story, path: Path) -> Path:
    """Writes the page of a story, whole or not at all, and gives its path."""
    write_bytes(path, render(story).encode())
    return path


def flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of text.

    Example:
        >>> flatten({"epochs": 60, "graph": {"k": 10, "metric": "cosine"}, "commit": None})
        [('epochs', '60'), ('graph.k', '10'), ('graph.metric', 'cosine'), ('commit', '—')]
    """
    rows: list[tuple[str, str]] = []
    for key, one in value.items():
        if isinstance(one, Mapping) and one:
            rows += flatten(one, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _said(one)))
    return rows


def _said(value: Any) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _context(story: Story) -> dict[str, Any]:
    from mmgraph.report import explain, maps, plots, table

    results = story.results
    panels = [
        [plots.curves(results), plots.calibration(results), plots.confusion(results)],
        [maps.subjects(story), maps.neighbours(story)],
    ]
    rows, verdicts = table.table(results), table.verdicts(results)
    return {
        "story": story,
        "results": results,
        "headline": next(score for score in rows[0].scores if score.metric == results.metric),
        "verdict": results.verdict() if verdicts else "",
        "verdicts": verdicts,
        "facts": _facts(results),
        "rows": rows,
        "metrics": table.columns(results),
        "groups": results.groups,
        "by_group": table.by_group(results),
        "published": table.quoted(story.published, results.metrics),
        "shown": [[panel for panel in line if panel.svg] for line in panels],
        "made": [_made(path) for path in story.made],
        "explained": explain.section(story.explained) if story.explained is not None else None,
        "left_out": [panel.note for line in panels for panel in line if not panel.svg] + list(story.left_out),
        "details": [("Configuration", flatten(story.config)), ("Versions and machine", flatten(story.record))],
    }


def _made(path: Path) -> dict[str, Any]:
    """One file with some of what was made, for the page: a picture, a table, or lines of text."""
    found: dict[str, Any] = {"name": path.name, "picture": "", "rows": [], "text": ""}
    if path.suffix == ".png":
        return {**found, "picture": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()}
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".tsv":
        return {**found, "rows": [line.split("\t") for line in lines[: 1 + SHOWN]]}
    return {**found, "text": "\n".join(lines[: 3 * SHOWN])}


def _facts(results: Results) -> list[str]:
    """What the headline rests on."""
    full = [cell for cell in results.cells if cell.variant == results.variants[0]]
    runs = "1 run" if len(full) == 1 else f"{len(full)} {'resplits' if results.resplit else 'runs of one split'}"
    train, val, test = full[0].parts
    seconds = sum(cell.seconds for cell in results.cells)
    return [
        runs,
        f"{test:,} test rows{' each' if results.resplit else ''}",
        f"{train:,} training and {val:,} validation rows",
        f"{len(results.variants)} variants fitted in {seconds:,.0f} s",
    ]
