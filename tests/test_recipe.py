from pathlib import Path

import pytest

from mmgraph.errors import ConfigError
from mmgraph.recipe import load_recipe, recipe_paths, recipe_title


def test_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"one of \[.*'population_wdbc'.*\], or the path of a .py file, got 'nothing'"
    ):
        load_recipe("nothing")
    with pytest.raises(ConfigError, match="got '/nowhere/x.py'"):
        load_recipe("/nowhere/x.py")


def test_a_file_that_is_no_recipe_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text("DATA = METRIC = 'x'\n")
    with pytest.raises(ConfigError, match=r"missing \['Config', 'build', 'make_model'\]"):
        load_recipe(path)


def test_config_from_json_checks_types() -> None:
    recipe = load_recipe("population_wdbc")
    config = recipe.config({"runs": 3, "population": {"k": 4, "phenotypes": {"age": 2.0}, "edges": "product"}})
    assert (config.runs, config.population.k, config.population.phenotypes) == (3, 4, {"age": 2.0})
    with pytest.raises(ConfigError, match="Config of population_wdbc: runs: .*got 'many'"):
        recipe.config({"runs": "many"})


def test_titles_are_read_without_running_the_file() -> None:
    for path in recipe_paths().values():
        assert recipe_title(path).endswith(".")
