"""Scores beside their controls: means, spreads, and paired differences with their intervals."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from mmgraph.errors import ArtifactError, DataError

FULL = "full"
QUESTIONS = {  # what a control answers
    "no_graph": "The graph",
    "flat_linear": "The network over a linear model",
    "cca": "The aligner over canonical correlation",
}
DEALT = "shuffled:"  # and the payload that a control deals to other entities
ANSWERS = {1: "helps", -1: "hurts", 0: "makes no difference that these runs could show"}
SCORES = ("metrics", "val_metrics")
MOST_SHOWN = 4  # metrics in the terminal; a report shows all
SHOWN = ("accuracy", "f1_macro", "auroc", "recall@1", "recall@10", "class_map", "mrr", "hits@1", "hits@10")
"""Metrics that the terminal shows after the main one."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One variant (the full model, a control, a rival) in one run.

    Args:
        run: Number of the run: of the seed, and of the resplit if the data is split anew each time.
        variant: ``full``, or the name of the control or rival.
        metrics: Scores on the test part; NaN where nothing is asked of a metric.
        val_metrics: Scores on the validation part.
        seconds: Time of the fit.
        data_sha256: Digest of the graph.
        parts: How many rows training, validation and test have.
        test_sha256: Digest of which rows the test part has.
        best_epoch: The epoch whose weights were kept; -1 where nothing was trained by epochs.
        history: What was logged, an entry an epoch.
        probabilities: Predictions for the test part, a list a row.
        labels: True classes of the test part.
    """

    run: int
    variant: str
    metrics: Mapping[str, float]
    val_metrics: Mapping[str, float]
    seconds: float
    data_sha256: str
    parts: tuple[int, int, int]
    test_sha256: str
    best_epoch: int = -1
    history: Sequence[Mapping[str, float]] = ()
    probabilities: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()

    def to_json(self) -> dict[str, Any]:
        """Gives what :meth:`from_json` reads; ``None`` for a score that is NaN."""
        return {**asdict(self), **{name: _to_json(getattr(self, name)) for name in SCORES}}

    @classmethod
    def from_json(cls, value: Any) -> Cell:
        """Reads a cell.

        Raises:
            ArtifactError: The value is not a cell.
        """
        try:
            scores = {name: _from_json(value[name]) for name in SCORES}
            return cls(**{**value, **scores, "parts": tuple(value["parts"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise ArtifactError(
                f"A cell of results must have the fields of Cell: {error}; remove it and run again"
            ) from None


class Difference(NamedTuple):
    """Full model minus variant, over the runs: positive favours the full model (whatever the metric)."""

    mean: float
    low: float
    high: float
    p: float
    runs: int

    @property
    def sign(self) -> int:
        """1 where the full model is better, -1 where it is worse, 0 where the interval can't tell."""
        return int(self.low > 0) - int(self.high < 0)

    def to_json(self) -> dict[str, float | None]:
        """Gives the fields; ``None`` for those that one run alone can't give."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Results:
    """The cells of an experiment.

    Args:
        cells: One a variant and run.
        metric: The metric that the verdict is about.
        higher_is_better: Metric → direction.
        classes: Names of the classes, in the order of their numbers.

    Example:
        >>> cell = dict(val_metrics={}, seconds=0.0, data_sha256="", parts=(6, 2, 2), test_sha256="")
        >>> results = Results(
        ...     [
        ...         Cell(run=run, variant=variant, metrics={"accuracy": accuracy + run / 10}, **cell)
        ...         for run in range(3)
        ...         for variant, accuracy in {"full": 0.7, "majority": 0.5}.items()
        ...     ],
        ...     metric="accuracy",
        ... )
        >>> round(results.mean("full", "accuracy"), 3), round(results.difference("majority").mean, 3)
        (0.8, 0.2)
    """

    cells: Sequence[Cell]
    metric: str
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    classes: Sequence[str] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants, the full model first."""
        return tuple(dict.fromkeys([FULL, *(cell.variant for cell in self.cells)]))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics."""
        return tuple(self.cells[0].metrics) if self.cells else ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Parts of the rows that the main metric is there for too: ``"tail"`` for ``"mrr tail"``; no empty ones."""
        names = [name.removeprefix(self.metric).strip() for name in self.metrics if name.startswith(f"{self.metric} ")]
        full = [cell.metrics for cell in self.cells if cell.variant == FULL]
        known = {name for name in names if any(math.isfinite(one[f"{self.metric} {name}"]) for one in full)}
        return tuple(name for name in names if name in known)

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len({cell.run for cell in self.cells})

    @property
    def resplit(self) -> bool:
        """Whether each run had its own test part."""
        return len({cell.test_sha256 for cell in self.cells if cell.variant == FULL}) > 1

    def values(self, variant: str, metric: str) -> np.ndarray:
        """The scores of a variant, run by run; NaN where it has none, as what is no model has no likelihood.

        Raises:
            DataError: There is no such variant or metric.
        """
        cells = sorted((cell for cell in self.cells if cell.variant == variant), key=lambda cell: cell.run)
        if not cells or metric not in self.metrics:
            raise DataError(
                f"Results must be asked for one of {self.variants} and {self.metrics}, got {variant!r}, {metric!r}"
            )
        return np.array([cell.metrics.get(metric, math.nan) for cell in cells])

    def mean(self, variant: str, metric: str) -> float:
        """Mean over the runs."""
        return float(self.values(variant, metric).mean())

    def std(self, variant: str, metric: str) -> float:
        """Standard deviation over the runs (of the sample; 0 for one run)."""
        values = self.values(variant, metric)
        return float(values.std(ddof=1)) if len(values) > 1 else 0.0

    def difference(self, variant: str, metric: str | None = None) -> Difference:
        r"""The full model minus a variant, paired by run, with its 95 % confidence interval.

        Over resplits of the same rows the runs are not independent; the variance is corrected by the share of
        test rows (Nadeau and Bengio 2003, Inference for the generalization error, Machine Learning 52):

        .. math:: \hat\sigma^2 \Big(\frac1n + \frac{n_{test}}{n_{train}}\Big)

        Where a lower score is better the sign is turned, so that positive always favours the full model.
        """
        metric = metric or self.metric
        sign = 1 if self.higher_is_better.get(metric, True) else -1
        gaps = sign * (self.values(FULL, metric) - self.values(variant, metric))
        n, mean = len(gaps), float(gaps.mean())
        if n < 2:
            return Difference(mean, -math.inf, math.inf, math.nan, n)
        train, val, test = self.cells[0].parts
        overlap = test / (train + val) if self.resplit else 0.0
        spread = math.sqrt(float(gaps.var(ddof=1)) * (1 / n + overlap))
        if spread == 0:
            return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0, n)
        reach = float(stats.t.ppf(0.975, n - 1)) * spread
        return Difference(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / spread, n - 1)), n)

    def questions(self) -> dict[str, str]:
        """Which controls answer a question, and about what: the graph, the network, payloads, all modalities together.

        A payload has to do better than that of another entity in its place. All modalities have to do better than the
        best that is left when one of them is taken away: of two modalities, the better one alone.
        """
        asked = {variant: subject for variant, subject in QUESTIONS.items() if variant in self.variants}
        dealt = [name for name in self.variants if name.startswith(DEALT)]
        asked |= {name: f"The {name.removeprefix(DEALT)} of an entity over that of another" for name in dealt}
        sign = 1 if self.higher_is_better.get(self.metric, True) else -1
        without = {name: sign * self.mean(name, self.metric) for name in self.variants if name.startswith("without:")}
        if len(without) > 1:
            best = max(without, key=without.__getitem__)
            asked[best] = f"Fusion over the best with one modality less ({best})"
        return asked

    def verdict(self) -> str:
        """One sentence about each question that the controls answer: does the graph help, the network, the fusion?"""
        said = []
        for variant, subject in self.questions().items():
            if self.runs < 2:
                continue
            gap = self.difference(variant)
            range_ = f"{gap.mean:+.3f} {self.metric}, 95 % interval {gap.low:+.3f} to {gap.high:+.3f}"
            said.append(f"{subject} {ANSWERS[gap.sign]} ({range_}).")
        if {"noise", "chance"} <= set(self.variants):
            noise, chance = self.mean("noise", self.metric), self.mean("chance", self.metric)
            said.append(f"With noise in place of all features {self.metric} is {noise:.3f}, by chance {chance:.3f}.")
        return " ".join(said)

    def rows(self, metrics: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The table: one entry a variant, with mean and spread a metric, and the difference from the full model."""
        table = []
        for variant in self.variants:
            row: dict[str, Any] = {"variant": variant}
            for metric in metrics or self.metrics:
                row[metric] = (self.mean(variant, metric), self.std(variant, metric))
            row["difference"] = None if variant == FULL else self.difference(variant)
            table.append(row)
        return table

    def table(self, *, title: str = "") -> Table:
        """The table for a terminal: a row a variant, mean ± std a metric, the full model's lead with its interval."""
        metrics = [metric for metric in dict.fromkeys((self.metric, *SHOWN)) if metric in self.metrics][:MOST_SHOWN]
        caption = (
            f"mean ± std over {self.runs} runs; lead: full model minus row in {self.metric}, paired, 95 % interval"
        )
        table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("variant", no_wrap=True)
        for metric in metrics:
            table.add_column(metric, justify="right", min_width=len("0.000±0.000"))
        table.add_column("lead", justify="right", no_wrap=True)
        for row in self.rows(metrics):
            scores = [f"{mean:.3f}±{std:.3f}" for mean, std in (row[metric] for metric in metrics)]
            gap = row["difference"]
            if gap is None:
                lead = ""
            else:
                interval = f" ({gap.low:+.3f} {gap.high:+.3f})" if math.isfinite(gap.low) else ""
                lead = f"{gap.mean:+.3f}{interval}"
            table.add_row(row["variant"], *scores, lead, style="bold" if gap is None else "")
        return table

    def __str__(self) -> str:
        console = Console(width=100, file=io.StringIO())
        with console.capture() as text:
            console.print(self.table(), self.verdict())
        return text.get().rstrip()

    def to_json(self) -> dict[str, Any]:
        """Gives what :meth:`from_json` reads."""
        return {
            "metric": self.metric,
            "higher_is_better": dict(self.higher_is_better),
            "classes": list(self.classes),
            "cells": [cell.to_json() for cell in self.cells],
        }

    @classmethod
    def from_json(cls, value: Any) -> Results:
        """Reads results.

        Raises:
            ArtifactError: The value is not results.
        """
        try:
            cells = [Cell.from_json(cell) for cell in value["cells"]]
            return cls(cells, value["metric"], value["higher_is_better"], tuple(value["classes"]))
        except (TypeError, KeyError) as error:
            raise ArtifactError(f"Results must have metric, classes and cells: {error}; run the recipe again") from None


def _from_json(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in scores.items()}


def _to_json(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in scores.items()}
