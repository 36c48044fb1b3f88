from itertools import combinations

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional.steiner import _grow, steiner_tree


@st.composite
def graphs(draw, tree=False):
    nodes = draw(st.integers(1, 7))
    end = st.integers(0, nodes - 1)
    if tree:
        pairs = [(draw(st.integers(0, node - 1)), node) for node in range(1, nodes) if draw(st.integers(0, 4))]
        pairs = [pair if draw(st.booleans()) else pair[::-1] for pair in pairs]
    else:
        pairs = draw(st.lists(st.tuples(end, end), max_size=11))
    number = st.floats(0, 4) | st.integers(0, 4)
    costs = torch.tensor([float(draw(number)) for _ in pairs], dtype=torch.float64)
    prizes = torch.tensor([float(draw(number)) for _ in range(nodes)], dtype=torch.float64)
    root = draw(st.none() | end)
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T, costs, prizes, root


def objective(costs, prizes, nodes, edges):
    return float(costs[edges].sum() + prizes.sum() - prizes[nodes].sum())


def best(index, costs, prizes, root):
    """The best of all trees: each set of nodes, joined by its minimum spanning tree."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(prizes)))
    for (one, other), cost in zip(index.T.tolist(), costs.tolist(), strict=True):
        if one != other and (not graph.has_edge(one, other) or graph[one][other]["weight"] > cost):
            graph.add_edge(one, other, weight=cost)
    found = float("inf")
    for size in range(1, len(prizes) + 1):
        for nodes in combinations(range(len(prizes)), size):
            within = graph.subgraph(nodes)
            if (root is None or root in nodes) and nx.is_connected(within):
                cost = nx.minimum_spanning_tree(within).size("weight")
                found = min(found, cost + float(prizes.sum() - prizes[list(nodes)].sum()))
    return found


def check_tree(index, tree, root):
    graph = nx.Graph()
    graph.add_nodes_from(tree.nodes.tolist())
    graph.add_edges_from(index[:, tree.edges].T.tolist())
    assert sorted(graph) == tree.nodes.tolist()  # its edges join its nodes alone
    assert nx.is_tree(graph)
    assert len(tree.edges) == len(tree.nodes) - 1
    assert root is None or root in tree.nodes.tolist()


@settings(max_examples=300)
@given(drawn=graphs())
def test_it_is_a_tree_at_most_twice_as_bad_as_the_best(drawn):
    index, costs, prizes, root = drawn
    tree = steiner_tree(index, costs, prizes, root=root)
    check_tree(index, tree, root)
    assert objective(costs, prizes, *tree) <= 2 * best(index, costs, prizes, root) + 1e-9


@settings(max_examples=200)
@given(drawn=graphs(tree=True))
def test_it_is_the_best_on_forests(drawn):
    index, costs, prizes, root = drawn
    tree = steiner_tree(index, costs, prizes, root=root)
    check_tree(index, tree, root)
    assert objective(costs, prizes, *tree) == pytest.approx(best(index, costs, prizes, root), abs=1e-9)


def test_a_cycle_is_left_open_at_its_dearest_edge():
    ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    tree = steiner_tree(ring, torch.tensor([1.0, 1.0, 3.0, 1.0]), torch.full((4,), 9.0))
    assert (tree.nodes.tolist(), tree.edges.tolist()) == ([0, 1, 2, 3], [0, 1, 3])


def test_a_prize_that_does_not_pay_for_its_way_is_left_out():
    ring = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 3]])
    prizes = torch.tensor([5.0, 0.0, 5.0, 1.0])
    tree = steiner_tree(ring, torch.tensor([1.0, 1.0, 4.0, 2.0]), prizes)
    assert (tree.nodes.tolist(), tree.edges.tolist()) == ([0, 1, 2], [0, 1])
    assert steiner_tree(ring, torch.tensor([1.0, 1.0, 4.0, 2.0]), prizes, root=3).nodes.tolist() == [0, 1, 2, 3]


def test_moats_grow_until_their_prizes_are_paid():
    """Each of three moats could pay 1, where the edges between them would need 1.5; then 1.5."""
    ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    cost = torch.tensor([3.0, 3.0, 4.0], dtype=torch.float64)
    assert _grow(ring, cost, torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64), None) == []
    assert _grow(ring, cost, torch.tensor([1.6, 1.6, 1.0], dtype=torch.float64), None) == [0]


def test_larger_graphs_are_near_a_bound_of_the_best():
    """All nodes with a prize that pays for anything: the best is the minimum spanning tree."""
    graph = nx.connected_watts_strogatz_graph(60, 4, 0.3, seed=0)
    index = torch.tensor(list(graph.edges)).T
    costs = torch.rand(index.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tree = steiner_tree(index, costs, torch.full((60,), 100.0))
    weighted = nx.Graph()
    weighted.add_weighted_edges_from(
        [(*pair, cost) for pair, cost in zip(index.T.tolist(), costs.tolist(), strict=True)]
    )
    assert len(tree.nodes) == 60
    assert float(costs[tree.edges].sum()) == pytest.approx(nx.minimum_spanning_tree(weighted).size("weight"))


PAIR = (torch.tensor([[0], [1]]), torch.ones(1), torch.ones(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: torch.ones(2)}, r"costs \[edges\], got \[2, 1\] and \[2\]"),
        ({1: torch.tensor([-1.0])}, "costs must be finite and at least 0, got -1.0"),
        ({2: torch.tensor([1.0, float("nan")])}, "prizes must be finite and at least 0, got nan"),
        ({2: torch.ones(0)}, r"at least 1 node, got \[0\]"),
        ({2: torch.ones(1)}, "nodes 0 to 0, got 0 to 1"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        steiner_tree(*[change.get(place, one) for place, one in enumerate(PAIR)])


def test_a_root_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="one of the 2 nodes, got 2"):
        steiner_tree(*PAIR, root=2)
