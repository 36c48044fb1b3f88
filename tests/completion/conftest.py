"""Beads that can be seen, heard and measured: each modality says the same, and some beads lack one."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.media.audio import Sound, wav_bytes

COUNT = 80
COLUMNS = {
    "photo": "image",
    "sound": "audio",
    "mass": "numeric",
    "kind": "category",
    "made": "datetime",
    "name": "text",
    "part": {"modality": "keep"},
}


def png(shade):
    file = io.BytesIO()
    array = np.zeros((12, 12, 3), dtype=np.uint8)
    array[: 2 + shade] = (20 * shade, 255 - 20 * shade, 60)
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def wav(pitch):
    time = np.arange(1600 + 160 * pitch) / 8000
    return wav_bytes(Sound((0.4 * np.sin(2 * np.pi * (300 + 250 * pitch) * time)).astype(np.float32), 8000))


def beads(*, lacks, count=COUNT, columns=tuple(COLUMNS), override=None, **config):
    """A build of beads; ``lacks`` says which columns which beads lack."""
    rng = np.random.default_rng(0)
    number = rng.integers(0, 9, count)
    cells = {
        "photo": [png(int(n)) for n in number],
        "sound": [wav(int(n)) for n in number],
        "mass": [round(10 + 3 * n + rng.normal() * 0.1, 3) for n in number],
        "kind": ["glass" if n < 4 else "stone" for n in number],
        "made": [f"20{10 + n}-06-01T00:00:00+00:00" for n in number],
        "name": [["a round bead", "a long bead"][n % 2] for n in number],
        "part": [("train", "val", "test")[max(0, i % 10 - 7)] for i in range(count)],
    }
    kept = {
        name: [None if row in lacks.get(name, ()) else cell for row, cell in enumerate(cells[name])] for name in columns
    }
    declared = {name: COLUMNS[name] for name in columns} | (override or {})
    fields = {"nodes": {"bead": {"table": "beads", "columns": declared}}, "limits": {"rejected": 1.0}, **config}
    return Source(GraphConfig(**fields), {"beads": pa.table(kept)})


@pytest.fixture
def build(tmp_path):
    """Builds beads."""

    def make(**options):
        return build_graph(beads(**options), cache=FeatureCache(tmp_path / "cache"))

    return make
