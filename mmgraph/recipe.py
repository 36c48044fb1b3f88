"""Recipes: one page each, found by name, read without being run.

A recipe is a Python file that defines

- a docstring: title, source, command, cost, what is expected, what the paper leaves out;
- ``DATA``, the dataset, and ``METRIC``, the metric its verdict is about;
- ``Config``, a frozen dataclass: its fields are the flags of ``mmgraph run``; ``runs`` and ``fit`` must be among them;
- ``build(config, run, fold)``: the population, or the graph and schema, of one run (and inner fold);
- ``make_model(config, schema)``: a fresh model;

and may define ``EXPECT`` (metric → mean and tolerance), ``PUBLISHED`` (source, metric, value), ``CONTROLS`` (names;
by default all that apply), ``RIVALS`` (name → another ``make_model``), ``RIVAL_OBJECTIVES`` (name → another
``make_objective``), ``make_objective(config, schema)`` (by default :class:`~mmgraph.objectives.Supervised`),
``make_transform(config, schema)`` (what each training step is changed by; see :func:`~mmgraph.train.fit.fit`),
``make_task(config, schema)`` (what is asked; by default :class:`~mmgraph.tasks.NodeClassification` of the only target),
and a field ``folds`` of ``Config`` (models averaged in a run).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mmgraph.data.manifest import bundled
from mmgraph.errors import ConfigError

REQUIRED = ("DATA", "METRIC", "Config", "build", "make_model")


@dataclass(frozen=True)
class Recipe:
    """A recipe file, loaded.

    Args:
        name: The file's name without ``.py``.
        path: The file.
        title: First line of its docstring.
        description: The rest of it.
        module: What the file defines.
    """

    name: str
    path: Path
    title: str
    description: str
    module: Any = field(repr=False)

    @property
    def published(self) -> Sequence[Mapping[str, Any]]:
        """Published scores: source, metric, value."""
        return tuple(getattr(self.module, "PUBLISHED", ()))

    def config(self, fields: Mapping[str, Any]) -> Any:
        """Makes the recipe's ``Config`` from JSON.

        Raises:
            ConfigError: A field is unknown, or its value is wrong.
        """
        try:
            return TypeAdapter(self.module.Config).validate_python(dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"Config of {self.name}: {where}: {first['msg']}, got {first['input']!r}") from None


def plain(config: Any) -> dict[str, Any]:
    """Settings as JSON has them: what :meth:`Recipe.config` takes.

    Example:
        >>> from mmgraph.train import FitConfig
        >>> plain(FitConfig(epochs=3))["epochs"]
        3
    """
    fields: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return fields


def recipe_paths() -> dict[str, Path]:
    """Name → file of the recipes that come with mmgraph.

    Example:
        >>> "population_wdbc" in recipe_paths()
        True
    """
    return {path.stem: path for path in sorted(bundled("recipes").glob("*/*.py"))}


def recipe_title(path: Path) -> str:
    """The first line of a recipe's docstring, without running the file."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem).splitlines()[0]


def load_recipe(name: str | Path) -> Recipe:
    """Loads a recipe by its name, or by the path of its file (which is then run: load only files you trust).

    Raises:
        ConfigError: There is no such recipe, or the file lacks something that a recipe must define.

    Example:
        >>> load_recipe("population_wdbc").module.DATA
        'wdbc'
    """
    paths = recipe_paths()
    path = Path(name) if str(name).endswith(".py") else paths.get(str(name))
    if path is None or not path.is_file():
        raise ConfigError(f"Recipe must be one of {sorted(paths)}, or the path of a .py file, got {str(name)!r}")
    spec = importlib.util.spec_from_file_location(f"mmgraph_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    if missing := [part for part in REQUIRED if not hasattr(module, part)]:
        raise ConfigError(f"Recipe {str(path)!r} must define {list(REQUIRED)}, missing {missing}")
    title, _, description = (module.__doc__ or path.stem).strip().partition("\n")
    return Recipe(path.stem, path, title, description.strip(), module)
