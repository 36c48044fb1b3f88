"""``mmgraph run RECIPE``: a recipe's ``Config`` is its flags."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from mmgraph.cli.table import results_table
from mmgraph.errors import ConfigError
from mmgraph.recipe import load_recipe, recipe_paths
from mmgraph.run import Run, default_folder

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

    @dataclass
    class Options:
        config: Annotated[recipe.module.Config, tyro.conf.arg(name="")]  # type: ignore[name-defined]
        out: Path | None = None
        """Folder of the run; by default runs/RECIPE-SETTINGS. A killed run in it is resumed."""
        json: bool = False
        """Print the scores as JSON."""

    options: Any = tyro.cli(
        Options,
        args=list(words[1:]),
        prog=f"mmgraph run {recipe.name}",
        description=f"{recipe.title}\n\n{recipe.description}",
    )
    folder = options.out or default_folder(recipe, options.config)
    console = Console(stderr=options.json)
    run = Run.execute(recipe, options.config, folder, progress=console.is_terminal)
    page = run.write_report()
    if options.json:
        rows = [{**row, "difference": row["difference"] and row["difference"]._asdict()} for row in run.results.rows()]
        sys.stdout.write(json.dumps({"folder": str(folder), "verdict": run.results.verdict(), "rows": rows}) + "\n")
        return
    console.print(results_table(run.results, title=recipe.title))
    console.print(run.results.verdict())
    console.print(f"run: {folder}\nreport: {page}", soft_wrap=True)
