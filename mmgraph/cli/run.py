"""``mmgraph run RECIPE``: a recipe's ``Config`` is its flags."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from mmgraph.errors import ConfigError
from mmgraph.recipe import Recipe, load_recipe, recipe_paths
from mmgraph.run import Run, default_folder

WIDTH = 100  # of tables that go to a file or a pipe

HELP = """usage: mmgraph run RECIPE [--out DIR] [--json] [--FIELD VALUE ...]

Carries a recipe out. What a killed run has finished is kept: the same command goes on from there.

examples:
  mmgraph run population_wdbc
  mmgraph run population_wdbc --runs 3 --population.k 5 --population.metric cosine
  mmgraph run population_wdbc --help        (all fields of the recipe)
  mmgraph run my_recipe.py --out runs/mine --json

recipes:
  {recipes}
"""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph run``."""
    if not words or words[0].startswith("-"):
        sys.stdout.write(HELP.format(recipes="\n  ".join(recipe_paths())))
        if not words or words[0] not in ("-h", "--help"):
            raise ConfigError(f"The first word after run must be a recipe, got {words[0] if words else 'nothing'!r}")
        return
    recipe = load_recipe(words[0])

    options: Any = tyro.cli(
        _options(recipe),
        args=list(words[1:]),
        prog=f"mmgraph run {recipe.name}",
        description=f"{recipe.title}\n\n{recipe.description}",
    )
    folder = options.out or default_folder(recipe, options.config)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = WIDTH
    run = Run.execute(recipe, options.config, folder, progress=console.is_terminal)
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


def _options(recipe: Recipe) -> type:
    """The fields of the recipe's ``Config`` without a prefix, and the command's own flags."""
    arg = tyro.conf.arg
    out = arg(help="Folder of the run; by default runs/RECIPE-SETTINGS. A killed run in it goes on.")
    return make_dataclass(
        "Options",
        [
            ("config", Annotated[recipe.module.Config, arg(name="")], field(default_factory=recipe.module.Config)),
            ("out", Annotated[Path | None, out], field(default=None)),
            ("json", Annotated[bool, arg(help="Print the scores as JSON.")], field(default=False)),
        ],
    )
