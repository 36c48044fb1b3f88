"""``mmgraph push RUN TARGET``: the model of a run where others can load it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from mmgraph.pretrained import share


@dataclass
class Options:
    """Puts the model of a run, with its schema and its scores beside its controls, into a folder or on the hub.

    Who has it needs no recipe: ``mmgraph.pretrained.from_pretrained(TARGET)``. The folder of a model that is saved
    already can be given in place of a run.

    Examples:
        mmgraph push runs/mine models/mine
        mmgraph push runs/mine hub:me/mine --private
    """

    run: tyro.conf.Positional[Path]
    """Folder of a finished run, or of a saved model."""

    target: tyro.conf.Positional[str]
    """A folder, or hub:owner/name."""

    revision: str | None = None
    """Branch on the hub; main by default."""

    private: bool = False
    """Make the repository private, if it is made."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph push``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph push")
    where = share(options.run, options.target, revision=options.revision, private=options.private)
    sys.stdout.write(f"{where}\n")
