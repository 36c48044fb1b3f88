import math

import pytest

from mmgraph.functional.balance import discrepancy, slowdown


def test_the_two_modalities_of_the_paper():
    ratios = discrepancy({"audio": 0.6, "visual": 0.2})
    assert ratios == pytest.approx({"audio": 3.0, "visual": 1 / 3})
    assert slowdown(ratios, 0.5) == pytest.approx({"audio": 1 - math.tanh(1.5), "visual": 1.0})


def test_of_three_each_is_held_against_the_mean_of_the_others():
    assert discrepancy({"a": 0.6, "b": 0.1, "c": 0.2}) == pytest.approx({"a": 4.0, "b": 0.25, "c": 0.2 / 0.35})


def test_one_modality_or_others_that_give_nothing_have_no_ratio():
    assert discrepancy({"a": 0.5}) == {}
    assert discrepancy({"a": 0.5, "b": 0.0}) == {"b": 0.0}
    assert discrepancy({}) == {}


def test_alpha_0_and_a_ratio_of_1_slow_nothing_down():
    assert slowdown({"a": 9.0, "b": 0.1}, 0.0) == {"a": 1.0, "b": 1.0}
    assert slowdown({"a": 1.0}, 1.0) == {"a": 1.0}
