"""Measures speed beside the peers, and writes docs/benchmarks.json and docs/benchmarks.md.

Command: make bench; `python benchmarks/bench.py epoch layers` measures some anew and keeps the others. Each runs in a
process of its own, on one thread; ours and its peers run in turns, after their results have been compared; what is
reported is the median of the processor's time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmgraph.files import read_json, write_bytes, write_json

ROOT = Path(__file__).parents[1]
BENCHMARKS = (
    "collate",
    "epoch",
    "fusion",
    "layers",
    "attention",
    "sampling",
    "scale",
    "knn",
    "search",
    "search_path",
    "subgraphs",
    "encode",
    "build",
    "knowledge",
    "ddp",
    "cluster",
    "decoding",
    "start",
)


def machine() -> dict[str, float]:
    """What bounds everything: bytes copied and products made, by one thread."""
    torch.set_num_threads(1)
    x = torch.ones(1 << 26)  # 256 MiB
    y = torch.empty_like(x)
    a, b = torch.randn(4096, 128), torch.randn(128, 128)
    from mmgraph.functional import product

    return {
        "copy_gb_s": round(2 * x.nbytes / _best(lambda: y.copy_(x)) / 1e9, 1),
        "index_select_gb_s": round(_gather() / 1e9, 1),
        "product_torch_gflop_s": round(2 * 4096 * 128 * 128 / _best(lambda: a @ b) / 1e9, 1),
        "product_ours_gflop_s": round(2 * 4096 * 128 * 128 / _best(lambda: product(a, b)) / 1e9, 1),
    }


def _gather() -> float:
    """Bytes read and written a second by ``index_select`` of rows of 512 bytes at random, of 256 MiB."""
    table, rows = torch.ones(1 << 19, 128), torch.randint(0, 1 << 19, (1 << 17,))
    return 2 * rows.numel() * 512 / _best(lambda: table.index_select(0, rows))


def _best(work: Callable[[], object], times: int = 20) -> float:
    found = []
    for _ in range(times):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    before = read_json(ROOT / "docs" / "benchmarks.json") if sys.argv[1:] else {"benchmarks": [], "machine": machine()}
    bounds, kept = before["machine"], before["benchmarks"]
    found = {name: [one for one in kept if one["command"] == command(name)] for name in BENCHMARKS}
    for name in names:
        done = subprocess.run(
            [sys.executable, *command(name).split()[1:]],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found[name] = json.loads(done.stdout)
        sys.stderr.write(f"{name}: done\n")
    rows = [one for name in BENCHMARKS for one in found[name]]
    write_json(ROOT / "docs" / "benchmarks.json", {"machine": bounds, "benchmarks": rows})
    write_bytes(ROOT / "docs" / "benchmarks.md", page(bounds, rows).encode())
    sys.stdout.write(json.dumps({"machine": bounds, "benchmarks": rows}, indent=2) + "\n")


def command(name: str) -> str:
    return f"python benchmarks/{name}.py"


def page(bounds: dict[str, float], found: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; one alone by `python benchmarks/layers.py`. Each runs in a process of its own, on one",
        "thread, ours and its peers in turns, after their results have been compared; medians of processor seconds.",
        "The bound is what no way can do without: the bytes that are copied, or the matrix products.",
        "",
        f"This machine, one thread: copies {bounds['copy_gb_s']} GB/s (read and written), gathers rows of 512 bytes at",
        f"{bounds['index_select_gb_s']} GB/s, multiplies float32 matrices at {bounds['product_torch_gflop_s']} GFLOP/s",
        f"by torch's default and {bounds['product_ours_gflop_s']} GFLOP/s by oneDNN, which our layers use.",
        "",
        "| what | ours | peer | ratio | at least | bound |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        bound = "" if one["bound_ratio"] is None else f"{one['bound_ratio']:.1f}×"
        least = "" if one["at_least"] is None else f"{one['at_least']:g}×"
        peer = "" if one["peer"] is None else f"{one['peer']:.3g} ({one['peer_name']})"
        ratio = "" if one["ratio"] is None else f"**{one['ratio']:.1f}×**"
        lines.append(f"| {one['name']} | {one['ours']:.3g} | {peer} | {ratio} | {least} | {bound} |")
    if notes := dict.fromkeys(f"- {one['name']}: {one['note']}" for one in found if one["note"]):
        lines += ["", *notes]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
