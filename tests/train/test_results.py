"""Means, spreads and paired differences against scipy and by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mmgraph.errors import ArtifactError, DataError
from mmgraph.train import Cell, Results
from mmgraph.train.results import Difference

FULL, OTHER = [0.80, 0.85, 0.78, 0.90, 0.81], [0.75, 0.86, 0.70, 0.84, 0.80]


def _results(scores: dict, *, resplit: bool = False, metric: str = "accuracy", higher: bool = True) -> Results:
    cells = [
        Cell(
            run=run,
            variant=variant,
            metrics={metric: score},
            val_metrics={metric: score},
            seconds=1.0,
            data_sha256="d",
            parts=(56, 14, 30),
            test_sha256=str(run) if resplit else "same",
        )
        for variant, values in scores.items()
        for run, score in enumerate(values)
    ]
    return Results(cells, metric, {metric: higher}, ("no", "yes"))


def test_mean_and_spread() -> None:
    results = _results({"full": FULL})
    assert results.mean("full", "accuracy") == pytest.approx(np.mean(FULL))
    assert results.std("full", "accuracy") == pytest.approx(np.std(FULL, ddof=1))
    assert _results({"full": [0.5]}).std("full", "accuracy") == 0.0


def test_difference_over_seeds_is_the_paired_t_test() -> None:
    gap = _results({"full": FULL, "other": OTHER}).difference("other")
    test = stats.ttest_rel(FULL, OTHER)
    low, high = test.confidence_interval(0.95)
    assert (gap.mean, gap.low, gap.high) == pytest.approx((np.mean(FULL) - np.mean(OTHER), low, high))
    assert gap.p == pytest.approx(test.pvalue)


def test_difference_over_resplits_is_corrected_for_their_overlap() -> None:
    gap = _results({"full": FULL, "other": OTHER}, resplit=True).difference("other")
    gaps = np.array(FULL) - np.array(OTHER)
    spread = math.sqrt(gaps.var(ddof=1) * (1 / 5 + 30 / 70))
    assert gap.high - gap.mean == pytest.approx(stats.t.ppf(0.975, 4) * spread)
    assert gap.p == pytest.approx(2 * stats.t.sf(gaps.mean() / spread, 4))


def test_where_lower_is_better_the_sign_is_turned() -> None:
    gap = _results({"full": [0.1, 0.2], "other": [0.3, 0.5]}, metric="brier", higher=False).difference("other")
    assert gap.mean == pytest.approx(0.25)


def test_one_run_has_no_interval_and_equal_runs_no_width() -> None:
    gap = _results({"full": [0.9], "other": [0.5]}).difference("other")
    assert (gap.low, gap.high) == (-math.inf, math.inf)
    assert math.isnan(gap.p)
    same = _results({"full": [0.9, 0.9], "other": [0.9, 0.9]}).difference("other")
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([value - 0.2 for value in FULL[:4]] + [FULL[4] - 0.21], "The graph helps (+0.2"),
        ([value + 0.2 for value in FULL[:4]] + [FULL[4] + 0.21], "The graph hurts (-0.2"),
        (FULL[::-1], "The graph makes no difference that these runs could show (+0.000 accuracy"),
    ],
)
def test_verdict_says_what_the_interval_says(other: list, said: str) -> None:
    assert _results({"full": FULL, "no_graph": other}).verdict().startswith(said)


def test_fusion_has_to_do_better_than_the_best_with_one_modality_less() -> None:
    worse, better = [0.5, 0.52, 0.51, 0.5, 0.49], [0.7, 0.71, 0.69, 0.7, 0.72]
    results = _results({"full": FULL, "without:a": worse, "without:b": better})
    assert results.questions() == {"without:b": "Fusion over the best with one modality less (without:b)"}
    assert results.verdict().startswith("Fusion over the best with one modality less (without:b) ")
    assert _results({"full": FULL, "without:a": worse}).questions() == {}


def test_a_payload_has_to_do_better_than_that_of_another_entity() -> None:
    scores = {"full": [0.5, 0.52, 0.54], "shuffled:image": [0.4, 0.42, 0.43], "shuffled:text": [0.5, 0.53, 0.54]}
    results = _results({**scores, "zeroed:image": [0.1] * 3}, metric="mrr")
    image, text = results.verdict().split(". The")
    assert image == ("The image of an entity over that of another helps (+0.103 mrr, 95 % interval +0.089 to +0.118)")
    assert text.startswith(" text of an entity over that of another makes no difference that these runs could show")


def test_runs_are_paired_by_number_whatever_their_order() -> None:
    results = _results({"full": FULL, "other": OTHER})
    shuffled = Results(list(results.cells)[::-1], results.metric, results.higher_is_better)
    assert shuffled.difference("other") == results.difference("other")
    assert shuffled.variants[0] == "full"


def test_json_round_trip() -> None:
    results = _results({"full": FULL, "other": OTHER}, resplit=True)
    assert Results.from_json(results.to_json()).rows() == results.rows()
    with pytest.raises(ArtifactError, match="Results must have metric, classes and cells"):
        Results.from_json({"cells": []})


def test_a_score_that_nothing_is_asked_of_is_null_in_json() -> None:
    results = _results({"full": [0.5, math.nan]})
    found = json.loads(json.dumps(results.to_json(), allow_nan=False))
    assert [cell["metrics"] for cell in found["cells"]] == [{"accuracy": 0.5}, {"accuracy": None}]
    assert [cell["val_metrics"] for cell in found["cells"]] == [{"accuracy": 0.5}, {"accuracy": None}]
    np.testing.assert_array_equal(Results.from_json(found).values("full", "accuracy"), [0.5, math.nan])


def test_unknown_variant_or_metric_is_named() -> None:
    with pytest.raises(DataError, match=r"one of \('full',\) and \('accuracy',\), got 'none', 'accuracy'"):
        _results({"full": FULL}).values("none", "accuracy")
    with pytest.raises(DataError, match="got 'full', 'mrr'"):
        _results({"full": FULL}).values("full", "mrr")


@pytest.mark.parametrize(("low", "high", "sign"), [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0.0, 0.1, 0)])
def test_a_difference_has_a_sign_only_where_its_interval_leaves_zero_out(low: float, high: float, sign: int) -> None:
    assert Difference((low + high) / 2, low, high, 0.5, 5).sign == sign


def test_who_has_no_such_score_has_nan() -> None:
    results = _results({"full": [0.5, 0.6], "nearest": [0.4, 0.3]})
    cells = [
        replace(cell, metrics={**cell.metrics, "log_loss": 1.0}) if cell.variant == "full" else cell
        for cell in results.cells
    ]
    found = Results(cells, metric=results.metric)
    assert found.values("full", "log_loss").tolist() == [1.0, 1.0]
    assert np.isnan(found.values("nearest", "log_loss")).all()
    assert "nearest" in str(found)


def test_groups_are_what_else_the_main_metric_is_there_for() -> None:
    results = _results({"full": FULL, "other": OTHER}, metric="mrr")
    extra = {"mrr tail": 0.4, "mrr 1-n": math.nan, "hits@1 head": 0.2, "mrr with image": 0.1, "mrrs": 0.3}
    cells = [replace(cell, metrics=cell.metrics | extra) for cell in results.cells]
    assert replace(results, cells=cells).groups == ("tail", "with image")
    assert results.groups == Results([], "mrr").groups == ()
