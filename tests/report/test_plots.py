"""The numbers behind the drawings, against slow references; and drawings at the edges of what they can draw."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from mmgraph.report import Neighbourhood, maps, plots, table
from mmgraph.report.svg import mark
from mmgraph.train.results import Difference, Results


def test_pooled_calibration_error_equals_torchmetrics(make_results: Any) -> None:
    pooled = plots.pool(make_results())
    assert pooled is not None
    sure, right = pooled.probabilities.max(axis=1), pooled.probabilities.argmax(axis=1) == pooled.labels
    expected = multiclass_calibration_error(
        torch.from_numpy(pooled.probabilities), torch.from_numpy(pooled.labels), num_classes=2, n_bins=plots.BINS
    )
    found = plots.expected_calibration_error(plots.reliability(sure, right))
    assert found == pytest.approx(float(expected), abs=1e-6)


def test_confusion_matrix_prints_the_counts_of_all_runs(make_results: Any) -> None:
    results = make_results()
    counts = np.zeros((2, 2), dtype=int)
    for cell in results.cells:
        if cell.variant == "full":
            for row, label in zip(cell.probabilities, cell.labels, strict=True):
                counts[label, int(np.argmax(row))] += 1
    svg = plots.confusion(results).svg
    printed = [int(text) for text in re.findall(r">(\d+)</t(?:ext|span)>", svg)]
    assert printed == counts.flatten().tolist()


def test_rows_without_a_label_are_in_no_drawing(make_results: Any) -> None:
    results = make_results(runs=1, variants={"full": 0.9})
    [cell] = results.cells
    pooled = plots.pool(Results([replace(cell, labels=[-1, *cell.labels[1:]])], "accuracy"))
    assert pooled is not None
    assert len(pooled.labels) == 170


def test_curves_draw_a_line_a_run_in_each_panel(make_results: Any) -> None:
    svg = plots.curves(make_results()).svg
    assert svg.count("stroke: var(--c0)") == svg.count("stroke: var(--c1)") == 5
    assert "Validation (log_loss)" in svg
    assert "Training loss (total)" in svg


def test_curves_without_validation_have_one_panel(make_results: Any) -> None:
    cells = [replace(cell, history=[{"train_total": 1.0}, {"train_total": 0.5}]) for cell in make_results().cells]
    panel = plots.curves(Results(cells, "accuracy"))
    assert "Training loss" in panel.svg
    assert "Validation" not in panel.svg


@pytest.mark.parametrize("classes", [3, 12, 30, 41])
def test_confusion_of_many_classes(classes: int, make_results: Any) -> None:
    names = tuple(f"Klasse {number} 日本 $\\frac{{" for number in range(classes))
    panel = plots.confusion(make_results(runs=1, classes=names))
    assert bool(panel.svg) == (classes <= plots.MOST_CLASSES)


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    code = """
import sys, matplotlib
from mmgraph.report.svg import draw
before = dict(dict.items(matplotlib.rcParams))
draw("a", "A", lambda figure: figure.subplots().plot([0, 1]))
assert dict(dict.items(matplotlib.rcParams)) == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_marks_of_32_labels_differ() -> None:
    assert len({mark(number, 0, 0, 4, "") for number in range(32)}) == 32


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (49, 3), (60, 1), (60, 70)])
def test_plane_takes_any_shape_and_is_always_the_same(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(0).normal(size=shape)
    flat, how = maps.plane(points)
    assert flat.shape == (shape[0], 2)
    assert np.isfinite(flat).all()
    assert how == ("by t-SNE" if shape[0] >= 50 else "by principal components")
    assert np.array_equal(flat, maps.plane(points)[0])


def test_plane_of_points_all_alike() -> None:
    flat, how = maps.plane(np.ones((60, 4)))
    assert how == "by principal components"
    assert not flat.any()


def test_principal_components_keep_distances() -> None:
    points = np.random.default_rng(0).normal(size=(8, 5))
    found = maps.principal(points, 50)
    for a in range(8):
        for b in range(8):
            assert math.dist(found[a], found[b]) == pytest.approx(math.dist(points[a], points[b]))


def test_sample_is_fixed_and_capped() -> None:
    assert maps.sample(5).tolist() == [0, 1, 2, 3, 4]
    rows = maps.sample(10_000)
    assert len(set(rows.tolist())) == maps.MOST_POINTS
    assert np.array_equal(rows, maps.sample(10_000))


def test_map_without_ids_labels_or_parts(make_story: Any) -> None:
    panel = maps.subjects(make_story(points=np.eye(5)))
    assert "<title>row 4</title>" in panel.svg
    assert panel.legend == []
    assert "No map" in maps.subjects(make_story(points=np.ones((0, 3)))).note


def test_a_label_has_one_colour_on_the_page(make_story: Any) -> None:
    around = Neighbourhood(centre="a", ids=["a", "b"], labels=["malignant", ""])
    story = make_story(rows=60, neighbourhood=around)
    assert maps.label_numbers(story) == {"benign": 0, "malignant": 1}
    svg = maps.neighbours(story).svg
    assert 'class="mark c1 node"' in svg
    assert 'class="mark c7 node"' in svg  # unlabelled


def test_neighbours_nearer_in_similarity_are_drawn_nearer(make_story: Any, neighbourhood: Neighbourhood) -> None:
    spots = maps.ring(neighbourhood)
    reach = np.hypot(*spots.T)
    assert reach[0] == 0
    assert (np.diff(reach[1:]) >= 0).all()  # the fixture's similarities fall
    panel = maps.neighbours(make_story(neighbourhood=neighbourhood))
    assert "<title>patient-042 · malignant</title>" in panel.svg
    assert [key.text for key in panel.legend[-3:]] == ["near_mean", "near_error", "near_worst"]


def test_an_edge_and_its_way_back_are_one_line(make_story: Any) -> None:
    edges = [(0, 1, "near"), (1, 0, "near"), (1, 1, "near"), (0, 1, "agrees")]
    svg = maps.neighbours(make_story(neighbourhood=Neighbourhood(centre="a", ids=["a", "b"], edges=edges))).svg
    assert svg.count('class="edge') == 2


def test_scale_of_the_differences_is_not_stretched_by_one_that_is_far() -> None:
    near, far = Difference(0.01, -0.01, 0.03, 0.3, 5), Difference(0.4, 0.38, 0.42, 0.0, 5)
    limit = table.reach([near, near, far])
    assert limit == pytest.approx(0.0324)
    assert 'class="tip"' in table.interval_bar(far, limit)
    assert 'class="tip"' not in table.interval_bar(near, limit)
    assert table.reach([]) == table.reach([Difference(0, 0, 0, 1, 5)]) == 1.0


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 0.2, "good"), (-0.2, -0.1, "bad"), (-0.1, 0.1, "none"), (0.0, 0.1, "none")]
)
def test_tone(low: float, high: float, expected: str) -> None:
    assert table.tone(Difference((low + high) / 2, low, high, 0.5, 5)) == expected
