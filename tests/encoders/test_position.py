import math

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.encoders import Positions, Raw
from mmgraph.errors import ConfigError, DataError


def words(position=None, channels=6):
    graph = HeteroData()
    graph["word"].x = torch.zeros(3, channels)
    graph["scan"].x = torch.ones(1, channels)
    if position is not None:
        graph["word"].position = position
    return graph


@pytest.mark.parametrize("channels", [1, 5, 6])
@pytest.mark.parametrize("longest", [10_000.0, 50.0])
def test_equals_the_formula(channels, longest):
    at = torch.tensor([0.0, 2.5, 70.0])
    out = Positions(Raw(["word", "scan"]), ["word"], longest=longest)(words(at, channels))
    for row, t in enumerate(at.tolist()):
        for channel in range(channels):
            angle = t / longest ** (2 * (channel // 2) / channels)
            expected = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
            assert out["word"][row, channel].item() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(out["scan"], torch.ones(1, channels))


def test_no_node_and_another_name_work():
    graph = words(torch.zeros(3))
    graph["word"].x, graph["word"].second = graph["word"].x[:0], torch.zeros(0)
    assert Positions(Raw(["word"]), ["word"], name="second")(graph)["word"].shape == (0, 6)


@pytest.mark.parametrize(("position", "got"), [(None, "none"), (torch.zeros(2), r"\[2\]"), (torch.zeros(3, 1), "3, 1")])
def test_a_position_that_does_not_fit_is_refused(position, got):
    with pytest.raises(DataError, match=rf"'word' must have position \[3\], a number a node, got .*{got}"):
        Positions(Raw(["word"]), ["word"])(words(position))


@pytest.mark.parametrize("options", [{"nodes": []}, {"nodes": "word"}, {"longest": 1.0}, {"longest": math.inf}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=r"a list of node types and a longest wavelength above 1, got"):
        Positions(Raw(["word"]), **{"nodes": ["word"], **options})
