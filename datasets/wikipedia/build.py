"""Wikipedia articles: a picture and a text each, the shipped training part first."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from mmgraph import Records

PARTS = {"train": "tr", "test": "te"}


def build(files: Mapping[str, Path]) -> Records:
    by_name = {path.name: path for path in files.values()}
    features = loadmat(
        by_name["raw_features.mat"], variable_names=[f"{kind}_{part}" for kind in "IT" for part in ("tr", "te")]
    )
    pairs = {part: np.loadtxt(by_name[f"{part}set_txt_img_cat.list"], dtype=str, delimiter="\t") for part in PARTS}

    def both(kind: str) -> np.ndarray:
        return np.concatenate([features[f"{kind}_{short}"] for short in PARTS.values()])

    named = np.concatenate(list(pairs.values()))
    return Records(
        ids=named[:, 0],
        modalities={"image": both("I"), "text": both("T")},
        labels=named[:, 2].astype(int) - 1,
        classes=by_name["categories.list"].read_text(encoding="utf-8").split(),
        phenotypes={"part": np.repeat(list(PARTS), [len(one) for one in pairs.values()])},
        target="category",
    )
