"""``mmgraph run RECIPE``: a recipe's ``Config`` is its flags."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from mmgraph.cli.settings import ABOUT, named, settings
from mmgraph.recipe import Recipe, load_recipe
from mmgraph.run import Run, default_folder
from mmgraph.trackers import open_tracker
from mmgraph.train.processes import Place

TRACKING = "tracking"  # the tracker's folder in that of the run
WIDTH = 100  # of tables that go to a file or a pipe

HELP = """usage: mmgraph run RECIPE [--out DIR] [--config FILE] [--track tensorboard|mlflow] [--json]
                          [--FIELD VALUE ...]

Carries a recipe out. What a killed run has finished is kept: the same command goes on from there.

examples:
  mmgraph run population_wdbc
  mmgraph run population_wdbc --runs 3 --population.k 5 --population.metric cosine
  mmgraph run population_wdbc --help        (all fields of the recipe)
  mmgraph run population_wdbc --config runs/tuned/best.json --track tensorboard
  mmgraph run my_recipe.py --out runs/mine --json

recipes:
  {recipes}
"""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph run``."""
    if not named(words, HELP, "run"):
        return
    recipe = load_recipe(words[0])

    options: Any = tyro.cli(
        _options(recipe, settings(recipe, words[1:])),
        args=list(words[1:]),
        prog=f"mmgraph run {recipe.name}",
        description=f"{recipe.title}\n\n{recipe.description}",
    )
    folder = options.out or default_folder(recipe, options.config)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = WIDTH
    tracker = None
    if options.track is not None and Place.here().leads:
        tracker = open_tracker(options.track, folder / TRACKING, name=recipe.name, config=asdict(options.config))
    run = Run.execute(recipe, options.config, folder, tracker=tracker, progress=console.is_terminal)
    if not Place.here().leads:  # of several processes, the first one writes and prints
        return
    page = run.write_report()
    if options.json:
        rows = [{**row, "difference": row["difference"] and row["difference"].to_json()} for row in run.results.rows()]
        sys.stdout.write(
            json.dumps({"folder": str(folder), "verdict": run.results.verdict(), "rows": rows}, allow_nan=False) + "\n"
        )
        return
    console.print(run.results.table(title=recipe.title))
    console.print(run.results.verdict())
    console.print(f"run: {folder}\nreport: {page}", soft_wrap=True)


def _options(recipe: Recipe, default: Any) -> type:
    """The fields of the recipe's ``Config`` without a prefix, and the command's own flags."""
    arg = tyro.conf.arg
    track = arg(help="Write each cell to TensorBoard or MLflow too, below tracking in the run's folder.")
    out = arg(help="Folder of the run; by default runs/RECIPE-SETTINGS. A killed run in it goes on.")
    return make_dataclass(
        "Options",
        [
            ("config", Annotated[recipe.module.Config, arg(name="")], field(default_factory=lambda: default)),
            ("config_file", Annotated[Path | None, arg(name="config", help=ABOUT)], field(default=None)),
            ("out", Annotated[Path | None, out], field(default=None)),
            ("track", Annotated[Literal["tensorboard", "mlflow"] | None, track], field(default=None)),
            ("json", Annotated[bool, arg(help="Print the scores as JSON.")], field(default=False)),
        ],
    )
