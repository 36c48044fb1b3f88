"""The notebooks are what their sources make, run without an error, and hold what they show."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = {  # cells with text that a reader looks for
    "population_graph": ["without:worst", "no_graph", "The graph"],
    "multimodal_search": ["picture", "With noise in place of all features recall@10 is"],
    "knowledge_graph": ["also in training", "shuffled:name", "frequency"],
}


def _texts(notebook) -> str:
    """What the cells say, pictures apart."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = [output.get("data", {}).get(f"text/{kind}", "") for output in outputs for kind in ("plain", "markdown")]
    return "\n".join([*said, *(output.get("text", "") for output in outputs)])


def _pictures(notebook) -> list[str]:
    """The cells that show a picture."""
    return [
        cell.id
        for cell in notebook.cells
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))
    ]


def test_there_are_three() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_what_its_source_makes_and_holds_its_outputs(path, builder) -> None:
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    made = builder.read_source(path.with_suffix(".py"))
    assert [(one.id, one.source) for one in stored.cells] == [(one.id, one.source) for one in made.cells]
    assert path.stat().st_size < 600_000
    assert _pictures(stored) == [cell.id for cell in stored.cells if cell.metadata.get("alt")]
    assert len(_pictures(stored)) >= 4
    for text in SHOWN[path.stem]:
        assert text in _texts(stored)
    kinds = {output.output_type for cell in stored.cells for output in cell.get("outputs", ())}
    assert kinds <= {"display_data", "execute_result"}  # no error, no warning
    assert str(Path.home()) not in path.read_text()
    assert str(ROOT) not in path.read_text()


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, builder, tmp_path) -> None:
    stored = nbformat.read(path, as_version=4)
    done = builder.execute(builder.read_source(path.with_suffix(".py")), tmp_path, timeout_s=250)
    assert _pictures(done) == _pictures(stored)
    for text in SHOWN[path.stem]:
        assert text in _texts(done)


@pytest.mark.filterwarnings("ignore")
def test_an_error_in_a_cell_is_an_error_and_its_kernel_ends(builder, tmp_path) -> None:
    source = tmp_path / "broken.py"
    source.write_text('"""Broken."""\n\n# %%\nimport os\n\nopen("pid", "w").write(str(os.getpid()))\n1 / 0\n')
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        builder.execute(builder.read_source(source), tmp_path)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_a_source_becomes_cells(builder, tmp_path) -> None:
    source = tmp_path / "two_words.py"
    source.write_text('"""Head."""\n\n# %% [markdown]\n# # Title\n#\n# Text.\n\n# %% alt="A line"\nx = 1\n\n# %%\nx\n')
    made = builder.read_source(source)
    assert [(one.cell_type, one.id, one.source) for one in made.cells] == [
        ("markdown", "two-words-0", "# Title\n\nText."),
        ("code", "two-words-1", "x = 1"),
        ("code", "two-words-2", "x"),
    ]
    assert made.cells[1].metadata == {"alt": "A line"}


def test_a_notebook_becomes_a_page(notebook_pages, tmp_path) -> None:
    png = "iVBORw0KGgo="
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": png, "text/plain": "<Figure>"}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": "*so*", "text/plain": "<M>"}},
        {"output_type": "stream", "name": "stdout", "text": "\x1b[1mbold\x1b[0m\n"},
    ]
    code = {"cell_type": "code", "id": "b", "execution_count": 1, "source": "x", "outputs": outputs}
    cells = [
        {"cell_type": "markdown", "id": "a", "source": "# T", "metadata": {}},
        {**code, "metadata": {"alt": "A dot"}},
    ]
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    text, pictures = notebook_pages.to_markdown(file)
    assert text == "# T\n\n```python\nx\n```\n\n![A dot](n-1-0.png)\n\n*so*\n\n```text\nbold\n```\n"
    assert pictures == {"n-1-0.png": b"\x89PNG\r\n\x1a\n"}
    assert not re.search("\x1b", text)
