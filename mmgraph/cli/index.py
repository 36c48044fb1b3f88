"""``mmgraph index DIR``: make a built graph quick to search, or search it by a trained model."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from mmgraph.assembly import Built
from mmgraph.engine import Engine, Kind


@dataclass
class Options:
    """Makes an index beside the graph that mmgraph build wrote; mmgraph search and mmgraph serve use it from then on.

    Examples:
        mmgraph index shop
        mmgraph index shop --kind hnsw --text-weight 0.3
        mmgraph index shop --model runs/clip_shop-1a2b3c4d
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a graph that mmgraph build wrote."""
    kind: Kind = "exact"
    """How nodes are found: exact looks at all; hnsw, ivf and ivfpq at some, which is faster from about 100,000 on."""
    model: Path | None = None
    """Folder of a run whose model aligns the modalities: a text finds pictures by it."""
    text_weight: float = 0.0
    """The share of the words in the value of a match of texts, 0 to 1."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph index``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph index")
    began = time.perf_counter()
    built = Built.open(options.folder)
    engine = Engine.build(
        built, options.folder, model=options.model, kind=options.kind, text_weight=options.text_weight
    )
    found = engine.describe()
    counts = ", ".join(f"{one['items']:,} of {name}" for name, one in found["fields"].items())
    sys.stdout.write(
        f"{options.folder}: {found['anchors']:,} of {found['anchor']} can be searched by {counts or 'nothing'} "
        f"({options.kind}, {time.perf_counter() - began:.1f} s)\n"
    )
