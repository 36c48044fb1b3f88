"""The table of scores: a row a variant, with its runs and its difference from the full model drawn to scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from mmgraph.train.results import Difference, Results

WIDTH, HEIGHT = 116, 20
LEFT_TIP, RIGHT_TIP = '<path class="tip" d="M8 5l-6 5l6 5"/>', f'<path class="tip" d="M{WIDTH - 8} 5l6 5l-6 5"/>'

ABOUT = {
    "full": "the model of this run",
    "no_graph": "same model, no relations",
    "shuffled_edges": "nodes relabelled at random",
    "flat_linear": "one logistic regression",
    "late_linear": "one regression a modality",
    "majority": "shares of the classes: chance",
    "noise": "same model, noise for features",
    "cca": "canonical correlation, linear",
    "chance": "random vectors",
    "frequency": "by how often they answer in training",
    "without": "same model, one modality less",
    "shuffled": "same model, payloads of other entities",
    "zeroed": "same model, payloads of zeros",
}
"""Control (before its colon) → what it is, in a few words (see :mod:`mmgraph.tasks.controls`)."""


QUESTIONS = {"no_graph": "The graph", "flat_linear": "The network", "cca": "The aligner"}
SAID = {"good": "helps", "bad": "hurts", "none": "shows no difference"}


class Verdict(NamedTuple):
    """What a control says, in a few words, and its tone."""

    tone: str
    text: str


class Score(NamedTuple):
    """A mean over the runs with its spread, as text; an empty spread is one run."""

    metric: str
    mean: str
    spread: str
    runs: str


class Row(NamedTuple):
    """A variant: its scores, where its runs lie, and how the full model differs from it."""

    variant: str
    about: str
    scores: Sequence[Score]
    dots: Markup
    bar: Markup
    difference: str
    interval: str
    p: str
    tone: str


class Quoted(NamedTuple):
    """Published numbers of one source: metric → text; those of metrics that the table does not have stand apart."""

    source: str
    values: Mapping[str, str]
    others: str


def columns(results: Results) -> list[str]:
    """The metrics of the table, the main one first; those of a group of the rows stand in :func:`by_group`."""
    return [results.metric, *(name for name in results.metrics if name != results.metric and " " not in name)]


def by_group(results: Results) -> list[tuple[str, list[Score]]]:
    """The main metric of each group of the rows that it is there for, for each variant."""
    names = [f"{results.metric} {group}" for group in results.groups]
    return [(variant, [_score(results, variant, name) for name in names]) for variant in results.variants if names]


def table(results: Results) -> list[Row]:
    """The rows, the full model first."""
    gaps = {variant: difference(results, variant) for variant in results.variants[1:]}
    limit = reach([gap for gap in gaps.values() if gap is not None])
    near = [variant for variant in results.variants if (gap := gaps.get(variant)) is None or abs(gap.mean) <= limit]
    scale = _range(results, near)
    return [_row(results, variant, gaps.get(variant), limit, scale) for variant in results.variants]


def difference(results: Results, variant: str) -> Difference | None:
    """The paired difference in the main metric, or ``None`` where the runs do not pair or a score is missing."""
    full = results.variants[0]
    runs = [{cell.run for cell in results.cells if cell.variant == name} for name in (full, variant)]
    scores = [cell.metrics.get(results.metric, math.nan) for cell in results.cells if cell.variant in (full, variant)]
    if runs[0] != runs[1] or not np.isfinite(scores).all():
        return None
    return results.difference(variant)


def tone(gap: Difference | None) -> str:
    """``good`` where the full model is better, ``bad`` where it is worse, ``none`` where the runs can't tell."""
    return "none" if gap is None else {1: "good", -1: "bad", 0: "none"}[gap.sign]


def verdicts(results: Results) -> list[Verdict]:
    """A few words for each question that the controls answer; none where the runs do not pair."""
    asked = {variant: _subject(variant) for variant in results.questions()}
    gaps = {variant: difference(results, variant) for variant in asked}
    if results.runs < 2 or None in gaps.values():
        return []
    return [Verdict(tone(gap), f"{asked[variant]} {SAID[tone(gap)]}") for variant, gap in gaps.items()]


def _subject(variant: str) -> str:
    change, _, modality = variant.partition(":")
    return f"The {modality}" if change == "shuffled" else QUESTIONS.get(variant, "Fusion")


def reach(gaps: Sequence[Difference]) -> float:
    """How far from zero the drawn scale goes: one far interval does not flatten the others."""
    ends = sorted(max(abs(end) for end in (gap.low, gap.mean, gap.high) if math.isfinite(end)) for gap in gaps)
    if not ends or ends[-1] == 0:
        return 1.0
    near = [end for end in ends if end <= 3 * ends[(len(ends) - 1) // 2]]
    return 1.08 * (near[-1] or ends[-1])


def interval_bar(gap: Difference, limit: float) -> Markup:
    """A dot with its interval around a zero line; what leaves the scale ends in an arrow."""
    middle, room = WIDTH / 2, WIDTH / 2 - 8

    def place(value: float) -> float:
        return middle + room * max(-1.0, min(1.0, value / limit))

    low, dot, high = (place(value) for value in (gap.low, gap.mean, gap.high))
    parts = [Markup('<path class="zero" d="M{0} 0V{1}"/>').format(middle, HEIGHT)]
    parts.append(Markup('<path class="range" d="M{:.1f} 10H{:.1f}"/>').format(low, max(high, low + 0.5)))
    if gap.high > limit:
        parts.append(Markup(RIGHT_TIP))
    if gap.low < -limit:
        parts.append(Markup(LEFT_TIP))
    if abs(gap.mean) <= limit:
        parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="10" r="4"/>').format(dot))
    label = f"difference {signed(gap.mean)}, 95% interval {signed(gap.low)} to {signed(gap.high)}"
    return _svg(label, Markup("").join(parts), f"bar {tone(gap)}")


def run_dots(values: np.ndarray, low: float, high: float) -> Markup:
    """The scores of a variant ``[runs]``, a dot a run, with a line at their mean; an arrow to those off the scale."""
    finite = values[np.isfinite(values)]
    places = 10 + (WIDTH - 20) * (finite - low) / (high - low if high > low else 1.0)  # [runs]
    inside = places[(places >= 0) & (places <= WIDTH)].tolist()
    dots = [Markup('<circle class="run" cx="{:.1f}" cy="10" r="3.5"/>').format(place) for place in inside]
    if len(inside) == len(finite) > 0:
        dots.append(Markup('<path class="mean" d="M{:.1f} 2V18"/>').format(float(places.mean())))
    elif len(finite):
        dots.append(Markup(LEFT_TIP if places.mean() < 0 else RIGHT_TIP))
    return _svg("runs: " + ", ".join(number(value) for value in values.tolist()), Markup("").join(dots), "dots")


def quoted(published: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[Quoted]:
    """Published numbers, a row a source."""
    sources: dict[str, dict[str, str]] = {}
    for one in published:
        sources.setdefault(str(one["source"]), {})[str(one["metric"])] = _text(one["value"])
    return [
        Quoted(
            source,
            {metric: value for metric, value in values.items() if metric in metrics},
            ", ".join(f"{metric} {value}" for metric, value in values.items() if metric not in metrics),
        )
        for source, values in sources.items()
    ]


def number(value: float) -> str:
    """A score with three decimals.

    Example:
        >>> number(0.84251), number(float("nan")), number(float("-inf"))
        ('0.843', 'n/a', '−∞')
    """
    if math.isnan(value):
        return "n/a"
    return (f"{value:.3f}" if math.isfinite(value) else f"{value}".replace("inf", "∞")).replace("-", "−")


def signed(value: float) -> str:
    """A difference with its sign."""
    return number(value) if math.isnan(value) or value < 0 else f"+{number(value)}"


def probability(value: float) -> str:
    """A p value: three decimals, or that it is smaller.

    Example:
        >>> probability(0.0421), probability(0.00001), probability(float("nan"))
        ('0.042', '< 0.001', 'n/a')
    """
    return "< 0.001" if value < 0.001 else number(value)


def _row(results: Results, variant: str, gap: Difference | None, limit: float, scale: tuple[float, float]) -> Row:
    scores = [_score(results, variant, metric) for metric in columns(results)]
    about = ABOUT.get(variant.partition(":")[0], "")
    return Row(
        variant=variant,
        about=about,
        scores=scores,
        dots=run_dots(_values(results, variant, results.metric), *scale),
        bar=Markup("") if gap is None or gap.runs < 2 else interval_bar(gap, limit),
        difference="" if gap is None else signed(gap.mean),
        interval="" if gap is None or gap.runs < 2 else f"{signed(gap.low)} to {signed(gap.high)}",
        p="" if gap is None or gap.runs < 2 else probability(gap.p),
        tone="full" if variant == results.variants[0] else tone(gap),
    )


def _score(results: Results, variant: str, metric: str) -> Score:
    values = _values(results, variant, metric)
    spread = number(float(values.std(ddof=1))) if len(values) > 1 else ""
    runs = ", ".join(number(value) for value in values.tolist())
    return Score(metric, number(float(values.mean())) if len(values) else "", spread, runs)


def _values(results: Results, variant: str, metric: str) -> np.ndarray:
    """The scores by run; a rival may have been judged by fewer metrics."""
    cells = [cell for cell in results.cells if cell.variant == variant]
    return results.values(variant, metric) if all(metric in cell.metrics for cell in cells) else np.empty(0)


def _range(results: Results, variants: Sequence[str]) -> tuple[float, float]:
    found = [cell.metrics.get(results.metric, math.nan) for cell in results.cells if cell.variant in variants]
    finite = [value for value in found if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def _text(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float)) else str(value)


def _svg(label: str, inside: Markup, kind: str) -> Markup:
    frame = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>')
    return frame.format(kind, WIDTH, HEIGHT, label, label, inside)
