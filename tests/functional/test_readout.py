import math
from fractions import Fraction

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import pool_reached
from mmgraph.functional.readout import part_of, random_features, readout, subgraphs


@pytest.fixture
def lecture():
    """The lecture's graph of six nodes, A to F, with states 1 to 6."""
    pairs = [("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("C", "E"), ("C", "F"), ("E", "F")]
    index = torch.tensor([["ABCDEF".index(a), "ABCDEF".index(b)] for a, b in pairs]).T
    return torch.arange(1.0, 7.0, dtype=torch.float64)[:, None], torch.cat([index, index.flip(0)], dim=1)


@st.composite
def digraphs(draw):
    nodes = draw(st.integers(1, 7))
    end = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(end, end), max_size=14))
    return nodes, torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T


def walked(graph, centre, hops):
    """Where a walk that may stay ends, step by step, in fractions."""
    at = {centre: Fraction(1)}
    for _ in range(hops):
        after = {}
        for node, chance in at.items():
            ways = {node, *graph.successors(node)}
            for way in ways:
                after[way] = after.get(way, 0) + chance / len(ways)
        at = after
    return at


def weights_of(graph, centre, hops, kind, decay, *, own):
    """The weight of each member of one subgraph."""
    ego = nx.ego_graph(graph, centre, radius=hops)
    far = nx.single_source_shortest_path_length(ego, centre)
    if kind == "walk":
        found = {node: float(chance) for node, chance in walked(graph, centre, hops).items()}
    else:
        found = {node: decay ** far[node] if kind == "decay" else 1.0 for node in ego}
    if not own:
        del found[centre]
    mass = 1.0 if kind == "sum" else sum(found.values()) or 1.0
    return {node: weight / mass for node, weight in found.items()}


@pytest.mark.parametrize("kind", ["mean", "sum", "decay", "walk"])
@pytest.mark.parametrize("own", [True, False])
@settings(max_examples=40)
@given(drawn=digraphs(), hops=st.integers(0, 3), decay=st.sampled_from([0.0, 0.3, 1.0, 2.0]))
def test_each_subgraph_equals_its_ego_net(kind, own, drawn, hops, decay):
    nodes, index = drawn
    graph = nx.DiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(index.flip(0).T.tolist())  # from a centre to who reaches it
    x = torch.randn(nodes, 2, dtype=torch.float64)
    expected, pairs = torch.zeros_like(x), []
    for centre in range(nodes):
        for member, weight in sorted(weights_of(graph, centre, hops, kind, decay, own=own).items()):
            expected[centre] += weight * x[member]
            pairs.append([member, centre])
    options = {"hops": hops, "weights": kind, "decay": decay, "centre": own}
    assert subgraphs(index, nodes, **options)[0].T.tolist() == pairs
    torch.testing.assert_close(readout(x, index, **options), expected, rtol=1e-12, atol=1e-14)


def test_the_walk_is_rounds_of_averaging_with_oneself(lecture):
    x, index = lecture
    state = x
    for _ in range(3):
        state = torch.stack([state[[v, *index[0, index[1] == v].tolist()]].mean(dim=0) for v in range(len(x))])
    torch.testing.assert_close(readout(x, index, hops=3, weights="walk"), state, rtol=1e-12, atol=1e-12)


def test_the_mean_is_the_mean_over_what_is_reached(lecture):
    x, index = lecture
    torch.testing.assert_close(readout(x, index, hops=2), pool_reached(x, index, hops=2), rtol=1e-12, atol=1e-12)


def test_a_virtual_node_that_averages_its_members_is_the_mean_readout(lecture):
    x, index = lecture
    pairs, _ = subgraphs(index, 6, hops=1)
    virtual = torch.stack([x[pairs[0, pairs[1] == s]].mean(dim=0) for s in range(6)])
    torch.testing.assert_close(readout(x, index, hops=1), virtual, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "sum", "decay", "walk"])
def test_gradients_reach_the_members(lecture, kind):
    x, index = lecture
    x = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: readout(x, index, hops=2, weights=kind), [x])


@pytest.mark.parametrize("kind", ["mean", "sum", "decay", "walk"])
def test_no_nodes_no_subgraphs(kind):
    index = torch.empty(2, 0, dtype=torch.long)
    assert readout(torch.empty(0, 3), index, hops=2, weights=kind).shape == (0, 3)
    alone = readout(torch.ones(2, 3), index, hops=2, weights=kind, centre=False)
    assert torch.equal(alone, torch.zeros(2, 3))


@pytest.mark.parametrize("options", [{"hops": -1}, {"hops": 1, "weights": "max"}, {"hops": 1, "decay": -0.5}])
def test_options_out_of_their_range(options):
    with pytest.raises(ValueError, match=r"weights must be one of .*'walk'.* hops and decay at least 0, got"):
        readout(torch.ones(2, 1), torch.tensor([[0], [1]]), **options)


@settings(max_examples=60)
@given(drawn=digraphs(), share=st.sampled_from([0.1, 0.5, 0.75, 1.0]), seed=st.integers(0, 9))
def test_a_part_has_its_share_of_each_subgraph(drawn, share, seed):
    nodes, index = drawn
    pairs, _ = subgraphs(index, nodes, hops=1)
    left = part_of(pairs, share=share, generator=torch.Generator().manual_seed(seed))
    whole, some = pairs.T.tolist(), left.T.tolist()
    assert some == [pair for pair in whole if pair in some]  # in their order
    for centre in range(nodes):
        size = sum(pair[1] == centre for pair in whole)
        assert sum(pair[1] == centre for pair in some) == math.ceil(share * size)


def test_each_member_is_as_likely_to_be_left():
    pairs = torch.tensor([[0, 1, 2, 3], [7, 7, 7, 7]])
    generator, times = torch.Generator().manual_seed(0), torch.zeros(4)
    for _ in range(2000):
        times[part_of(pairs, share=0.5, generator=generator)[0]] += 1
    assert (times / 2000 - 0.5).abs().max() < 0.04  # 3.5 standard errors


@pytest.mark.parametrize("share", [0, 1.5, -1])
def test_a_share_out_of_its_range(share):
    with pytest.raises(ValueError, match=f"share must be above 0 and at most 1, got {share}"):
        part_of(torch.tensor([[0], [0]]), share=share)


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_products_of_random_features_are_a_gaussian_kernel(width):
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kernel = torch.exp(-torch.cdist(x, x).square() / (2 * width**2))
    features = random_features(x, 40_000, width=width, seed=3)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(20, dtype=torch.float64))
    assert (features @ features.T - kernel).abs().max() < 0.04  # the error of a product is at most 1 / sqrt(20,000)
    assert torch.equal(features, random_features(x, 40_000, width=width, seed=3))
    assert not torch.equal(features, random_features(x, 40_000, width=width, seed=4))


@pytest.mark.parametrize(("channels", "width"), [(3, 1.0), (0, 1.0), (4, 0.0)])
def test_random_features_of_no_use(channels, width):
    with pytest.raises(ValueError, match=f"even number and width above 0, got {channels} and {width}"):
        random_features(torch.ones(1, 1), channels, width=width)
