import numpy as np
import pytest
import torch
from torch import nn

import mmgraph as mg
from mmgraph.encoders import Table
from mmgraph.fusion import Concat
from mmgraph.layers import Mean


def make_records(seed: int = 0, rows: int = 60) -> mg.Records:
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    return mg.Records(
        ids=[f"s{row}" for row in range(rows)],
        modalities={
            "blood": rng.normal(size=(rows, 5)) + labels[:, None],
            "scan": rng.normal(size=(rows, 3)) - labels[:, None],
        },
        labels=labels,
        classes=["healthy", "ill"],
    )


def make_model(schema: mg.Schema) -> mg.Model:
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    return mg.Model(
        schema=schema,
        encoder=Table(widths, 4, dropout=0.2),
        fusion=Concat(dict.fromkeys(widths, 4), 8),
        between=Mean(8, 8, relations=schema.relations(schema.anchor)),
        head=nn.Linear(8, 2),
    )


def build(run: int, fold: int) -> mg.Population:
    records = make_records()
    split = mg.stratified_split(records.labels, seed=run).fold(records.labels, fold, 2 if fold else 1, seed=run)
    return mg.Population.fit(records, split, mg.PopulationConfig(k=3))


@pytest.fixture(name="make_model")
def _make_model():
    return make_model


@pytest.fixture(name="build")
def _build():
    return build


@pytest.fixture
def records() -> mg.Records:
    return make_records()


@pytest.fixture
def population() -> mg.Population:
    return build(0, 0)


@pytest.fixture
def model(population: mg.Population) -> mg.Model:
    torch.manual_seed(0)
    return make_model(population.schema)
