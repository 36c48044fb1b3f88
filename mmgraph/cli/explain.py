"""``mmgraph explain RUN``: why the model of a run says what it says of a few subjects."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from mmgraph.run import Run


@dataclass
class Options:
    """Takes what a run's model says of some subjects apart, by modality and relation, node and edge.

    Examples:
        mmgraph explain runs/mine --id patient-007
        mmgraph explain runs/mine --id patient-007 patient-011 --output malignant --html why.html
    """

    run: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    id: tuple[str, ...]
    """Subjects of the run."""
    output: str | None = None
    """Class to explain; by default what the model says."""
    html: Path | None = None
    """Where to write the page; by default explain.html in the run's folder."""
    json: bool = False
    """Print JSON."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph explain``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph explain")
    run = Run.open(options.run)
    cases = run.explain(options.id, output=options.output)
    from mmgraph.report.explain import write  # drawing packages take a second to import

    page = write(cases, options.html or options.run / "explain.html", title=run.recipe.title, record=run.facts)
    control = cases.sanity.correlation
    if options.json:
        shown = [
            {
                "id": case.id,
                "said": case.said,
                "truth": case.truth or None,
                "score": case.shares.score,
                "baseline": case.shares.baseline,
                "parts": case.shares.parts,
                "nodes_and_edges": case.detail.parts,
                "residual": case.detail.residual,
            }
            for case in cases.cases
        ]
        found = {"cases": shown, "shuffled_weights": control if control == control else None, "page": str(page)}
        sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")
        return
    for case in cases.cases:
        truth = f", truly {case.truth}" if case.truth else ""
        sys.stdout.write(f"{case.id}: said {case.said}{truth}\n{case.shares}\n{case.detail}\n\n")
    sys.stdout.write(f"{cases.sanity}\npage: {page}\n")
