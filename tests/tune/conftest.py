"""A small recipe, whose study takes seconds."""

import pytest

from mmgraph.recipe import load_recipe

TEXT = '''"""A small recipe.

For studies that take seconds.
"""

from dataclasses import dataclass

import mmgraph as mg
from mmgraph.testing import fake_graph

DATA, METRIC = "fake", "accuracy"


@dataclass(frozen=True)
class Config:
    """How to run."""

    runs: int = 2
    folds: int = 1
    channels: int = 4
    dropout: float = 0.0
    relations: bool = True
    fit: mg.FitConfig = mg.FitConfig(epochs=6, learning_rate=0.05)


def build(config, run, fold):
    graph, schema = fake_graph(60, seed=run)
    return graph, schema


def make_model(config, schema):
    return mg.classifier(schema, channels=config.channels, dropout=config.dropout, rounds=int(config.relations))
'''


@pytest.fixture(scope="session")
def text() -> str:
    return TEXT


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.py"
    path.write_text(TEXT)
    return load_recipe(path)
