"""A whole epoch of many small graphs: loading, two rounds of messages, and the way back."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dgl
import torch
from dgl.dataloading import GraphDataLoader
from dgl.nn.pytorch import GraphConv, HeteroGraphConv
from layers import NODES, RELATIONS, products
from measure import main, measure
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.loader import DataLoader
from torch_geometric.nn import HeteroConv, SAGEConv

from mmgraph.data import Collection, CollectionWriter, Loader
from mmgraph.keys import weight_key
from mmgraph.layers import GCN, Mean, Stack, edge_sets
from mmgraph.typing import Features

COUNT, CHANNELS, BATCH = 1024, 64, 256


def samples() -> list[HeteroData]:
    """About 30 nodes and 350 edges each; within a type the edges lead both ways."""
    torch.manual_seed(0)
    found = []
    for _ in range(COUNT):
        graph = HeteroData()
        rows = {name: int(torch.randint(int(20 * share), int(40 * share) + 1, ())) for name, share in NODES.items()}
        for name, count in rows.items():
            graph[name].x = torch.randn(count, CHANNELS)
        for source, relation, target in RELATIONS:
            within = source == target
            index = torch.stack([torch.randint(0, rows[name], (22 if within else 44,)) for name in (source, target)])
            graph[source, relation, target].edge_index = torch.cat([index, index.flip(0)], 1) if within else index
        found.append(graph)
    return found


def train(batches: Iterable[Any], run: Callable[[Any], Features], parameters: list[nn.Parameter]) -> list[Tensor]:
    """The sum over an epoch of the gradients: the same in any order of the samples."""
    total = [torch.zeros_like(p) for p in parameters]
    for batch in batches:
        out = list(run(batch).values())
        grads = torch.autograd.grad(out, parameters, [torch.full_like(state, 1 / COUNT) for state in out])
        for one, grad in zip(total, grads, strict=True):
            one += grad
    return total


def apart(mine: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest distance of two gradients, as a share of the norm."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(mine, theirs, strict=True))


def bound(*, own: bool) -> None:
    """The matrix products of an epoch."""
    rows = {name: int(share * 30 * BATCH) for name, share in NODES.items()}
    for first in (True, False):
        for _ in range(COUNT // BATCH):
            products([rows[r[2]] for r in RELATIONS] + [*rows.values()] * own, CHANNELS, first=first)


def rows() -> list[dict[str, Any]]:
    graphs = samples()
    with tempfile.TemporaryDirectory() as folder:
        with CollectionWriter(Path(folder) / "samples") as writer:
            for graph in graphs:
                writer.add(graph)
        collection = Collection(Path(folder) / "samples")
        return [*beside_pyg(graphs, collection), *beside_dgl(graphs, collection)]


def beside_pyg(graphs: list[HeteroData], collection: Collection) -> list[dict[str, Any]]:
    layers = [Mean(CHANNELS, CHANNELS, relations=RELATIONS) for _ in range(2)]
    model = Stack(*layers)
    convs = nn.ModuleList(HeteroConv({r: SAGEConv((CHANNELS,) * 2, CHANNELS) for r in RELATIONS}) for _ in range(2))
    firsts = {r[2]: r for r in reversed(RELATIONS)}
    for layer, conv in zip(layers, convs, strict=True):
        for r in RELATIONS:  # their root weights, one a relation, add up to ours
            own, root, first = conv.convs[r], layer.root[weight_key(r[2])], firsts[r[2]] == r
            own.lin_l.weight.data = layer.neighbour[weight_key(*r)].weight.data.clone()
            own.lin_r.weight.data, own.lin_l.bias.data = root.weight.data * first, root.bias.data * first
    ours, theirs = (
        Loader(collection, batch_size=BATCH, shuffle=True),
        DataLoader(graphs, batch_size=BATCH, shuffle=True),
    )

    def exact() -> list[Tensor]:
        parameters = [layer.neighbour[weight_key(*r)].weight for layer in layers for r in RELATIONS]
        return train(ours, lambda batch: model(batch.x_dict, edge_sets(batch)), parameters)

    def short() -> list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return exact()

    def pyg(batch: HeteroData) -> Features:
        states = batch.x_dict
        for conv in convs:
            states = {node: state.relu() for node, state in conv(states, batch.edge_index_dict).items()}
        return states

    parameters = [conv.convs[r].lin_l.weight for conv in convs for r in RELATIONS]
    peer = lambda: train(theirs, pyg, parameters)  # noqa: E731
    expected = peer()
    assert (error := apart(exact(), expected)) < 1e-3, f"gradients must agree to 1e-3 of their norm, got {error:.2g}"
    lost = apart(short(), expected)
    assert lost < 0.05, f"gradients in bfloat16 must agree to 5 % of their norm, got {lost:.2g}"
    what = f"epoch of {COUNT:,} graphs of 30 nodes / 350 edges × {CHANNELS}, batches of {BATCH}, mean, 2 rounds"
    name = "PyG DataLoader + HeteroConv(SAGEConv)"
    note = f"gradients differ from float32's by {100 * lost:.1f} % of their norm"
    return [
        *measure(what, exact, {name: (peer, 3.0)}, bound=lambda: bound(own=True)),
        *measure(f"{what}, in bfloat16", short, {f"{name}, float32": (peer, 4.0)}, note=note),
    ]


def beside_dgl(graphs: list[HeteroData], collection: Collection) -> list[dict[str, Any]]:
    layers = [GCN(CHANNELS, CHANNELS, relations=RELATIONS, self_loops=False, bias=False) for _ in range(2)]
    model, names = Stack(*layers), [r[1] for r in RELATIONS]
    convs = nn.ModuleList(
        HeteroGraphConv({n: GraphConv(CHANNELS, CHANNELS, bias=False, allow_zero_in_degree=True) for n in names})
        for _ in range(2)
    )
    for layer, conv in zip(layers, convs, strict=True):
        for r in RELATIONS:
            conv.mods[r[1]].weight.data = layer.weight[weight_key(*r)].weight.data.T.contiguous()
    joined = []
    for graph in graphs:
        counts = {name: graph[name].num_nodes for name in NODES}
        one = dgl.heterograph({r: tuple(graph[r].edge_index) for r in RELATIONS}, counts)
        for name in NODES:
            one.nodes[name].data["x"] = graph[name].x
        joined.append(one)
    ours, theirs = (
        Loader(collection, batch_size=BATCH, shuffle=True),
        GraphDataLoader(joined, batch_size=BATCH, shuffle=True),
    )

    def exact() -> list[Tensor]:
        parameters = [layer.weight[weight_key(*r)].weight for layer in layers for r in RELATIONS]
        return train(ours, lambda batch: model(batch.x_dict, edge_sets(batch)), parameters)

    def run(batch: Any) -> Features:
        states = batch.ndata["x"]
        for conv in convs:
            states = {node: state.relu() for node, state in conv(batch, states).items()}
        return states

    def peer() -> list[Tensor]:
        return [g.T for g in train(theirs, run, [conv.mods[r[1]].weight for conv in convs for r in RELATIONS])]

    assert (error := apart(exact(), peer())) < 1e-3, f"gradients must agree to 1e-3 of their norm, got {error:.2g}"
    what = (
        f"epoch of {COUNT:,} graphs of 30 nodes / 350 edges × {CHANNELS}, batches of {BATCH}, GCN-normalised, 2 rounds"
    )
    name = "DGL GraphDataLoader + HeteroGraphConv(GraphConv)"
    return measure(what, exact, {name: (peer, 2.2)}, bound=lambda: bound(own=False))


if __name__ == "__main__":
    main(rows)
