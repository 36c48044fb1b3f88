"""MNIST: 10,000 handwritten digits for training and validation, 10,000 for the test."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmgraph import GraphConfig, Source

DIGITS = tuple("0123456789")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEN = 10  # every tenth picture of a class is for validation


def build(files: Mapping[str, Path], *, names: bool = False) -> Source:
    """Builds the graph's source.

    Args:
        files: The two archives.
        names: Whether each digit comes with its name as text, to make pictures or names of each other. It tells the
            target.
    """
    by_name = {path.stem: np.load(path, allow_pickle=False) for path in files.values()}
    archives = by_name["mnist-valid"], by_name["mnist-test"]
    pixels = np.concatenate([one["inputs"] for one in archives]).astype(np.float32) * 256  # kept as n / 256
    labels = np.concatenate([one["targets"] for one in archives])
    parts = np.repeat(["train", "test"], 10_000)
    for digit in range(10):
        parts[np.flatnonzero((labels == digit) & (parts != "test"))[::TEN]] = "val"
    columns = {"image": "image", **({"text": "text"} if names else {})}
    config = GraphConfig(
        name="mnist20k",
        nodes={"picture": {"table": "pictures", "key": "name", "columns": columns}},
        targets={"digit": {"column": "digit", "kind": "multiclass", "classes": DIGITS}},
        split={"by": "column", "column": "part"},
    )
    table = {
        "name": [f"{archive}-{row:04d}" for archive in ("first", "second") for row in range(10_000)],
        "image": pa.array([png(one) for one in pixels.astype(np.uint8).reshape(-1, 28, 28)], pa.binary()),
        "digit": labels.astype(str),
        "part": parts,
    }
    if names:
        table["text"] = [NAMES[label] for label in labels]
    return Source(config, tables={"pictures": pa.table(table)})


def png(pixels: np.ndarray) -> bytes:
    """A grey picture ``[height, width]`` as PNG without compression: the same bytes whichever library reads them."""
    height, width = pixels.shape
    rows = np.zeros((height, 1 + width), dtype=np.uint8)  # each row begins with the number of its filter, 0: none
    rows[:, 1:] = pixels

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows.tobytes(), 0)) + chunk(b"IEND", b"")
