"""Trains a 2-layer heterogeneous mean model by neighbour sampling on graphs of 10⁵, 10⁶ and 10⁷ edges.

Each graph has a tenth as many nodes as edges and 128 float32 channels, and lies in a collection on disk that is mapped
into memory. Each is made in one process and trained in another, fresh one, which reports a full epoch over all papers
and the peak of its own memory. Run it by itself: `python benchmarks/scale.py`.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measure import main, row
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.layers import Mean, Stack, edge_sets

EDGES = (100_000, 1_000_000, 10_000_000)
CHANNELS, HIDDEN, CLASSES = 128, 64, 8
BATCH, FAN_OUT = 64, [4, 2]  # small, so that batches of the smallest graph are no large part of it
MOST_MIB = 4096
MOST_GROWTH = 1.5
CITES, WRITES, BY = ("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "by", "author")


def make(edges: int, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    nodes = {"paper": edges // 20, "author": edges // 20}
    graph = HeteroData()
    for name, count in nodes.items():
        graph[name].x = torch.randn(count, CHANNELS, generator=generator)
    graph["paper"].y = graph["paper"].x[:, :CLASSES].argmax(1)
    for edge_type, share in ((CITES, 2), (WRITES, 4), (BY, 4)):
        ends = [torch.randint(0, nodes[end], (edges // share,), generator=generator) for end in edge_type[::2]]
        graph[edge_type].edge_index = torch.stack(ends)
    with CollectionWriter(folder) as writer:
        writer.add(graph)


def train(folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sampler = NeighbourSampler(Collection(folder), FAN_OUT)
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
    return {
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
    match sys.argv[1:]:
        case ["make", edges, folder]:
            make(int(edges), Path(folder))
        case ["train", folder]:
            sys.stdout.write(json.dumps(train(Path(folder))))
        case _:
            main(rows)
