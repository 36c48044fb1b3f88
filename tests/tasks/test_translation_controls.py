"""Controls of translation: what is made of nothing, of another's sources, and without a model."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError, DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import Generation, baseline


class Task(Generation):
    metrics = ("error",)

    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        raise NotImplementedError


def graph_of(rows=12, text=False):
    graph = HeteroData()
    graph["a"].x = torch.arange(rows, dtype=torch.float32)[:, None]
    for number, part in enumerate(("train", "val", "test")):
        graph["a"][f"{part}_mask"] = torch.arange(rows) % 3 == number
    graph["scan"].x = torch.arange(rows, dtype=torch.float32)[:, None] * torch.tensor([1.0, -2.0])
    graph["name"].tokens = torch.stack([2 + torch.arange(rows) // 6, torch.ones(rows, dtype=torch.long)], dim=1)
    graph["name"].num_nodes = rows
    graph["b"].x = torch.randn(rows - 1, 2)
    graph["scan", "of", "a"].edge_index = torch.arange(rows).expand(2, -1)
    graph["b", "of", "a"].edge_index = torch.arange(rows - 1).expand(2, -1)
    graph["name", "of", "a"].edge_index = torch.arange(rows).expand(2, -1)
    graph["a", "near", "a"].edge_index = torch.stack([torch.arange(rows - 1), torch.arange(1, rows)])
    nodes = {
        "a": NodeSpec(channels=1),
        "scan": NodeSpec(channels=2),
        "b": NodeSpec(channels=2),
        "name": NodeSpec(attributes=("tokens",)),
    }
    edges = [("scan", "of", "a"), ("b", "of", "a"), ("name", "of", "a"), ("a", "near", "a")]
    return graph, Schema(nodes=nodes, edges=dict.fromkeys(edges, EdgeSpec()), anchor="a")


def test_the_controls_that_apply():
    _, schema = graph_of()
    text = ("no_source", "shuffled_sources", "without:scan", "without:b", "nearest", "most_common")
    assert Task(schema, "name", attribute="tokens").controls == text
    assert Task(schema, "scan", attribute="x").controls[-1] == "mean"


def test_no_source_leaves_the_target_alone():
    graph, schema = graph_of()
    bare = Task(schema, "name", attribute="tokens").control("no_source", graph)
    schema.check(bare)
    assert [bare[node].num_nodes for node in ("a", "scan", "b", "name")] == [12, 0, 0, 12]
    assert not bool(bare["a"].x.any())
    assert bare["a", "near", "a"].edge_index.shape == (2, 0)
    assert torch.equal(bare["name"].tokens, graph["name"].tokens)
    assert graph["scan"].num_nodes == 12


def test_shuffled_sources_are_those_of_another_of_the_part():
    graph, schema = graph_of()
    shuffled = Task(schema, "name", attribute="tokens").control("shuffled_sources", graph, seed=3)
    schema.check(shuffled)
    scan, owner = shuffled["scan", "of", "a"].edge_index
    assert not bool((scan == owner).any())  # nobody keeps its own
    assert torch.equal(scan % 3, owner % 3)  # all stay in their part
    to = torch.empty_like(owner)
    to[scan] = owner
    assert torch.equal(shuffled["a"].x[to], graph["a"].x)  # what the anchor carries goes with the nodes
    b, whose = shuffled["b", "of", "a"].edge_index
    assert torch.equal(whose, to[b])
    before, after = graph["a", "near", "a"].edge_index
    assert torch.equal(shuffled["a", "near", "a"].edge_index, torch.stack([to[before], to[after]]))
    assert torch.equal(shuffled["name", "of", "a"].edge_index, graph["name", "of", "a"].edge_index)
    assert torch.equal(shuffled["a"].test_mask, graph["a"].test_mask)
    again = Task(schema, "name", attribute="tokens").control("shuffled_sources", graph, seed=3)
    assert torch.equal(again["scan", "of", "a"].edge_index, shuffled["scan", "of", "a"].edge_index)


def test_nearest_is_the_training_payload_with_the_closest_sources():
    graph, schema = graph_of()
    task = Task(schema, "name", attribute="tokens")
    graph["b"].x = torch.zeros_like(graph["b"].x)
    found = baseline("nearest", [graph], task)
    assert found.shape == (4, 2)
    # rows 2, 5, 8, 11 of one line: cosine of what is above or below the mean of training, rows 0, 3, 6 and 9
    assert found[:, 0].tolist() == [2, 3, 3, 3]


def test_mean_and_most_common():
    graph, schema = graph_of()
    mean = baseline("mean", [graph], Task(schema, "scan", attribute="x"))
    assert mean.tolist() == [[4.5, -9.0]] * 4
    graph["name"].tokens[:9, 0] = 5
    assert baseline("most_common", [graph], Task(schema, "name", attribute="tokens")).tolist() == [[5, 1]] * 4
    with pytest.raises(ConfigError, match="got 'mean'"):
        baseline("mean", [graph], Task(schema, "name", attribute="tokens"))


def test_training_without_payloads_has_no_nearest():
    graph, schema = graph_of()
    for key in ("tokens",):
        graph["name"][key] = graph["name"][key][:0]
    graph["name"].num_nodes = 0
    graph["name", "of", "a"].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(DataError, match="Training must have payloads of 'name' to take the nearest, got none"):
        baseline("nearest", [graph], Task(schema, "name", attribute="tokens"))


def test_payloads_outside_training_are_in_no_view():
    graph, schema = graph_of()
    task = Task(schema, "name", attribute="tokens")
    for part in ("train", "val", "test"):
        seen = task.view(graph, part)
        assert seen["name"].n_id.tolist() == [0, 3, 6, 9]
        payload, row = task.references(graph, part)
        assert torch.equal(payload, graph["name"].tokens[graph["a"][f"{part}_mask"]])
        assert row.tolist() == [0, 1, 2, 3]


def test_references_may_be_several_or_none():
    graph, schema = graph_of()
    graph["name", "of", "a"].edge_index = torch.tensor([[5, 1, 2, 3], [8, 2, 2, 0]])
    payload, row = Task(schema, "name", attribute="tokens").references(graph, "test")
    assert row.tolist() == [0, 0, 2]
    assert torch.equal(payload, graph["name"].tokens[[1, 2, 5]])


@pytest.mark.parametrize(
    ("target", "attribute", "message"),
    [
        ("a", "x", r"target must be a modality of the anchor, \['scan', 'b', 'name'\], got 'a'"),
        ("scan", "tokens", r"attribute must be a tensor of 'scan', one of \['x'\], got 'tokens'"),
    ],
)
def test_what_can_not_be_asked_is_refused(target, attribute, message):
    _, schema = graph_of()
    with pytest.raises(SchemaError, match=message):
        Task(schema, target, attribute=attribute)
