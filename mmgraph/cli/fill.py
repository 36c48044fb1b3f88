"""``mmgraph fill DIR``: a modality that samples lack, made from those that they have, and marked as made."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from mmgraph.assembly import Built
from mmgraph.assembly.built import check_folder
from mmgraph.completion import CompletionConfig, CompletionReport, complete
from mmgraph.engine.state import BESIDE
from mmgraph.errors import ConfigError
from mmgraph.files import write_json

SAID = {
    "generated": "what is generated",
    "mean": "the mean of training (of texts, the most common)",
    "nearest": "the nearest training sample",
}


@dataclass
class Options:
    """Makes a modality wherever a sample lacks it, from what the sample has; the graph says that it is no data.

    What is made are nodes of a type of their own, MODALITY_generated, with their payloads. How far off they are is
    measured on samples that have the modality and were not trained on, and written to fill-MODALITY.json.

    Examples:
        mmgraph fill shop --modality photo --out shop-filled
        mmgraph fill shop --modality title --features
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a graph that mmgraph build wrote."""
    modality: str
    """The node type to fill: pictures, recordings, texts and rows of a table; of any other its features."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The folder to write; by default the graph's own, which stays until the new one is complete."""
    features: tyro.conf.FlagCreatePairsOff[bool] = False
    """Make features alone, without payloads."""
    epochs: int = 100
    """Epochs of training at most; the best on validation counts."""
    channels: int = 64
    """Width of what is known of a sample."""
    hide: float = 0.3
    """Share of the training samples that each source is hidden from."""
    pixels: int = 32
    """Side of a picture that is made, where the graph holds no pixels."""
    length: int = 64
    """Pieces of a text that is made, at most; a piece is some letters."""
    seed: int = 0
    """Of the split, if the graph has none, of training, and of what is drawn."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph fill``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph fill")
    out = options.out or options.folder
    check_folder(out)
    if (out / BESIDE).exists():
        raise ConfigError(
            f"{str(out)!r} has an index, and what was added to it, which would be lost; give another folder by --out"
        )
    built, report = complete(
        Built.open(options.folder),
        options.modality,
        CompletionConfig(
            channels=options.channels,
            hide=options.hide,
            pixels=options.pixels,
            length=options.length,
            payloads=not options.features,
            epochs=options.epochs,
            seed=options.seed,
        ),
        progress=sys.stderr.isatty(),
    )
    built.write(out)
    write_json(out / f"fill-{options.modality}.json", report.facts())
    _tell(report, out, Console())


def _tell(report: CompletionReport, out: Path, console: Console) -> None:
    table = Table(
        title=f"{report.made} of {report.modality!r} from {', '.join(report.sources)}: {report.judged} samples that "
        f"training did not see ({report.trained} that it did)",
        title_justify="left",
    )
    table.add_column("predicted by")
    table.add_column(report.measure, justify="right")
    table.add_column("over that of the mean", justify="right")
    for name, value in report.error.items():
        table.add_row(SAID[name], f"{value:.4g}", f"{report.over_mean[name]:.3f}")
    for name, value in report.error_from.items():
        table.add_row(f"  from {name} alone", f"{value:.4g}", f"{value / report.error['mean']:.3f}")
    console.print(table)
    left = report.lacked - report.filled
    console.print(
        f"{report.filled:,} of {report.samples:,} filled as {report.node!r}"
        + (f"; {left:,} more have nothing to make it from" if left else ""),
        markup=False,
    )
    console.print(f"graph: {out}", soft_wrap=True, markup=False)
