"""Seed edges: labels, negatives, and the edges that would tell the answer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import HeteroData

from mmgraph.data import Csc, LinkSeeds, NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.sampling.draw import key_of
from mmgraph.data.sampling.negatives import draw_negatives
from mmgraph.errors import ConfigError, DataError

BUYS, BOUGHT, KNOWS = ("user", "buys", "item"), ("item", "bought_by", "user"), ("user", "knows", "user")


def shop():
    generator = torch.Generator().manual_seed(0)
    graph = HeteroData()
    for name, count in (("user", 30), ("item", 25)):
        graph[name].x = torch.rand(count, 2, generator=generator)
    buys = torch.stack([torch.randint(0, n, (150,), generator=generator) for n in (30, 25)])
    graph[BUYS].edge_index, graph[BUYS].time = buys, torch.randint(0, 50, (150,), generator=generator)
    graph[BOUGHT].edge_index, graph[BOUGHT].time = buys.flip(0), graph[BUYS].time
    graph[KNOWS].edge_index = torch.randint(0, 30, (2, 100), generator=generator)
    graph[KNOWS].time = torch.randint(0, 50, (100,), generator=generator)
    return graph


def batches(seeds, *, fan_out=(-1, -1), batch_size=16, time=None, seed=0, graph=None, **options):
    sampler = NeighbourSampler(graph or shop(), list(fan_out), time=time, **options)
    return list(NeighbourLoader(sampler, seeds, batch_size=batch_size, shuffle=True, seed=seed, prefetch=0))


def pairs_of(batch, edge_type, index):
    source, target = batch[edge_type[0]].n_id[index[0]], batch[edge_type[2]].n_id[index[1]]
    return list(zip(source.tolist(), target.tolist(), strict=True))


@pytest.mark.parametrize("edge_type", [BUYS, KNOWS])
@pytest.mark.parametrize("options", [{}, {"disjoint": True}, {"time": "time"}])
@pytest.mark.parametrize("negatives", [0, 1.0, 2.5])
def test_labelled_pairs_are_the_seed_edges_and_then_the_negatives(edge_type, options, negatives):
    graph = shop()
    edges = graph[edge_type].edge_index
    found = batches(LinkSeeds(edge_type, negatives=negatives), **options)
    assert sorted(torch.cat([b[edge_type].input_id for b in found]).tolist()) == list(range(edges.shape[1]))
    for batch in found:
        store = batch[edge_type]
        count = len(store.input_id)
        more = round(negatives * count)
        pairs = pairs_of(batch, edge_type, store.edge_label_index)
        assert store.edge_label.tolist() == [1.0] * count + [0.0] * more
        assert pairs[:count] == list(map(tuple, edges[:, store.input_id].T.tolist()))
        assert [source for source, _ in pairs[count:]] == [pairs[i % count][0] for i in range(more)]
        if "time" in options:
            assert torch.equal(store.seed_time, graph[edge_type].time[store.input_id])
            for other in graph.edge_types:
                edge = batch[other]
                tree = batch[other[2]].batch[edge.edge_index[1]]
                assert (edge.time <= store.seed_time[tree]).all()
        if options:
            owner = torch.cat([torch.arange(count), torch.arange(more) % count])
            for end in (0, 1):
                assert torch.equal(batch[edge_type[2 * end]].batch[store.edge_label_index[end]], owner)
        else:
            for name in graph.node_types:
                assert len(batch[name].n_id.unique()) == len(batch[name].n_id)


@pytest.mark.parametrize("options", [{}, {"disjoint": True}, {"time": "time"}])
def test_no_seed_edge_is_among_the_messages(options):
    """Nor one that runs beside it; with the reverse type named, nor one that runs back."""
    graph = shop()
    for reverse in (None, BOUGHT):
        for batch in batches(LinkSeeds(BUYS, reverse=reverse), **options):
            seeds = set(pairs_of(batch, BUYS, batch[BUYS].edge_label_index[:, batch[BUYS].edge_label == 1]))
            back = {(item, user) for user, item in seeds}
            assert not seeds & set(pairs_of(batch, BUYS, batch[BUYS].edge_index))
            assert (not back & set(pairs_of(batch, BOUGHT, batch[BOUGHT].edge_index))) == (reverse is not None)
            kept = [pair for pair in map(tuple, graph[BUYS].edge_index.T.tolist()) if pair not in seeds]
            assert set(pairs_of(batch, BUYS, batch[BUYS].edge_index)) <= set(kept)
            assert batch[BUYS].num_sampled_edges[0] > 0
    shown = batches(LinkSeeds(BUYS, hide=False), **options)[0]
    seeds = pairs_of(shown, BUYS, shown[BUYS].edge_label_index[:, :16])
    assert set(seeds) <= set(pairs_of(shown, BUYS, shown[BUYS].edge_index))


def test_the_reverse_of_a_symmetric_type_may_be_the_type_itself():
    for batch in batches(LinkSeeds(KNOWS, reverse=KNOWS)):
        seeds = pairs_of(batch, KNOWS, batch[KNOWS].edge_label_index[:, batch[KNOWS].edge_label == 1])
        both = set(seeds) | {(b, a) for a, b in seeds}
        assert not both & set(pairs_of(batch, KNOWS, batch[KNOWS].edge_index))


def test_seed_edges_may_come_with_labels_and_need_not_be_in_the_graph():
    index = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    label = torch.tensor([2, 0, 1, 0])
    (batch,) = batches(LinkSeeds(BUYS, index, label=label, negatives=0), batch_size=9)
    store = batch[BUYS]
    assert pairs_of(batch, BUYS, store.edge_label_index) == list(map(tuple, index[:, store.input_id].T.tolist()))
    assert torch.equal(store.edge_label, label[store.input_id])
    taken = shop()[BUYS].edge_index[:, :4]
    graph = shop()
    (batch,) = batches(LinkSeeds(BUYS, taken, label=label, negatives=0), batch_size=9, graph=graph)
    messages = set(pairs_of(batch, BUYS, batch[BUYS].edge_index))
    for column, pair in enumerate(map(tuple, taken.T.tolist())):
        assert (pair in messages) == (int(label[column]) == 0)  # what is no edge by its label is not hidden
    vectors = torch.rand(4, 3)
    (batch,) = batches(LinkSeeds(BUYS, index, label=vectors, negatives=1), batch_size=9)
    assert torch.equal(batch[BUYS].edge_label, torch.cat([vectors[batch[BUYS].input_id], torch.zeros(4, 3)]))


def test_negatives_that_are_unseen_are_never_edges():
    graph = shop()
    held_out = torch.tensor([[0, 0, 1], [0, 1, 2]])
    edges = set(map(tuple, torch.cat([graph[BUYS].edge_index, held_out], 1).T.tolist()))
    for batch in batches(LinkSeeds(BUYS, held_out, unseen=True, negatives=60), graph=graph):
        store = batch[BUYS]
        assert not edges & set(pairs_of(batch, BUYS, store.edge_label_index[:, store.edge_label == 0]))
    sampled = batches(LinkSeeds(BUYS, held_out, negatives=60), graph=graph)[0][BUYS]
    assert len(sampled.edge_label) == 3 * 61
    sampler = NeighbourSampler(graph, {KNOWS: [1]})  # the seeds' own type is not followed
    (batch,) = NeighbourLoader(sampler, LinkSeeds(BUYS, held_out, unseen=True, negatives=60), batch_size=9, prefetch=0)
    store = batch[BUYS]
    assert not edges & set(pairs_of(batch, BUYS, store.edge_label_index[:, store.edge_label == 0]))


def test_negatives_are_uniform():
    for seed in range(3):
        drawn = draw_negatives(np.zeros(20_000, dtype=np.int64), 13, key_of(seed))
        assert chisquare(np.bincount(drawn, minlength=13)).pvalue > 1e-3
    edges = Csc.from_edges(torch.tensor([[0] * 9, list(range(9))]), num_sources=2, num_targets=13)
    drawn = draw_negatives(np.zeros(20_000, dtype=np.int64), 13, key_of(0), [edges])
    assert drawn.min() == 9
    assert chisquare(np.bincount(drawn - 9, minlength=4)).pvalue > 1e-3


@settings(max_examples=60)
@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 39))), st.integers(0, 99))
def test_unseen_negatives_are_found_however_few_there_are(edges, seed):
    index = torch.tensor(sorted(edges), dtype=torch.long).reshape(-1, 2).T
    nearly = torch.stack([torch.zeros(39, dtype=torch.long), torch.arange(39)])  # source 0 has one left
    known = [Csc.from_edges(one, num_sources=3, num_targets=40) for one in (index, nearly)]
    source = np.array([0, 1, 2, 0], dtype=np.int64)
    if (0, 39) in edges:
        with pytest.raises(DataError, match="source 0 .*all 40 targets"):
            draw_negatives(source, 40, key_of(seed), known)
        return
    drawn = draw_negatives(source, 40, key_of(seed), known)
    assert drawn[[0, 3]].tolist() == [39, 39]
    assert (1, int(drawn[1])) not in edges
    assert (2, int(drawn[2])) not in edges


def test_node_seeds_come_first_and_say_which_they_are():
    graph = shop()
    ids = torch.tensor([7, 3, 3, 20, 11])
    for batch in batches(NodeSeeds("user", ids), batch_size=3, graph=graph):
        store = batch["user"]
        assert torch.equal(store.n_id[: store.batch_size], ids[store.input_id])
        assert torch.equal(store.x, graph["user"].x[store.n_id])
    time = torch.tensor([5, 6, 7, 8, 9])
    for batch in batches(NodeSeeds("user", ids, time=time), batch_size=3, time="time"):
        assert torch.equal(batch["user"].seed_time, time[batch["user"].input_id])
        assert batch["user"].batch[: batch["user"].batch_size].tolist() == list(range(batch["user"].batch_size))
    mask = torch.zeros(30, dtype=torch.bool)
    mask[[2, 5]] = True
    (batch,) = batches(NodeSeeds("user", mask), batch_size=3)
    assert sorted(batch["user"].n_id[:2].tolist()) == [2, 5]
    assert sum(b["item"].batch_size for b in batches(NodeSeeds("item"))) == 25


@pytest.mark.parametrize(
    ("seeds", "error", "words"),
    [
        (NodeSeeds("video"), DataError, "got 'video'"),
        (NodeSeeds("user", [30]), DataError, "has 30 nodes, got 30"),
        (NodeSeeds("user", [0], time=[4]), ConfigError, "leave out a time for each of NodeSeeds"),
        (NodeSeeds("user", []), DataError, "at least 1 sample"),
        (LinkSeeds(("user", "sees", "item")), DataError, "got .'user', 'sees', 'item'"),
        (LinkSeeds(BUYS, torch.tensor([[0], [25]])), DataError, "'item', which has 25 nodes, got 25"),
        (LinkSeeds(BUYS, torch.tensor([0, 1])), DataError, r"\[2, seeds\], got \[2\]"),
        (LinkSeeds(BUYS, label=torch.ones(3)), DataError, r"\[150\], got \[3\]"),
        (LinkSeeds(BUYS, label=torch.zeros(150)), ConfigError, "negatives must be 0 .*got 1.0"),
        (LinkSeeds(BUYS, negatives=-0.5), ConfigError, "got -0.5"),
        (LinkSeeds(BUYS, negatives=float("nan")), ConfigError, "got nan"),
        (LinkSeeds(BUYS, reverse=KNOWS), ConfigError, "from 'item' to 'user', got .'user', 'knows', 'user'"),
        (LinkSeeds(BUYS, reverse=("a", "to", "b")), DataError, "got .'a', 'to', 'b'"),
    ],
)
def test_seeds_that_can_not_be_are_named(seeds, error, words):
    with pytest.raises(error, match=words):
        batches(seeds)


def test_times_of_seeds_must_be_there_where_edges_have_times():
    with pytest.raises(ConfigError, match="NodeSeeds must be given"):
        batches(NodeSeeds("user"), time="time")
    with pytest.raises(ConfigError, match="LinkSeeds must be given"):
        batches(LinkSeeds(BUYS, torch.tensor([[0], [0]])), time="time")
    with pytest.raises(DataError, match="float32"):
        batches(NodeSeeds("user", [0], time=torch.tensor([0.5])), time="time")
    graph = shop()
    graph["empty"].x = torch.empty(0, 2)
    graph["user", "wants", "empty"].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ConfigError, match="'empty', got 0"):
        LinkSeeds(("user", "wants", "empty")).on(NeighbourSampler(graph, [1]))
