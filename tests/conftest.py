"""What all tests share: dgl's backend, quiet models, no clock, and a reason where a dataset is missing."""

import os

import pytest
from hypothesis import settings

from mmgraph.errors import DataError

os.environ.setdefault("DGLBACKEND", "pytorch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["MMGRAPH_OFFLINE"] = "1"  # a test takes data that is there, and skips where it is not
settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
settings.load_profile("untimed")


def pytest_make_parametrize_id(val):
    """A file is no name for a test: some hold the time at which they were made."""
    return "file" if isinstance(val, bytes) and len(val) > 20 else None


@pytest.fixture
def load_or_skip():
    """Loads a dataset, or skips the test where its files are not there."""
    from mmgraph.data import load_dataset

    def load(name: str):
        try:
            return load_dataset(name)
        except DataError as error:
            pytest.skip(f"dataset {name} is not here: {error}")

    return load
