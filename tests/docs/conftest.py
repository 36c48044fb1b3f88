"""The repository, its pages, and the hooks by which the site is made."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def mathml() -> ModuleType:
    """TeX to MathML."""
    return _load(ROOT / "docs" / "hooks" / "mathml.py")


@pytest.fixture(scope="session")
def docstrings() -> ModuleType:
    """Docstrings to Markdown."""
    return _load(ROOT / "docs" / "hooks" / "docstrings.py")


@pytest.fixture(scope="session")
def rooms(docstrings) -> list:
    """The rooms of the package."""
    return docstrings.rooms(ROOT / "mmgraph")


@pytest.fixture(scope="session")
def notebook_pages() -> ModuleType:
    """Notebooks to Markdown."""
    return _load(ROOT / "docs" / "hooks" / "notebook_pages.py")


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """Sources to notebooks."""
    return _load(ROOT / "notebooks" / "build.py")
