import pytest
import torch

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.fusion import Bilinear, Concat, Hybrid, Late


def test_is_the_sum_of_its_fusions(parts, widths):
    torch.manual_seed(0)
    early, late = Concat(widths, 5).double(), Late(widths, 5).double()
    torch.testing.assert_close(Hybrid(early, late)(*parts), early(*parts) + late(*parts))


def test_holds_the_weights_of_all(widths):
    fusion = Hybrid(Concat(widths, 5), Bilinear(widths, 5))
    assert {"fusions.0.linear.weight", "fusions.1.linear.weight"} < set(fusion.state_dict())


def test_none_is_refused():
    with pytest.raises(ConfigError, match="at least 1 fusion, got none"):
        Hybrid()


def test_differing_widths_are_named(parts, widths):
    fusion = Hybrid(Concat(widths, 5), Late(widths, 4)).double()
    with pytest.raises(SchemaError, match=r"one width, got \{'Concat': 5, 'Late': 4\}"):
        fusion(*parts)
