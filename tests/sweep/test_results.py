"""The scores of a sweep: means, spreads, the table, and JSON there and back."""

import json

import numpy as np
import pytest

from mmgraph.errors import ArtifactError, DataError
from mmgraph.sweep import Sweep, variant
from mmgraph.train import Cell


def cell(run: int, name: str, score: float) -> Cell:
    return Cell(
        run=run,
        variant=name,
        metrics={"auroc": score},
        val_metrics={},
        seconds=0.0,
        data_sha256="",
        parts=(6, 2, 2),
        test_sha256="",
    )


@pytest.fixture
def sweep() -> Sweep:
    cells = []
    for run in (1, 0):  # in no order
        cells.append(cell(run, "majority", 0.5))
        for number, how in enumerate(("leave", "mean")):
            cells.append(cell(run, variant(how, "scan", 0), 0.9 - 0.1 * run))
            for rate in (0.5, 0.75):
                cells += [cell(run, variant(how, m, rate), 0.9 - rate / 2 + 0.1 * number - 0.1 * run) for m in "ab"]
    return Sweep(
        cells=cells,
        metric="auroc",
        rates=(0.0, 0.5, 0.75),
        modalities=("a", "b"),
        how=("leave", "mean"),
        parts="test",
        about={"dropout": 0.5},
    )


def test_scores_are_means_and_sample_deviations_over_runs(sweep: Sweep) -> None:
    assert sweep.values("a", 0.5, "leave") == pytest.approx([0.65, 0.55])
    assert sweep.mean("b", 0.75, "mean") == pytest.approx(np.mean([0.625, 0.525]))
    assert sweep.std("a", 0.5, "leave") == pytest.approx(np.std([0.65, 0.55], ddof=1))
    assert (sweep.runs, sweep.chance) == (2, 0.5)
    one = Sweep(**{**vars(sweep), "cells": [one for one in sweep.cells if one.run == 0]})
    assert one.std("a", 0.5, "leave") == 0.0


def test_at_rate_0_all_modalities_have_one_score(sweep: Sweep) -> None:
    assert sweep.mean("a", 0.0, "leave") == sweep.mean("b", 0.0, "leave") == pytest.approx(0.85)


def test_rows_name_every_point_once(sweep: Sweep) -> None:
    rows = sweep.rows()
    assert len(rows) == len({(row["modality"], row["how"], row["rate"]) for row in rows}) == 12
    assert rows[1] == {
        "modality": "a",
        "how": "leave",
        "rate": 0.5,
        "mean": pytest.approx(0.6),
        "std": pytest.approx(np.std([0.65, 0.55], ddof=1)),
    }


def test_the_table_shows_them(sweep: Sweep) -> None:
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as text:
        console.print(sweep.table(title="a sweep"))
    shown = text.get()
    for words in ("a sweep", "0.600±0.071", "75%", "missing in test", "chance 0.500", "over 2 runs"):
        assert words in shown
    assert "all parts" in str(Sweep(**{**vars(sweep), "parts": "all"}).table().caption)


def test_json_there_and_back(sweep: Sweep) -> None:
    text = json.dumps(sweep.to_json())
    again = Sweep.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.rows() == sweep.rows()
    assert again.rates == (0.0, 0.5, 0.75)


def test_errors_name_the_value(sweep: Sweep) -> None:
    with pytest.raises(DataError, match=r"one of \['leave\|a\|0.5'.*got 'leave\|c\|0.5'"):
        sweep.values("c", 0.5, "leave")
    with pytest.raises(DataError, match="and has 'f1'"):
        Sweep(**{**vars(sweep), "metric": "f1"}).mean("a", 0.5, "leave")
    with pytest.raises(ArtifactError, match="must have the format 'mmgraph.sweep/1', got 'other/2'"):
        Sweep.from_json({**sweep.to_json(), "format": "other/2"})
    with pytest.raises(ArtifactError, match="must have cells, rates and modalities: 'rates'"):
        Sweep.from_json({key: value for key, value in sweep.to_json().items() if key != "rates"})
    with pytest.raises(ArtifactError, match="must have cells"):
        Sweep.from_json([])
