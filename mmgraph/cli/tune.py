"""``mmgraph tune RECIPE``: looks for the settings that do best on validation."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from mmgraph.cli.settings import ABOUT, named, settings
from mmgraph.errors import ConfigError
from mmgraph.files import sha256
from mmgraph.recipe import Recipe, load_recipe
from mmgraph.tune import Choice, Range, Tuned, tune
from mmgraph.tune.space import Space, parse_choice

WIDTH = 100  # of tables that go to a file or a pipe
TRIALS = 20

HELP = """usage: mmgraph tune RECIPE [--range FIELD=LOW..HIGH[:log]] [--choose FIELD=A,B,...] [--trials N] [--out DIR]
                           [--seed N] [--no-prune] [--config FILE] [--json] [--FIELD VALUE ...]

Looks for the settings of a recipe that do best on validation; the test part is never looked at. --range and --choose
may be given many times. What a killed study has finished is kept: the same command goes on from there.

examples:
  mmgraph tune population_wdbc --range fit.learning_rate=1e-3..1e-1:log --choose channels=8,16,32 --runs 3
  mmgraph tune population_wdbc --choose population.k=3,10,30 --trials 3 --out runs/tuned
  mmgraph run population_wdbc --config runs/tuned/best.json        (the one look at the test part, beside the controls)
  mmgraph tune population_wdbc --help        (all fields of the recipe)

recipes:
  {recipes}
"""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph tune``."""
    if not named(words, HELP, "tune"):
        return
    recipe = load_recipe(words[0])
    options: Any = tyro.cli(
        _options(settings(recipe, words[1:])),
        args=list(words[1:]),
        prog=f"mmgraph tune {recipe.name}",
        description=f"{recipe.title}\n\nLooks for the settings that do best on validation.",
    )
    space = _space(options.config, options.range, options.choose)
    folder = options.out or _folder(recipe, options, space)
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = WIDTH
    tuned = tune(
        recipe,
        space,
        trials=options.trials,
        folder=folder,
        config=options.config,
        seed=options.seed,
        prune=options.prune,
        progress=console.is_terminal,
    )
    pictures = tuned.draw()
    if options.json:
        best = {"values": dict(tuned.best.values), "score": tuned.best.score, "trial": tuned.best.number}
        told = {"folder": str(folder), "metric": tuned.metric, "best": best}
        rows = [asdict(one) for one in tuned.trials]
        sys.stdout.write(json.dumps({**told, "trials": rows}, allow_nan=False) + "\n")
        return
    console.print(tuned.table())
    console.print(_told(tuned, words[0], pictures), soft_wrap=True, highlight=False)


def _told(tuned: Tuned, name: str, pictures: Sequence[Path]) -> str:
    """What came out, and what is to be done next."""
    counts = {state: sum(one.state == state for one in tuned.trials) for state in ("complete", "pruned", "failed")}
    reasons = dict.fromkeys(one.reason for one in tuned.trials if one.reason)
    failed = [f"failed: {reason}" for reason in reasons]
    lines = [
        f"{len(tuned.trials)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count),
        *failed,
        f"best: {tuned.metric} {tuned.best.score:.4f} on validation, mean of {tuned.config.runs} runs: "
        + ", ".join(f"{field}={value}" for field, value in tuned.best.values.items()),
        f"study: {tuned.folder}",
        f"pictures: {', '.join(str(path) for path in pictures)}",
        "The test part was not looked at. Train the best settings once, beside their controls:",
        f"  mmgraph run {name} --config {tuned.folder / 'best.json'}",
    ]
    return "\n".join(lines)


def _space(config: Any, ranges: Sequence[str], choices: Sequence[str]) -> dict[str, Range | Choice]:
    space: dict[str, Range | Choice] = {}
    for flag, texts in (("--range", ranges), ("--choose", choices)):
        for text in texts:
            name, equals, values = text.partition("=")
            if not equals:
                raise ConfigError(f"{flag} must read FIELD=..., got {text!r}")
            if name in space:
                raise ConfigError(f"A field must be tuned in one way, got {name!r} twice")
            space[name] = Range.parse(values) if flag == "--range" else parse_choice(config, name, values)
    return space


def _folder(recipe: Recipe, options: Any, space: Space) -> Path:
    """Where a study goes if nobody says: one folder for a recipe as it stands, its settings, and what is tried."""
    depends = [sha256(recipe.path), asdict(options.config), repr(space), options.seed, options.prune]
    text = json.dumps(depends, sort_keys=True, default=str)
    return Path("runs") / f"tune-{recipe.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _options(default: Any) -> type:
    """The fields of the recipe's ``Config`` without a prefix, and the command's own flags."""
    arg = tyro.conf.arg

    def flag(name: str, type_: Any, start: Any, text: str) -> tuple[str, Any, Any]:
        return name, Annotated[type_, arg(help=text)], field(default=start)

    several = tyro.conf.UseAppendAction[tuple[str, ...]]
    return make_dataclass(
        "Options",
        [
            ("config", Annotated[type(default), arg(name="")], field(default_factory=lambda: default)),
            ("config_file", Annotated[Path | None, arg(name="config", help=ABOUT)], field(default=None)),
            flag("range", several, (), "FIELD=LOW..HIGH, or FIELD=LOW..HIGH:log; may be given many times."),
            flag("choose", several, (), "FIELD=A,B,...; may be given many times."),
            flag("trials", int, TRIALS, "How many trials, in all."),
            flag("seed", int, 0, "Of what is tried."),
            flag("prune", bool, True, "Stop trials that are worse than half of the others at the same epoch."),
            flag("out", Path | None, None, "Folder of the study; by default runs/tune-RECIPE-SETTINGS."),
            flag("json", bool, False, "Print the trials as JSON."),
        ],
    )
