import pytest
import torch

from mmgraph.fusion import Sum


@pytest.mark.parametrize("mean", [False, True])
def test_equals_a_slow_loop(shared, mean):
    parts, present = shared
    out = Sum(mean=mean)(parts, present)
    for anchor in range(15):
        said = [parts[name][anchor] for name in parts if present[name][anchor]]
        row = sum(said, torch.zeros(3, dtype=torch.float64)) / (max(len(said), 1) if mean else 1)
        torch.testing.assert_close(out[anchor], row, rtol=1e-12, atol=1e-12)


def test_has_no_parameters():
    assert list(Sum(mean=True).parameters()) == []
