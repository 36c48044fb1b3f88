import pytest
import torch

from mmgraph.decoders.unet import Attention, UNet, waves
from mmgraph.typing import Sources


def trained(module):
    """The same with weights that are not zero anywhere."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return module.eval()


def sources(rows, nodes=3, channels=4):
    return Sources(torch.randn(rows, nodes, channels), torch.ones(rows, nodes).bool())


@pytest.mark.parametrize(
    ("side", "patch", "widths"), [((8, 8), 2, (8, 16)), ((7, 10), 1, (8,)), ((5, 3), 2, (8, 8, 16))]
)
def test_the_noise_has_the_shape_of_the_picture_whatever_its_sides(side, patch, widths):
    network = trained(UNet(2, 4, widths=widths, patch=patch))
    x = torch.randn(3, 2, *side)
    assert network(x, torch.rand(3), sources(3)).shape == x.shape


def test_a_row_is_read_by_itself_and_time_and_sources_are_read():
    torch.manual_seed(0)
    network = trained(UNet(1, 4, widths=(8, 16), patch=2))
    x, time, around = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 0.9]), sources(3)
    said = network(x, time, around)
    for row in range(3):
        some = slice(row, row + 1)
        torch.testing.assert_close(network(x[some], time[some], around.take(some)), said[some], atol=1e-5, rtol=1e-5)
    later = network(x, time + torch.tensor([0.0, 0.0, 0.05]), around)
    assert torch.equal(later[:2], said[:2])
    assert not torch.allclose(later[2], said[2])
    other = around.states.clone()
    other[1] = 3 * torch.randn(3, 4)
    moved = network(x, time, around._replace(states=other))
    assert torch.equal(moved[[0, 2]], said[[0, 2]])
    assert not torch.allclose(moved[1], said[1])


def test_it_starts_by_saying_nothing():
    assert torch.equal(
        UNet(1, 4, widths=(8,), patch=1)(torch.randn(2, 1, 4, 4), torch.rand(2), sources(2)), torch.zeros(2, 1, 4, 4)
    )


def test_attention_equals_a_slow_loop_over_positions_and_nodes():
    layer = trained(Attention(64, 4))
    assert layer.heads == 2
    x, around = torch.randn(2, 64, 2, 3), sources(2)
    around.present[0, 1] = around.present[1] = False
    query, key, value = layer.ask(layer.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)
    more_key, more_value = layer.around(around.states).chunk(2, dim=2)
    expected = torch.empty(2, 6, 64)
    for row in range(2):
        there = around.present[row]
        keys, values = torch.cat([key[row], more_key[row][there]]), torch.cat([value[row], more_value[row][there]])
        for place in range(6):
            for head in (slice(0, 32), slice(32, 64)):
                share = (keys[:, head] @ query[row, place, head] / 32**0.5).softmax(dim=0)
                expected[row, place, head] = share @ values[:, head]
    expected = x + layer.give(expected).transpose(1, 2).reshape(2, 64, 2, 3)
    torch.testing.assert_close(layer(x, around), expected)


def test_waves_turn_slower_and_slower():
    found = waves(torch.tensor([0.0, 0.25]), 6)
    assert found[0].tolist() == [0, 0, 0, 1, 1, 1]
    pace = [1, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]
    torch.testing.assert_close(found[1, :3], torch.tensor([250 * one for one in pace]).sin(), atol=1e-4, rtol=1e-4)
