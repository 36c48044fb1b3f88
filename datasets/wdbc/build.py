"""WDBC from scikit-learn: the mean, error and worst measurements of 569 patients as three modalities."""

from collections.abc import Mapping
from pathlib import Path

from sklearn.datasets import load_breast_cancer

from mmgraph import Records


def build(files: Mapping[str, Path]) -> Records:
    assert not files  # the data is embedded in scikit-learn
    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    columns = {"mean": slice(0, 10), "error": slice(10, 20), "worst": slice(20, 30)}
    return Records(
        ids=[f"patient-{row:03d}" for row in range(len(data.target))],
        modalities={modality: data.data[:, part] for modality, part in columns.items()},
        names={modality: names[part] for modality, part in columns.items()},
        labels=1 - data.target,  # scikit-learn counts benign as 1; here the finding is the positive class
        classes=["benign", "malignant"],
        target="diagnosis",
    )
