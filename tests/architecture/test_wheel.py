"""The wheel carries what a user needs: the package, its page template, the recipes and the datasets."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_wheel_holds_recipes_datasets_template_and_types(site: Path) -> None:
    for name in (
        "mmgraph/py.typed",
        "mmgraph/report/page.html.j2",
        "mmgraph/_bundled/recipes/fusion/population_wdbc.py",
        "mmgraph/_bundled/datasets/wdbc/manifest.toml",
        "mmgraph/_bundled/datasets/wdbc/build.py",
    ):
        assert (site / name).is_file(), name
    assert not list(site.glob("**/tests"))
    assert not list(site.glob("**/*.npz"))


def test_recipes_and_datasets_are_found_from_the_wheel(site: Path, tmp_path: Path) -> None:
    code = (
        "import sys, mmgraph; from mmgraph.cli import main; "
        f"assert mmgraph.__file__.startswith({str(site)!r}), mmgraph.__file__; sys.exit(main(['ls', '--json']))"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert "population_wdbc" in found["recipes"]
    assert "wdbc" in found["datasets"]
