"""Builds a graph from 100,000 rows with a text, a picture, a recording and two numbers each, and is killed twice.

300 different pictures and 200 different recordings lie in files, 30,000 different texts in a CSV file; some cells are
empty, a few hundred are broken. The graph is built in one go; then anew, with another cache, by a process that is
killed (SIGKILL) twice at moments of chance: it goes on, and the folder must have the same bytes. Each build is a fresh
process that reports its time and the peak of its memory. Run it by itself: `python benchmarks/build.py`.
"""

import csv
import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
from measure import main, row

from mmgraph.assembly import Built, build_graph
from mmgraph.encoders import FeatureCache

ROWS, PICTURES, SOUNDS, TEXTS = 100_000, 300, 200, 30_000
MOST_MIB = 2048
GRAPH = """
name = "products"
[nodes.product]
table = "products.csv"
key = "id"
columns = { title = "text", photo = "image", sound = "audio", price = "numeric", weight = "numeric", sku = "keep" }
[[edges]]
type = ["product", "made_by", "maker"]
column = "maker"
[[edges]]
type = ["product", "like", "product"]
column = "like"
separator = "|"
[targets.kind]
column = "kind"
[split]
by = "random"
"""


def make(folder: Path) -> None:
    from PIL import Image

    chance, numbers = random.Random(0), np.random.default_rng(0)
    (folder / "graph.toml").write_text(GRAPH)
    for name in ("photos", "sounds"):
        (folder / name).mkdir()
    for number in range(PICTURES):
        Image.fromarray(numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"photos/{number}.png")
    for number in range(SOUNDS):
        with wave.open(str(folder / f"sounds/{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(numbers.integers(-9999, 9999, 1600, dtype=np.int16).tobytes())
    (folder / "photos/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    words = [f"{chance.choice('bdfgklmnprst')}{chance.choice('aeiou')}{number}" for number in range(4000)]
    texts = [" ".join(chance.choices(words, k=chance.randint(3, 12))) for _ in range(TEXTS)]
    with (folder / "products.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "sku", "title", "photo", "sound", "price", "weight", "maker", "like", "kind"])
        for number in range(ROWS):
            photo = "photos/bad.png" if number % 400 == 7 else f"photos/{chance.randrange(PICTURES)}.png"
            price = "unknown" if number % 300 == 5 else round(chance.lognormvariate(2, 1), 2)
            table.writerow(
                [
                    f"p{number}",
                    f"sku-{number:06}",
                    chance.choice(texts),
                    photo if chance.random() < 0.9 else "",
                    f"sounds/{chance.randrange(SOUNDS)}.wav" if chance.random() < 0.8 else "",
                    price,
                    round(chance.random(), 3),
                    f"maker {chance.randrange(500)}",
                    "|".join(f"p{chance.randrange(ROWS)}" for _ in range(chance.randrange(3))),
                    chance.choice(["toy", "tool", "food"]),
                ]
            )


def build(folder: Path, cache: Path, out: Path) -> dict[str, Any]:
    started, busy = time.perf_counter(), time.process_time()
    built = build_graph(folder / "graph.toml", cache=FeatureCache(cache))
    made = time.process_time() - busy
    built.write(out)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor": round(time.process_time() - busy, 1),
        "of_that_writing": round(time.process_time() - busy - made, 1),
        "nodes": {name: built.graph[name].num_nodes for name in built.graph.node_types},
        "rejected": len(built.rejected),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def alone(*words: object) -> str:
    """Runs a part of this file in a fresh process."""
    process = start(*words)
    out, error = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))} failed: {error}")
    return out


def killed(seconds: float, *words: object) -> None:
    """Runs a part of this file, and kills it."""
    process = start(*words)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it must be killed, got {process.returncode} after {seconds:.1f} s"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "data").mkdir()
        make(base / "data")
        whole = json.loads(alone("build", base / "data", base / "cache", base / "whole"))
        again = json.loads(alone("build", base / "data", base / "cache", base / "again"))
        words = ("build", base / "data", base / "other cache", base / "killed")
        for _ in range(2):
            killed(random.uniform(0.2, 0.7) * whole["seconds"], *words)
            assert not (base / "killed").exists(), "a build that was killed must leave no folder"
        last = json.loads(alone(*words))
        expected = digests(base / "whole")
        for other in ("again", "killed"):
            found = digests(base / other)
            wrong = [file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file)]
            assert not wrong, f"the folder {other} must have the same bytes, got others in {wrong}"
        assert len(Built.open(base / "killed").keys["product"]) == ROWS
        size = sum(file.stat().st_size for file in (base / "whole").rglob("*") if file.is_file())
    found = []
    for what, one in (("", whole), (", all features cached", again), (", after two kills", last)):
        assert one["peak_mib"] < MOST_MIB, f"a build must stay below {MOST_MIB} MiB, got {one['peak_mib']}"
        note = f"{one['seconds']} s by the clock, {one['of_that_writing']} s of it writing {size >> 20} MiB; "
        note += f"{one['nodes']}, {one['rejected']} cells set aside; the same bytes each time"
        made = row(
            f"build a graph of {ROWS:,} rows of text, picture, sound, numbers{what}", one["processor"], note=note
        )
        found.append({**made, "peak_mib": one["peak_mib"]})
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", folder, cache, out]:
            sys.stdout.write(json.dumps(build(Path(folder), Path(cache), Path(out))))
        case _:
            main(rows)
