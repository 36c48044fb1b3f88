"""What a batch of small graphs costs: a collection on disk against the loaders' collation of graphs in memory.

The peers get their samples as ready objects in memory; ours reads its samples from mapped files. All make 256 graphs
into one, with the same tensors (checked first), of samples drawn anew each time.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import main, measure
from torch_geometric.data import Batch, HeteroData

from mmgraph.data import Collection, CollectionWriter

GRAPHS, SAMPLES = 256, 4096
CHANNELS = {"text": 32, "audio": 48, "image": 64}
RELATIONS = [
    ("text", "next", "text"),
    ("text", "names", "image"),
    ("audio", "next", "audio"),
    ("audio", "says", "text"),
    ("image", "near", "image"),
    ("image", "with", "audio"),
]


def rows() -> list[dict[str, Any]]:
    import dgl

    rng = np.random.default_rng(0)
    graphs = [_graph(rng) for _ in range(SAMPLES)]
    dgl_graphs = [_dgl(dgl, graph) for graph in graphs]
    draws = [rng.integers(0, SAMPLES, GRAPHS) for _ in range(64)]
    turns = {name: iter(draws * 1000) for name in ("ours", "pyg", "dgl", "bound")}
    with tempfile.TemporaryDirectory() as folder:
        with CollectionWriter(Path(folder) / "collection") as writer:
            writer.extend(graphs)
        collection = Collection(Path(folder) / "collection")
        _check(collection, graphs, dgl.batch([dgl_graphs[number] for number in draws[0]]), draws[0])
        collection.verify()
        gather = _gather(collection, draws)
        return measure(
            f"collate {GRAPHS} graphs, 3 node types, 6 edge types",
            lambda: collection.batch(next(turns["ours"])),
            {
                "PyG Batch.from_data_list": (
                    lambda: Batch.from_data_list([graphs[number] for number in next(turns["pyg"])]),
                    20.0,
                ),
                "dgl.batch": (lambda: dgl.batch([dgl_graphs[number] for number in next(turns["dgl"])]), 5.0),
            },
            bound=lambda: gather(next(turns["bound"])),
            rounds=15,
            note="float32, about 60 nodes and 360 edges a graph; bound: one index_select a column of the same bytes",
        )


def _graph(rng: np.random.Generator) -> HeteroData:
    graph = HeteroData()
    counts = {node: int(rng.integers(10, 31)) for node in CHANNELS}
    for node, channels in CHANNELS.items():
        graph[node].x = torch.from_numpy(rng.standard_normal((counts[node], channels), dtype=np.float32))
    for source, relation, target in RELATIONS:
        edges = int(rng.integers(30, 91))
        ends = [rng.integers(0, counts[source], edges), rng.integers(0, counts[target], edges)]
        graph[source, relation, target].edge_index = torch.from_numpy(np.stack(ends))
    return graph


def _dgl(dgl: Any, graph: HeteroData) -> Any:
    edges = {kind: tuple(graph[kind].edge_index) for kind in RELATIONS}
    made = dgl.heterograph(edges, num_nodes_dict={node: graph[node].num_nodes for node in CHANNELS})
    for node in CHANNELS:
        made.nodes[node].data["x"] = graph[node].x
    return made


def _gather(collection: Collection, draws: list[np.ndarray]) -> Any:
    """The bytes of a batch by one ``index_select`` a column in memory; where they lie is found beforehand."""
    columns = []
    for kind, name in [*((node, "x") for node in CHANNELS), *((kind, "edge_index") for kind in RELATIONS)]:
        column, offsets = collection.column(kind, name), collection.offsets(kind, name)
        table = column.read(0, column.rows)
        tables = [table] if name == "x" else list(table.long().T.contiguous())  # a row, or one end of an edge
        places = {}
        for draw in draws:
            spans = [np.arange(offsets[number], offsets[number + 1]) for number in draw]
            places[id(draw)] = torch.from_numpy(np.concatenate(spans))
        columns += [(table, places) for table in tables]
    return lambda draw: [table.index_select(0, places[id(draw)]) for table, places in columns]


def _check(collection: Collection, graphs: list[HeteroData], by_dgl: Any, draw: np.ndarray) -> None:
    ours, theirs = collection.batch(draw), Batch.from_data_list([graphs[number] for number in draw])
    for mine, other in zip(ours.stores, theirs.stores, strict=True):
        assert list(mine) == list(other), "the same attributes in the same order"
        for key in mine:
            assert mine[key].dtype == other[key].dtype, f"{key} of {other._key}"
            assert mine[key].equal(other[key]), f"{key} of {other._key}"
    for kind in RELATIONS:
        assert torch.stack(by_dgl.edges(etype=kind)).equal(ours[kind].edge_index), f"edges of {kind} are dgl's"
    for node in CHANNELS:
        assert by_dgl.nodes[node].data["x"].equal(ours[node].x), f"x of {node} is dgl's"


if __name__ == "__main__":
    main(rows)
