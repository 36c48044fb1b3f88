"""Small graphs, models of every kind, and graphs that lack something, built anew by a slow loop."""

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import encoders, fusion, layers
from mmgraph.model import Model
from mmgraph.objectives import Supervised
from mmgraph.schema import view
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")


def _make_model(schema, kind="mean", channels=6, rounds=1, seed=0):
    torch.manual_seed(seed)
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    between = {
        "none": lambda: None,
        "mean": lambda: layers.Mean(channels, channels, relations=[NEAR]),
        "gcn": lambda: layers.GCN(channels, channels, relations=[NEAR]),
        "gated": lambda: layers.Gated(channels, relations=[NEAR], rounds=1),
        "smooth": lambda: layers.Smooth(relations=[NEAR], rounds=1),
        "attention": lambda: layers.Attention(channels, relations=[NEAR], heads=2, hidden=8),
    }[kind]
    return Model(
        schema=schema,
        encoder=encoders.Table(widths, channels, hidden=[5]),
        fusion=fusion.Gated(dict.fromkeys(widths, channels), channels),
        between=None if kind == "none" else layers.Stack(*[between() for _ in range(rounds)]),
        head=nn.Linear(channels, 2),
    )


def _without(graph, schema, nodes=None, edges=None):
    """The graph without some nodes (type → rows) and edges (type → places); the rest keeps its order."""
    nodes, edges = nodes or {}, edges or {}
    made, place = HeteroData(), {}
    for node in graph.node_types:
        kept = [row for row in range(graph[node].num_nodes) if row not in nodes.get(node, ())]
        place[node] = {row: number for number, row in enumerate(kept)}
        made[node].num_nodes = len(kept)
        for key in ("x", "pixels"):
            if key in graph[node]:
                made[node][key] = graph[node][key][kept]
    for name in graph.edge_types:
        store, ends, weights = graph[name], [], []
        for number, (source, target) in enumerate(store.edge_index.T.tolist()):
            there = source in place[name[0]] and target in place[name[2]]
            if there and number not in edges.get(name, ()):
                ends.append((place[name[0]][source], place[name[2]][target]))
                weights += [store.edge_weight[number]] if "edge_weight" in store else []
        made[name].edge_index = torch.tensor(ends, dtype=torch.long).reshape(-1, 2).T
        if "edge_weight" in store:
            made[name].edge_weight = torch.tensor(weights)
    return made, place


def _log_odds(outputs, column):
    others = [outputs[number].exp() for number in range(len(outputs)) if number != column]
    return float(outputs[column] - torch.log(sum(others)))


def _own_rows(graph, modality, anchor):
    return [s for s, t in graph[modality, "of", "subject"].edge_index.T.tolist() if t == anchor]


@pytest.fixture(scope="session")
def make_model():
    return _make_model


@pytest.fixture(scope="session")
def without():
    return _without


@pytest.fixture(scope="session")
def log_odds():
    return _log_odds


@pytest.fixture(scope="session")
def own_rows():
    return _own_rows


@pytest.fixture
def data():
    return fake_graph(20, seed=3)


@pytest.fixture(scope="session")
def trained():
    """A graph, its schema, and a model that has learned it."""
    graph, schema = fake_graph(60, seed=1, signal=3.0)
    model = _make_model(schema, channels=8)
    seen = view(graph, schema, labels={"diagnosis": graph["subject"].train_mask})
    objective = Supervised(schema.target("diagnosis"))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        optimiser.zero_grad()
        objective(model, seen)["total"].backward()
        optimiser.step()
    return graph, schema, model.eval()
