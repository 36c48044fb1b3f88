"""Measures speed beside the peers, and writes docs/benchmarks.json and docs/benchmarks.md.

Command: make bench. Ours and the peer run in turns in one process, on one thread; their results are compared before
anything is timed; what is reported is the median of the processor's time.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from mmgraph.files import write_bytes, write_json
from mmgraph.functional import closeness, nearest
from mmgraph.functional.similarity import BLOCK_ELEMENTS
from mmgraph.train.record import commit

ROOT = Path(__file__).parents[1]
ROUNDS = 5


def knn(rows: int, channels: int, k: int) -> dict[str, Any]:
    """The k nearest of each row, itself left out, exactly: scikit-learn's brute force is the peer."""
    x = np.random.default_rng(0).normal(size=(rows, channels)).astype(np.float32)
    tensor = torch.from_numpy(x)

    def ours() -> np.ndarray:
        score, own = closeness(tensor, metric="euclidean"), torch.arange(rows)
        return nearest(rows, rows, lambda block: score(tensor[block]), k=k, exclude=own).index.numpy()

    def peer() -> np.ndarray:
        return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(return_distance=False)

    def bound() -> None:
        step = BLOCK_ELEMENTS // rows  # the same blocks: larger ones leave the cache, and are slower
        for start in range(0, rows, step):
            tensor[start : start + step] @ tensor.T

    same = (ours() == peer()).mean()
    assert same > 0.999, f"the neighbours must be the same, got {same:.4f} of them"
    return measure(f"exact kNN, {rows:,} × {channels}, k = {k}", ours, peer, bound, peer_name="scikit-learn")


def measure(
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    bound: Callable[[], object],
    *,
    peer_name: str,
) -> dict[str, Any]:
    times: dict[str, list[float]] = {"ours": [], "peer": [], "bound": []}
    for _ in range(ROUNDS):
        for key, work in (("ours", ours), ("peer", peer), ("bound", bound)):
            started = time.process_time()
            work()
            times[key].append(time.process_time() - started)
    middle = {key: statistics.median(values) for key, values in times.items()}
    return {
        "name": name,
        "ours": round(middle["ours"], 4),
        "peer": round(middle["peer"], 4),
        "peer_name": peer_name,
        "ratio": round(middle["peer"] / middle["ours"], 2),
        "bound_ratio": round(middle["peer"] / middle["bound"], 2),
        "unit": "processor seconds",
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "command": "make bench",
        "commit": commit(),
    }


def main() -> None:
    torch.set_num_threads(1)
    found = [knn(10_000, 64, 10), knn(20_000, 128, 10)]
    write_json(ROOT / "docs" / "benchmarks.json", found)
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`: one process, one thread, ours and the peer in turns, medians of processor seconds. The",
        "bound is the matrix product alone.",
        "",
        "| what | ours | peer | ratio | bound | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {one['name']} | {one['ours']:.2f} | {one['peer']:.2f} ({one['peer_name']}) | {one['ratio']:.1f}× "
            f"| {one['bound_ratio']:.1f}× | {one['peak_mib']} |"
        )
    write_bytes(ROOT / "docs" / "benchmarks.md", ("\n".join(lines) + "\n").encode())
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
