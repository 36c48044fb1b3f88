"""What is drawn is in the graph, as much of it as asked, in the order that is promised, and not from the future."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, NeighbourSampler, open_csc, save_csc
from mmgraph.errors import ConfigError, DataError

IN, HAS, NEAR = ("word", "in", "text"), ("text", "has", "word"), ("text", "near", "text")
LONELY = ("alone", "of", "text")
COUNTS = {"word": 30, "text": 20, "alone": 4, "image": 0}
TYPES = {IN: 120, HAS: 90, NEAR: 70, LONELY: 0, ("image", "of", "text"): 0}


def large(seed=0):
    """Four node types, one without nodes and one that nothing reaches; five edge types, two of them empty."""
    generator = torch.Generator().manual_seed(seed)
    graph = HeteroData()
    for name, count in COUNTS.items():
        graph[name].x = torch.rand(count, 3, generator=generator)
        graph[name].y = torch.arange(count)
        graph[name].train_mask = torch.rand(count, generator=generator) < 0.5
        graph[name].bits = torch.rand(count, 2, 2, generator=generator).bfloat16()
    graph["word"].num_nodes = 30
    for (source, relation, target), edges in TYPES.items():
        store = graph[source, relation, target]
        ends = [torch.randint(0, max(COUNTS[end], 1), (edges,), generator=generator) for end in (source, target)]
        store.edge_index = torch.stack(ends)
        store.edge_attr = torch.rand(edges, 2, generator=generator)
        store.time = torch.randint(0, 40, (edges,), generator=generator)
    return graph


def check_edges(graph, batch):
    """Every edge is one of the graph, between the nodes that it joins there, with its own attributes."""
    assert batch.edge_types == graph.edge_types
    for edge_type in graph.edge_types:
        mine, whole = batch[edge_type], graph[edge_type]
        ends = torch.stack([batch[edge_type[i]].n_id[mine.edge_index[r]] for r, i in ((0, 0), (1, 2))])
        assert torch.equal(ends, whole.edge_index[:, mine.e_id])
        assert torch.equal(mine.edge_attr, whole.edge_attr[mine.e_id])
        assert mine.edge_index.dtype == mine.e_id.dtype == torch.int64
        assert sum(mine.num_sampled_edges) == len(mine.e_id)


def check_nodes(graph, batch):
    assert batch.node_types == graph.node_types
    for node_type in graph.node_types:
        mine, whole = batch[node_type], graph[node_type]
        for name in ("x", "y", "train_mask", "bits"):
            assert mine[name].dtype == whole[name].dtype
            assert torch.equal(mine[name], whole[name][mine.n_id])
        assert sum(mine.num_sampled_nodes) == len(mine.n_id) == mine.num_nodes
    assert batch["word"]["num_nodes"] == len(batch["word"].n_id)
    assert "num_nodes" not in batch["text"]


def check_picks(graph, batch, fan_out, *, replace=False, seen=None):
    """Each node that a hop has added gets min(degree, fan-out) edges in the next one, none twice."""
    ends = {t: np.cumsum([0, *batch[t].num_sampled_nodes]) for t in graph.node_types}
    for edge_type, hops in fan_out.items():
        store, target = batch[edge_type], edge_type[2]
        at = np.cumsum([0, *store.num_sampled_edges])
        for hop, most in enumerate(hops):
            rows = store.edge_index[1, at[hop] : at[hop + 1]]
            columns = store.e_id[at[hop] : at[hop + 1]]
            assert ((rows >= ends[target][hop]) & (rows < ends[target][hop + 1])).all()
            for row in range(ends[target][hop], ends[target][hop + 1]):
                mine = columns[rows == row].tolist()
                into = (graph[edge_type].edge_index[1] == batch[target].n_id[row]).nonzero().flatten()
                degree = len(into) if seen is None else int(seen(edge_type, row)[into].sum())
                if replace and most != -1:
                    assert len(mine) == (most if degree else 0)
                else:
                    assert len(mine) == len(set(mine)) == (degree if most == -1 else min(degree, most))


def same(one, other):
    assert [store._key for store in one.stores] == [store._key for store in other.stores]
    for mine, its in zip(one.stores, other.stores, strict=True):
        assert list(mine.keys()) == list(its.keys())
        for name in mine:
            equal = torch.equal(mine[name], its[name]) if torch.is_tensor(mine[name]) else mine[name] == its[name]
            assert equal, (mine._key, name)


FANS = st.dictionaries(
    st.sampled_from(list(TYPES)), st.lists(st.sampled_from([-1, 0, 1, 2, 5, 50]), min_size=3, max_size=3)
)
SEEDS = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.integers(0, COUNTS[name] - 1), max_size=5) for name in ("word", "text", "alone")}
)


@settings(max_examples=80)
@given(fan_out=FANS, seeds=SEEDS, replace=st.booleans(), disjoint=st.booleans(), seed=st.integers(-5, 2**64))
def test_a_batch_is_drawn_as_promised(fan_out, seeds, replace, disjoint, seed):
    graph = large()
    batches = []
    for compiled in (False, True):
        sampler = NeighbourSampler(graph, fan_out, replace=replace, disjoint=disjoint, compiled=compiled)
        batches.append(sampler.gather(sampler.sample(seeds, seed=seed)))
        same(batches[-1], sampler.gather(sampler.sample(seeds, seed=seed)))  # again, with a used scratch
    batch = batches[0]
    same(batch, batches[1])
    check_nodes(graph, batch)
    check_edges(graph, batch)
    check_picks(graph, batch, sampler.fan_out, replace=replace)
    for name in graph.node_types:
        given_ = seeds.get(name, [])
        ids = batch[name].n_id.tolist()
        assert ids[: len(given_)] == given_
        assert batch[name].num_sampled_nodes[0] == len(given_)
        if disjoint:
            pairs = list(zip(batch[name].batch.tolist(), ids, strict=True))
            assert len(set(pairs)) == len(pairs)
        else:
            assert len(set(ids)) == len(ids) - (len(given_) - len(set(given_)))
            assert "batch" not in batch[name]
    if disjoint:
        trees = [tree for name in seeds for tree in batch[name].batch[: len(seeds[name])].tolist()]
        assert trees == list(range(sum(map(len, seeds.values()))))
        for source, relation, target in graph.edge_types:
            rows = batch[source, relation, target].edge_index
            assert torch.equal(batch[source].batch[rows[0]], batch[target].batch[rows[1]])


def reached(graph, seeds, depth):
    """The whole neighbourhood by sets: nodes, and the edges into the nodes of all hops but the last."""
    nodes, edges, border = set(seeds), set(), set(seeds)
    for _ in range(depth):
        found = set()
        for edge_type in graph.edge_types:
            for column, (source, target) in enumerate(graph[edge_type].edge_index.T.tolist()):
                if (edge_type[2], target) in border:
                    edges.add((edge_type, column))
                    found.add((edge_type[0], source))
        border = found - nodes
        nodes |= found
    return nodes, edges


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
def test_all_neighbours_are_the_whole_neighbourhood(depth):
    graph = large()
    sampler = NeighbourSampler(graph, [-1] * depth)
    batch = sampler.gather(sampler.sample({"text": [3, 7], "word": [2]}))
    nodes, edges = reached(graph, [("text", 3), ("text", 7), ("word", 2)], depth)
    assert Counter((t, i) for t in batch.node_types for i in batch[t].n_id.tolist()) == Counter(nodes)
    assert Counter((t, i) for t in batch.edge_types for i in batch[t].e_id.tolist()) == Counter(edges)


def test_a_model_says_the_same_on_the_neighbourhood_as_on_the_whole_graph():
    graph = large()
    torch.manual_seed(0)
    weight = {(t, d): torch.randn(3, 3, dtype=torch.float64) for t in graph.edge_types for d in range(2)}

    def model(g):
        state = {t: g[t].x.double() for t in g.node_types}
        for depth in range(2):
            new = {t: x.clone() for t, x in state.items()}
            for edge_type in g.edge_types:
                source, target = g[edge_type].edge_index
                messages = (state[edge_type[0]] @ weight[edge_type, depth])[source] * g[edge_type].edge_attr[:, :1]
                new[edge_type[2]] = new[edge_type[2]].index_add(0, target, messages)
            state = {t: x.tanh() for t, x in new.items()}
        return state

    whole = model(graph)
    sampler = NeighbourSampler(graph, [-1, -1])
    seeds = {"text": torch.tensor([5, 19, 5, 0]), "word": torch.arange(30)}
    out = model(sampler.gather(sampler.sample(seeds)))
    for name, ids in seeds.items():
        torch.testing.assert_close(out[name][: len(ids)], whole[name][ids])


def test_seeds_that_are_there_twice_have_equal_neighbours():
    sampler = NeighbourSampler(large(), [2, 2])
    batch = sampler.gather(sampler.sample({"text": [6, 1, 6]}))
    for edge_type in (IN, NEAR):
        index = batch[edge_type].edge_index
        assert index[0, index[1] == 0].tolist() == index[0, index[1] == 2].tolist()
    assert batch["text"].n_id[:3].tolist() == [6, 1, 6]


def test_the_draws_differ_by_seed_hop_type_and_node():
    graph = HeteroData()
    graph["a"].x = torch.zeros(100, 1)
    everything = torch.cartesian_prod(torch.arange(100), torch.arange(100)).T
    graph["a", "to", "a"].edge_index = graph["a", "too", "a"].edge_index = everything
    sampler = NeighbourSampler(graph, [20])
    found = [sampler.sample({"a": [0, 1]}, seed=seed) for seed in (0, 1)]
    drawn = [
        frozenset((one.columns["a", kind, "a"][20 * node : 20 * node + 20] // 100).tolist())
        for one in found
        for kind in ("to", "too")
        for node in (0, 1)
    ]
    assert len(set(drawn)) == 8
    trees = NeighbourSampler(graph, [20], disjoint=True).sample({"a": [0, 0]}).columns["a", "to", "a"]
    assert set(trees[:20].tolist()) != set(trees[20:].tolist())


def test_every_neighbour_is_equally_likely():
    graph = HeteroData()
    graph["a"].x = torch.zeros(12, 1)
    graph["a", "to", "a"].edge_index = torch.stack([torch.arange(12), torch.zeros(12, dtype=torch.long)])
    for compiled in (False, True):
        sampler = NeighbourSampler(graph, [5], compiled=compiled)
        counts = torch.zeros(12)
        for seed in range(1500):
            counts[sampler.sample({"a": [0]}, seed=seed).columns["a", "to", "a"]] += 1
        assert counts.sum() == 1500 * 5
        # draws without replacement vary less than a multinomial, by (n - 1) / (n - k)
        assert chisquare(counts.numpy()).statistic < 11 * 2.5


@settings(max_examples=60)
@given(
    fan_out=st.lists(st.sampled_from([-1, 1, 3]), min_size=2, max_size=3),
    texts=st.lists(st.tuples(st.integers(0, 19), st.integers(-1, 41)), max_size=5),
    words=st.lists(st.tuples(st.integers(0, 29), st.integers(-1, 41)), max_size=3),
    seed=st.integers(0, 9),
)
def test_no_edge_is_later_than_its_seed(fan_out, texts, words, seed):
    graph = large()
    seeds = {"text": [i for i, _ in texts], "word": [i for i, _ in words]}
    times = {"text": [t for _, t in texts], "word": [t for _, t in words]}
    batches = []
    for compiled in (False, True):
        sampler = NeighbourSampler(graph, fan_out, time="time", compiled=compiled)
        batches.append(sampler.gather(sampler.sample(seeds, seed=seed, time=times)))
    batch = batches[0]
    same(*batches)
    check_nodes(graph, batch)
    check_edges(graph, batch)
    limit = torch.tensor(times["text"] + times["word"], dtype=torch.int64)

    def seen(edge_type, row):
        return graph[edge_type].time <= limit[batch[edge_type[2]].batch[row]]

    check_picks(graph, batch, sampler.fan_out, seen=seen)
    for edge_type in graph.edge_types:
        tree = batch[edge_type[2]].batch[batch[edge_type].edge_index[1]]
        assert (batch[edge_type].time <= limit[tree]).all()


def test_an_edge_at_the_time_of_its_seed_is_seen_and_types_without_times_always_are():
    graph = HeteroData()
    graph["a"].x = torch.zeros(3, 1)
    graph["a", "to", "a"].edge_index = graph["a", "is", "a"].edge_index = torch.tensor([[1, 2, 1], [0, 0, 0]])
    graph["a", "to", "a"].when = torch.tensor([4, 5, 6])
    sampler = NeighbourSampler(graph, [-1], time={("a", "to", "a"): "when"})
    batch = sampler.gather(sampler.sample({"a": [0]}, time={"a": [5]}))
    assert batch["a", "to", "a"].e_id.tolist() == [0, 1]
    assert batch["a", "is", "a"].e_id.tolist() == [0, 1, 2]
    assert batch["a"].batch.tolist() == [0, 0, 0]


def test_hidden_edges_are_gone_in_every_hop():
    graph = large()
    pairs = graph[NEAR].edge_index[:, ::2]
    hidden = set(map(tuple, pairs.T.tolist()))
    for disjoint in (False, True):
        sampler = NeighbourSampler(graph, [-1, -1], disjoint=disjoint)
        one = sampler.gather(sampler.sample({"text": range(20)}, hidden={NEAR: pairs}))
        check_edges(graph, one)
        mine = graph[NEAR].edge_index[:, one[NEAR].e_id].T.tolist()
        kept = [i for i, pair in enumerate(graph[NEAR].edge_index.T.tolist()) if tuple(pair) not in hidden]
        assert not {tuple(pair) for pair in mine} & hidden
        assert set(one[NEAR].e_id.tolist()) == set(kept)
        assert len(one[IN].e_id) >= TYPES[IN]
    none = sampler.sample({"text": [0]}, hidden={NEAR: pairs[:, :0]})
    assert torch.equal(none.columns[NEAR], sampler.sample({"text": [0]}).columns[NEAR])


def test_sorted_edges_are_used_again_from_disk(tmp_path):
    graph = large()
    sampler = NeighbourSampler(graph, [2, 2], time="time")
    save_csc(tmp_path / "edges", sampler.edges)
    again = NeighbourSampler(graph, [2, 2], time="time", edges=open_csc(tmp_path / "edges"))
    one, other = (s.gather(s.sample({"text": [1, 2]}, time={"text": [30, 9]})) for s in (sampler, again))
    same(one, other)


def test_a_collection_of_one_graph_is_sampled_as_the_graph_is(tmp_path):
    graph = large()
    with CollectionWriter(tmp_path / "large") as writer:
        writer.extend([graph])
    mapped = Collection(tmp_path / "large")
    for options, time in (({}, None), ({"time": "time"}, {"text": [20, 30]})):
        one, other = (
            s.gather(s.sample({"text": [1, 2]}, time=time))
            for s in (NeighbourSampler(g, [3, 3], **options) for g in (graph, mapped))
        )
        same(one, other)
    with CollectionWriter(tmp_path / "small") as writer:
        writer.extend([graph, graph])
    with pytest.raises(DataError, match="1 large graph, got 2"):
        NeighbourSampler(Collection(tmp_path / "small"), [1])


def test_a_batch_keeps_its_values_whatever_is_drawn_next():
    graph = HeteroData()
    graph["a"].x = torch.rand(3000, 300)  # more than the allocator keeps
    graph["a", "to", "a"].edge_index = torch.stack([torch.arange(3000), torch.arange(3000).roll(1)])
    sampler = NeighbourSampler(graph, [-1])
    batches = [sampler.gather(sampler.sample({"a": torch.randperm(3000)[:2000]}, seed=i)) for i in range(6)]
    views = [batch["a"].x[5:] for batch in batches[:3]]
    ids = [batch["a"].n_id[5:] for batch in batches[:3]]
    del batches[:3]
    batches += [sampler.gather(sampler.sample({"a": range(2000)}, seed=i)) for i in range(6)]
    for view, rows in zip(views, ids, strict=True):
        assert torch.equal(view, graph["a"].x[rows])
    for batch in batches:
        assert torch.equal(batch["a"].x, graph["a"].x[batch["a"].n_id])


def test_features_of_all_kinds_are_gathered():
    graph = HeteroData()
    graph["a"].x = torch.rand(6, 4).T.contiguous().T  # not contiguous
    graph["a"].weight = torch.nn.Parameter(torch.rand(6, 2))
    graph["a"].z = torch.rand(6).to(torch.complex64).conj()
    graph["a"].half = torch.rand(6, 2).half()
    graph["a"].wide = torch.rand(6, 0)
    graph["a"].classes = 7
    graph["a"].n_id = torch.arange(100, 106)  # a view's, of the graph that it was made of
    graph["a", "to", "a"].edge_index = torch.tensor([[1, 2], [0, 1]])
    graph["a", "to", "a"].edge_label_index = torch.tensor([[1, 2], [0, 1]])
    sampler = NeighbourSampler(graph, [-1])
    batch = sampler.gather(sampler.sample({"a": [4, 0]}))
    rows = torch.tensor([4, 0, 1])
    for name in ("x", "weight", "z", "half", "wide", "n_id"):
        assert torch.equal(batch["a"][name], graph["a"][name][rows]), name
    batch["a"].weight.sum().backward()
    assert graph["a"].weight.grad[:, 0].tolist() == [1, 1, 0, 0, 1, 0]
    assert "classes" not in batch["a"]
    assert "edge_label_index" not in batch["a", "to", "a"]


def test_masks_name_seeds():
    sampler = NeighbourSampler(large(), [0])
    mask = torch.zeros(20, dtype=torch.bool)
    mask[[3, 9]] = True
    assert sampler.sample({"text": mask}).nodes["text"].tolist() == [3, 9]


@pytest.mark.parametrize(
    ("fan_out", "error", "words"),
    [
        ({("a", "to", "b"): [1]}, DataError, r"got \('a', 'to', 'b'\)"),
        ([1, -2], ConfigError, r"-1 for all, got -2 for \('word', 'in', 'text'\)"),
        ([1, 2.5], ConfigError, "got 2.5"),
        ([True], ConfigError, "got True"),
        ({IN: [1, 2], NEAR: [1]}, ConfigError, r"got \[1, 2\]"),
        ({IN: 5}, ConfigError, "got 5 for"),
        (10, ConfigError, "got 10 for"),
    ],
)
def test_fan_outs_that_can_not_be_are_named(fan_out, error, words):
    with pytest.raises(error, match=words):
        NeighbourSampler(large(), fan_out)


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ({"video": [0]}, r"\['word', 'text', 'alone', 'image'\], got 'video'"),
        ({"text": [0, 20]}, "'text', which has 20 nodes, got 20"),
        ({"text": [-1]}, "got -1"),
        ({"image": [0]}, "has 0 nodes, got 0"),
        ({"text": [0.5]}, r"got \[1\] of float32"),
        ({"text": [[0]]}, r"got \[1, 1\] of int64"),
        ({"text": torch.ones(3, dtype=torch.bool)}, r"a mask \[20\], got \[3\] of bool"),
    ],
)
def test_seeds_that_are_no_nodes_are_named(seeds, words):
    with pytest.raises(DataError, match=words):
        NeighbourSampler(large(), [1]).sample(seeds)


def test_times_that_can_not_be_are_named():
    graph = large()
    with pytest.raises(DataError, match=r"attribute 'when' .*has \['edge_attr', 'time'\]"):
        NeighbourSampler(graph, [1], time="when")
    with pytest.raises(DataError, match=r"got \('a', 'to', 'b'\)"):
        NeighbourSampler(graph, [1], time={("a", "to", "b"): "time"})
    sampler = NeighbourSampler(graph, [1], time="time")
    with pytest.raises(ConfigError, match="'text' must have times"):
        sampler.sample({"text": [0]})
    with pytest.raises(ConfigError, match="'text' must have times"):
        sampler.sample({"text": [0]}, time={"word": [0]})
    with pytest.raises(DataError, match=r"integers \[1\], got \[2\] of torch.int64"):
        sampler.sample({"text": [0]}, time={"text": [0, 1]})
    with pytest.raises(DataError, match="float32"):
        sampler.sample({"text": [0]}, time={"text": [0.5]})
    with pytest.raises(ConfigError, match="made without"):
        NeighbourSampler(graph, [1]).sample({"text": [0]}, time={"text": [0]})
    graph[IN].time = graph[IN].time.float()
    with pytest.raises(DataError, match="torch.float32"):
        NeighbourSampler(graph, [1], time="time")


def test_graphs_that_can_not_be_sampled_are_named():
    graph = HeteroData()
    graph["a"].x = torch.zeros(2, 1)
    graph["a", "to", "b"].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(DataError, match="joins 'b'"):
        NeighbourSampler(graph, [1])
    graph["b"].x = torch.zeros(1, 1)
    graph["a", "to", "b"].edge_index = torch.tensor([[2], [0]])
    with pytest.raises(DataError, match=r"source must be in \[0, 2\), got 2"):
        NeighbourSampler(graph, [1])
    del graph["a", "to", "b"].edge_index
    with pytest.raises(DataError, match="must have an edge_index"):
        NeighbourSampler(graph, [1])


def test_edges_of_another_graph_are_named():
    graph = large()
    edges = NeighbourSampler(graph, [1]).edges
    with pytest.raises(ConfigError, match=r"no \('word', 'in', 'text'\)"):
        NeighbourSampler(graph, [1], edges={})
    with pytest.raises(ConfigError, match=r"has no times, and the sampler was made with"):
        NeighbourSampler(graph, [1], time="time", edges=edges)
    graph[IN].edge_index = graph[IN].edge_index[:, 1:]
    with pytest.raises(ConfigError, match=r"\(30, 20, 119\), got \(30, 20, 120\)"):
        NeighbourSampler(graph, [1], edges=edges)


def test_hidden_pairs_must_be_pairs_of_a_known_type():
    sampler = NeighbourSampler(large(), [1])
    with pytest.raises(DataError, match=r"\[2, pairs\], got \[3\]"):
        sampler.sample({"text": [0]}, hidden={NEAR: torch.zeros(3, dtype=torch.long)})
    with pytest.raises(DataError, match=r"got \('a', 'to', 'b'\)"):
        sampler.sample({"text": [0]}, hidden={("a", "to", "b"): torch.zeros(2, 1, dtype=torch.long)})


def test_numba_is_imported_at_the_first_draw_alone():
    code = "import sys, mmgraph.data; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
