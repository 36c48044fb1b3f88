"""Results and stories made up to look like those of a real run, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmgraph.report import Neighbourhood, Story
from mmgraph.train.results import Cell, Results

VARIANTS = {
    "full": 0.948,
    "no_graph": 0.951,
    "shuffled_edges": 0.925,
    "without:mean": 0.938,
    "without:error": 0.944,
    "without:worst": 0.927,
    "flat_linear": 0.962,
    "late_linear": 0.940,
    "majority": 0.627,
}
HIGHER_IS_BETTER = {"accuracy": True, "f1": True, "f1_macro": True, "f1_weighted": True, "auroc": True}
HIGHER_IS_BETTER |= {"brier": False, "ece": False, "log_loss": False}


def make_cell(run: int, variant: str, target: float, rng: np.random.Generator, classes: int = 2) -> Cell:
    labels = rng.choice(classes, 171, p=[0.627, 0.373] if classes == 2 else None)
    sure = np.clip(rng.beta(8, 1.1, 171), 1 / classes + 0.01, 0.999)
    right = rng.random(171) < target * (0.75 + 0.27 * sure)
    answers = np.where(right, labels, (labels + rng.integers(1, classes, 171)) % classes)
    probabilities = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probabilities[np.arange(171), answers] = sure
    score = float(np.clip(target + rng.normal(0, 0.009), 0, 1))
    metrics = {name: score + 0.01 * number * (1 - score) for number, name in enumerate(HIGHER_IS_BETTER)}
    metrics |= {name: (1 - score) * (1 + number) for number, name in enumerate(["brier", "ece", "log_loss"])}
    trained = variant not in ("majority", "flat_linear", "late_linear")
    epochs = np.arange(60 - 4 * run)
    loss = 0.69 * np.exp(-epochs / 9) + 0.05 + rng.normal(0, 0.008, len(epochs))
    val = 0.62 * np.exp(-epochs / 8) + 0.11 + 0.0012 * np.maximum(epochs - 25, 0) + rng.normal(0, 0.006, len(epochs))
    history = [
        {"epoch": float(e), "train_total": float(t), "train_cross_entropy": float(t), "val_log_loss": float(v)}
        for e, t, v in zip(epochs, loss, val, strict=True)
    ]
    return Cell(
        run=run,
        variant=variant,
        metrics=metrics,
        val_metrics=metrics,
        seconds=2.4 if trained else 0.0,
        data_sha256="ab" * 32,
        parts=(341, 57, 171),
        test_sha256=f"{run:064d}",
        best_epoch=int(val.argmin()) if trained else -1,
        history=history if trained else (),
        probabilities=probabilities.round(6).tolist(),
        labels=labels.tolist(),
    )


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Results]:
    def make(
        runs: int = 5, variants: dict[str, float] = VARIANTS, classes: tuple[str, ...] = ("benign", "malignant")
    ) -> Results:
        rng = np.random.default_rng(0)
        cells = [
            make_cell(run, name, target, rng, len(classes)) for run in range(runs) for name, target in variants.items()
        ]
        return Results(cells, "accuracy", HIGHER_IS_BETTER, classes)

    return make


@pytest.fixture(scope="session")
def make_story(make_results: Callable[..., Results]) -> Callable[..., Story]:
    def make(results: Results | None = None, rows: int = 0, **changes: Any) -> Story:
        given: dict[str, Any] = {
            "title": "Does a patient graph help to tell breast tumours apart?",
            "lead": "569 tumours in three modalities, joined to their 10 nearest in each; gated fusion, 5 resplits.",
            "results": results or make_results(),
            "published": [{"source": "Street 1993", "metric": "accuracy", "value": 0.97}],
            "config": {"epochs": 200, "graph": {"k": 10, "metric": "euclidean"}, "hidden": [32, 16], "patience": None},
            "record": {"versions": {"torch": "2.13.0", "mmgraph": "0.1.0"}, "machine": "Linux x86_64", "commit": None},
        }
        if rows:
            given |= cloud(rows)
        return Story(**{**given, **changes})

    return make


def cloud(rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    labels = rng.choice(2, rows, p=[0.63, 0.37])
    return {
        "points": rng.normal(size=(rows, 16)) + 3.0 * labels[:, None] * (np.arange(16) < 3),
        "point_ids": [f"patient-{row:03d}" for row in range(rows)],
        "point_labels": [("benign", "malignant")[label] for label in labels],
        "point_parts": rng.choice(["train", "val", "test"], rows, p=[0.6, 0.1, 0.3]).tolist(),
    }


@pytest.fixture
def neighbourhood() -> Neighbourhood:
    rng = np.random.default_rng(2)
    ids = ["patient-042", *(f"patient-{row}" for row in rng.choice(500, 14, replace=False) + 100)]
    edges = [
        (place, 0, f"near_{name}")
        for place in range(1, 15)
        for name in ("mean", "error", "worst")
        if rng.random() < 0.6
    ]
    edges += [(int(a), int(b), "near_mean") for a, b in rng.choice(15, (12, 2))]
    return Neighbourhood(
        centre="patient-042",
        ids=ids,
        labels=["malignant", *rng.choice(["benign", "malignant"], 14, p=[0.4, 0.6]).tolist()],
        edges=edges,
        similarity=[1.0, *np.sort(rng.uniform(0.6, 0.98, 14))[::-1].tolist()],
    )
