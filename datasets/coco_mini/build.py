"""COCO, 338 photos: captions, and the scene graph of the objects' boxes."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmgraph import GraphConfig, Source

BOX = ("x", "y", "width", "height")
SPATIAL = ("left_of", "above", "inside", "near")


def build(files: Mapping[str, Path]) -> Source:
    photos = json.loads(files["coco_mini.json"].read_text(encoding="utf-8"))
    objects: list[dict[str, object]] = []
    pairs: dict[str, list[dict[str, str]]] = {name: [] for name in SPATIAL}
    for photo in photos:
        size = np.array([photo["width"], photo["height"]] * 2)
        boxes = np.array([box for _, box in photo["objects"]]).reshape(-1, 4) / size  # in shares of the photo
        keys = [f"{photo['id']}-{number:02d}" for number in range(len(boxes))]
        for key, (category, _), box in zip(keys, photo["objects"], boxes.tolist(), strict=True):
            objects.append(
                {"id": key, "photo": str(photo["id"]), "category": category, **dict(zip(BOX, box, strict=True))}
            )
        for name, joined in spatial(boxes).items():
            pairs[name] += [{"source": keys[a], "target": keys[b]} for a, b in np.argwhere(joined)]
    config = GraphConfig(
        name="coco_mini",
        anchor="photo",
        nodes={
            "photo": {"table": "photos", "key": "id", "columns": {"image": "image", "caption": "text"}},
            "object": {
                "table": "objects",
                "key": "id",
                "columns": {"category": "symbol"} | {name: {"modality": "numeric", "node": "box"} for name in BOX},
            },
        },
        edges=[
            {"type": ("object", "in", "photo"), "column": "photo"},
            *(
                {"type": ("object", name, "object"), "table": name, "source": "source", "target": "target"}
                for name in SPATIAL
            ),
        ],
        split={"by": "random", "test": 0.2, "val": 0.1},
    )
    table = {
        "id": [str(photo["id"]) for photo in photos],
        "image": [Path(photo["file"]).name for photo in photos],
        "caption": [photo["captions"] for photo in photos],
    }
    text = pa.schema({"source": pa.string(), "target": pa.string()})
    tables = {"photos": pa.table(table), "objects": pa.Table.from_pylist(objects)}
    tables |= {name: pa.Table.from_pylist(found, schema=text) for name, found in pairs.items()}
    return Source(config, tables=tables, root=next(path.parent for path in files.values() if path.suffix == ".jpg"))


def spatial(boxes: np.ndarray) -> dict[str, np.ndarray]:
    """Relation → mask ``[objects, objects]``: the first is … the second. Boxes are x, y, width, height in shares."""
    low, size = boxes[:, :2], boxes[:, 2:]
    high = low + size
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # along x and y; below 0: the gap
    overlaps = shared >= 0.5 * np.minimum(size[:, None], size)
    apart = high[:, None] <= low + 0.1 * np.minimum(size[:, None], size)  # they may touch, or overlap a little
    covered = shared.clip(0).prod(axis=2) / size.prod(axis=1)[:, None].clip(1e-12)
    gap = np.hypot(*np.moveaxis((-shared).clip(0), 2, 0))
    inside = (covered >= 0.9) & (size.prod(axis=1)[:, None] < size.prod(axis=1))
    found = {
        "left_of": apart[..., 0] & overlaps[..., 1],
        "above": apart[..., 1] & overlaps[..., 0],
        "inside": inside,
        "near": (gap <= 0.05) & ~inside & ~inside.T,
    }
    return {name: mask & ~np.eye(len(boxes), dtype=bool) for name, mask in found.items()}
