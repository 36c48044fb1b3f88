"""ROSMAP: three omics of 351 subjects, the shipped training part first."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmgraph import Records

MODALITIES = {"mrna": 1, "methylation": 2, "mirna": 3}
SHIPPED_TRAIN = 245  # the first 245 rows are the shipped training part, the other 106 the test part


def build(files: Mapping[str, Path]) -> Records:
    by_name = {Path(path).name: file for path, file in files.items()}

    def both(stem: str) -> np.ndarray:
        return np.concatenate([np.loadtxt(by_name[f"{stem}_{part}.csv"], delimiter=",") for part in ("tr", "te")])

    labels = both("labels").astype(int)
    return Records(
        ids=[f"subject-{row:03d}" for row in range(len(labels))],
        modalities={name: both(str(number)) for name, number in MODALITIES.items()},
        names={name: by_name[f"{number}_featname.csv"].read_text().split() for name, number in MODALITIES.items()},
        labels=labels,
        classes=["control", "alzheimers"],
        target="diagnosis",
    )
