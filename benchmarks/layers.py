"""Layers beside their peers: the same function, forwards and backwards, on many small graphs and on a large one.

Each pair is compared first, outputs and gradients of the weights, in float32.
"""

from collections.abc import Callable
from typing import Any

import dgl
import torch
from dgl.nn.pytorch import GatedGraphConv as DglGated
from dgl.nn.pytorch import GraphConv, HeteroGraphConv
from measure import main, measure
from torch import Tensor, nn
from torch_geometric.nn import GatedGraphConv, HeteroConv, RGCNConv, SAGEConv

from mmgraph.functional import product
from mmgraph.keys import weight_key
from mmgraph.layers import GCN, Edges, Gated, Mean, Stack
from mmgraph.typing import EdgeSet, EdgeType, Features

NODES = {"a": 0.5, "b": 0.3, "c": 0.2}
RELATIONS: tuple[EdgeType, ...] = (
    ("a", "near", "a"),
    ("b", "next", "b"),
    ("b", "of", "a"),
    ("a", "has", "b"),
    ("c", "on", "a"),
    ("a", "under", "c"),
    ("c", "names", "b"),
    ("b", "called", "c"),
)
SMALL = (1024, 30, 350, 64)  # graphs, nodes and edges of each, channels
LARGE = (1, 100_000, 1_000_000, 128)

Case = tuple[Features, dict[EdgeType, Tensor]]
Step = Callable[[], list[Tensor]]


def graph(size: tuple[int, int, int, int]) -> Case:
    """Disjoint graphs side by side; within a type the edges lead both ways, as those of nearest neighbours do."""
    count, nodes, edges, channels = size
    torch.manual_seed(0)
    rows = {name: int(share * nodes) for name, share in NODES.items()}
    found = {}
    for source, relation, target in RELATIONS:
        each = edges // len(RELATIONS)
        within = source == target
        shift = torch.arange(count).repeat_interleave(each // 2 if within else each)
        ends = [torch.randint(0, rows[name], shift.shape) + shift * rows[name] for name in (source, target)]
        index = torch.stack(ends)
        found[source, relation, target] = torch.cat([index, index.flip(0)], dim=1) if within else index
    return {name: torch.randn(count * n, channels) for name, n in rows.items()}, found


def step(run: Callable[[], Features], parameters: list[nn.Parameter]) -> Step:
    """Forwards and backwards: gives the outputs and the gradients of some parameters."""

    def work() -> list[Tensor]:
        out = list(run().values())
        sent = [torch.full_like(state, 1 / len(state)) for state in out]
        return [*out, *torch.autograd.grad(out, parameters, sent)]

    return work


def same(ours: Step, peer: Step, what: str) -> None:
    """States to 1e-5, and gradients to 1e-3: where a state is all but 0, a rectifier opens for one alone."""
    for mine, theirs in zip(ours(), peer(), strict=True):
        apart = float((mine - theirs).detach().norm() / theirs.detach().norm())
        most = 1e-5 if mine.requires_grad else 1e-3
        assert apart <= most, f"{what}: must agree to {most} of the norm, got {apart:.2g}"


def products(rows: list[int], channels: int, *, first: bool) -> None:
    """The matrix products of a round and of its way back (without that to the features, in the first round)."""
    weight = torch.ones(channels, channels)
    for count in rows:
        x = torch.ones(count, channels)
        product(x, weight)
        product(x.T, x.T)
        if not first:
            product(x, weight)


def mean(size: tuple[int, int, int, int], least: float) -> list[dict[str, Any]]:
    features, index = graph(size)
    channels, edges = size[-1], Edges({r: EdgeSet(pairs) for r, pairs in index.items()})
    ours = Stack(*(Mean(channels, channels, relations=RELATIONS) for _ in range(2)))
    convs = nn.ModuleList(
        HeteroConv({r: SAGEConv((channels, channels), channels) for r in RELATIONS}, aggr="sum") for _ in range(2)
    )
    firsts = {r[2]: r for r in reversed(RELATIONS)}
    for layer, conv in zip(ours.layers, convs, strict=True):
        for relation in RELATIONS:  # their root weights, one a relation, add up to ours
            own, first = conv.convs[relation], firsts[relation[2]] == relation
            own.lin_l.weight.data = layer.neighbour[weight_key(*relation)].weight.data.clone()
            own.lin_r.weight.data = layer.root[weight_key(relation[2])].weight.data * first
            own.lin_l.bias.data = layer.root[weight_key(relation[2])].bias.data * first

    def theirs() -> Features:
        states = features
        for conv in convs:
            states = {node: state.relu() for node, state in conv(states, index).items()}
        return {node: states[node] for node in features}

    mine = [layer.neighbour[weight_key(*r)].weight for layer in ours.layers for r in RELATIONS]
    other = [conv.convs[r].lin_l.weight for conv in convs for r in RELATIONS]
    work, peer = step(lambda: ours(features, edges), mine), step(theirs, other)
    same(work, peer, "mean")
    rows = [len(features[r[2]]) for r in RELATIONS] + [len(x) for x in features.values()]
    return measure(
        f"mean, root weights, 8 relations, 2 rounds, {title(size)}",
        work,
        {"PyG HeteroConv(SAGEConv)": (peer, least)},
        bound=lambda: [products(rows, channels, first=first) for first in (True, False)],
    )


def normalised(size: tuple[int, int, int, int], least: float) -> list[dict[str, Any]]:
    features, index = graph(size)
    channels, edges = size[-1], Edges({r: EdgeSet(pairs) for r, pairs in index.items()})
    options = {"relations": RELATIONS, "self_loops": False, "bias": False}
    ours = Stack(*(GCN(channels, channels, **options) for _ in range(2)))
    joined = dgl.heterograph({r: tuple(pairs) for r, pairs in index.items()}, {n: len(x) for n, x in features.items()})
    convs = nn.ModuleList(
        HeteroGraphConv({r[1]: GraphConv(channels, channels, bias=False, allow_zero_in_degree=True) for r in RELATIONS})
        for _ in range(2)
    )
    for layer, conv in zip(ours.layers, convs, strict=True):
        for r in RELATIONS:
            conv.mods[r[1]].weight.data = layer.weight[weight_key(*r)].weight.data.T.contiguous()

    def theirs() -> Features:
        states = features
        for conv in convs:
            states = {node: state.relu() for node, state in conv(joined, states).items()}
        return {node: states[node] for node in features}

    mine = [layer.weight[weight_key(*r)].weight for layer in ours.layers for r in RELATIONS]
    other = [conv.mods[r[1]].weight for conv in convs for r in RELATIONS]
    work, peer = step(lambda: ours(features, edges), mine), step(theirs, other)
    same(lambda: work()[: len(NODES)], lambda: peer()[: len(NODES)], "normalised")
    rows = [len(features[r[2]]) for r in RELATIONS]
    return measure(
        f"GCN-normalised, no root, 8 relations, 2 rounds, {title(size)}",
        work,
        {"DGL HeteroGraphConv(GraphConv)": (peer, least)},
        bound=lambda: [products(rows, channels, first=first) for first in (True, False)],
    )


def typed(size: tuple[int, int, int, int], least: float) -> list[dict[str, Any]]:
    """The peer knows one node type: the three side by side, and eight relations that each touch some of them."""
    features, index = graph(size)
    start = dict(
        zip(features, [0, *torch.tensor([len(x) for x in features.values()]).cumsum(0).tolist()], strict=False)
    )
    pairs = torch.cat([p + torch.tensor([[start[r[0]]], [start[r[2]]]]) for r, p in index.items()], dim=1)
    kind = torch.cat([torch.full((p.shape[1],), number) for number, p in enumerate(index.values())])
    return _typed(
        f"relation-typed, 8 relations, 3 node types, 2 rounds, {title(size)}", features, index, pairs, kind, least
    )


def typed_alone(size: tuple[int, int, int, int]) -> list[dict[str, Any]]:
    """One node type: every relation may touch every node, for both."""
    x, index, kinds = alone(size)
    pairs = torch.cat(list(index.values()), dim=1)
    kind = torch.arange(len(kinds)).repeat_interleave(pairs.shape[1] // len(kinds))
    return _typed(
        f"relation-typed, 8 relations, 1 node type, 2 rounds, {title(size)}", {"n": x}, index, pairs, kind, None
    )


def _typed(
    name: str, features: Features, index: dict[EdgeType, Tensor], pairs: Tensor, kind: Tensor, least: float | None
) -> list[dict[str, Any]]:
    relations, channels = list(index), next(iter(features.values())).shape[1]
    edges, x = Edges({r: EdgeSet(each) for r, each in index.items()}), torch.cat(list(features.values()))
    ours = Stack(*(Mean(channels, channels, relations=relations) for _ in range(2)))
    convs = nn.ModuleList(RGCNConv(channels, channels, num_relations=len(relations)) for _ in range(2))
    for layer, conv in zip(ours.layers, convs, strict=True):
        conv.weight.data = torch.stack([layer.neighbour[weight_key(*r)].weight.data.T for r in relations])
        for root in layer.root.values():  # theirs has one root for all
            root.weight.data, root.bias.data = conv.root.data.T.contiguous(), conv.bias.data.clone()

    def theirs() -> Features:
        state = x
        for conv in convs:
            state = conv(state, pairs, kind).relu()
        return dict(zip(features, state.split([len(rows) for rows in features.values()]), strict=True))

    run = lambda: ours(features, edges)  # noqa: E731
    same(lambda: list(run().values()), lambda: list(theirs().values()), name)
    rows = [len(features[r[2]]) for r in relations] + [len(rows) for rows in features.values()]
    return measure(
        name,
        step(run, list(ours.parameters())),
        {"PyG RGCNConv": (step(theirs, list(convs.parameters())), least)},
        bound=lambda: [products(rows, channels, first=first) for first in (True, False)],
        rounds=5,
    )


def gated(size: tuple[int, int, int, int], num_relations: int, least: float) -> list[dict[str, Any]]:
    x, index, kinds = alone(size, num_relations)
    channels, edges = size[-1], Edges({r: EdgeSet(pairs) for r, pairs in index.items()})
    pairs = torch.cat(list(index.values()), dim=1)
    ours = Gated(channels, relations=kinds, rounds=4, bias=num_relations > 1)
    if num_relations > 1:
        conv = DglGated(channels, channels, n_steps=4, n_etypes=num_relations)
        kind = torch.arange(num_relations).repeat_interleave(pairs.shape[1] // num_relations)
        joined = dgl.graph(tuple(pairs), num_nodes=len(x))
        for linear, relation in zip(conv.linears, kinds, strict=True):
            linear.load_state_dict(ours.message[weight_key(*relation)].state_dict())
        conv.gru.load_state_dict(ours.cell[weight_key("n")].state_dict())
        theirs, name = lambda: {"n": conv(joined, x, kind)}, "DGL GatedGraphConv"
    else:
        conv = GatedGraphConv(channels, num_layers=4)
        matrix = ours.message[weight_key(*kinds[0])].weight.data.T
        conv.weight.data = matrix.expand(4, -1, -1).contiguous()  # tied, by their values
        conv.rnn.load_state_dict(ours.cell[weight_key("n")].state_dict())
        theirs, name = lambda: {"n": conv(x, pairs)}, "PyG GatedGraphConv, tied"
    cell = conv.gru if num_relations > 1 else conv.rnn
    mine, other = list(ours.cell.parameters()), list(cell.parameters())
    same(step(lambda: ours({"n": x}, edges), mine), step(theirs, other), "gated")

    def bound() -> None:
        for _ in range(4):
            products([len(x)] * (num_relations + 6), channels, first=False)

    return measure(
        f"gated, 4 rounds, {num_relations} relation{'s' * (num_relations > 1)}, {title(size)}",
        step(lambda: ours({"n": x}, edges), list(ours.parameters())),
        {name: (step(theirs, list(conv.parameters())), least)},
        bound=bound,
        rounds=5,
    )


def alone(size: tuple[int, int, int, int], num_relations: int = 8) -> tuple[Tensor, dict, list[EdgeType]]:
    """Graphs of one node type."""
    count, nodes, edges, channels = size
    torch.manual_seed(0)
    each = edges // num_relations
    shift = torch.arange(count).repeat_interleave(each) * nodes
    kinds = [("n", f"r{number}", "n") for number in range(num_relations)]
    index = {kind: torch.randint(0, nodes, (2, count * each)) + shift for kind in kinds}
    return torch.randn(count * nodes, channels), index, kinds


def title(size: tuple[int, int, int, int]) -> str:
    count, nodes, edges, channels = size
    if count == 1:
        return f"one graph of {nodes:,} nodes / {edges:,} edges × {channels}"
    return f"{count:,} graphs of {nodes} nodes / {edges} edges × {channels}"


def rows() -> list[dict[str, Any]]:
    return [
        *mean(SMALL, 2.4),
        *mean(LARGE, 2.4),
        *normalised(SMALL, 2.0),
        *normalised(LARGE, 1.2),
        *typed(SMALL, 6.0),
        *typed(LARGE, 6.0),
        *typed_alone(SMALL),
        *typed_alone(LARGE),
        *gated(LARGE, 8, 4.0),
        *gated(LARGE, 1, 1.4),
    ]


if __name__ == "__main__":
    main(rows)
