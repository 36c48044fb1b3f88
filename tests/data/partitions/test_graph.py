"""However a graph is cut and wherever its parts are, its batches are those of the whole graph, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgraph.data import Collection, CollectionWriter, LinkSeeds, NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.csc import Csc
from mmgraph.data.partitions import GraphParts, PartServer, partition_graph
from mmgraph.data.sampling.memory import Recycler
from mmgraph.errors import ArtifactError, ConfigError, DataError

IN, HAS, NEAR = ("word", "in", "text"), ("text", "has", "word"), ("text", "near", "text")
TYPES = [IN, HAS, NEAR, ("alone", "of", "text"), ("image", "of", "text")]
COUNTS = {"word": 40, "text": 25, "alone": 4}

FANS = st.dictionaries(st.sampled_from(TYPES), st.lists(st.sampled_from([-1, 0, 1, 2, 5, 50]), min_size=2, max_size=2))
SEEDS = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.integers(0, COUNTS[name] - 1), max_size=6) for name in ("word", "text", "alone")}
)


@pytest.fixture(scope="module")
def parts(folder):
    """One part over a socket, two from the folder, and some rows kept."""
    with PartServer(folder, 1) as server:
        yield GraphParts(folder, addresses={1: server.address}, home=2, keep_mib=0.0005)


@settings(max_examples=60)
@given(fan_out=FANS, seeds=SEEDS, replace=st.booleans(), disjoint=st.booleans(), seed=st.integers(-5, 2**64))
def test_batches_are_those_of_the_whole_graph(same, graph, parts, fan_out, seeds, replace, disjoint, seed):
    options = {"replace": replace, "disjoint": disjoint}
    whole, mine = NeighbourSampler(graph, fan_out, **options), NeighbourSampler(parts, fan_out, **options)
    same(mine.gather(mine.sample(seeds, seed=seed)), whole.gather(whole.sample(seeds, seed=seed)))


def test_some_rows_were_kept_and_others_not(parts):
    kept = {name: len(one.places) for name, one in parts.kept.items()}
    assert 0 < kept["word"] < COUNTS["word"]
    assert 0 < kept["text"] < COUNTS["text"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 99))
def test_no_edge_is_drawn_from_the_future(same, graph, timed, data, seed):
    seeds = data.draw(st.lists(st.integers(0, COUNTS["text"] - 1), min_size=1, max_size=5))
    limits = data.draw(st.lists(st.integers(0, 40), min_size=len(seeds), max_size=len(seeds)))
    whole, mine = (NeighbourSampler(one, [3, 2], time="time") for one in (graph, GraphParts(timed)))
    one, other = (
        sampler.gather(sampler.sample({"text": seeds}, seed=seed, time={"text": limits})) for sampler in (mine, whole)
    )
    same(one, other)


@pytest.mark.parametrize("hidden", [torch.tensor([[3], [7]]), torch.stack([torch.arange(25), torch.full((25,), 7)])])
def test_hidden_edges_are_taken_out_of_positions_too(same, graph, parts, hidden):
    whole, mine = NeighbourSampler(graph, [-1, 4]), NeighbourSampler(parts, [-1, 4])
    options = {"seed": 3, "hidden": {NEAR: hidden}}
    seeds = {"text": [7, 1, 2]}
    same(mine.gather(mine.sample(seeds, **options)), whole.gather(whole.sample(seeds, **options)))


@pytest.mark.parametrize(
    "seeds",
    [
        NodeSeeds("text"),
        LinkSeeds(IN, reverse=HAS, unseen=True),
        LinkSeeds(NEAR, index=torch.tensor([[1, 2, 3], [7, 7, 8]]), negatives=2.0),
    ],
    ids=["nodes", "links", "given links"],
)
def test_loaders_work_unchanged_and_resume(same, graph, folder, served, seeds):
    def loader(of):
        sampler = NeighbourSampler(of, [4, 3])
        return NeighbourLoader(sampler, seeds, batch_size=8, shuffle=True, seed=5)

    must = list(loader(graph))
    whole = loader(GraphParts(folder, addresses=served))
    begun = iter(whole)
    got = [next(begun)]
    later = loader(GraphParts(folder))  # another process, all from its disk
    later.load_state_dict(whole.state_dict())
    got += list(later)
    for one, other in zip(got, must, strict=True):
        same(one, other)


def test_links_of_temporal_graphs_have_the_times_of_the_edges(same, graph, timed):
    batches = []
    for one in (graph, GraphParts(timed)):
        sampler = NeighbourSampler(one, [2], time="time")
        batches.append(next(iter(NeighbourLoader(sampler, LinkSeeds(NEAR, reverse=NEAR), batch_size=20))))
    same(*batches)


def test_a_collection_on_disk_gives_the_same_pieces(graph, folder, owner, tmp_path):
    with CollectionWriter(tmp_path / "whole") as writer:
        writer.add(graph)
    partition_graph(Collection(tmp_path / "whole"), tmp_path / "parts", parts=3, method=owner)
    must = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    got = {
        path.relative_to(tmp_path / "parts"): path.read_bytes()
        for path in (tmp_path / "parts").rglob("*")
        if path.is_file()
    }
    assert must == got


@pytest.mark.parametrize("method", ["metis", "random"])
def test_every_way_to_cut_gives_the_same_batches(same, graph, tmp_path, method):
    partition_graph(graph, tmp_path / "parts", parts=2, method=method)
    whole, mine = NeighbourSampler(graph, [5, 5]), NeighbourSampler(GraphParts(tmp_path / "parts"), [5, 5])
    seeds = {"text": list(range(25))}
    same(mine.gather(mine.sample(seeds, seed=1)), whole.gather(whole.sample(seeds, seed=1)))


def test_only_what_is_drawn_travels(graph, folder, served, monkeypatch):
    """Of a hub with 66 edges, four edges are sent."""
    from mmgraph.data.partitions import owners

    sizes = []
    receive = owners.receive

    def counted(link):
        message = receive(link)
        sizes.append(sum(array.nbytes for array in message.arrays))
        return message

    monkeypatch.setattr(owners, "receive", counted)
    parts = GraphParts(folder, addresses=served)
    sampler = NeighbourSampler(parts, {IN: [4]})
    sizes.clear()
    hub = 7
    assert (graph[IN].edge_index[1] == hub).sum() > 60
    assert len(sampler.sample({"text": [hub]}).columns[IN]) == 4
    assert sum(sizes) <= 8 + 4 * (4 + 4 + 8)
    bare = NeighbourSampler(parts, {IN: [4], HAS: [4]}).sample({"word": [0, 1, 2], "text": [hub]})
    assert (bare.positions[IN] >= 0).all()


def test_a_hop_asks_every_part_once(folder, served, monkeypatch):
    parts = GraphParts(folder, addresses=served)
    asked = []
    ask = parts.owners.ask
    monkeypatch.setattr(parts.owners, "ask", lambda requests: asked.append(dict(requests)) or ask(requests))
    sampler = NeighbourSampler(parts, [4, 4])
    sampler.gather(sampler.sample({"text": [1, 2, 3], "word": [4]}))
    assert [next(iter(one.values())).fields["ask"] for one in asked] == ["draw", "draw", "take"]


def test_what_is_kept_and_what_is_there_twice_is_not_asked_for_again(parts, monkeypatch):
    asked = []
    ask = parts.owners.ask
    monkeypatch.setattr(parts.owners, "ask", lambda requests: asked.append(dict(requests)) or ask(requests))
    everything = np.arange(COUNTS["word"])
    kept = np.isin(parts.book.place("word", everything), parts.kept["word"].places)
    parts.node_rows("word", "x", np.concatenate([everything, everything]))
    assert sum(len(one.arrays[0]) for one in asked[0].values()) == (~kept).sum() > 0


def test_rows_and_edges_can_be_read(graph, parts, timed):
    assert torch.equal(parts.node_rows("word", "bits", [5, 0, 5]), graph["word"].bits[[5, 0, 5]])
    assert torch.equal(parts.node_rows("word", "x", graph["word"].mask), graph["word"].x[graph["word"].mask])
    assert torch.equal(parts.index(IN), graph[IN].edge_index)
    assert torch.equal(GraphParts(timed).edge_time(NEAR, "time"), graph[NEAR].time)
    assert len(parts.nodes["word"]["x"]) == COUNTS["word"]
    with pytest.raises(DataError, match=r"which has 40 nodes, got 40"):
        parts.node_rows("word", "x", [40])
    with pytest.raises(DataError, match=r"must be a node type.*got 'wrod'"):
        parts.node_rows("wrod", "x", [0])


def test_edges_are_asked_for_a_slice_at_a_time(graph, folder, monkeypatch):
    from mmgraph.data.partitions import graph as module

    monkeypatch.setattr(module, "SLICE", 7)
    assert torch.equal(GraphParts(folder).index(NEAR), graph[NEAR].edge_index)


def test_what_can_not_be_is_said(folder, timed):
    parts = GraphParts(folder)
    with pytest.raises(ConfigError, match=r"sorted by None in their parts.*made with time 'time'"):
        NeighbourSampler(parts, [2], time={IN: "time"})  # mended by partitioning again
    with pytest.raises(ConfigError, match=r"sorted by 'time' in their parts.*made with time None"):
        NeighbourSampler(GraphParts(timed), [2])
    with pytest.raises(ConfigError, match=r"sorted by None in their parts, got 'time'"):
        parts.edge_time(IN, "time")
    csc = Csc.from_edges(torch.empty(2, 0, dtype=torch.int64), num_sources=1, num_targets=1)
    with pytest.raises(ConfigError, match="edges must be left out"):
        NeighbourSampler(parts, [2], edges={IN: csc})
    with pytest.raises(ConfigError, match=r"keep_mib needs home.*in \[0, 3\), got None"):
        GraphParts(folder, keep_mib=1.0)
    with pytest.raises(ConfigError, match=r"keep_mib needs home.*in \[0, 3\), got 3"):
        GraphParts(folder, keep_mib=1.0, home=3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda arrays: arrays[:1], "too few arrays"),
        (lambda arrays: [arrays[0][:-1], *arrays[1:]], r"sizes \[0\] of int64 for 1 targets"),
        (lambda arrays: [-arrays[0], *arrays[1:]], "sizes"),
        (lambda arrays: [arrays[0], arrays[1] + 1000, *arrays[2:]], "sources beyond 40"),
        (lambda arrays: [arrays[0], arrays[1] - 41, *arrays[2:]], "sources beyond 40"),
        (lambda arrays: [arrays[0], arrays[1].astype(float), *arrays[2:]], r"sources \[4\] of float64 for 4 edges"),
        (lambda arrays: [arrays[0], arrays[1], arrays[2] + 1000, *arrays[3:]], "columns beyond 200"),
    ],
)
def test_what_parts_send_is_checked_before_a_compiled_loop_follows_it(folder, monkeypatch, spoil, message):
    from mmgraph.data.partitions.part import Part
    from mmgraph.data.partitions.wire import Message

    parts = GraphParts(folder)
    answer = Part.answer
    monkeypatch.setattr(Part, "answer", lambda self, request: Message({}, spoil(list(answer(self, request).arrays))))
    with pytest.raises(ArtifactError, match=message):
        NeighbourSampler(parts, {IN: [4]}).sample({"text": [7]})


def test_rows_of_another_shape_are_refused(folder, monkeypatch):
    from mmgraph.data.partitions.part import Part

    parts = GraphParts(folder)
    monkeypatch.setattr(Part, "_taken", lambda *_: [np.zeros((1, 2), np.float32)])
    with pytest.raises(ArtifactError, match=r"must send \[1, 3\] of float32 for 'x' of 'word', got \[1, 2\]"):
        parts.node_rows("word", "x", [0])


def test_memory_of_batches_is_not_overwritten(graph, folder):
    parts, memory = GraphParts(folder), Recycler()
    first = parts.nodes["word"]["x"].take(np.arange(40), memory)
    copy = first.clone()
    parts.nodes["word"]["x"].take(np.arange(39, -1, -1), memory)
    assert torch.equal(first, copy)
    assert torch.equal(first, graph["word"].x)
