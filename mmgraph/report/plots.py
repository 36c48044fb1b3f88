"""How the full model learned, what it confuses, and whether it knows how sure it is: drawn by matplotlib.

What is pooled is pooled over the runs: where each run has its own test part, a subject may count more than once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmgraph.report.svg import BLUE, CHOSEN, INK, LINE, ORANGE, PANEL, SOFT, STRONG, Panel, draw, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmgraph.train.results import Cell, Results

BINS = 15  # as the metric ``ece`` has
MOST_CLASSES = 40  # beyond it a confusion matrix can't be read


def curves(results: Results) -> Panel:
    """Training loss and validation score of the full model, epoch by epoch."""
    title, cells = "Learning curves", [cell for cell in _full(results) if cell.history]
    keys = [key for prefix in ("train_", "val_") if (key := _logged(cells, prefix))]
    if not keys:
        return Panel(title, "No learning curves: the full model kept no history of its epochs.")

    def paint(figure: Figure) -> None:
        boxes = np.atleast_1d(figure.subplots(len(keys), 1, sharex=True))
        for box, key in zip(boxes, keys, strict=True):
            for cell in cells:
                _curve(box, cell, key)
            box.set_title(_spoken(key), parse_math=False)
            box.margins(x=0.02)
        boxes[-1].set_xlabel("epoch")

    chosen = "" if all(cell.best_epoch < 0 for cell in cells) else " The dot is the epoch whose weights were kept."
    note = f"A line a run of the full model, its first fold if it has several ({_count(len(cells), 'run')}).{chosen}"
    return Panel(title, note, draw("curves", f"Line chart of {' and '.join(map(_spoken, keys))} by epoch", paint))


def confusion(results: Results) -> Panel:
    """True classes against predicted ones."""
    title = "Confusion matrix"
    pooled = pool(results)
    if pooled is None:
        return Panel(title, "No confusion matrix: the full model kept no predictions for labelled rows.")
    names = class_names(results, pooled.probabilities.shape[1])
    if not 2 <= len(names) <= MOST_CLASSES:
        return Panel(title, f"No confusion matrix: it takes 2 to {MOST_CLASSES} classes, and there are {len(names)}.")
    counts = np.zeros((len(names), len(names)), dtype=int)  # [true, predicted]
    np.add.at(counts, (pooled.labels, pooled.probabilities.argmax(axis=1)), 1)
    label = f"Confusion matrix of {len(names)} classes, {np.trace(counts)} of {counts.sum()} predictions right"
    svg = draw("confusion", label, lambda figure: _matrix(figure.subplots(), counts, names), height=372)
    return Panel(title, f"{_pooled(pooled)} Colour is the share of the row, of the true class.", svg)


def calibration(results: Results) -> Panel:
    """How often the full model is right where it says how sure it is."""
    title = "Calibration"
    pooled = pool(results)
    if pooled is None or pooled.probabilities.shape[1] < 2:
        return Panel(title, "No calibration: it takes probabilities of at least 2 classes for labelled rows.")
    sure = pooled.probabilities.max(axis=1)  # [rows]
    right = pooled.probabilities.argmax(axis=1) == pooled.labels
    bins = reliability(sure, right)
    error = expected_calibration_error(bins)
    note = f"{_pooled(pooled)} On the dashed line, confidence is the share that is right; larger dots hold more."
    label = f"Reliability diagram with expected calibration error {error:.3f}, and histogram of confidence"
    return Panel(title, note, draw("calibration", label, lambda figure: _reliability(figure, bins, error)))


class Pooled(NamedTuple):
    """Predictions of the full model for labelled test rows, over all runs."""

    probabilities: np.ndarray  # [rows, classes]
    labels: np.ndarray  # [rows]
    runs: int


class Bins(NamedTuple):
    """Predictions by confidence, ``[bins]`` each: how many, how sure on average, how many right; NaN where none."""

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def pool(results: Results) -> Pooled | None:
    """The predictions of the full model over all runs, or ``None`` where none were kept."""
    kept = [
        (np.asarray(cell.probabilities, dtype=float), np.asarray(cell.labels, dtype=int))
        for cell in _full(results)
        if len(cell.labels) and len(cell.probabilities) == len(cell.labels)
    ]
    if not kept:
        return None
    probabilities, labels = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    known = (labels >= 0) & (labels < probabilities.shape[1])
    return Pooled(probabilities[known], labels[known], len(kept)) if known.any() else None


def reliability(sure: np.ndarray, right: np.ndarray) -> Bins:
    """Groups predictions ``[rows]`` into bins of equal width by how sure they are."""
    place = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)  # [rows]
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, sure, BINS) / counts
        accuracy = np.bincount(place, right, BINS) / counts
    return Bins(counts, confidence, accuracy)


def expected_calibration_error(bins: Bins) -> float:
    r"""Mean distance of confidence and accuracy, :math:`\sum_b \frac{n_b}{n} |acc_b - conf_b|` (Naeini et al. 2015).

    Example:
        >>> round(expected_calibration_error(reliability(np.array([0.9, 0.9]), np.array([True, False]))), 3)
        0.4
    """
    some = bins.counts > 0
    gaps = np.abs(bins.accuracy - bins.confidence)[some]
    return float((gaps * bins.counts[some]).sum() / bins.counts.sum())


def class_names(results: Results, number: int) -> list[str]:
    """The names of the classes; their numbers where they have none."""
    return (
        [str(name) for name in results.classes] if len(results.classes) == number else [str(c) for c in range(number)]
    )


def _full(results: Results) -> list[Cell]:
    cells = [cell for cell in results.cells if cell.variant == results.variants[0]]
    return sorted(cells, key=lambda cell: cell.run)


def _logged(cells: Sequence[Cell], prefix: str) -> str | None:
    """What to draw of what was logged: the total, or else the first of its kind."""
    found = dict.fromkeys(key for cell in cells for entry in cell.history for key in entry if key.startswith(prefix))
    return f"{prefix}total" if f"{prefix}total" in found else next(iter(found), None)


def _spoken(key: str) -> str:
    kind, _, name = key.partition("_")
    return f"{'Training loss' if kind == 'train' else 'Validation'} ({plain(name, 30)})"


def _curve(box: Axes, cell: Cell, key: str) -> None:
    entries = [(entry.get("epoch", number), entry[key]) for number, entry in enumerate(cell.history) if key in entry]
    if not entries:
        return
    epochs, values = np.array(entries, dtype=float).T
    box.plot(epochs, values, color=BLUE if key.startswith("train_") else ORANGE, linewidth=1.1, alpha=0.75)
    chosen = epochs == cell.best_epoch
    box.plot(epochs[chosen], values[chosen], "o", color=CHOSEN, markersize=6.5, markeredgecolor=PANEL, zorder=5)


def _matrix(box: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows, 1)  # [true, predicted]
    size = float(np.clip(64 / len(names), 6, 12))
    for (true, predicted), count in np.ndenumerate(counts):
        share = shares[true, predicted]
        box.add_patch(
            Rectangle((predicted - 0.48, true - 0.48), 0.96, 0.96, color=BLUE, alpha=0.06 + 0.94 * share, lw=0)
        )
        if len(names) <= 15:
            said = f"{count}\n{share:.0%}" if len(names) <= 6 else f"{count}"
            box.text(predicted, true, said, ha="center", va="center", color=STRONG if share > 0.5 else INK, size=size)
    short = [plain(name, 11) for name in names]
    box.set(
        xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal", xlabel="predicted", ylabel="true"
    )
    slant = 0 if max(map(len, short)) * len(names) <= 28 else 90
    box.set_xticks(range(len(names)), short, rotation=slant, parse_math=False)
    box.set_yticks(range(len(names)), short, rotation=90 if slant == 0 else 0, va="center", parse_math=False)
    box.grid(visible=False)
    box.spines[:].set_visible(False)


def _reliability(figure: Figure, bins: Bins, error: float) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    some = bins.counts > 0
    left = max(0.0, float(np.flatnonzero(some)[0]) / BINS - 0.02)
    top.plot([0, 1], [0, 1], linestyle=(0, (4, 3)), color=SOFT, linewidth=1)
    top.vlines(bins.confidence[some], bins.confidence[some], bins.accuracy[some], color=CHOSEN, linewidth=2, alpha=0.6)
    area = 12 + 100 * np.sqrt(bins.counts[some] / bins.counts.max())
    top.scatter(bins.confidence[some], bins.accuracy[some], s=area, color=BLUE, edgecolor=PANEL, zorder=3)
    top.set(xlim=(left, 1.02), ylim=(max(0.0, min(left, float(bins.accuracy[some].min()))) - 0.03, 1.03))
    top.set_title(f"Share that is right (ECE {error:.3f}, {BINS} bins)")
    bottom.bar((np.arange(BINS) + 0.5) / BINS, bins.counts, width=0.86 / BINS, color=BLUE, alpha=0.7)
    bottom.set_title("Predictions")
    bottom.set_xlabel("confidence")
    bottom.spines["bottom"].set_color(LINE)


def _pooled(pooled: Pooled) -> str:
    return f"{_count(len(pooled.labels), 'test prediction')} over {_count(pooled.runs, 'run')}."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
