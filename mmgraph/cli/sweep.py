"""``mmgraph sweep missing RECIPE``: how a recipe's score falls as modalities go missing."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from mmgraph.cli.settings import named
from mmgraph.errors import ConfigError
from mmgraph.files import sha256
from mmgraph.recipe import Recipe, load_recipe, plain
from mmgraph.sweep import RATES, STRATEGIES, Missing, Strategy, Sweep, sweep_missing
from mmgraph.train import record

WIDTH = 100  # of tables that go to a file or a pipe
RUNS = 3

HELP = """usage: mmgraph sweep missing RECIPE [--rates 0 0.25 ...] [--how leave ...] [--modalities ...]
                            [--parts test|all] [--runs N] [--out DIR] [--json] [--FIELD VALUE ...]

Takes modalities away, deals with it in several ways, and judges each on the test part. What a killed sweep has
finished is kept: the same command goes on from there.

examples:
  mmgraph sweep missing population_wdbc
  mmgraph sweep missing population_wdbc --rates 0 0.5 0.9 --how leave dropout --runs 1 --fit.epochs 20
  mmgraph sweep missing population_wdbc --parts all --modalities mean all
  mmgraph sweep missing population_wdbc --help        (all fields of the recipe)

recipes:
  {recipes}
"""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph sweep``."""
    if not named(words, HELP, "sweep", "'missing'"):
        return
    if words[0] != "missing" or len(words) < 2 or words[1].startswith("-"):
        raise ConfigError(f"sweep must be followed by 'missing' and a recipe, got {' '.join(words[:2])!r}")
    recipe = load_recipe(words[1])
    options: Any = tyro.cli(
        _options(recipe), args=list(words[2:]), prog=f"mmgraph sweep missing {recipe.name}", description=recipe.title
    )
    folder = options.out or _folder(recipe, options)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = WIDTH
    sweep = _sweep(recipe, options, folder, progress=console.is_terminal)
    page = _page(sweep, recipe, folder)
    if options.json:
        told = {"folder": str(folder), "metric": sweep.metric, "chance": sweep.chance, "rows": sweep.rows()}
        sys.stdout.write(json.dumps(told, allow_nan=False) + "\n")
        return
    console.print(sweep.table(title=f"{recipe.name}: modalities missing"))
    console.print(f"sweep: {folder}\nreport: {page}", soft_wrap=True)


def _sweep(recipe: Recipe, options: Any, folder: Path, *, progress: bool) -> Sweep:
    module, config = recipe.module, options.config
    objective = getattr(module, "make_objective", None)
    return sweep_missing(
        lambda run, fold: module.build(config, run, fold),
        lambda schema: module.make_model(config, schema),
        rates=options.rates,
        modalities=options.modalities or None,
        how=options.how,
        parts=options.parts,
        runs=config.runs,
        folds=getattr(config, "folds", 1),
        dropout=options.modality_dropout,
        config=config.fit,
        make_objective=(lambda schema: objective(config, schema)) if objective else None,
        metric=module.METRIC,
        folder=folder,
        about={"recipe": recipe.name, "recipe_sha256": sha256(recipe.path), "recipe_config": _settings(config)},
        progress=progress,
    )


def _page(sweep: Sweep, recipe: Recipe, folder: Path) -> Path:
    from mmgraph.report.sweep import write  # drawing packages take a second to import

    return write(sweep, folder / "report.html", title=f"Modalities missing: {recipe.title}", record=record())


def _settings(config: Any) -> dict[str, Any]:
    """All fields that a cell depends on: how many runs there are is none of them."""
    return {key: value for key, value in plain(config).items() if key != "runs"}


def _folder(recipe: Recipe, options: Any) -> Path:
    """Where a sweep goes if nobody says: one folder for a recipe as it stands and what its cells depend on."""
    depends = [sha256(recipe.path), _settings(options.config), options.parts, options.modality_dropout]
    text = json.dumps(depends, sort_keys=True)
    return Path("runs") / f"sweep-{recipe.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _options(recipe: Recipe) -> type:
    """The fields of the recipe's ``Config`` without a prefix, and the command's own flags."""

    def flag(name: str, type_: Any, default: Any, text: str) -> tuple[str, Any, Any]:
        return name, Annotated[type_, tyro.conf.arg(help=text)], field(default=default)

    config = recipe.module.Config
    return make_dataclass(
        "Options",
        [
            (
                "config",
                Annotated[config, tyro.conf.arg(name="")],
                field(default_factory=lambda: replace(config(), runs=RUNS)),
            ),
            flag("rates", tuple[float, ...], RATES, "Shares of those who have a modality that lose it."),
            flag("how", tuple[Strategy, ...], STRATEGIES, "What is done about it."),
            flag("modalities", tuple[str, ...], (), "Which are taken away, 'all' for each of them; by default every."),
            flag("parts", Missing, "test", "Whether they are missing in the test part alone, or in all parts."),
            flag(
                "modality_dropout",
                float,
                0.5,
                "At what rate 'dropout' (and 'token') takes modalities away in training.",
            ),
            flag("out", Path | None, None, "Folder of the sweep; by default runs/sweep-RECIPE-SETTINGS."),
            flag("json", bool, False, "Print the scores as JSON."),
        ],
    )
