"""``mmgraph ls``: what there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from mmgraph.data.manifest import bundled, dataset_names, read_manifest
from mmgraph.recipe import recipe_paths, recipe_title


@dataclass
class Options:
    """Lists the recipes, the datasets and the runs.

    Examples:
        mmgraph ls
        mmgraph ls --json
    """

    runs: Path = Path("runs")
    """Folder to look for runs in."""
    json: bool = False
    """Print JSON."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph ls``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph ls")
    found: dict[str, dict[str, str]] = {
        "recipes": {name: recipe_title(path) for name, path in recipe_paths().items()},
        "datasets": {name: read_manifest(bundled("datasets") / name).title for name in dataset_names()},
        "runs": {str(path.parent): _state(path) for path in sorted(options.runs.glob("*/run.json"))},
    }
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    console = Console()
    for kind, entries in found.items():
        table: Any = Table(title=kind, title_justify="left", show_header=False, box=None, padding=(0, 2))
        for name, text in entries.items():
            table.add_row(name, text)
        console.print(table if entries else f"{kind}: none", "")


def _state(path: Path) -> str:
    return "finished" if (path.parent / "facts.json").exists() else "not finished: the same command goes on"
