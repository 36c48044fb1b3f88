"""PyTorch Geometric's own loader reads a partitioned graph through its interfaces."""

import pytest
import torch
from torch_geometric.loader import NodeLoader

from mmgraph.data import NeighbourSampler
from mmgraph.data.partitions import GraphParts
from mmgraph.data.partitions.pyg import PartEdges, PartFeatures, PartSampler
from mmgraph.errors import ConfigError, DataError

IN = ("word", "in", "text")


@pytest.fixture
def parts(folder, served):
    return GraphParts(folder, addresses=served)


def test_pygs_node_loader_gives_our_batches(graph, parts):
    seeds = torch.arange(25)
    batches = {}
    for name, of in (("parts", parts), ("whole", graph)):
        sampler = PartSampler(NeighbourSampler(of, [4, 3]), seed=3)
        stores = (PartFeatures(parts), PartEdges(parts))
        batches[name] = list(NodeLoader(stores, sampler, input_nodes=("text", seeds), batch_size=10))
    assert [batch["text"].batch_size for batch in batches["parts"]] == [10, 10, 5]
    for mine, whole in zip(*batches.values(), strict=True):
        for name in graph.node_types:
            assert torch.equal(mine[name].n_id, whole[name].n_id)
            assert torch.equal(mine[name].bits, graph[name].bits[mine[name].n_id])
        assert torch.equal(mine[IN].edge_index, whole[IN].edge_index)
        ends = torch.stack([mine["word"].n_id[mine[IN].edge_index[0]], mine["text"].n_id[mine[IN].edge_index[1]]])
        assert torch.equal(ends, graph[IN].edge_index[:, mine[IN].e_id])
    assert batches["parts"][0]["text"].n_id[:10].tolist() == seeds[:10].tolist()


def test_features_are_read_as_pyg_asks_for_them(graph, parts):
    store, x = PartFeatures(parts), graph["word"].x
    assert torch.equal(store["word", "x", None], x)
    assert torch.equal(store["word", "x", slice(3, 9, 2)], x[3:9:2])
    assert torch.equal(store["word", "x", torch.tensor([4, 4, 0])], x[[4, 4, 0]])
    assert torch.equal(store["word", "x", graph["word"].mask], x[graph["word"].mask])
    assert torch.equal(store["word", "x", 3], x[3:4])
    assert store.get_tensor_size("word", "bits") == (40, 2, 2)
    assert store.get_tensor_size("word", "z") is None
    assert {(attr.group_name, attr.attr_name) for attr in store.get_all_tensor_attrs()} >= {
        ("word", "x"),
        ("text", "bits"),
    }
    with pytest.raises(DataError, match=r"rows in \[0, 40\), got tensor\(\[40\]\)"):
        store["word", "x", torch.tensor([40])]
    with pytest.raises(ConfigError, match="can't be changed"):
        store["word", "x", None] = x
    with pytest.raises(ConfigError, match="can't be changed"):
        del store["word", "x", None]


def test_edges_are_read_as_pyg_asks_for_them(graph, parts):
    store = PartEdges(parts)
    assert [attr.edge_type for attr in store.get_all_edge_attrs()] == graph.edge_types
    assert torch.equal(torch.stack(store[IN, "coo"]), graph[IN].edge_index)
    with pytest.raises(KeyError, match="not found"):
        store[IN, "csc"]
    with pytest.raises(ConfigError, match="can't be changed"):
        store[IN, "coo"] = graph[IN].edge_index
    with pytest.raises(ConfigError, match="can't be changed"):
        del store[IN, "coo"]


def test_the_sampler_says_what_it_does_not_do(parts):
    from torch_geometric.sampler import NodeSamplerInput

    sampler = PartSampler(NeighbourSampler(parts, [2]))
    with pytest.raises(ConfigError, match="rows without a type"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor([0])))
    with pytest.raises(ConfigError, match="take NeighbourLoader with LinkSeeds"):
        sampler.sample_from_edges(None)
