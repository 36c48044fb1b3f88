"""What the tests of builds share: small tables, small files, and a build that keeps to its own cache."""

import io
import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache


def _png(shade: int, size: int = 8, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (size, size), shade if mode != "RGB" else (shade, 255 - shade, 7)).save(file, "PNG")
    return file.getvalue()


def _wav(hertz: float, *, channels: int = 1, width: int = 2, seconds: float = 0.1) -> bytes:
    count = round(8000 * seconds)
    sound = np.sin(np.arange(count) * hertz * 2 * np.pi / 8000)
    scaled = (sound * 0.5 * (2 ** (8 * width - 1) - 1)).astype("<i4")
    data = (scaled.astype(np.int16) + 128).astype(np.uint8).tobytes() if width == 1 else b""
    for one in scaled if width > 1 else ():
        data += int(one).to_bytes(4, "little", signed=True)[:width] * channels
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels if width > 1 else 1, width, 8000, 0, "NONE", ""))
        out.writeframes(data)
    return file.getvalue()


@pytest.fixture(scope="session")
def png():
    """Gives the bytes of a picture of one colour."""
    return _png


@pytest.fixture(scope="session")
def wav():
    """Gives the bytes of a tone."""
    return _wav


@pytest.fixture
def build(tmp_path):
    """Builds from a declaration's fields and tables (columns of lists, or Arrow), with a cache of its own."""

    def make(fields, tables=None, *, root: Path | None = None, cache=None, **options):
        given = {name: one if isinstance(one, pa.Table) else pa.table(one) for name, one in (tables or {}).items()}
        cache = cache or FeatureCache(tmp_path / "cache")
        return build_graph(Source(GraphConfig(**fields), given, root), cache=cache, **options)

    return make
