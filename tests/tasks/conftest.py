"""A population with missing modalities, and the graphs of the three regimes."""

import pytest
import torch

from mmgraph import Population, PopulationConfig, stratified_split
from mmgraph.testing import fake_records


def population(regime="cohort_hidden", *, classes=("healthy", "ill"), signal=1.0, **options):
    records = fake_records(90, classes=classes, signal=signal, missing=0.15)
    config = PopulationConfig(k=4, regime=regime, kernel=True, **options)
    return Population.fit(records, stratified_split(records.labels, seed=1), config)


@pytest.fixture(scope="session")
def make_population():
    return population


@pytest.fixture(scope="session")
def built():
    return population()


def hide_labels(graph, part):
    """A copy with every label of a part changed."""
    changed = graph.clone()
    mask = changed["subject"][f"{part}_mask"]
    changed["subject"].y = torch.where(mask, 1 - changed["subject"].y, changed["subject"].y)
    return changed


@pytest.fixture(scope="session")
def with_other_labels():
    return hide_labels
