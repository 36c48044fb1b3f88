import pytest

from mmgraph.explain import Attribution


def made(**changes):
    given = {"method": "shapley", "anchor": 7, "output": 1, "score": 1.0, "baseline": 2.0}
    return Attribution(**{**given, "parts": {"scan": -2.0, "near": 0.5, "text": 0.0}, **changes})


def test_total_and_residual():
    assert made().total == pytest.approx(-1.5)
    assert made().residual == pytest.approx(0.5)


def test_it_is_a_table_largest_first():
    assert str(made()).splitlines() == [
        "shapley: anchor 7, output 1: 1.000 = 2.000 - 1.000",
        "  scan      -2.000  ░░░░░░░░░░",
        "  near      +0.500  ██",
        "  text      +0.000",
        "  residual  +0.500",
    ]


def test_it_may_be_empty():
    assert str(made(parts={}, baseline=1.0)).splitlines()[1:] == ["  residual  +0.000"]
