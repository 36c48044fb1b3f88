import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.builders import add_metapaths
from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, Schema

BY, BACK = ("paper", "by", "author"), ("author", "^by", "paper")
AT, IN = ("author", "at", "place"), ("place", "^at", "author")
ROWS = {"paper": 6, "author": 5, "place": 3}


def made(seed=0, edges=14):
    generator = torch.Generator().manual_seed(seed)
    graph = HeteroData()
    for node, rows in ROWS.items():
        graph[node].x = torch.zeros(rows, 1)
    for source, name, target in (BY, AT):
        index = [torch.randint(ROWS[node], (edges,), generator=generator) for node in (source, target)]
        graph[source, name, target].edge_index = torch.stack(index)
    return graph, Schema.infer(graph, anchor="paper")


def dense(graph, edge):
    """How many edges lead from each source to each target, counted one by one."""
    source, _, target = edge
    found = torch.zeros(ROWS[source], ROWS[target])
    for u, v in graph[edge].edge_index.T.tolist():
        found[u, v] += 1
    return found


def weights(graph, edge):
    source, _, target = edge
    found = torch.zeros(ROWS[source], ROWS[target])
    found[tuple(graph[edge].edge_index)] = graph[edge].edge_weight
    return found


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), edges=st.integers(0, 20), loops=st.booleans())
def test_equals_the_product_of_dense_matrices(seed, edges, loops):
    graph, schema = made(seed, edges)
    by, at = dense(graph, BY), dense(graph, AT)
    paths = {"PAP": [BY, BACK], "PA": [BY, AT], "PALAP": [BY, AT, IN, BACK]}
    expected = {
        ("paper", "PAP", "paper"): by @ by.T,
        ("paper", "PA", "place"): by @ at,
        ("paper", "PALAP", "paper"): by @ at @ at.T @ by.T,
    }
    joined, larger = add_metapaths(graph, schema, paths, counts=True, loops=loops)
    plain, unweighted = add_metapaths(graph, schema, paths, loops=loops)
    for edge, product in expected.items():
        if not loops and edge[0] == edge[2]:
            product.fill_diagonal_(0)
        index = joined[edge].edge_index
        assert torch.equal(weights(joined, edge), product)
        assert index.shape[1] == int((product > 0).sum())  # each pair once
        assert torch.equal(index, index[:, (index[1] * 100 + index[0]).argsort()])
        assert torch.equal(plain[edge].edge_index, index)
        assert "edge_weight" not in plain[edge]
        assert larger.edges[edge] == EdgeSpec(weighted=True)
        assert unweighted.edges[edge] == EdgeSpec()
    larger.check(joined)
    unweighted.check(plain)


def test_a_step_may_be_read_backwards_or_be_there_both_ways():
    graph, schema = made()
    backwards = add_metapaths(graph, schema, {"PAP": [BY, BACK]}, counts=True)[0]
    graph[BACK].edge_index = graph[BY].edge_index.flip(0)
    both = add_metapaths(graph, Schema.infer(graph), {"PAP": [BY, BACK]}, counts=True)[0]
    edge = ("paper", "PAP", "paper")
    assert torch.equal(weights(backwards, edge), weights(both, edge))
    del graph[BY]
    forwards = add_metapaths(graph, Schema.infer(graph), {"PAP": [BY, BACK]}, counts=True)[0]
    assert torch.equal(weights(forwards, edge), weights(both, edge))


def test_what_is_given_stays_as_it_is():
    graph, schema = made()
    add_metapaths(graph, schema, {"PAP": [BY, BACK]})
    assert graph.edge_types == [BY, AT]
    assert set(schema.edges) == {BY, AT}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_most_paths_come_first(most):
    graph, schema = made(3, 25)
    edge = ("paper", "PAP", "paper")
    whole = weights(add_metapaths(graph, schema, {"PAP": [BY, BACK]}, counts=True, loops=False)[0], edge)
    some = weights(add_metapaths(graph, schema, {"PAP": [BY, BACK]}, counts=True, loops=False, most=most)[0], edge)
    for v in range(ROWS["paper"]):
        there = sorted(whole[:, v][whole[:, v] > 0].tolist(), reverse=True)
        assert sorted(some[:, v][some[:, v] > 0].tolist(), reverse=True) == there[:most]
    assert torch.equal(some[some > 0], whole[some > 0])


def test_a_loop_comes_before_the_others_and_equals_are_drawn():
    graph = HeteroData()
    graph["paper"].x, graph["author"].x = torch.zeros(40, 1), torch.zeros(1, 1)
    graph[BY].edge_index = torch.stack([torch.arange(40), torch.zeros(40).long()])
    schema = Schema.infer(graph)

    def sources(seed, **options):
        joined, _ = add_metapaths(graph, schema, {"PAP": [BY, BACK]}, most=5, seed=seed, **options)
        index = joined["paper", "PAP", "paper"].edge_index
        return index[0].reshape(40, 5), index[1].reshape(40, 5)

    found, targets = sources(0)
    assert torch.equal(targets, torch.arange(40)[:, None].expand(40, 5))
    assert (found == targets).any(dim=1).all()
    assert all(len(set(row)) == 5 for row in found.tolist())
    assert torch.equal(sources(0)[0], found)
    assert not torch.equal(sources(1)[0], found)
    without, targets = sources(0, loops=False)
    assert not (without == targets).any()


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ({"P": [BY]}, {}, "at least 2 steps, got 1 for 'P'"),
        ({"PAP": [BY, ("author", "knows", "paper")]}, {}, r"got \('author', 'knows', 'paper'\) in 'PAP'; there are"),
        ({"PAL": [BY, IN]}, {}, r"got \('paper', 'by', 'author'\) and then \('place', '\^at', 'author'\) in 'PAL'"),
        ({"PAP": [BY, BACK]}, {"most": 0}, "most must be at least 1, or None, got 0"),
    ],
)
def test_refuses(paths, options, message):
    with pytest.raises(ConfigError, match=message):
        add_metapaths(*made(), paths, **options)


def test_refuses_a_name_that_is_taken():
    graph, schema = add_metapaths(*made(), {"PAP": [BY, BACK]})
    with pytest.raises(ConfigError, match=r"got \('paper', 'PAP', 'paper'\); take another name"):
        add_metapaths(graph, schema, {"PAP": [BY, BACK]})
