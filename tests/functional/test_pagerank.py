import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.pagerank import pagerank, push_pagerank, solve_pagerank


@st.composite
def walks(draw, symmetric=False):
    nodes = draw(st.integers(1, 8))
    end = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(end, end), max_size=16, unique=True))
    if symmetric:
        pairs = sorted({(a, b) for a, b in pairs} | {(b, a) for a, b in pairs})
    index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    of = {pair: draw(st.floats(0.1, 5)) for pair in sorted({tuple(sorted(pair)) for pair in pairs})}
    weight = torch.tensor([of[tuple(sorted(pair))] for pair in pairs], dtype=torch.float64)
    start = torch.zeros(nodes, dtype=torch.float64)
    start[draw(end)] = 1.0
    start[draw(end)] += draw(st.floats(0, 2))
    return index, weight, start, draw(st.sampled_from([0.0, 0.5, 0.85]))


def slow(index, weight, start, alpha, steps):
    """The walker, step by step."""
    nodes, pairs = len(start), index.T.tolist()
    home = [value / float(start.sum()) for value in start.tolist()]
    state = list(home)
    for _ in range(steps):
        after = [(1 - alpha) * value for value in home]
        for node in range(nodes):
            out = [(b, w) for (a, b), w in zip(pairs, weight.tolist(), strict=True) if a == node]
            total = sum(w for _, w in out)
            for b, w in out or [(node, 1.0)]:
                after[b] += alpha * state[node] * w / (total or 1.0)
        state = after
    return torch.tensor(state, dtype=torch.float64)


@settings(max_examples=25)
@given(drawn=walks())
def test_all_ways_equal_a_walker_step_by_step(drawn):
    index, weight, start, alpha = drawn
    edges = Adjacency(index, len(start), len(start))
    expected = slow(index, weight, start, alpha, 200)
    solved = solve_pagerank(edges, start, weight=weight, alpha=alpha)
    iterated = pagerank(edges, start, weight=weight, alpha=alpha, tolerance=1e-12)
    pushed, _ = push_pagerank(edges, start, weight=weight, alpha=alpha, epsilon=1e-12)
    torch.testing.assert_close(solved, expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(iterated, expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(pushed, expected, atol=1e-8, rtol=0)
    assert float(solved.sum()) == pytest.approx(1)
    assert float((iterated - solved).abs().sum()) <= 2e-12


def test_it_equals_networkx():
    graph = nx.gnp_random_graph(30, 0.15, seed=1, directed=True)
    graph.remove_nodes_from([node for node in list(graph) if graph.out_degree(node) == 0])
    graph = nx.convert_node_labels_to_integers(graph)
    while dead := [node for node in graph if graph.out_degree(node) == 0]:
        graph.remove_nodes_from(dead)
        graph = nx.convert_node_labels_to_integers(graph)
    nodes = len(graph)
    start = torch.zeros(2, nodes, dtype=torch.float64)
    start[0, 0], start[1, 3], start[1, 4] = 1.0, 2.0, 1.0
    index = torch.tensor(list(graph.edges)).T
    found = pagerank(Adjacency(index, nodes, nodes), start, alpha=0.8, tolerance=1e-11)
    for row, home in enumerate(({0: 1}, {3: 2, 4: 1})):
        theirs = nx.pagerank(graph, alpha=0.8, personalization=home, tol=1e-12)
        torch.testing.assert_close(found[row], torch.tensor([theirs[n] for n in range(nodes)], dtype=torch.float64))


@settings(max_examples=60)
@given(drawn=walks(symmetric=True), epsilon=st.sampled_from([0.3, 0.05, 1e-3]))
def test_what_a_push_leaves_is_its_error(drawn, epsilon):
    index, weight, start, alpha = drawn
    edges = Adjacency(index, len(start), len(start))
    exact = solve_pagerank(edges, start, weight=weight, alpha=alpha)
    near, left = push_pagerank(edges, start, weight=weight, alpha=alpha, epsilon=epsilon)
    degree = torch.zeros_like(start).index_add(0, index[0], weight)
    assert (near <= exact + 1e-12).all()
    assert float((exact - near).sum()) == pytest.approx(float(left.sum()), abs=1e-9)
    assert (exact - near <= epsilon * degree + 1e-9).all()
    assert (left <= epsilon * degree + 1e-12).all()


def test_a_push_stays_near():
    nodes = 2000
    chain = torch.arange(nodes - 1)
    index = torch.cat([torch.stack([chain, chain + 1]), torch.stack([chain + 1, chain])], dim=1)
    start = torch.zeros(nodes, dtype=torch.float64)
    start[0] = 1
    near, left = push_pagerank(Adjacency(index, nodes, nodes), start, epsilon=1e-4)
    assert int((near > 0).sum()) < 40
    assert float(left.sum()) < 0.02


def test_a_node_that_leads_nowhere_keeps_its_walkers():
    edges = Adjacency(torch.tensor([[0], [1]]), 3, 3)
    found = pagerank(edges, torch.tensor([1.0, 0.0, 0.0]), alpha=0.5)
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 0.0]))
    alone = push_pagerank(edges, torch.tensor([0, 0, 1]), alpha=0.5)[0]
    torch.testing.assert_close(alone, torch.tensor([0.0, 0.0, 1.0]))


CHAIN = Adjacency(torch.tensor([[0, 1], [1, 0]]), 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pagerank(CHAIN, torch.ones(2), alpha=1.0), "alpha must be from 0 to below 1, got 1.0"),
        (lambda: pagerank(CHAIN, torch.ones(3)), r"with 2 nodes, got \[3\]"),
        (lambda: pagerank(CHAIN, torch.zeros(2)), "sum above 0, got sums down to 0.0"),
        (lambda: pagerank(CHAIN, torch.ones(2), weight=torch.ones(3)), r"weight must be \[2\] .* got \[3\]"),
        (lambda: pagerank(CHAIN, torch.tensor([1.0, 0.0]), rounds=2), "within 2 rounds, got a last step of 1.4"),
        (lambda: pagerank(Adjacency(torch.tensor([[0], [0]]), 1, 2), torch.ones(2)), "got 1 sources and 2 targets"),
        (lambda: push_pagerank(CHAIN, torch.ones(2), epsilon=0.0), "epsilon must be above 0, got 0.0"),
        (lambda: push_pagerank(CHAIN, torch.ones(2, 2)), r"of one walker, \[nodes\], got \[2, 2\]"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
