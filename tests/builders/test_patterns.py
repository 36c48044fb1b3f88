import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from mmgraph.builders import patterns
from mmgraph.encoders import SymbolEmbedding
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, Modality, NodeSpec, Schema
from mmgraph.testing.expect import difference as differs

TYPES = ("audio", "text")
SCHEMA = Schema(
    nodes={"clip": NodeSpec(), **{node: NodeSpec(channels=2) for node in TYPES}},
    edges={(node, "of", "clip"): EdgeSpec() for node in TYPES},
    anchor="clip",
)


def clips(owners, count, **attributes):
    """A graph of clips; ``owners[node]`` is a list of the clips that each node is of."""
    graph = HeteroData()
    graph["clip"].num_nodes = count
    for node, owned in owners.items():
        graph[node].x = torch.zeros(len(owned), 2)
        pairs = [(row, clip) for row, each in enumerate(owned) for clip in each]
        graph[node, "of", "clip"].edge_index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    for name, values in attributes.items():
        node, key = name.split("_")
        graph[node][key] = values
    return graph


@st.composite
def ragged(draw):
    """Clips with none to four nodes of each type, in any order; a node may be of two clips, or of none."""
    count = draw(st.integers(0, 4))
    owned = st.lists(st.integers(0, count - 1), max_size=2, unique=True) if count else st.just([])
    owners = {node: draw(st.lists(owned, max_size=6), label=node) for node in TYPES}
    return owners, clips(owners, count)


def place(owners, node, row, clip):
    """How many nodes of its type and clip stand before it."""
    return sum(clip in owners[node][before] for before in range(row))


def slow(owners, source, target, allowed):
    """Pairs of nodes that share a clip in which ``allowed(source's place - target's place)``."""
    return {
        (u, v)
        for u, ours in enumerate(owners[source])
        for v, theirs in enumerate(owners[target])
        if any(
            allowed(place(owners, source, u, clip) - place(owners, target, v, clip)) for clip in set(ours) & set(theirs)
        )
    }


def pairs(graph, source, target, relation="informs"):
    index = graph[source, relation, target].edge_index
    assert index.dtype == torch.int64
    keys = (index[1] * 1000 + index[0]).tolist()
    assert keys == sorted(set(keys))  # by target and source, each once
    return set(map(tuple, index.T.tolist()))


def informs(schema):
    return {edge for edge in schema.edges if edge[1] == "informs"}


ALL = {(a, "informs", b) for a in TYPES for b in TYPES}
WITHIN = {edge for edge in ALL if edge[0] == edge[2]}


@settings(max_examples=60)
@given(case=ragged(), width=st.integers(0, 3))
def test_each_pattern_equals_the_slow_loop(case, width):
    owners, graph = case
    before = copy.deepcopy(graph)
    for made, wanted, allowed, loops in (
        (patterns.merged(graph, SCHEMA), ALL, lambda _: True, True),
        (patterns.merged(graph, SCHEMA, loops=False), ALL, lambda _: True, False),
        (patterns.modality_specific(graph, SCHEMA), WITHIN, lambda _: True, True),
        (patterns.modality_specific(graph, SCHEMA, loops=False), WITHIN, lambda _: True, False),
        (patterns.co_attention(graph, SCHEMA), ALL - WITHIN, lambda _: True, True),
        (
            patterns.asymmetric(graph, SCHEMA, source="audio", target="text"),
            {("audio", "informs", "text")},
            lambda _: True,
            True,
        ),
        (
            patterns.asymmetric(graph, SCHEMA, source=TYPES, target=["text"], loops=False),
            {("audio", "informs", "text"), ("text", "informs", "text")},
            lambda _: True,
            False,
        ),
        (patterns.windowed(graph, SCHEMA, width=width), ALL, lambda ahead: abs(ahead) <= width, True),
        (
            patterns.windowed(graph, SCHEMA, width=width, between="across"),
            ALL - WITHIN,
            lambda ahead: abs(ahead) <= width,
            True,
        ),
        (patterns.causal(graph, SCHEMA), ALL, lambda ahead: ahead <= 0, True),
        (
            patterns.causal(graph, SCHEMA, width=width, between="within", loops=False),
            WITHIN,
            lambda ahead: -width <= ahead <= 0,
            False,
        ),
    ):
        larger, schema = made
        assert informs(schema) == wanted
        for source, _, target in wanted:
            expected = slow(owners, source, target, allowed)
            if not loops and source == target:
                expected = {(u, v) for u, v in expected if u != v}
            assert pairs(larger, source, target) == expected
        schema.check(larger)
    assert differs(graph, before) is None


@settings(max_examples=60)
@given(case=ragged(), count=st.integers(1, 3))
def test_tokens_equal_the_slow_loop(case, count):
    owners, graph = case
    before, clip_count = copy.deepcopy(graph), graph["clip"].num_nodes
    tokens = [[clip] for clip in range(clip_count) for _ in range(count)]
    everyone = {**owners, "token": tokens}
    into = {("token", "token"), *((node, "token") for node in TYPES)}
    out = {("token", node) for node in TYPES}
    for make, wanted in ((patterns.bottleneck, into | out), (patterns.latents, into), (patterns.memory, out)):
        larger, schema = make(graph, SCHEMA, count=count, node="token")
        assert {(a, b) for a, _, b in informs(schema)} == wanted
        for source, target in wanted:
            assert pairs(larger, source, target) == slow(everyone, source, target, lambda _: True)
        assert larger["token"].symbol.tolist() == list(range(count)) * clip_count
        assert larger["token"].num_nodes == len(tokens)
        assert schema.nodes["token"] == NodeSpec(modality=Modality.SYMBOL, attributes=("symbol",))
        schema.check(larger)
        if make is patterns.latents:
            assert schema.modalities == (*TYPES, "token")
            assert pairs(larger, "token", "clip", "of") == {(row, clip) for row, (clip,) in enumerate(tokens)}
        else:
            assert schema.modalities == TYPES
    assert differs(graph, before) is None
    assert SCHEMA.modalities == TYPES


def test_sequences_of_length_0_and_1_and_an_anchor_without_nodes():
    graph = clips({"audio": [[0]], "text": []}, 3)
    larger, _ = patterns.latents(*patterns.causal(graph, SCHEMA), count=2)
    assert pairs(larger, "audio", "audio") == {(0, 0)}
    assert pairs(larger, "audio", "text") == set()
    assert pairs(larger, "latent", "latent") == {
        (2 * c + i, 2 * c + j) for c in range(3) for i in (0, 1) for j in (0, 1)
    }
    assert pairs(larger, "audio", "latent") == {(0, 0), (0, 1)}
    nobody, schema = patterns.merged(clips({"audio": [], "text": []}, 0), SCHEMA)
    assert nobody["audio", "informs", "text"].edge_index.shape == (2, 0)
    schema.check(nobody)


def test_a_position_says_how_far_nodes_are_apart():
    """Sound at 10 Hz beside words at 2.5 Hz: a word hears the sound of half a second around it."""
    seconds = {"audio_start": torch.arange(10) / 10, "text_start": torch.tensor([0.0, 0.4])}
    graph = clips({"audio": [[0]] * 10, "text": [[0]] * 2}, 1, **seconds)
    larger, _ = patterns.windowed(graph, SCHEMA, width=0.25, position="start", between="across")
    assert pairs(larger, "audio", "text") == {(0, 0), (1, 0), (2, 0), *((i, 1) for i in range(2, 7))}
    assert pairs(larger, "text", "audio") == {(v, u) for u, v in pairs(larger, "audio", "text")}
    larger, _ = patterns.causal(graph, SCHEMA, position="start")
    assert pairs(larger, "audio", "text") == {(0, 0), *((i, 1) for i in range(5))}
    assert pairs(larger, "text", "audio") == {(0, i) for i in range(10)} | {(1, i) for i in range(4, 10)}


def test_an_order_of_rows_is_not_needed_where_there_are_positions():
    graph = clips({"audio": [[0], [0], [1], [0]], "text": []}, 2, audio_at=torch.tensor([5, -1, 0, 2]))
    larger, _ = patterns.causal(graph, SCHEMA, types=["audio"], position="at")
    assert pairs(larger, "audio", "audio") == {(0, 0), (3, 0), (1, 0), (3, 3), (1, 3), (1, 1), (2, 2)}


def test_an_attribute_of_the_anchor_joins_whole_dialogues():
    graph = clips({"audio": [[0], [1], [2], [3]], "text": [[1], [2]]}, 4, clip_video=torch.tensor([7, 3, 7, -1]))
    larger, _ = patterns.merged(graph, SCHEMA, group="video")
    assert pairs(larger, "audio", "audio") == {(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)}
    assert pairs(larger, "text", "audio") == {(0, 1), (1, 0), (1, 2)}
    larger, schema = patterns.latents(graph, SCHEMA, count=1, group="video")
    assert larger["latent"].num_nodes == 2  # videos 3 and 7
    assert pairs(larger, "audio", "latent") == {(1, 0), (0, 1), (2, 1)}
    assert pairs(larger, "latent", "clip", "of") == {(0, 1), (1, 0), (1, 2)}
    schema.check(larger)
    joined, _ = patterns.merged(graph, SCHEMA, types=["clip"], group="video")
    assert pairs(joined, "clip", "clip") == {(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)}


def test_an_attribute_of_the_nodes_joins_them_whatever_they_are_of():
    groups = {"audio_scene": torch.tensor([9, 9, -1]), "text_scene": torch.tensor([9, 4])}
    graph = clips({"audio": [[0], [1], [1]], "text": [[1], []]}, 3, **groups)
    larger, _ = patterns.merged(graph, SCHEMA, group="scene")
    assert pairs(larger, "audio", "text") == {(0, 0), (1, 0)}
    assert pairs(larger, "text", "text") == {(0, 0), (1, 1)}
    larger, _ = patterns.latents(graph, SCHEMA, count=1, group="scene")
    assert larger["latent"].num_nodes == 2  # scenes 4 and 9
    assert pairs(larger, "latent", "clip", "of") == {(1, 0), (1, 1)}


def test_a_group_is_joined_without_any_anchor():
    graph = HeteroData()
    graph["word"].num_nodes, graph["word"].text = 3, torch.tensor([0, 1, 0])
    schema = Schema(nodes={"word": NodeSpec()})
    larger, wider = patterns.latents(graph, schema, types=["word"], group="text", count=1)
    assert pairs(larger, "word", "latent") == {(0, 0), (2, 0), (1, 1)}
    assert informs(wider) == {("latent", "informs", "latent"), ("word", "informs", "latent")}


def test_anchors_are_each_a_block_of_their_own():
    larger, _ = patterns.merged(clips({"audio": [[1]], "text": []}, 2), SCHEMA, types=["clip", "audio"])
    assert pairs(larger, "clip", "clip") == {(0, 0), (1, 1)}
    assert pairs(larger, "clip", "audio") == {(1, 0)}


def test_patterns_combine_under_names_of_their_own():
    graph = clips({"audio": [[0], [0]], "text": [[0]]}, 1)
    larger, schema = patterns.co_attention(*patterns.modality_specific(graph, SCHEMA, relation="mingles"))
    larger, schema = patterns.memory(larger, schema, count=2)
    assert {edge[1] for edge in schema.edges} == {"of", "mingles", "informs"}
    assert pairs(larger, "audio", "audio", "mingles") == {(0, 0), (0, 1), (1, 0), (1, 1)}
    with pytest.raises(ConfigError, match=r"got \('audio', 'informs', 'text'\); name them by relation="):
        patterns.merged(larger, schema, types=["audio", "text"])


def test_a_batch_of_patterns_is_the_pattern_of_a_batch():
    samples = [clips({"audio": [[0]] * n, "text": [[0]] * (3 - n)}, 1) for n in (0, 1, 3)]
    after = Batch.from_data_list([patterns.bottleneck(*patterns.merged(g, SCHEMA), count=2)[0] for g in samples])
    before, schema = patterns.bottleneck(*patterns.merged(Batch.from_data_list(samples), SCHEMA), count=2)
    for edge in schema.edges:
        assert torch.equal(before[edge].edge_index, after[edge].edge_index)
    assert torch.equal(before["bottleneck"].symbol, after["bottleneck"].symbol)


def test_tokens_get_learned_vectors():
    graph, _ = patterns.latents(clips({"audio": [[0]], "text": []}, 2), SCHEMA, count=3)
    x = SymbolEmbedding({"latent": 3}, 4)(graph)["latent"]
    assert x.shape == (6, 4)
    assert torch.equal(x[:3], x[3:])
    assert len(x.unique(dim=0)) == 3


def test_positions_are_places_in_the_sequence():
    graph = clips({"audio": [[1], [0], [1], [], [0, 1]], "text": [[0]]}, 2)
    larger, schema = patterns.positions(graph, SCHEMA)
    assert larger["audio"].position.tolist() == [0, 0, 1, 0, 1]
    assert larger["audio"].position.dtype == torch.float32
    assert larger["text"].position.tolist() == [0]
    assert schema.nodes["audio"].attributes == ("position",)
    assert "position" not in graph["audio"]
    schema.check(larger)
    _, schema = patterns.positions(larger, schema, types=["audio"])
    assert schema.nodes["audio"].attributes == ("position",)


def test_many_anchors_take_no_loop():
    count = 30_000
    owners = torch.arange(count)
    graph = HeteroData()
    graph["clip"].num_nodes = count
    for node, each in (("audio", 2), ("text", 1)):
        owned = owners.repeat_interleave(each)
        graph[node].x = torch.zeros(len(owned), 2)
        graph[node, "of", "clip"].edge_index = torch.stack([torch.arange(len(owned)), owned])
    larger, schema = patterns.merged(graph, SCHEMA)
    assert sum(larger[edge].edge_index.shape[1] for edge in informs(schema)) == 9 * count


GRAPH = clips(
    {"audio": [[0]] * 2, "text": [[0]]},
    1,
    audio_half=torch.tensor([0, 1]),
    audio_bad=torch.tensor([0.0, math.nan]),
    clip_wide=torch.zeros(1, 2, dtype=torch.int64),
    clip_real=torch.zeros(1),
)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: patterns.merged(GRAPH, SCHEMA, types="audio"), ConfigError, "got the string 'audio'"),
        (lambda: patterns.merged(GRAPH, SCHEMA, types=[]), ConfigError, "at least 1 node type to join, got none"),
        (lambda: patterns.merged(GRAPH, SCHEMA, types=["video"]), ConfigError, "got 'video'"),
        (
            lambda: patterns.merged(GRAPH, SCHEMA, group="half"),
            ConfigError,
            "attribute of 'text' or of 'clip', got 'half', which neither has",
        ),
        (lambda: patterns.merged(GRAPH, SCHEMA, group="real"), DataError, r"int64 \[1\] .* got torch.float32 \[1\]"),
        (lambda: patterns.merged(GRAPH, SCHEMA, group="wide"), DataError, r"got torch.int64 \[1, 2\]"),
        (
            lambda: patterns.merged(GRAPH, SCHEMA.model_copy(update={"anchor": None}), types=["text"]),
            ConfigError,
            r"got 'text' without \('text', 'of', None\) edges",
        ),
        (lambda: patterns.windowed(GRAPH, SCHEMA, width=-1), ConfigError, "width must be at least 0, got -1"),
        (lambda: patterns.windowed(GRAPH, SCHEMA, width=math.nan), ConfigError, "got nan"),
        (lambda: patterns.causal(GRAPH, SCHEMA, width=-2), ConfigError, "got -2"),
        (lambda: patterns.causal(GRAPH, SCHEMA, between="some"), ConfigError, "got 'some'"),
        (
            lambda: patterns.causal(GRAPH, SCHEMA, position="start"),
            DataError,
            r"'audio' must have start \[2\], one number a node, got none",
        ),
        (
            lambda: patterns.causal(GRAPH, SCHEMA, types=["audio"], position="bad"),
            DataError,
            "bad of 'audio' must be finite, got nan in row 1",
        ),
        (
            lambda: patterns.causal(GRAPH, SCHEMA, types=["audio"], position="x"),
            DataError,
            r"must have x \[2\], one number a node, got \[2, 2\]",
        ),
        (lambda: patterns.latents(GRAPH, SCHEMA, count=0), ConfigError, "at least 1 token a block, got 0"),
        (lambda: patterns.memory(GRAPH, SCHEMA, count=1, node="text"), ConfigError, "not there yet, got 'text'"),
    ],
)
def test_what_cannot_be_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_blocks_that_would_not_fit_are_refused_by_their_size():
    graph = clips({"audio": [[0]] * 8000, "text": []}, 1)
    with pytest.raises(DataError, match=r"at most 50,000,000 edges, got 64,000,000 in 1; use smaller groups, windowed"):
        patterns.merged(graph, SCHEMA)
    assert patterns.windowed(graph, SCHEMA, width=1)[0]["audio", "informs", "audio"].edge_index.shape[1] == 23998
