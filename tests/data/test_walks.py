"""Walks: transition frequencies are the analytic ones, compiled or not, whatever the order of the starts."""

import importlib.util
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import HeteroData

from mmgraph.data import Walker
from mmgraph.errors import ConfigError, DataError

NEAR = ("a", "near", "a")
LEVEL = 1e-4  # of a test that all walks are right; the seeds are fixed
WAYS = [False] + [True] * (importlib.util.find_spec("numba") is not None)


def graph_of(pairs, nodes, weight=None, relation=NEAR):
    graph = HeteroData()
    graph["a"].num_nodes = nodes
    graph[relation].edge_index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    if weight is not None:
        graph[relation].edge_weight = torch.tensor(weight)
    return graph


def kite(weighted):
    """A graph with triangles, a path and a loop, both ways."""
    pairs = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (4, 5), (3, 5), (1, 3), (5, 6)]
    both = [*pairs, *[(b, a) for a, b in pairs], (4, 4)]
    weights = [0.5 + (7 * a + 3 * b) % 5 for a, b in both]
    return graph_of(both, 7, weights if weighted else None)


def analytic(graph, p, q, weighted):
    """P(x | t, v) of every triple, by the formula."""
    edges = [tuple(pair) for pair in graph[NEAR].edge_index.T.tolist()]
    weights = graph[NEAR].edge_weight.tolist() if weighted else [1.0] * len(edges)
    weight = dict(zip(edges, weights, strict=True))
    found = {}
    for t, v in edges:
        alpha = {x: 1 / p if x == t else 1.0 if (t, x) in weight else 1 / q for (a, x) in edges if a == v}
        mass = {x: alpha[x] * weight[v, x] for x in alpha}
        found[t, v] = {x: one / sum(mass.values()) for x, one in mass.items()}
    return found


def counted(walks):
    steps = np.stack([walks[:, :-2].ravel(), walks[:, 1:-1].ravel(), walks[:, 2:].ravel()], axis=1)
    found = {}
    for (t, v, x), count in zip(*np.unique(steps[steps[:, 2] >= 0], axis=0, return_counts=True), strict=True):
        found.setdefault((int(t), int(v)), {})[int(x)] = int(count)
    return found


@pytest.mark.parametrize("compiled", WAYS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (0.25, 4), (4, 0.25), (0.5, 2), (0.02, 3), (50, 0.01)])
def test_second_order_steps_are_as_likely_as_the_formula_says(compiled, weighted, p, q):
    graph = kite(weighted)
    expected = analytic(graph, p, q, weighted)
    walker = Walker(graph, [NEAR], p=p, q=q, weighted=weighted, compiled=compiled)
    found = counted(walker(np.arange(7).repeat(800), 12, seed=1).numpy())
    tested = 0
    for (t, v), shares in expected.items():
        counts = np.array([found.get((t, v), {}).get(x, 0) for x in shares])
        assert sum(found.get((t, v), {}).values()) == counts.sum()  # nowhere else
        likely = np.array(list(shares.values())) * counts.sum()
        if len(counts) > 1 and likely.min() >= 5:
            assert chisquare(counts, likely).pvalue > LEVEL, (t, v)
            tested += 1
    assert tested >= (12 if max(p, q) <= 4 else 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_first_steps_go_by_weight_alone(weighted):
    graph = kite(weighted)
    walks = Walker(graph, [NEAR], p=0.1, q=7, weighted=weighted)(np.full(20000, 3), 1).numpy()
    index = graph[NEAR].edge_index
    targets = index[1, index[0] == 3].numpy()
    weight = graph[NEAR].edge_weight[index[0] == 3].double().numpy() if weighted else np.ones(len(targets))
    counts = [(walks[:, 1] == x).sum() for x in targets]
    assert chisquare(counts, weight / weight.sum() * len(walks)).pvalue > LEVEL


@pytest.mark.parametrize("compiled", WAYS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_after_too_many_refusals_is_drawn_from_the_same_distribution(compiled, weighted):
    """No neighbour has the largest α, and the others are as good as never taken: the whole neighbourhood is weighed."""
    no_way_back = [(0, 1), (1, 2), (1, 3), (1, 8), (0, 8), (8, 1), (2, 0), (3, 0)]
    nothing_far = [(0, 1), (1, 0), (0, 2), (1, 2), (2, 0)]
    for pairs, p, q in ((no_way_back, 1e-9, 4.0), (nothing_far, 0.25, 1e-9)):
        graph = graph_of(pairs, 9, [1.0 + number % 3 for number in range(len(pairs))])
        walker = Walker(graph, [NEAR], p=p, q=q, weighted=weighted, compiled=compiled)
        walks = walker(np.zeros(8000, dtype=int), 2).numpy()
        walks = walks[walks[:, 1] == 1]
        shares = analytic(graph, p, q, weighted)[0, 1]
        counts = np.array([(walks[:, 2] == x).sum() for x in shares])
        assert len(walks) > 1500
        assert chisquare(counts, np.array(list(shares.values())) * len(walks)).pvalue > LEVEL


def test_without_p_and_q_walks_are_deepwalks():
    graph = kite(weighted=False)
    walks = Walker(graph, [NEAR])(np.arange(7).repeat(3000), 12, seed=3).numpy()
    source, target = walks[:, :-1].ravel(), walks[:, 1:].ravel()
    index = graph[NEAR].edge_index
    for node in range(7):
        neighbours = index[1, index[0] == node].numpy()
        counts = [((source == node) & (target == x)).sum() for x in neighbours]
        assert len(counts) == 1 or chisquare(counts).pvalue > LEVEL


@pytest.mark.skipif(len(WAYS) < 2, reason="numba is not installed")
@settings(max_examples=40)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=40),
    starts=st.lists(st.integers(0, 8), max_size=12),
    length=st.integers(0, 9),
    p=st.sampled_from([1.0, 0.3, 1e-6, 40.0]),
    q=st.sampled_from([1.0, 2.5, 1e-6, 1e6]),
    weights=st.one_of(st.none(), st.lists(st.sampled_from([0.0, 1.0, 0.25, 7.5]), min_size=40, max_size=40)),
    seed=st.integers(0, 2**62),
)
def test_compiled_or_not_walks_are_the_same_and_along_edges(pairs, starts, length, p, q, weights, seed):
    graph = graph_of(pairs, 9, None if weights is None else weights[: len(pairs)])
    both = [
        Walker(graph, [NEAR], p=p, q=q, weighted=weights is not None, compiled=compiled)(starts, length, seed=seed)
        for compiled in (False, True)
    ]
    assert torch.equal(*both)
    walks, used = both[0], {pair for pair, w in zip(pairs, weights or [1.0] * 40, strict=False) if w > 0}
    assert walks.shape == (len(starts), length + 1)
    assert walks[:, 0].tolist() == starts
    leads_on = {source for source, _ in used}
    for walk in walks.tolist():
        for one, other in itertools.pairwise(walk):
            assert (one, other) in used if other >= 0 else one not in leads_on


def test_a_walk_depends_on_its_start_and_the_seed_alone():
    walker = Walker(kite(weighted=True), [NEAR], p=0.5, q=2, weighted=True)
    starts = torch.tensor([3, 0, 3, 6, 3])
    walks = walker(starts, 15, seed=9)
    order = torch.tensor([1, 3, 0, 2, 4])  # those of one start keep their order
    assert torch.equal(walker(starts[order], 15, seed=9), walks[order])
    assert torch.equal(walker([3], 15, seed=9), walks[:1])
    assert torch.equal(walker([3], 7, seed=9), walks[:1, :8])
    assert len({tuple(walk) for walk in walks[[0, 2, 4]].tolist()}) == 3
    assert not torch.equal(walker(starts, 15, seed=10), walks)


def test_weights_of_zero_are_no_edges():
    graph = graph_of([(0, 1), (0, 2), (1, 0)], 3, [0.0, 2.0, 0.0])
    walks = Walker(graph, [NEAR], weighted=True)([0] * 50 + [1], 2)
    assert walks[:50].unique(dim=0).tolist() == [[0, 2, -1]]
    assert walks[50].tolist() == [1, -1, -1]
    walks = Walker(graph, [NEAR], weighted=True, compiled=False)([0] * 50 + [1], 2)
    assert walks[50].tolist() == [1, -1, -1]


def academic():
    graph = HeteroData()
    graph["author"].num_nodes, graph["paper"].num_nodes, graph["venue"].num_nodes = 3, 4, 2
    graph["author", "writes", "paper"].edge_index = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 2]])
    graph["paper", "by", "author"].edge_index = torch.tensor([[0, 1, 1, 2], [0, 0, 1, 2]])
    graph["paper", "in", "venue"].edge_index = torch.tensor([[0, 1, 3], [0, 1, 1]])
    graph["venue", "holds", "paper"].edge_index = torch.tensor([[0, 1, 1], [0, 1, 3]])
    return graph


@pytest.mark.parametrize("compiled", WAYS)
def test_relations_in_turn(compiled):
    graph = academic()
    turn = [
        ("author", "writes", "paper"),
        ("paper", "in", "venue"),
        ("venue", "holds", "paper"),
        ("paper", "by", "author"),
    ]
    walker = Walker(graph, turn, in_turn=True, compiled=compiled)
    walks = walker(torch.arange(3).repeat(400), 9, seed=2)
    assert [walker.type_at(place) for place in range(6)] == ["author", "paper", "venue", "paper", "author", "paper"]
    for number in range(9):
        edges = {tuple(pair) for pair in graph[turn[number % 4]].edge_index.T.tolist()}
        for one, other in walks[:, number : number + 2].unique(dim=0).tolist():
            assert (one, other) in edges if other >= 0 else one not in {source for source, _ in edges}
    assert walks[walks[:, 0] == 2][:, :3].unique(dim=0).tolist() == [[2, 2, -1]]  # paper 2 is in no venue
    first = walks[walks[:, 0] == 0][:, 1]
    assert chisquare([(first == x).sum() for x in (0, 1)]).pvalue > LEVEL


def test_walks_with_an_end_in_another_type_end_there():
    walker = Walker(academic(), [("author", "writes", "paper"), ("paper", "in", "venue")], in_turn=True)
    assert walker([1], 2).tolist() == [[1, 1, 1]]
    assert walker.type_at(2) == "venue"
    with pytest.raises(ConfigError, match="length must be at most 2, got 3"):
        walker([1], 3)


def test_several_relations_are_one_set_of_edges():
    graph = graph_of([(0, 1)], 3)
    graph["a", "far", "a"].edge_index = torch.tensor([[0], [2]])
    walks = Walker(graph, [NEAR, ("a", "far", "a")])([0] * 2000, 1)
    assert chisquare([(walks[:, 1] == x).sum() for x in (1, 2)]).pvalue > LEVEL
    graph["a", "far", "a"].edge_weight = torch.tensor([3.0])
    walks = Walker(graph, [NEAR, ("a", "far", "a")], weighted=True)([0] * 2000, 1)
    assert chisquare([(walks[:, 1] == x).sum() for x in (1, 2)], [500, 1500]).pvalue > LEVEL


def test_a_mask_names_starts_and_no_edge_is_no_walk():
    graph = graph_of([], 3)
    walks = Walker(graph, [NEAR], p=2.0)(torch.tensor([True, False, True]), 2)
    assert walks.tolist() == [[0, -1, -1], [2, -1, -1]]
    assert Walker(graph, [NEAR])([], 2).shape == (0, 3)


@pytest.mark.parametrize(
    ("relations", "options", "error", "message"),
    [
        ([], {}, ConfigError, "at least 1 relation"),
        ([NEAR], {"p": 0}, ConfigError, "above 0, got 0 and 1.0"),
        ([NEAR], {"q": float("inf")}, ConfigError, "got 1.0 and inf"),
        ([NEAR], {"in_turn": True, "q": 2}, ConfigError, "in turn, got 1.0 and 2"),
        ([("a", "to", "b")], {}, ConfigError, r"one type, got \['a', 'b'\]; set in_turn=True"),
        ([NEAR, ("b", "to", "a")], {"in_turn": True}, ConfigError, "begin where the one before it ends"),
        ([("a", "no", "a")], {}, DataError, r"got \('a', 'no', 'a'\)"),
    ],
)
def test_what_is_refused(relations, options, error, message):
    graph = graph_of([(0, 1)], 2)
    graph["b"].num_nodes = 1
    graph["a", "to", "b"].edge_index = graph["b", "to", "a"].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(error, match=message):
        Walker(graph, relations, **options)


@pytest.mark.parametrize(
    ("weight", "got"), [([-1.0], "with -1.0"), ([float("nan")], "with nan"), ([1.0, 2.0], r"\[2\]")]
)
def test_weights_that_are_refused(weight, got):
    with pytest.raises(DataError, match=rf"finite and at least 0, \[1\], got .*{got}"):
        Walker(graph_of([(0, 1)], 2, weight), [NEAR], weighted=True)


def test_calls_that_are_refused():
    walker = Walker(graph_of([(0, 1)], 2), [NEAR])
    with pytest.raises(ConfigError, match="at least 0 steps, got -1"):
        walker([0], -1)
    with pytest.raises(DataError, match="which has 2 nodes, got 5"):
        walker([5], 1)
    floats = graph_of([(0, 1)], 2)
    floats[NEAR].edge_index = torch.zeros(2, 1)
    with pytest.raises(DataError, match=r"integers \[2, edges\], got \[2, 1\] of float32"):
        Walker(floats, [NEAR])
    with pytest.raises(DataError, match=r"rows of 'a' in \[0, 2\), got 3 to 3"):
        Walker(graph_of([(0, 3)], 2), [NEAR])
