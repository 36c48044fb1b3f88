"""Encodes 10⁴ and 10⁵ different pictures by 1 and 2 workers, processes of this machine and actors of Ray.

The pictures (16 × 16, PNG) lie in the cells of a Parquet file; the default encoder reads and describes each in a
quarter of a millisecond. Each build is a fresh process with a cache of its own, the engines take turns, and the folder
must have the same bytes each time. The time is that of the clock, from the call of `build_graph` to its end; what
an engine needs to start is that of a build of 16 pictures. Run it by itself: `python benchmarks/cluster.py`; with
`--sizes 10000 100000 1000000` it encodes a million too, which takes half an hour.
"""

import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measure import main, row
from pyarrow import parquet

from mmgraph.assembly import build_graph
from mmgraph.encoders import FeatureCache

SIZES = (10_000, 100_000)
FEW, ROUNDS, BLOCK = 16, 3, 10_000
ENGINES = (("local", 1), ("ray", 1), ("local", 2), ("ray", 2))
GRAPH = '[nodes.thing]\ntable = "things.parquet"\ncolumns = { photo = "image" }\n'


def make(folder: Path, pictures: int) -> None:
    from PIL import Image

    folder.mkdir()
    chance = np.random.default_rng(0)
    (folder / "graph.toml").write_text(GRAPH)
    with parquet.ParquetWriter(folder / "things.parquet", pa.schema({"photo": pa.binary()})) as writer:
        for start in range(0, pictures, BLOCK):
            cells = []
            for pixels in chance.integers(0, 256, (min(BLOCK, pictures - start), 16, 16, 3), dtype=np.uint8):
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "PNG", compress_level=1)
                cells.append(file.getvalue())
            writer.write_table(pa.table({"photo": pa.array(cells, pa.binary())}))


def build(folder: Path, engine: str, workers: int) -> dict[str, Any]:
    """One build, and the digest of what it writes."""
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        built = build_graph(
            folder / "graph.toml", cache=FeatureCache(Path(name) / "cache"), engine=engine, workers=workers
        )
        seconds = time.perf_counter() - started
        built.write(Path(name) / "out")
        digest, size = hashlib.sha256(), 0
        for file in sorted(file for file in (Path(name) / "out").rglob("*") if file.is_file()):
            digest.update(file.read_bytes())
            size += file.stat().st_size
        return {"seconds": seconds, "digest": digest.hexdigest(), "bytes": size}


def alone(folder: Path, engine: str, workers: int) -> dict[str, Any]:
    """A build in a fresh process."""
    command = [sys.executable, __file__, "build", str(folder), engine, str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(folder: Path, rounds: int) -> dict[tuple[str, int], list[dict[str, Any]]]:
    found: dict[tuple[str, int], list[dict[str, Any]]] = {which: [] for which in ENGINES}
    for _ in range(rounds):
        for which, results in found.items():
            results.append(alone(folder, *which))
    digests = {one["digest"] for results in found.values() for one in results}
    assert len(digests) == 1, f"all builds of {folder.name} must have the same bytes, got {len(digests)} kinds"
    return found


def rows(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    made = []
    with tempfile.TemporaryDirectory() as name:
        make(Path(name) / "few", FEW)
        few = {which: _middle(results) for which, results in measured(Path(name) / "few", ROUNDS).items()}
        for size in sizes:
            folder = Path(name) / str(size)
            make(folder, size)
            found = measured(folder, ROUNDS if size <= BLOCK else 1)
            middle = {which: _middle(results) for which, results in found.items()}
            for engine, workers in ENGINES[1:]:
                ours = middle[engine, workers]
                peer = ("local", workers) if engine == "ray" else ("local", 1)
                told = ", ".join(
                    f"{one} {number}: {size / middle[one, number]:,.0f} pictures/s, {few[one, number]:.1f} s to start"
                    for one, number in ((engine, workers), peer)
                )
                note = f"seconds on the clock; {told}; {found[engine, workers][0]['bytes'] >> 10:,} KiB written, "
                note += f"the same bytes; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
                what = f"encode {size:,} pictures by {engine} with {workers} worker{'s' * (workers > 1)}"
                compared = row(what, ours, peer=(f"{peer[0]} with {peer[1]}", middle[peer]), note=note)
                made.append({**compared, "unit": "seconds", "start_s": few[engine, workers], "rows_s": size / ours})
    return made


def _middle(results: list[dict[str, Any]]) -> float:
    return statistics.median(one["seconds"] for one in results)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", folder, engine, workers]:
            sys.stdout.write(json.dumps(build(Path(folder), engine, int(workers))) + "\n")
        case ["--sizes", *sizes]:
            main(lambda: rows(tuple(map(int, sizes))))
        case _:
            main(rows)
