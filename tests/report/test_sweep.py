"""The page of a sweep: every number, a line a strategy, nothing from elsewhere."""

import re
from xml.etree import ElementTree

import pytest

from mmgraph.report.sweep import INKS, panels, render, write
from mmgraph.sweep import Sweep, variant
from mmgraph.train import Cell, record

HOW = ("leave", "mean", "token")


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    cells = []

    def add(run: int, name: str, score: float) -> None:
        empty = {"val_metrics": {}, "seconds": 0.0, "data_sha256": "", "parts": (6, 2, 2), "test_sha256": ""}
        cells.append(Cell(run=run, variant=name, metrics={"auroc": score}, **empty))

    for run in range(2):
        add(run, "majority", 0.5)
        for number, how in enumerate(HOW):
            add(run, variant(how, "", 0), 0.9)
            for modality in ("<scan>", "all"):
                add(run, variant(how, modality, 0.5), 0.7 + 0.02 * number + 0.01 * run)
    return Sweep(
        cells=cells,
        metric="auroc",
        rates=(0.0, 0.5),
        modalities=("<scan>", "all"),
        how=HOW,
        parts="test",
        about={"config": {"epochs": 3}},
    )


def test_a_drawing_a_modality_with_a_line_and_a_band_a_strategy(sweep: Sweep) -> None:
    found = panels(sweep)
    assert [panel.title for panel in found] == ["<scan> missing", "Each modality missing"]
    for panel in found:
        root = ElementTree.fromstring(str(panel.svg).replace("xlink:", ""))
        text = ElementTree.tostring(root, encoding="unicode")
        for number in range(len(HOW)):
            assert f"stroke: var(--c{number})" in text  # its line
            assert f"fill: var(--c{number})" in text  # its band
        assert f"var(--c{len(HOW)})" not in text
        assert not any(ink in text for ink in INKS)
        assert "stroke-dasharray" in text
        assert "0%" in text
        assert "50%" in text
        assert "2 runs" in panel.note


def test_the_page_has_every_number_and_stands_alone(sweep: Sweep) -> None:
    page = render(sweep, title="What <if>?", record=record())
    for row in sweep.rows():
        assert f"{row['mean']:.3f}" in page
    for words in (
        "What &lt;if&gt;?",
        "&lt;scan&gt;",
        "Chance is 0.500",
        "config.epochs",
        "test part alone",
        "versions.",
    ):
        assert words in page
    assert "<scan>" not in page.replace("<scan> missing", "")
    assert len(re.findall(r'<th scope="row">(?:leave|mean|token)</th>', page)) == 6
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "http" not in page.replace("http-equiv", "")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_equal_sweeps_give_equal_pages(sweep: Sweep, tmp_path) -> None:
    again = Sweep.from_json(sweep.to_json())
    path = write(again, tmp_path / "page.html", title="A")
    assert path.read_text() == render(sweep, title="A")
    everywhere = Sweep(**{**vars(sweep), "parts": "all"})
    assert "in all parts" in render(everywhere, title="A")


def test_a_chance_that_is_far_off_does_not_squeeze_the_lines(sweep: Sweep) -> None:
    high = [Cell(**{**vars(c), "metrics": {"auroc": 0.5 if c.variant == "majority" else 0.99}}) for c in sweep.cells]
    some = [Cell(**{**vars(c), "metrics": {"auroc": 0.97}}) if "0.5" in c.variant else c for c in high]
    panel = panels(Sweep(**{**vars(sweep), "cells": some}))[0]
    assert "chance, 0.500, is off the drawing" in panel.note
    assert "stroke-dasharray" not in panel.svg
    assert "0.500" not in panel.svg
    assert "dashed: chance" in panels(sweep)[0].note


def test_where_all_scores_are_one_it_still_draws(sweep: Sweep) -> None:
    cells = [Cell(**{**vars(cell), "metrics": {"auroc": 0.5}}) for cell in sweep.cells if cell.run == 0]
    flat = Sweep(**{**vars(sweep), "cells": cells})
    assert "over 1 run;" in panels(flat)[0].note
