"""Batches of 1,024 seeds with drawn neighbours and their features, beside DGL's loader.

DGL draws anew for the seeds in every hop, for its blocks; ours expands a node once, as PyTorch Geometric does. So DGL
draws about a tenth more edges, and reaches about as many nodes more; the bound is the copy of our features alone.
"""

import gc
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DGLBACKEND", "pytorch")  # else dgl says a word about it, among the JSON

import dgl
import numpy as np
import torch
from measure import main, measure
from torch_geometric.data import HeteroData

from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds

BATCH = 1024
BATCHES = 20
CHANNELS = 128
RELATIONS = (
    ("user", "views", "item"),
    ("item", "viewed_by", "user"),
    ("item", "in", "shop"),
    ("shop", "sells", "item"),
    ("user", "knows", "user"),
    ("item", "like", "item"),
)


def graph_of(nodes: dict[str, int], edges: dict[tuple[str, str, str], int]) -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    graph = HeteroData()
    for name, count in nodes.items():
        graph[name].x = torch.randn(count, CHANNELS, generator=generator)
    for (source, relation, target), count in edges.items():
        ends = [torch.randint(0, nodes[end], (count,), generator=generator) for end in (source, target)]
        graph[source, relation, target].edge_index = torch.stack(ends)
    return graph


def peer_of(graph: HeteroData) -> Any:
    """The graph in DGL with the same features; its ids of 32 bits reach ever fewer nodes (1.1.3), so it has 64."""
    ends = {edge_type: tuple(graph[edge_type].edge_index) for edge_type in graph.edge_types}
    peer = dgl.heterograph(ends, num_nodes_dict={name: graph[name].num_nodes for name in graph.node_types})
    for name in graph.node_types:
        peer.nodes[name].data["x"] = graph[name].x
    return peer.formats("csc")


def loaders(
    graph: HeteroData, peer: Any, seed_type: str, fan_out: list[int], batches: int
) -> tuple[NeighbourLoader, Any]:
    seeds = torch.randperm(graph[seed_type].num_nodes, generator=torch.Generator().manual_seed(1))[: batches * BATCH]
    ours = NeighbourLoader(NeighbourSampler(graph, fan_out), NodeSeeds(seed_type, seeds), batch_size=BATCH, prefetch=0)
    theirs = dgl.dataloading.DataLoader(
        peer,
        {seed_type: seeds},
        dgl.dataloading.NeighborSampler(fan_out),
        batch_size=BATCH,
        num_workers=0,
    )
    return ours, theirs


def check(graph: HeteroData, peer: Any, seed_type: str, fan_out: list[int]) -> None:
    """All neighbours must be the same nodes with the same features; some of them, about as many."""
    whole, theirs = loaders(graph, peer, seed_type, [-1, -1], 1)
    batch, (inputs, _, blocks) = next(iter(whole)), next(iter(theirs))
    features = blocks[0].srcdata["x"]
    several = len(graph.node_types) > 1
    for name in graph.node_types:
        ids = (inputs[name] if several else inputs).long()
        order, their_order = batch[name].n_id.argsort(), ids.argsort()
        assert torch.equal(batch[name].n_id[order], ids[their_order]), f"the whole neighbourhood of {name} differs"
        x = features[name] if several else features
        assert torch.equal(batch[name].x[order], x[their_order]), f"the features of {name} differ"
    some, theirs = loaders(graph, peer, seed_type, fan_out, BATCHES)
    mine = sum(batch[name].num_nodes for batch in some for name in graph.node_types)
    its = sum(sum(map(len, inputs.values())) if several else len(inputs) for inputs, _, _ in theirs)
    assert 0.85 < mine / its <= 1.02, f"as many nodes must be reached, got {mine} and {its}"


def run(name: str, graph: HeteroData, seed_type: str, fan_out: list[int], least: float) -> list[dict[str, Any]]:
    peer = peer_of(graph)
    check(graph, peer, seed_type, fan_out)
    ours, theirs = loaders(graph, peer, seed_type, fan_out, BATCHES)
    rows = [{name: batch[name].n_id.numpy() for name in graph.node_types} for batch in ours]
    x = {name: graph[name].x.numpy() for name in graph.node_types}
    room = {key: np.zeros((max(len(one[key]) for one in rows), CHANNELS), np.float32) for key in x}

    def mine() -> None:
        for batch in ours:
            assert batch[seed_type].x is not None

    def dgl_loader() -> None:
        for _, _, blocks in theirs:
            assert blocks[0].srcdata["x"] is not None

    def bound() -> None:
        for one in rows:
            for key, ids in one.items():
                np.take(x[key], ids, axis=0, out=room[key][: len(ids)], mode="clip")

    found = measure(name, mine, {"dgl DataLoader": (dgl_loader, least)}, bound=bound)
    for row in found:
        row["note"] = f"{BATCHES * BATCH / row['ours']:,.0f} seeds/s, peer {BATCHES * BATCH / row['peer']:,.0f}"
    return found


def rows() -> list[dict[str, Any]]:
    found = []
    cases: list[tuple[str, Callable[[], HeteroData], str, list[int]]] = [
        (
            "neighbour sampling [10, 10] with features, 100k nodes / 1M edges",
            lambda: graph_of({"node": 100_000}, {("node", "to", "node"): 1_000_000}),
            "node",
            [10, 10],
        ),
        (
            "neighbour sampling [10, 10] with features, 1M nodes / 10M edges",
            lambda: graph_of({"node": 1_000_000}, {("node", "to", "node"): 10_000_000}),
            "node",
            [10, 10],
        ),
        (
            "neighbour sampling [5, 5] with features, 3 node types, 6 edge types, 300k nodes / 3M edges",
            lambda: graph_of({"user": 150_000, "item": 140_000, "shop": 10_000}, dict.fromkeys(RELATIONS, 500_000)),
            "item",
            [5, 5],
        ),
    ]
    for name, make, seed_type, fan_out in cases:
        found += run(name, make(), seed_type, fan_out, 2.0)
        gc.collect()
    return found


if __name__ == "__main__":
    main(rows)
