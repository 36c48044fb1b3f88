"""``mmgraph report RUN``: the page of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from mmgraph.run import Run


@dataclass
class Options:
    """Writes the HTML report of a finished run again, and says where it is.

    Examples:
        mmgraph report runs/mine
    """

    run: tyro.conf.Positional[Path]
    """Folder of a finished run."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph report``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph report")
    sys.stdout.write(f"{Run.open(options.run).write_report()}\n")
