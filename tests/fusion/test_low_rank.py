import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.fusion import LowRank
from mmgraph.keys import weight_key


def test_equals_a_slow_loop(parts, widths):
    torch.manual_seed(0)
    fusion = LowRank(widths, 5, rank=3).double()
    values, present = parts
    out = fusion(*parts)
    for anchor in range(15):
        row = torch.zeros(5, dtype=torch.float64)
        for rank in range(3):
            product = torch.ones(5, dtype=torch.float64)
            for name in widths:
                x = values[name][anchor] if present[name][anchor] else torch.zeros(widths[name])
                factor = fusion.factors[weight_key(name)][:, rank]  # [width + 1, channels]
                product = product * (torch.cat([x, torch.ones(1)]).double() @ factor)
            row = row + product
        some = any(bool(mask[anchor]) for mask in present.values())
        torch.testing.assert_close(out[anchor], row * some, rtol=1e-12, atol=1e-12)


def test_every_factor_is_saved_and_moves_by_one_step(widths):
    torch.manual_seed(0)
    fusion = LowRank(widths, 5, rank=2)
    before = {name: value.clone() for name, value in fusion.state_dict().items()}
    assert sorted(before) == sorted(f"factors.{weight_key(name)}" for name in widths)
    optimiser = torch.optim.SGD(fusion.parameters(), lr=1.0)
    parts = {name: torch.randn(4, width) for name, width in widths.items()}
    fusion(parts, dict.fromkeys(parts, torch.ones(4, dtype=torch.bool))).sum().backward()
    optimiser.step()
    assert all((value != before[name]).all() for name, value in fusion.state_dict().items())


@pytest.mark.parametrize("rank", [1, 16])
@pytest.mark.parametrize("num_parts", [1, 2, 5])
def test_states_begin_at_the_size_of_the_parts(rank, num_parts):
    torch.manual_seed(0)
    widths = {f"part {number}": 50 for number in range(num_parts)}
    parts = {name: torch.randn(400, 50) for name in widths}
    out = LowRank(widths, 400, rank=rank)(parts, dict.fromkeys(parts, torch.ones(400, dtype=torch.bool)))
    assert 0.5 < out.std() < 2


def test_the_weights_that_read_a_part_nobody_has_stay(parts, widths):
    values, present = parts
    fusion = LowRank(widths, 5).double()
    fusion(values, {**present, "text": torch.zeros(15, dtype=torch.bool)}).sum().backward()
    gradient = fusion.factors[weight_key("text")].grad
    assert not gradient[:-1].any()
    assert gradient[-1].all()  # of the appended 1


@pytest.mark.parametrize(("rank", "channels"), [(0, 4), (-1, 4), (2, 0)])
def test_rank_and_channels_must_be_at_least_one(widths, rank, channels):
    with pytest.raises(ConfigError, match=f"of at least 1, got rank {rank}, channels {channels}"):
        LowRank(widths, channels, rank=rank)
