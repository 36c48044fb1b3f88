from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgraph.assembly import build_graph
from mmgraph.encoders import FeatureCache

BOXES = {  # x, y, width, height
    "table": (0.2, 0.4, 0.6, 0.5),
    "cup": (0.3, 0.5, 0.1, 0.1),  # on the table
    "lamp": (0.3, 0.1, 0.3, 0.2),  # over it
    "door": (0.9, 0.3, 0.1, 0.6),  # to the right of it
}


def relate(builder, boxes):
    return builder("coco_mini").spatial(np.array(boxes, dtype=float).reshape(-1, 4))


def test_a_scene_is_described(builder):
    found = relate(builder, list(BOXES.values()))
    names = list(BOXES)
    said = {name: {(names[a], names[b]) for a, b in np.argwhere(mask)} for name, mask in found.items()}
    assert said == {
        "left_of": {("table", "door"), ("cup", "door")},
        "above": {("lamp", "table"), ("lamp", "cup")},
        "inside": {("cup", "table")},
        "near": set(),
    }


def test_near_is_a_gap_of_a_twentieth_at_most(builder):
    found = relate(
        builder, [(0.0, 0.0, 0.1, 0.1), (0.149, 0.0, 0.1, 0.1), (0.3, 0.0, 0.1, 0.1), (0.13, 0.14, 0.1, 0.1)]
    )
    assert np.argwhere(found["near"]).tolist() == [[0, 1], [0, 3], [1, 0], [1, 3], [3, 0], [3, 1]]


def test_no_object_and_one_object_are_related_to_nothing(builder):
    for boxes in ([], [(0, 0, 1, 1)], [(0.1, 0.1, 0, 0)]):
        assert not any(mask.any() for mask in relate(builder, boxes).values())


box = st.tuples(*[st.floats(0, 0.6)] * 2, *[st.floats(0.01, 0.4)] * 2)


@given(boxes=st.lists(box, max_size=6))
def test_relations_equal_a_slow_loop(builder, boxes):
    found = relate(builder, boxes)
    for name, mask in found.items():
        assert mask.shape == (len(boxes), len(boxes))
        for a, one in enumerate(boxes):
            for b, other in enumerate(boxes):
                assert mask[a, b] == (a != b and holds(name, one, other)), (name, one, other)


def holds(name, one, other):
    (ax, ay, aw, ah), (bx, by, bw, bh) = one, other
    along_x, along_y = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
    if name == "left_of":
        return ax + aw <= bx + 0.1 * min(aw, bw) and along_y >= 0.5 * min(ah, bh)
    if name == "above":
        return ay + ah <= by + 0.1 * min(ah, bh) and along_x >= 0.5 * min(aw, bw)
    covered = max(along_x, 0) * max(along_y, 0)
    within = covered / (aw * ah) >= 0.9 and aw * ah < bw * bh
    if name == "inside":
        return within
    about = covered / (bw * bh) >= 0.9 and bw * bh < aw * ah
    return np.hypot(max(-along_x, 0), max(-along_y, 0)) <= 0.05 and not within and not about


@pytest.mark.data
def test_coco_mini(load_or_skip):
    source = load_or_skip("coco_mini")
    photos, objects = (source.tables[name].to_pylist() for name in ("photos", "objects"))
    assert (len(photos), len(objects)) == (338, 2196)
    assert Counter(len(photo["caption"]) for photo in photos) == {5: 288, 0: 50}
    assert len({one["category"] for one in objects}) == 80
    counts = Counter(one["photo"] for one in objects)
    assert (len(counts), max(counts.values())) == (255, 38)
    assert set(counts) <= {photo["id"] for photo in photos}
    assert all(0 <= one[name] <= 1 for one in objects for name in ("x", "y", "width", "height"))
    assert all(one["x"] + one["width"] <= 1.01 and one["y"] + one["height"] <= 1.01 for one in objects)
    photo_of = {one["id"]: one["photo"] for one in objects}
    for name, count in {"left_of": 4790, "above": 1579, "inside": 948, "near": 7150}.items():
        pairs = source.tables[name].to_pylist()
        assert len(pairs) == count
        assert all(photo_of[pair["source"]] == photo_of[pair["target"]] for pair in pairs)
    for photo in photos[::30]:
        with Image.open(source.root / photo["image"]) as picture:
            assert max(picture.size) == 160
    assert source.config.anchor == "photo"
    assert source.config.modality_nodes["box"] == ("object", ("x", "y", "width", "height"))


@pytest.mark.data
def test_coco_mini_is_a_graph(load_or_skip, tmp_path):
    built = build_graph(load_or_skip("coco_mini"), cache=FeatureCache(tmp_path))
    graph = built.graph
    assert len(built.rejected) == 0
    assert {node: graph[node].num_nodes for node in graph.node_types} == {
        "photo": 338,
        "object": 2196,
        "image": 338,
        "caption": 1440,
        "category": 2196,
        "box": 2196,
    }
    assert graph["object", "in", "photo"].edge_index.shape == (2, 2196)
    assert [int(graph["photo"][f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [236, 34, 68]
