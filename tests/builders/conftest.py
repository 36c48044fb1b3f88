"""Cohorts with gaps: some subjects lack a modality, some a phenotype, some a label."""

import numpy as np
import pytest

from mmgraph.data import Records, Split


@pytest.fixture
def records():
    """Forty subjects, two modalities, three phenotypes; none of their distances are equal."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    blood = rng.normal(size=(40, 5)) + labels[:, None] * rng.normal(size=5)
    scan = rng.lognormal(size=(40, 3))
    scan[[3, 17, 25, 33]] = np.nan
    age = rng.uniform(50, 80, 40)
    age[5] = np.nan
    return Records(
        ids=[f"s{row}" for row in range(40)],
        modalities={"blood": blood, "scan": scan},
        labels=labels,
        classes=["healthy", "ill"],
        phenotypes={
            "age": age,
            "site": rng.choice(["a", "b", "c"], 40).astype(object),
            "sex": np.array([*rng.choice(["f", "m"], 39), None], dtype=object),
        },
        names={"scan": ["one", "two", "three"]},
        target="diagnosis",
    )


@pytest.fixture
def split():
    """24 subjects for training, 6 for validation, 8 for test, and two for nothing."""
    rows = np.random.default_rng(1).permutation(40)
    return Split(train=np.sort(rows[:24]), val=np.sort(rows[24:30]), test=np.sort(rows[30:38]))
