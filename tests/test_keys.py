"""Names of node types and modalities that PyTorch's own dictionaries refuse work everywhere."""

import pytest
import torch

from mmgraph.encoders import Table
from mmgraph.fusion import Concat, Gated, Tensor
from mmgraph.keys import weight_key
from mmgraph.layers import GCN, Mean
from mmgraph.layers import Gated as GatedLayer
from mmgraph.testing import fake_records
from mmgraph.typing import EdgeSet

NAMES = ("blood.v2", "type", "values", "training")


def test_keys_are_distinct() -> None:
    keys = {weight_key(name) for name in NAMES} | {weight_key("a", "of", "b"), weight_key("a")}
    assert len(keys) == len(NAMES) + 2
    assert not any("." in key for key in keys)


@pytest.mark.parametrize("name", NAMES)
def test_encoders_fusions_and_layers_take_any_name(name: str) -> None:
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    graph[name].x = torch.ones(2, 3)
    assert Table({name: 3}, 4)(graph)[name].shape == (2, 4)
    present = {name: torch.ones(2, dtype=torch.bool)}
    for fusion in (Concat({name: 3}, 4), Gated({name: 3}, 4), Tensor({name: 3}, 4)):
        assert fusion({name: torch.ones(2, 3)}, present).shape == (2, 4)
    relation = (name, "near", name)
    edges = {relation: EdgeSet(torch.tensor([[0], [1]]))}
    for layer in (Mean(3, 3, relations=[relation]), GCN(3, 3, relations=[relation])):
        assert layer({name: torch.ones(2, 3)}, edges)[name].shape == (2, 3)
    gated = GatedLayer(3, relations=[relation], rounds=2)
    assert gated({name: torch.ones(2, 3)}, edges)[name].shape == (2, 3)


def test_the_whole_job_takes_such_names() -> None:
    import mmgraph as mg

    records = fake_records(widths={"blood.v2": 3, "type": 2})
    population = mg.Population.fit(records, mg.stratified_split(records.labels), mg.PopulationConfig(k=2))
    task = mg.NodeClassification(population.schema)
    fitted = mg.fit(
        mg.classifier(population.schema), mg.Supervised(task.target), task, population.graph, mg.FitConfig(epochs=2)
    )
    assert fitted.evaluate("test").keys() == set(task.metrics)
