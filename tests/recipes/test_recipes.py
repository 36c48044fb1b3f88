"""Every recipe: its form, and that it runs from end to end in small."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe, recipe_paths
from mmgraph.run import Run
from mmgraph.tasks.controls import default_controls
from mmgraph.tasks.metrics import higher_is_better

RECIPES = sorted(recipe_paths())


@pytest.mark.parametrize("name", RECIPES)
def test_form(name: str) -> None:
    path = recipe_paths()[name]
    text = path.read_text()
    lead = ast.get_docstring(ast.parse(text))
    for field in ("Source:", "Command: mmgraph run " + name, "Cost:", "Expected:", "Differs from the paper"):
        assert field in lead, field
    assert len(text.splitlines()) <= 120
    recipe = load_recipe(name)
    for metric in (recipe.module.METRIC, *recipe.module.EXPECT):
        assert isinstance(higher_is_better(metric), bool)
    for entry in recipe.published:
        assert set(entry) == {"source", "metric", "value"}
        assert 0 <= entry["value"] <= 1


@pytest.mark.data
@pytest.mark.parametrize("name", RECIPES)
def test_runs_from_end_to_end(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    config = recipe.config({})
    small = {"runs": 1, "fit": replace(config.fit, epochs=2)}
    if hasattr(config, "folds"):
        small["folds"] = 2
    if hasattr(config, "pictures"):
        small["pictures"] = 100
    if hasattr(config, "limit"):
        small["limit"] = 400
    try:
        run = Run.execute(recipe, replace(config, **small), tmp_path)
    except DataError as error:
        pytest.skip(f"dataset {recipe.module.DATA} is not here: {error}")
    make_task = getattr(recipe.module, "make_task", None)
    default = make_task(run.config, run.schema).controls if make_task else default_controls(run.schema)
    controls = getattr(recipe.module, "CONTROLS", default)
    rivals = {name for kind in ("RIVALS", "RIVAL_OBJECTIVES") for name in getattr(recipe.module, kind, {})}
    assert {"full", *controls, *rivals} == set(run.results.variants)
    hits = Run.open(tmp_path).search(id=run.ids[0], k=3)
    assert len(hits) == 3
    assert all(hit.subgraph is not None for hit in hits)
