"""The lecture's graph, and random heterogeneous ones, in float64."""

import pytest
import torch
from hypothesis import strategies as st

from mmgraph.typing import EdgeSet

RELATIONS = (("a", "near", "a"), ("a", "far", "a"), ("b", "of", "a"), ("a", "has", "b"), ("b", "next", "b"))


@pytest.fixture
def lecture():
    """A-B, A-C, A-D, B-C, C-E, C-F, E-F in both directions, with x = 1..6."""
    pairs = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 2], [2, 4], [2, 5], [4, 5]]).T
    index = torch.cat([pairs, pairs.flip(0)], dim=1)
    return torch.arange(1.0, 7.0, dtype=torch.float64)[:, None], index


@st.composite
def hetero(draw, channels=3, *, loops=True):
    """Two node types of 0 to 5 rows, five relations of any edges (an edge may be there twice), some weighted."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    rows = {node: draw(st.integers(0, 5), label=node) for node in ("a", "b")}
    features = {node: torch.randn(n, channels, generator=generator, dtype=torch.float64) for node, n in rows.items()}
    edges = {}
    for relation in RELATIONS:
        sources, targets = rows[relation[0]], rows[relation[2]]
        count = draw(st.integers(0, 8), label=str(relation)) if sources and targets else 0
        index = torch.stack(
            [torch.randint(0, max(end, 1), (count,), generator=generator) for end in (sources, targets)]
        )
        if not loops and relation[0] == relation[2]:
            index = index[:, index[0] != index[1]]
        weight = 0.1 + torch.rand(index.shape[1], generator=generator, dtype=torch.float64)
        edges[relation] = EdgeSet(index, weight if draw(st.booleans()) else None)
    return features, edges


@pytest.fixture(scope="session")
def graphs():
    return hetero


@pytest.fixture
def graph():
    """One random graph without loops, that is always the same: states, edges."""
    generator = torch.Generator().manual_seed(0)
    rows = {"a": 8, "b": 6}
    features = {node: torch.randn(n, 3, generator=generator, dtype=torch.float64) for node, n in rows.items()}
    edges = {}
    for relation in RELATIONS:
        joined = torch.rand(rows[relation[0]], rows[relation[2]], generator=generator) < 0.3
        if relation[0] == relation[2]:
            joined.fill_diagonal_(False)
        edges[relation] = EdgeSet(joined.nonzero().T)
    return features, edges
