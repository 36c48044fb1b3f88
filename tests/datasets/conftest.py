"""A dataset's builder as a module, for tests that need none of its files."""

import importlib.util

import pytest

from mmgraph.data.manifest import bundled


@pytest.fixture(scope="session")
def builder():
    def load(name):
        spec = importlib.util.spec_from_file_location(f"builder_of_{name}", bundled("datasets") / name / "build.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
