"""What commands about a recipe begin with: its name, and ``--config FILE``, whose settings other flags then change."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from mmgraph.errors import ConfigError
from mmgraph.files import read_json
from mmgraph.recipe import Recipe, recipe_paths

FLAG = "--config"
ABOUT = "JSON file with some of the recipe's fields, or all (e.g. best.json of mmgraph tune); other flags change them."


def named(words: Sequence[str], help_: str, command: str, what: str = "a recipe") -> bool:
    """Whether the first word names something; if not, the help is shown, which names all recipes.

    Raises:
        ConfigError: There is no word, or a flag other than that for help.
    """
    if words and not words[0].startswith("-"):
        return True
    sys.stdout.write(help_.format(recipes="\n  ".join(recipe_paths())))
    if not words or words[0] not in ("-h", "--help"):
        got = words[0] if words else "nothing"
        raise ConfigError(f"The first word after {command} must be {what}, got {got!r}")
    return False


def settings(recipe: Recipe, words: Sequence[str]) -> Any:
    """The recipe's ``Config`` as the file after ``--config`` has it, where there is one; else as it stands.

    Raises:
        ConfigError: No file is named, it holds no object, or a field is unknown or wrong.
        ArtifactError: There is no such file, or it is not JSON.

    Example:
        >>> from mmgraph.recipe import load_recipe
        >>> path = getfixture("tmp_path") / "mine.json"
        >>> path.write_text('{"fit": {"epochs": 5}}')
        22
        >>> found = settings(load_recipe("population_wdbc"), ["--runs", "2", "--config", str(path)])
        >>> found.fit.epochs, found.fit.weight_decay, found.runs
        (5, 0.005, 10)
    """
    path = _path(words)
    default = recipe.module.Config()
    if path is None:
        return default
    found = read_json(Path(path))
    if not isinstance(found, dict):
        raise ConfigError(f"File {path!r} must hold a JSON object of the fields of {recipe.name}, got {found!r:.60}")
    return recipe.config(_merged(default, found, ""))


def _path(words: Sequence[str]) -> str | None:
    for place, word in enumerate(words):
        if word == FLAG:
            if place + 1 == len(words):
                raise ConfigError(f"{FLAG} must be followed by the path of a JSON file, got nothing")
            return words[place + 1]
        if word.startswith(f"{FLAG}="):
            return word.removeprefix(f"{FLAG}=")
    return None


def _merged(default: Any, found: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """All fields: those found, and those of the default for the others."""
    known = {one.name: getattr(default, one.name) for one in fields(default)}
    if unknown := [name for name in found if name not in known]:
        raise ConfigError(f"Config has the fields {list(known)}, got {prefix + unknown[0]!r}; take it out of the file")
    merged = asdict(default)
    for name, value in found.items():
        nested = is_dataclass(known[name]) and isinstance(value, Mapping)
        merged[name] = _merged(known[name], value, f"{prefix}{name}.") if nested else value
    return merged
