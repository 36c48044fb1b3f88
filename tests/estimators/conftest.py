"""A table of three classes, and one of numbers, both of two modalities."""

import numpy as np
import pytest


def _table(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = np.arange(60) % 3
    centres = rng.normal(size=(3, 6)) * 2
    return centres[kinds] + rng.normal(size=(60, 6)), kinds


@pytest.fixture(scope="session")
def classes() -> tuple[np.ndarray, np.ndarray]:
    X, kinds = _table(0)
    return X, np.array(["low", "middle", "high"])[kinds]


@pytest.fixture(scope="session")
def numbers() -> tuple[np.ndarray, np.ndarray]:
    X, _ = _table(1)
    return X, 50 + 10 * X[:, 0] - 5 * X[:, 4]


@pytest.fixture(scope="session")
def modalities() -> dict[str, slice]:
    return {"blood": slice(0, 4), "scan": slice(4, 6)}
