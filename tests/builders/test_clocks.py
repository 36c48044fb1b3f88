import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.builders.clocks import clocks, codes, column, one_a_row, seconds
from mmgraph.errors import DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema


@pytest.fixture
def graph():
    """Three utterances; two sounds of the third and the first."""
    graph = HeteroData()
    graph["utterance"].x, graph["sound"].x = torch.ones(3, 1), torch.ones(2, 1)
    graph["utterance"].sequence = torch.tensor([5, 5, 7])
    graph["utterance"].time_s = torch.tensor([1, 0, 0])
    graph["sound", "of", "utterance"].edge_index = torch.tensor([[1, 0], [0, 2]])
    return graph


SCHEMA = Schema(
    nodes={"utterance": NodeSpec(channels=1), "sound": NodeSpec(channels=1)},
    edges={("sound", "of", "utterance"): EdgeSpec()},
    anchor="utterance",
)


def test_types_are_numbered_together(graph):
    found = clocks(graph, SCHEMA, ("utterance", "sound"), "sequence", "time_s")
    assert found["utterance"].sequence.tolist() == [0, 0, 1]
    assert found["sound"].sequence.tolist() == [1, 0]
    assert found["sound"].time.tolist() == [0.0, 1.0]
    assert found["sound"].time.dtype == torch.float64


def test_a_column_of_its_own_comes_first(graph):
    graph["sound"].time_s = torch.tensor([8, 9])
    assert column(graph, SCHEMA, "sound", "time_s", "time_s").tolist() == [8, 9]
    assert column(graph, SCHEMA, "sound", {"sound": [1, 2], "utterance": [3, 4, 5]}, "time_s").tolist() == [1, 2]
    assert column(graph, SCHEMA, "sound", {"utterance": [3, 4, 5]}, "time_s").tolist() == [5, 3]


def test_a_node_of_two_has_no_time(graph):
    graph["sound", "of", "utterance"].edge_index = torch.tensor([[1, 0, 1], [0, 2, 1]])
    with pytest.raises(DataError, match="Each 'sound' must be of 1 'utterance' .* got 2 for row 1"):
        column(graph, SCHEMA, "sound", "time_s", "time_s")


def test_codes_in_the_order_of_the_first():
    ids = {"all": np.array(["z", "a", "m"]), "some": np.array(["m", "z"]), "none": np.array([])}
    assert {name: code.tolist() for name, code in codes(ids, first="all").items()} == {
        "all": [0, 1, 2],
        "some": [2, 0],
        "none": [],
    }
    assert codes({"none": np.array([])})["none"].tolist() == []


def test_columns_of_any_kind():
    assert one_a_row("a", "speaker", np.array(["x", "yy"], dtype=object)).tolist() == ["x", "yy"]
    assert one_a_row("a", "speaker", torch.tensor([1, 2])).tolist() == [1, 2]
    assert seconds("a", [True, 2]).tolist() == [1.0, 2.0]
    with pytest.raises(DataError, match=r"speaker of 'a' must be one a row, \[rows\], got \[\]"):
        one_a_row("a", "speaker", 3)
