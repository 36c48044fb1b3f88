import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.errors import ConfigError
from mmgraph.functional.readout import readout
from mmgraph.layers import Mean, Readout, Stack
from mmgraph.layers.base import Edges
from mmgraph.typing import EdgeSet

WITHIN = (("a", "near", "a"), ("a", "far", "a"), ("b", "next", "b"))


@pytest.mark.parametrize("weights", ["mean", "sum", "decay", "walk"])
@settings(max_examples=20)
@given(data=st.data())
def test_equals_the_readout_along_all_relations(graphs, weights, data):
    features, edges = data.draw(graphs())
    hops, centre = data.draw(st.integers(0, 3)), data.draw(st.booleans())
    layer = Readout(relations=WITHIN, hops=hops, weights=weights, decay=0.4, centre=centre)
    out = layer(features, edges)
    for node, x in features.items():
        index = torch.cat([edges[relation].index for relation in WITHIN if relation[0] == node], dim=1)
        expected = readout(x, index, hops=hops, weights=weights, decay=0.4, centre=centre)
        torch.testing.assert_close(out[node], expected, rtol=1e-12, atol=1e-12)


def test_a_linear_map_before_or_after_is_the_same(lecture):
    x, index = lecture
    edges = {WITHIN[0]: EdgeSet(index)}
    layer, matrix = Readout(relations=WITHIN[:1]), torch.randn(1, 3, dtype=torch.float64)
    before, after = layer({"a": x @ matrix}, edges)["a"], layer({"a": x}, edges)["a"] @ matrix
    torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)


def test_the_walk_is_a_convolution_that_averages(lecture):
    x, index = lecture
    loops = torch.arange(6).expand(2, -1)
    edges = {WITHIN[0]: EdgeSet(torch.cat([index, loops], dim=1))}
    mean = [Mean(1, 1, relations=WITHIN[:1], activation=None, bias=False).double() for _ in range(2)]
    with torch.no_grad():
        for one in mean:
            for name, weight in one.named_parameters():
                weight.fill_(0.0 if name.startswith("root") else 1.0)
    walk = Readout(relations=WITHIN[:1], hops=2)({"a": x}, {WITHIN[0]: EdgeSet(index)})["a"]
    torch.testing.assert_close(Stack(*mean)({"a": x}, edges)["a"], walk, rtol=1e-12, atol=1e-12)


def test_what_was_made_of_the_edges_is_kept_for_each_way_of_reading(lecture):
    x, index = lecture
    edges = Edges({WITHIN[0]: EdgeSet(index)})
    walk, mean = (Readout(relations=WITHIN[:1], hops=2, weights=weights) for weights in ("walk", "mean"))
    first = walk({"a": x}, edges)["a"]
    size = len(edges.made)
    assert torch.equal(walk({"a": x}, edges)["a"], first)
    assert len(edges.made) == size
    torch.testing.assert_close(mean({"a": x}, edges)["a"], readout(x, index, hops=2))
    single = Readout(relations=WITHIN[:1], hops=2, centre=False)({"a": x.float()}, edges)["a"]
    torch.testing.assert_close(single, readout(x.float(), index, hops=2, weights="walk", centre=False))


def test_how_it_is_printed():
    assert "hops=2, weights='walk'" in repr(Readout(relations=WITHIN[:1]))
    shown = repr(Readout(relations=WITHIN[:1], hops=1, weights="decay", decay=0.3, centre=False))
    assert "hops=1, weights='decay', decay=0.3, centre=False" in shown


@pytest.mark.parametrize("options", [{"hops": -1}, {"weights": "max"}, {"decay": -0.5}])
def test_options_out_of_their_range(options):
    with pytest.raises(ConfigError, match=r"weights must be one of .*'walk'.* hops and decay at least 0, got"):
        Readout(relations=WITHIN[:1], **options)


def test_a_relation_between_two_types():
    with pytest.raises(ConfigError, match=r"Readout joins nodes of one type, got \('b', 'of', 'a'\)"):
        Readout(relations=[("b", "of", "a")])
