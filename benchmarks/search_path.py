"""The whole path of a search, split up: encode the query, find, cut the subgraphs out, read the payloads.

Command: OMP_NUM_THREADS=1 python benchmarks/search_path.py (some three minutes, 3 GiB).

The graph is that of the embedded characters, several times over with a little noise on each copy, so that no two nodes
are alike; queries are the names and the pictures of some of them. All ways return the same kind of hit.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import main, measure
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.assembly import Built
from mmgraph.engine import Engine
from mmgraph.engine.query import encode, payloads_of

COPIES, QUERIES, K = 7, 50, 10
NOISE = 0.01


def copies(built: Built, times: int) -> Built:
    """A graph several times side by side; the blocks and scripts of all are the same."""
    chance = torch.Generator().manual_seed(0)
    shared = {"block", "script", "block_name"}
    first = built.graph["picture", "of", "character"].edge_index
    keep = {"picture": torch.zeros(built.graph["picture"].num_nodes, dtype=torch.bool)}
    keep["picture"][first[0, torch.cat([torch.ones(1, dtype=torch.bool), first[1, 1:] != first[1, :-1]])]] = True
    one, graph = built.graph.subgraph(keep), HeteroData()  # one picture each
    counts = {node: one[node].num_nodes for node in one.node_types}
    for node in one.node_types:
        times_here = 1 if node in shared else times
        for key, value in one[node].items():
            parts = [value] * times_here
            if key == "x" and value.numel():
                parts = [part + NOISE * torch.randn(part.shape, generator=chance) for part in parts]
            graph[node][key] = torch.cat(parts)
    for edge in one.edge_types:
        times_here = 1 if edge[0] in shared else times
        step = torch.tensor([[0 if node in shared else counts[node]] for node in (edge[0], edge[2])])
        graph[edge].edge_index = torch.cat(
            [one[edge].edge_index + step * number for number in range(times_here)], dim=1
        )

    def again(node: str) -> Callable[[], list[Any]]:
        mask = keep.get(node)
        values = list(built.payloads[node]())
        chosen = values if mask is None else [value for value, kept in zip(values, mask.tolist(), strict=True) if kept]
        return lambda: chosen * (1 if node in shared else times)

    return replace(
        built,
        graph=graph,
        keys={**built.keys, "character": [f"{key}/{number}" for number in range(times) for key in built.ids]},
        notes={key: list(values) * times for key, values in built.notes.items()},
        payloads={node: again(node) for node in built.payloads},
    )


def whole(engine: Engine, queries: Sequence[dict[str, Any]]) -> int:
    """Asks, and takes all that a page of results shows."""
    shown = 0
    for query in queries:
        for hit in engine.search(query, k=K):
            shown += hit.subgraph.num_nodes + sum(len(hit.payload(reason.node)) for reason in hit.reasons)
    return shown


def split(engine: Engine, queries: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of processor time a query, stage by stage."""
    spent = dict.fromkeys(("encode", "find", "subgraphs", "payloads"), 0.0)
    searchable = list(engine.now.fields)
    for query in queries:
        times = [time.process_time()]
        encode(engine.built, payloads_of(engine.built, query, searchable))
        times.append(time.process_time())
        hits = engine.search(query, k=K)
        times.append(time.process_time())
        [hit.subgraph for hit in hits]
        times.append(time.process_time())
        [hit.payload(reason.node) for hit in hits for reason in hit.reasons]
        times.append(time.process_time())
        stages = [later - sooner for sooner, later in itertools.pairwise(times)]
        stages[1] -= stages[0]  # a search encodes its query
        for name, seconds in zip(spent, stages, strict=True):
            spent[name] += 1000 * seconds / len(queries)
    return spent


def rows() -> list[dict[str, Any]]:
    built = copies(mg.build_graph(mg.load_dataset("glyphs", task="all")), COPIES)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        exact = Engine.build(built, Path(folder) / "graph")
        row, owner = exact.built.graph["picture", "of", "character"].edge_index  # one each
        chosen = torch.randperm(len(row), generator=torch.Generator().manual_seed(1))[:QUERIES]
        names = [{"name": str(exact.payload("name", each))} for each in owner[chosen].tolist()]
        pictures = [exact.payload("picture", each) for each in row[chosen].tolist()]
        both = [{**name, "picture": picture} for name, picture in zip(names, pictures, strict=True)]
        (Path(folder) / "graph" / "search").rename(Path(folder) / "kept")
        near = Engine.build(exact.built, Path(folder) / "graph", kind="ivf")
        for what, queries in (("a name", names), ("a name and a picture", both)):
            agree = [
                len({hit.id for hit in near.search(query, k=K)} & {hit.id for hit in exact.search(query, k=K)}) / K
                for query in queries
            ]
            parts = {name: split(engine, queries) for name, engine in (("ivf", near), ("exact", exact))}
            note = "; ".join(
                f"{name}: " + ", ".join(f"{stage} {spent:.2f}" for stage, spent in one.items()) + " ms a query, "
                f"{1000 / sum(one.values()):.0f} queries/s"
                for name, one in parts.items()
            )
            few = queries[:3]
            found += measure(
                f"search {len(built.ids):,} anchors by {what}, {K} subgraphs with payloads, {len(few)} queries",
                partial(whole, near, few),
                {"looking at all": (partial(whole, exact, few), None)},
                rounds=5,
                note=f"{note}; recall@{K} of ivf {sum(agree) / len(agree):.3f}",
            )
    return found


if __name__ == "__main__":
    main(rows)
