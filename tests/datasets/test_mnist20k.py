import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mmgraph import load_dataset
from mmgraph.data import Manifest
from mmgraph.data.manifest import bundled


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (3, 200)])
def test_a_png_is_the_picture_pixel_by_pixel(builder, shape):
    png = builder("mnist20k").png
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as picture:
        picture.load()
        assert (picture.format, picture.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    assert png(pixels) == png(pixels.copy())


@pytest.mark.data
def test_mnist20k(load_or_skip):
    source = load_or_skip("mnist20k")
    table = source.tables["pictures"].to_pylist()
    assert len(table) == len({row["name"] for row in table}) == 20_000
    assert Counter(row["part"] for row in table) == {"train": 8996, "val": 1004, "test": 10_000}
    assert all((row["part"] == "test") == row["name"].startswith("second") for row in table)
    digits, val = (
        Counter(row["digit"] for row in table if row["part"] in parts) for parts in (("train", "val"), "val")
    )
    assert all(abs(val[digit] - digits[digit] / 10) < 1 for digit in "0123456789")
    assert source.config.modality_nodes == {"image": ("picture", ("image",))}
    files = Manifest.read(bundled("datasets") / "mnist20k" / "manifest.toml").locate()
    archives = [np.load(path) for path in sorted(files.values(), reverse=True)]  # valid, test
    theirs = np.concatenate([one["inputs"] for one in archives]).astype(np.float64) * 256
    labels = np.concatenate([one["targets"] for one in archives])
    assert [row["digit"] for row in table] == [str(label) for label in labels]
    for row in range(0, 20_000, 97):
        with Image.open(io.BytesIO(table[row]["image"])) as picture:
            np.testing.assert_array_equal(np.asarray(picture).reshape(-1), theirs[row])


@pytest.mark.data
def test_digits_come_with_their_names_if_asked(load_or_skip):
    plain, named = load_or_skip("mnist20k"), load_dataset("mnist20k", names=True)
    assert named.tables["pictures"].drop_columns("text").equals(plain.tables["pictures"])
    assert named.config.modality_nodes == {"image": ("picture", ("image",)), "text": ("picture", ("text",))}
    rows = named.tables["pictures"].select(["digit", "text"]).to_pylist()
    assert {(row["digit"], row["text"]) for row in rows} == {
        ("0", "zero"), ("1", "one"), ("2", "two"), ("3", "three"), ("4", "four"),
        ("5", "five"), ("6", "six"), ("7", "seven"), ("8", "eight"), ("9", "nine"),
    }  # fmt: skip
