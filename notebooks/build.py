"""Makes the notebooks of their sources, and carries them out: `python notebooks/build.py [NAME ...]`.

A source is a Python file in which `# %%` begins a cell of code and `# %% [markdown]` one of text, as editors know it;
what stands before the first is no part of the notebook. `# %% alt="…"` says in words what the picture of a cell shows.
Change the source, then run this: a test holds that the notebook is what its source makes.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
CELL = re.compile(r'^# %%(?: (\[markdown\]))?(?: alt="([^"]*)")?$', re.MULTILINE)


def sources() -> list[Path]:
    """The sources of the notebooks."""
    return sorted(path for path in HERE.glob("*.py") if path.stem != "build")


def read_source(path: Path) -> nbformat.NotebookNode:
    """Gives a source as a notebook that was not carried out."""
    _, *parts = CELL.split(path.read_text(encoding="utf-8"))
    cells = []
    for number in range(0, len(parts), 3):
        kind, alt, text = parts[number : number + 3]
        name = f"{path.stem.replace('_', '-')}-{number // 3}"
        if kind:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.strip().splitlines())
            cells.append(new_markdown_cell(text, id=name))
        else:
            cells.append(new_code_cell(text.strip(), id=name, metadata={"alt": alt} if alt else {}))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(notebook: nbformat.NotebookNode, folder: Path, *, timeout_s: float = 300) -> nbformat.NotebookNode:
    """Carries a notebook out in a folder, in place; its kernel is ended whatever happens.

    Raises:
        CellExecutionError: A cell raises.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment["PYTHONWARNINGS"] = "ignore"  # of other packages; they hold the paths of this machine
    where = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory() as pipes:  # no ports: several may run at once
        manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{pipes}/kernel")
        client = NotebookClient(notebook, km=manager, timeout=timeout_s, resources=where, record_timing=False)
        client.execute(env=environment, cleanup_kc=True)
    return notebook


def main(names: list[str]) -> None:
    """Makes the notebooks of these names, by default all."""
    for path in sources():
        if not names or path.stem in names:
            notebook = execute(read_source(path), HERE)
            nbformat.write(notebook, path.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
