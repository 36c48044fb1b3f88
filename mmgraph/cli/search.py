"""``mmgraph search RUN``: who is like whom."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from mmgraph.cli.table import hits_table
from mmgraph.errors import ConfigError, DataError
from mmgraph.run import Run


@dataclass
class Options:
    """Finds the subjects of a run whose subgraphs are most like one subject's.

    Examples:
        mmgraph search runs/mine --id patient-007 -k 5
        mmgraph search runs/mine --features new_patient.json --where part=train
    """

    run: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    id: str | None = None
    """A subject of the run."""
    features: Path | None = None
    """Or a JSON file with a new subject: {"modality": [numbers], ...}; what is left out is missing."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """How many."""
    where: tuple[str, ...] = ()
    """Metadata that a hit must have, as column=value."""
    json: bool = False
    """Print JSON."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph search``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph search")
    where = dict(_pair(text) for text in options.where)
    run = Run.open(options.run)
    if options.features is not None:
        hits = run.search(records=run.query_records(_read(options.features)), k=options.k, where=where)
    else:
        hits = run.search(id=options.id, k=options.k, where=where)
    if options.json:
        shown = [{"id": hit.id, "similarity": hit.score, **hit.metadata} for hit in hits]
        sys.stdout.write(json.dumps(shown) + "\n")
        return
    Console().print(hits_table(hits, title=f"most like {options.id or options.features}"))


def _pair(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"where must be column=value, got {text!r}")
    return column, value


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"Features file {str(path)!r} must exist; it does not") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"Features file {str(path)!r} must be JSON, but {error}") from None
    if not isinstance(fields, dict):
        raise DataError(f"Features file {str(path)!r} must hold a JSON object, got {type(fields).__name__}")
    return fields
