"""A shop with payloads of all kinds, some of them broken, that is built again and again and compared to the bit."""

import io
import logging
import os
import sqlite3
import warnings
import wave

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.encoders.audio import Spectra
from mmgraph.encoders.hashed import HashedText
from mmgraph.encoders.image import Gradients

ROWS = 40
NODES = {
    "thing": {
        "table": "things",
        "key": "id",
        "columns": {
            "title": "text",
            "photo": "image",
            "sound": "audio",
            "curve": "series",
            "price": "numeric",
            "sku": "symbol",
        },
    }
}


def _wav(hertz):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes((np.sin(np.arange(800) * hertz / 1273) * 9999).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A source of forty things, with six pictures and four sounds in files."""
    root, chance = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(root / f"{number}.png")
    (root / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for number in range(4):
        (root / f"{number}.wav").write_bytes(_wav(300 + 50 * number))
    rows = range(ROWS)
    things = {
        "id": [f"t{row}" for row in rows],
        "title": [None if row == 3 else f"a {['red', 'blue', 'green'][row % 3]} thing {row % 17}" for row in rows],
        "photo": ["bad.png" if row == 5 else "none.png" if row == 9 else f"{row % 6}.png" for row in rows],
        "sound": [f"{row % 4}.wav" if row % 3 else None for row in rows],
        "curve": [[float(row % 5), 1.0, 2.0 + row] if row != 7 else [float("inf")] for row in rows],
        "price": ["?" if row == 11 else str(row / 4) for row in rows],
        "sku": [f"s{row % 5}" for row in rows],
    }
    config = GraphConfig(nodes=NODES, limits={"rejected": 0.5}, split={"by": "random"})
    return Source(config, {"things": pa.table(things)}, root)


@pytest.fixture(scope="module")
def cluster():
    """Ray on two processors of this machine, for all tests of the module."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=100 << 20,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    yield
    ray.shutdown()


@pytest.fixture
def small_chunks(monkeypatch):
    """Few payloads in a job, so that there are many jobs."""
    for kind in (HashedText, Gradients, Spectra):
        monkeypatch.setattr(kind, "chunk", 3)


def bytes_below(folder):
    """Name → bytes of every file."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def kept_in(cache):
    """File → what a cache holds of an encoder."""
    found = {}
    for file in sorted(cache.glob("*.sqlite")):
        base = sqlite3.connect(file)
        found[file.name] = sorted(base.execute("SELECT key, sum, value FROM features"))
        base.close()
    return found


@pytest.fixture
def build(shop, tmp_path):
    """Builds the shop with a cache of its own: what was written, what was set aside, what the cache holds."""

    def make(name, source=shop, **options):
        built = build_graph(source, cache=FeatureCache(tmp_path / f"{name} cache"), **options)
        built.write(tmp_path / name)
        return bytes_below(tmp_path / name), built.rejected, kept_in(tmp_path / f"{name} cache")

    return make


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
