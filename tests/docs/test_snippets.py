"""Every Python block and every command in README.md and docs/ runs."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from mmgraph.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def _lay_out(page: Path, folder: Path) -> None:
    """Writes the files that a page shows: blocks with a title."""
    shown = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for name, text in shown:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "python")], ids=_name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    _lay_out(page, tmp_path)
    scope: dict = {"__name__": "snippet"}
    for block in _blocks(page, "python"):
        exec(compile(block, str(page), "exec"), scope)


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "console")], ids=_name)
def test_commands_run(page: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    _lay_out(page, tmp_path)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for block in _blocks(page, "console"):
        for line in re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE):
            words = shlex.split(line, comments=True)
            if words[0] == "make":
                assert words[1] in targets, line
            elif words[0] == "python":
                runpy.run_path(words[1])
            else:
                assert words[0] == "mmgraph", line
                assert main(words[1:]) == 0, line


def test_the_python_of_the_readme_is_ten_lines() -> None:
    (block,) = _blocks(ROOT / "README.md", "python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 11
