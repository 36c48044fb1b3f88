"""CMU-MOSI: utterances with features of text, sound and picture, in the order of their videos."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmgraph import GraphConfig, Source

CHANNELS = {"text": 100, "audio": 73, "video": 100}
PARTS = ("train", "test")
SIX = 6  # every sixth training video is for validation


def build(files: Mapping[str, Path], *, transcripts: bool = False) -> Source:
    """Reads features and transcripts.

    Args:
        files: Those of the manifest.
        transcripts: Whether what is said is also a text of its own, ``transcript``, for an encoder to read. The
            features of ``text``, which were made of its words, are there in any case.
    """
    by_name = {path.name: path for path in files.values()}
    with by_name["transcripts.csv"].open(encoding="utf-8", newline="") as file:
        names, spoken, _, labels = zip(*csv.reader(file), strict=True)

    def read(name: str) -> np.ndarray:
        return np.loadtxt(by_name[name], delimiter=",", quotechar='"', dtype=np.float32)

    parts = np.full(len(names), "train", dtype=object)
    features = {node: np.empty((len(names), channels), dtype=np.float32) for node, channels in CHANNELS.items()}
    for part in PARTS:
        text = read(f"text_{part}.csv")  # its first column is the row in the transcripts, of sound and picture too
        rows = text[:, 0].astype(int)
        parts[rows] = part
        features["text"][rows] = text[:, 1:]
        for node in ("audio", "video"):
            features[node][rows] = read(f"{node}_{part}0.csv")[:, :-1]
    videos, orders = zip(*(name.rsplit("_", 1) for name in names), strict=True)
    held_out = sorted({video for video, part in zip(videos, parts, strict=True) if part == "train"})[::SIX]
    parts[np.isin(videos, held_out)] = "val"
    table = {
        "name": names,
        "said": spoken,
        "video_id": videos,
        "order": np.array(orders, dtype=int),
        "opinion": ["positive" if label == "1" else "negative" for label in labels],
        "part": list(parts),
    }
    said: object = {"modality": "text", "node": "transcript"} if transcripts else "keep"
    columns: dict[str, object] = {"said": said, "video_id": "keep"}
    for node, values in features.items():
        for channel in range(values.shape[1]):
            table[f"{node}_{channel:03d}"] = values[:, channel]
            columns[f"{node}_{channel:03d}"] = {"modality": "numeric", "node": node}
    config = GraphConfig(
        name="mosi",
        nodes={"utterance": {"table": "utterances", "key": "name", "columns": columns}},
        edges=[{"type": ("utterance", "next", "utterance"), "order": "order", "by": "video_id", "inverse": "previous"}],
        targets={"opinion": {"column": "opinion", "kind": "binary", "classes": ("negative", "positive")}},
        split={"by": "column", "column": "part"},
    )
    return Source(config, tables={"utterances": pa.table(table)})
