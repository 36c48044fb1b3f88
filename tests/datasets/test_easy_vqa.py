from collections import Counter

import pytest
from PIL import Image

from mmgraph.assembly import build_graph
from mmgraph.data import load_dataset
from mmgraph.encoders import FeatureCache


@pytest.mark.parametrize("pictures", [9, 5001, 0])
def test_a_number_of_pictures_that_is_not_there_is_named(builder, pictures):
    with pytest.raises(ValueError, match=f"pictures must be between 10 and 5000, got {pictures}"):
        builder("easy_vqa").build({}, pictures=pictures)


@pytest.mark.data
def test_easy_vqa(load_or_skip):
    source = load_or_skip("easy_vqa")
    questions, pictures = (source.tables[name].to_pylist() for name in ("questions", "pictures"))
    assert (len(questions), len(pictures)) == (48_248, 5000)
    assert Counter(row["part"] for row in questions) == {"train": 34_683, "val": 3892, "test": 9673}
    assert Counter(row["picture"].split("-")[0] for row in pictures) == {"train": 4000, "test": 1000}
    parts = {}
    for row in questions:
        assert parts.setdefault(row["picture"], row["part"]) == row["part"]  # a picture is in one part
        assert (row["part"] == "test") == row["picture"].startswith("test") == row["question"].startswith("test")
    assert Counter(parts.values()) == {"train": 3600, "val": 400, "test": 1000}
    classes = source.config.targets["answer"].classes
    assert len(classes) == 13
    assert {row["answer"] for row in questions} == set(classes)
    assert sum(row["answer"] in ("yes", "no") for row in questions) == 28_407 + 7136
    assert len({row["text"] for row in questions}) == 107
    with Image.open(source.root / pictures[7]["image"]) as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
    assert all((source.root / row["image"]).is_file() for row in pictures)


@pytest.mark.data
def test_a_part_of_easy_vqa(load_or_skip):
    everything = load_or_skip("easy_vqa")
    source = load_dataset("easy_vqa", pictures=500)
    kept = {row["picture"] for row in source.tables["pictures"].to_pylist()}
    assert kept == {f"train-{one}" for one in range(400)} | {f"test-{one}" for one in range(100)}
    expected = [row for row in everything.tables["questions"].to_pylist() if row["picture"] in kept]
    assert source.tables["questions"].to_pylist() == expected
    assert {row["part"] for row in expected} == {"train", "val", "test"}


@pytest.mark.data
def test_easy_vqa_is_a_graph(load_or_skip, tmp_path):
    load_or_skip("easy_vqa")
    built = build_graph(load_dataset("easy_vqa", pictures=50), cache=FeatureCache(tmp_path))
    graph = built.graph
    assert len(built.rejected) == 0
    there, back = graph["question", "asks_about", "picture"], graph["picture", "asked_by", "question"]
    assert there.edge_index.tolist() == back.edge_index.flip(0).tolist()
    assert there.edge_index[0].unique().numel() == graph["question"].num_nodes
    assert graph["picture"].num_nodes == graph["image"].num_nodes == 50
