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


def test_parts_of_different_widths_are_named():
    from mmgraph.errors import SchemaError
    from mmgraph.fusion import Sum

    parts = {"a": torch.ones(2, 3), "b": torch.ones(2, 4)}
    with pytest.raises(SchemaError, match=r"one width, got \{'a': 3, 'b': 4\}"):
        Sum()(parts, {name: torch.ones(2, dtype=torch.bool) for name in parts})
