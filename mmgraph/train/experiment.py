"""What a recipe with its settings asks of :func:`~mmgraph.train.evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def experiment(module: Any, config: Any) -> dict[str, Any]:
    """The arguments of :func:`~mmgraph.train.evaluate` for a recipe: what it defines, each with its settings bound.

    Args:
        module: What the recipe's file defines; see :mod:`mmgraph.recipe`.
        config: The settings, of the recipe's ``Config``.

    Example:
        >>> from mmgraph.recipe import load_recipe
        >>> module = load_recipe("population_wdbc").module
        >>> asked = experiment(module, module.Config(runs=3))
        >>> asked["runs"], asked["metric"], asked["make_objective"]
        (3, 'auroc', None)
    """

    def bound(make: Any) -> Callable[[Any], Any] | None:
        return None if make is None else lambda schema: make(config, schema)

    def each(name: str) -> dict[str, Any]:
        return {key: bound(make) for key, make in getattr(module, name, {}).items()}

    return {
        "build": lambda run, fold: module.build(config, run, fold),
        "make_model": bound(module.make_model),
        "runs": config.runs,
        "folds": getattr(config, "folds", 1),
        "config": config.fit,
        "controls": getattr(module, "CONTROLS", None),
        "rivals": each("RIVALS"),
        "make_objective": bound(getattr(module, "make_objective", None)),
        "rival_objectives": each("RIVAL_OBJECTIVES"),
        "make_transform": bound(getattr(module, "make_transform", None)),
        "make_task": bound(getattr(module, "make_task", None)),
        "metric": module.METRIC,
    }
