"""What tests of formats share: any graph, a small one, and whether two are the same."""

import pytest
import torch
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing.expect import difference

DTYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool]


@st.composite
def _graphs(draw):
    """Types with no rows, no channels, tensors of any shape and type, NaN, edges of every kind."""
    graph, nodes, edges = HeteroData(), {}, {}
    names = draw(st.lists(st.sampled_from(["a", "b c", "d/é"]), min_size=1, max_size=3, unique=True))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    for name in names:
        rows, channels = draw(st.integers(0, 3)), draw(st.none() | st.integers(0, 2))
        attributes = draw(st.lists(st.sampled_from(["pixels", "mask"]), max_size=2, unique=True))
        graph[name].num_nodes = rows
        if channels is not None:
            del graph[name].num_nodes
            graph[name].x = torch.randn(rows, channels, generator=generator)
            if rows and channels:
                graph[name].x[0, 0] = float("nan")
        for key in attributes:
            shape = draw(st.lists(st.integers(0, 2), max_size=2))
            value = torch.randint(0, 2, (rows, *shape), generator=generator)
            graph[name][key] = value.to(draw(st.sampled_from(DTYPES)))
        nodes[name] = NodeSpec(channels=channels, allow_nan=True, attributes=tuple(attributes))
    for number in range(draw(st.integers(0, 3))):
        edge = (draw(st.sampled_from(names)), f"r{number}", draw(st.sampled_from(names)))
        rows = [graph[end].num_nodes for end in (edge[0], edge[2])]
        count = draw(st.integers(0, 3)) if min(rows) else 0
        ends = [torch.randint(0, max(1, size), (count,), generator=generator) for size in rows]
        graph[edge].edge_index = torch.stack(ends)
        weighted, channels = draw(st.booleans()), draw(st.none() | st.integers(0, 2))
        if weighted:
            graph[edge].edge_weight = torch.rand(count, generator=generator)
        if channels is not None:
            graph[edge].edge_attr = torch.randn(count, channels, generator=generator)
        edges[edge] = EdgeSpec(weighted=weighted, channels=channels, multiple=True)
    return graph, Schema(nodes=nodes, edges=edges)


def _same(a, b):
    assert difference(a, b) is None
    assert a.node_types == b.node_types
    assert a.edge_types == b.edge_types
    assert [a[node].num_nodes for node in a.node_types] == [b[node].num_nodes for node in b.node_types]


def _small():
    graph = HeteroData()
    graph["a"].x = torch.zeros(2, 1)
    graph["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    return graph, Schema(nodes={"a": NodeSpec(channels=1)}, edges={("a", "to", "a"): EdgeSpec()})


@pytest.fixture(scope="session")
def graphs():
    return _graphs()


@pytest.fixture(scope="session")
def same():
    return _same


@pytest.fixture(scope="session")
def small():
    return _small
