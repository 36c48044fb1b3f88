"""Ragged graphs: any number of rows (also none), edges, classes and masks."""

import pytest
import torch
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

EDGES = (
    ("scan", "of", "patient"),
    ("note", "of", "patient"),
    ("patch", "of", "scan"),
    ("patient", "near", "patient"),
    ("scan", "near", "note"),
)


@st.composite
def graphs(draw):
    """A graph of patients with scans, patches of scans, and notes; some edges weighted, some with attributes."""
    graph = HeteroData()
    rows = {node: draw(st.integers(0, 4), label=node) for node in ("patient", "scan", "note", "patch")}
    for node, count in rows.items():
        graph[node].x = torch.randn(count, draw(st.integers(0, 3)))
    graph["patient"].y = torch.tensor(
        draw(st.lists(st.integers(-1, 2), min_size=rows["patient"], max_size=rows["patient"])), dtype=torch.long
    )
    graph["note"].y = torch.randn(rows["note"])
    graph["patient"].train_mask = torch.rand(rows["patient"]) < 0.5
    for edge_type in EDGES:
        pairs = [(a, b) for a in range(rows[edge_type[0]]) for b in range(rows[edge_type[2]])]
        chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)) if pairs else []
        graph[edge_type].edge_index = torch.tensor(chosen, dtype=torch.long).reshape(-1, 2).T
        if edge_type[1] == "near":
            graph[edge_type].edge_weight = torch.rand(len(chosen))
    graph["scan", "near", "note"].edge_attr = torch.randn(graph["scan", "near", "note"].edge_index.shape[1], 2)
    return graph


@pytest.fixture(scope="session")
def ragged():
    """A strategy that draws ragged graphs."""
    return graphs()


@pytest.fixture
def graph():
    """Three patients; the third has no scan, the second two."""
    graph = HeteroData()
    graph["patient"].x = torch.empty(3, 0)
    graph["patient"].y = torch.tensor([1, 0, 1])
    graph["scan"].x = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    graph["scan", "of", "patient"].edge_index = torch.tensor([[0, 1, 2], [0, 1, 1]])
    graph["patient", "near", "patient"].edge_index = torch.tensor([[0, 1, 2, 1], [1, 0, 1, 2]])
    graph["patient", "near", "patient"].edge_weight = torch.tensor([0.1, 0.2, 0.3, 0.4])
    return graph
