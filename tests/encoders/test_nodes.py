"""A vector a node, known by its row in the whole graph."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.encoders import Nodes
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import view
from mmgraph.testing import fake_graph


def test_nodes_keep_their_vectors_in_views_and_batches():
    graph, schema = fake_graph()
    encoder = Nodes({"subject": 40, "scan": graph["scan"].num_nodes}, 8)
    whole = encoder(graph)
    kept = torch.arange(40) % 3 == 0
    seen = view(graph, schema, keep={"subject": kept})
    assert torch.equal(encoder(seen)["subject"], whole["subject"][kept])
    assert torch.equal(encoder(seen)["scan"], whole["scan"][seen["scan"].n_id])
    assert encoder(view(graph, schema, hide=["scan"]))["scan"].shape == (0, 8)
    sampler = NeighbourSampler(graph, [3])
    batch = next(iter(NeighbourLoader(sampler, NodeSeeds("subject", torch.tensor([30, 2, 11])), batch_size=3)))
    assert torch.equal(encoder(batch)["subject"], whole["subject"][batch["subject"].n_id])


def test_vectors_are_learned_and_of_length_about_1():
    torch.manual_seed(0)
    encoder = Nodes({"a": 50}, 64)
    assert [tuple(p.shape) for p in encoder.parameters()] == [(50, 64)]
    assert set(encoder.state_dict()) == {name for name, _ in encoder.named_parameters()}
    assert float(next(encoder.parameters()).detach().norm(dim=1).mean()) == pytest.approx(1, abs=0.05)


def test_what_is_refused():
    for sizes, channels in (({}, 4), ({"a": 0}, 4), ({"a": 3}, 0)):
        with pytest.raises(ConfigError, match="sizes and a width of at least 1, got"):
            Nodes(sizes, channels)
    graph = HeteroData()
    graph["a"].num_nodes = 4
    with pytest.raises(DataError, match="rows 0 to 2 of 'a', got row 3"):
        Nodes({"a": 3}, 2)(graph)
    graph["a"].n_id = torch.tensor([-1, 0, 0, 0])
    with pytest.raises(DataError, match="rows 0 to 2"):
        Nodes({"a": 3}, 2)(graph)
