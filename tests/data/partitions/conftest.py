"""A graph of everything that there is, in parts that were given, and its parts served by other threads."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data.partitions import PartServer, partition_graph

IN, HAS, NEAR = ("word", "in", "text"), ("text", "has", "word"), ("text", "near", "text")
LONELY, NOTHING = ("alone", "of", "text"), ("image", "of", "text")
COUNTS = {"word": 40, "text": 25, "alone": 4, "image": 0}
TYPES = {IN: 200, HAS: 150, NEAR: 120, LONELY: 0, NOTHING: 0}
PARTS = 3


def large():
    """Four node types, one without nodes and one that nothing reaches; a hub; edges with attributes and without."""
    generator = torch.Generator().manual_seed(0)
    graph = HeteroData()
    for name, count in COUNTS.items():
        graph[name].x = torch.rand(count, 3, generator=generator)
        graph[name].mask = torch.rand(count, generator=generator) < 0.5
        graph[name].bits = torch.rand(count, 2, 2, generator=generator).bfloat16()
    graph["word"].num_nodes = COUNTS["word"]
    graph["alone"].num_nodes = COUNTS["alone"]
    for (source, relation, target), edges in TYPES.items():
        store = graph[source, relation, target]
        ends = [torch.randint(0, max(COUNTS[end], 1), (edges,), generator=generator) for end in (source, target)]
        ends[1][: edges // 3] = 7  # a hub
        store.edge_index = torch.stack(ends)
        store.time = torch.randint(0, 40, (edges,), generator=generator)
    graph[IN].edge_attr = torch.rand(TYPES[IN], 2, generator=generator)
    graph[NEAR].weight = torch.rand(TYPES[NEAR], generator=generator).double()
    return graph


def given_parts():
    """Parts by hand: the last has no word, and the first no text."""
    generator = torch.Generator().manual_seed(1)
    owner = {name: torch.randint(0, PARTS, (count,), generator=generator) for name, count in COUNTS.items()}
    owner["word"] %= 2
    owner["text"] = owner["text"].clamp(min=1)
    return owner


def check_same(one, other):
    """Every bit, and the order of everything."""
    assert [store._key for store in one.stores] == [store._key for store in other.stores]
    for mine, its in zip(one.stores, other.stores, strict=True):
        assert list(mine.keys()) == list(its.keys())
        for name in mine:
            if torch.is_tensor(mine[name]):
                assert mine[name].dtype == its[name].dtype
                assert torch.equal(mine[name], its[name]), (mine._key, name)
            else:
                assert mine[name] == its[name], (mine._key, name)


@pytest.fixture(scope="session")
def graph():
    return large()


@pytest.fixture(scope="session")
def owner():
    return given_parts()


@pytest.fixture(scope="session")
def folder(graph, owner, tmp_path_factory):
    path = tmp_path_factory.mktemp("partitions") / "plain"
    partition_graph(graph, path, parts=PARTS, method=owner)
    return path


@pytest.fixture(scope="session")
def timed(graph, owner, tmp_path_factory):
    path = tmp_path_factory.mktemp("partitions") / "timed"
    partition_graph(graph, path, parts=PARTS, method=owner, time="time")
    return path


@pytest.fixture(scope="session")
def same():
    return check_same


@pytest.fixture
def served(folder):
    """Addresses of the first part and the last; the one between is read from the folder."""
    with PartServer(folder, 0) as first, PartServer(folder, 2) as last:
        yield {0: first.address, 2: last.address}
