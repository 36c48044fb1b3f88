"""Planted alignments are found by each method, at the right anchor, in rows of the graph."""

import io

import pytest
import torch
from rich.console import Console
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.align import Alignment, align
from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw, Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.assignment import transport
from mmgraph.fusion import Sum
from mmgraph.layers import Attention, Stack, edge_sets
from mmgraph.model import Model
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import fake_graph

WORDS = (("a", "dog", "runs"), ("two", "cats"))
ORDER = [2, 0, 1]  # region → word, of photo 1
NAMES = {"word": [word for words in (WORDS[1], WORDS[0], WORDS[1]) for word in words]}


def photos():
    """Three photos with words; each region of photo 1 looks like one of its words."""
    generator = torch.Generator().manual_seed(0)
    graph = HeteroData()
    graph["photo"].x = torch.empty(3, 0)
    graph["word"].x = torch.randn(7, 6, generator=generator)
    graph["word", "of", "photo"].edge_index = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 1, 2, 2]])
    graph["region"].x = torch.randn(5, 6, generator=generator)
    graph["region"].x[[1, 2, 3]] = graph["word"].x[[2 + word for word in ORDER]]
    graph["region", "of", "photo"].edge_index = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 1, 1, 0]])
    graph["word", "tells", "region"].edge_index = torch.cartesian_prod(torch.arange(7), torch.arange(5)).T
    schema = Schema(
        nodes={"photo": NodeSpec(channels=0), "word": NodeSpec(channels=6), "region": NodeSpec(channels=6)},
        edges=dict.fromkeys(graph.edge_types, EdgeSpec()),
        anchor="photo",
    )
    return graph, schema


@pytest.fixture
def case():
    graph, schema = photos()
    return graph, schema, {name: graph[name].x for name in ("word", "region")}


@pytest.mark.parametrize("method", ["nearest", "transport"])
def test_a_planted_alignment_is_found(case, method):
    graph, schema, states = case
    found = align(states, graph, "region", "word", 1, schema=schema, method=method, names=NAMES)
    assert found.rows == ("region 1", "region 2", "region 3")
    assert found.columns == WORDS[0]
    assert [pair[:2] for pair in found.pairs()] == [
        (f"region {row}", WORDS[0][word]) for row, word in enumerate(ORDER, start=1)
    ]
    assert found.as_edges().index.tolist() == [[1, 2, 3], [2 + word for word in ORDER]]
    assert found.cost == pytest.approx(0, abs=0.05)


def test_transport_is_the_plan_of_equal_masses(case):
    graph, schema, states = case
    found = align(states, graph, "region", "word", 0, schema=schema, epsilon=0.2)
    regions, words = graph["region"].x[[0, 4]], graph["word"].x[[0, 1]]
    cost = 1 - nn.functional.cosine_similarity(regions[:, None], words[None], dim=2)
    plan = transport(cost, torch.full((2,), 0.5), torch.full((2,), 0.5), epsilon=0.2)
    torch.testing.assert_close(found.weights, plan)
    assert found.cost == pytest.approx(float((plan * cost).sum()))


def test_nearest_says_the_mean_of_the_least_costs(case):
    graph, schema, states = case
    found = align(states, graph, "region", "word", 0, schema=schema, method="nearest", metric="euclidean")
    apart = [[float((states["region"][i] - states["word"][j]).norm()) for j in (0, 1)] for i in (0, 4)]
    assert found.cost == pytest.approx(sum(map(min, apart)) / 2)
    assert found.weights.tolist() == [[float(one == min(row)) for one in row] for row in apart]


def test_dtw_keeps_the_order_where_nearest_does_not(case):
    graph, schema, states = case
    found = align(states, graph, "region", "word", 1, schema=schema, method="dtw")
    row, column = found.weights.nonzero().T
    assert bool((row.diff() >= 0).all())
    assert bool((column.diff() >= 0).all())
    assert set(found.weights.flatten().tolist()) == {0.0, 1.0}
    assert found.weights[0, 0] == found.weights[-1, -1] == 1
    narrow = align(states, graph, "region", "word", 1, schema=schema, method="dtw", window=0)
    assert torch.equal(narrow.weights, torch.eye(3))
    assert narrow.cost >= found.cost


def test_a_model_is_asked_for_its_states_after_messages_within(case):
    graph, schema, _ = case
    torch.manual_seed(0)
    attends = Attention(6, heads=2, relations=[("word", "tells", "region")], dropout=0.5)
    model = Model(schema=schema, encoder=Raw(["word", "region"]), fusion=Sum(), within=attends, head=nn.Identity())
    found = align(model.train(), graph, "region", "word", 1, method="transport")
    assert model.training
    assert attends.training
    attends.eval()
    with torch.no_grad():
        own = model.within(model.encoder(graph), edge_sets(graph))
    expected = align(own, graph, "region", "word", 1, schema=schema, method="transport")
    torch.testing.assert_close(found.weights, expected.weights)


@pytest.mark.parametrize("turned", [False, True])
def test_attention_is_the_mean_over_heads_and_layers(case, turned):
    graph, schema, _ = case
    torch.manual_seed(0)
    layers = [Attention(6, heads=2, relations=[("word", "tells", "region")]) for _ in range(2)]
    model = Model(
        schema=schema, encoder=Raw(["word", "region"]), fusion=Sum(), within=Stack(*layers), head=nn.Identity()
    )
    found = align(model, graph, *(("word", "region") if turned else ("region", "word")), 1, method="attention")
    features, expected = dict(model.encoder(graph)), torch.zeros(3, 3)
    source, target = graph["word", "tells", "region"].edge_index.tolist()
    for layer in layers:
        weights = layer.weights(features, edge_sets(graph))["word", "tells", "region"]
        for edge, (word, region) in enumerate(zip(source, target, strict=True)):
            if word in (2, 3, 4) and region in (1, 2, 3):
                expected[region - 1, word - 2] += weights[edge].mean().item() / 2
        features = layer(features, edge_sets(graph))
    torch.testing.assert_close(found.weights, expected.T if turned else expected)
    assert found.cost is None
    assert "cost" not in str(found.table().title)
    assert bool((expected.sum(dim=1) < 1).all())  # regions attend to the words of other photos too


def test_an_aligner_is_asked_on_views_that_hide_the_other_type(case):
    graph, schema, _ = case
    torch.manual_seed(0)
    spaces = {
        "fine": {"region": nn.Linear(6, 4)},
        "joint": {"fine": nn.Linear(4, 3), "region": nn.Linear(6, 3), "word": nn.Linear(6, 3)},
    }
    tells = Attention(6, heads=2, relations=[("word", "tells", "region")])
    aligner = Aligner(schema=schema, encoder=Raw(["word", "region"]), spaces=spaces, within=tells).eval()
    found = align(aligner, graph, "region", "word", 1, method="transport")
    with torch.no_grad():
        alone = aligner.hidden(graph, "region")
        joint = spaces["joint"]
        regions = aligner.within(aligner.encoder(alone), edge_sets(alone))["region"]
        states = {
            "region": (joint["fine"](spaces["fine"]["region"](regions)) + joint["region"](regions)) / 2,
            "word": joint["word"](graph["word"].x),
        }
    expected = align(states, graph, "region", "word", 1, schema=schema)
    torch.testing.assert_close(found.weights, expected.weights)
    part = aligner.project(graph)["joint"]["word"].states[1]
    torch.testing.assert_close(states["word"][2:5].mean(dim=0), part)
    other = graph.clone()
    other["word"].x = torch.randn(7, 6)
    assert torch.equal(
        align(aligner, other, "region", "region", 1).weights, align(aligner, graph, "region", "region", 1).weights
    )


def test_nodes_may_hang_on_the_anchor_by_one_other_relation_or_a_path():
    graph, schema = photos()
    graph["region", "in", "photo"].edge_index = graph["region", "of", "photo"].edge_index
    del graph["region", "of", "photo"]
    graph["label"].x = graph["region"].x.flip(0)
    graph["label", "of", "region"].edge_index = torch.stack([torch.arange(5), torch.arange(5).flip(0)])
    nodes = {**schema.nodes, "label": NodeSpec(channels=6)}
    schema = Schema(nodes=nodes, edges=dict.fromkeys(graph.edge_types, EdgeSpec()), anchor="photo")
    states = {name: graph[name].x for name in nodes}
    found = align(states, graph, "region", "label", 1, schema=schema, method="nearest")
    assert found.index[0].tolist() == [1, 2, 3]
    assert [pair[:2] for pair in found.pairs()] == [(f"region {row}", f"label {4 - row}") for row in (1, 2, 3)]
    with pytest.raises(ConfigError, match=r"hang on 'photo'.*got 'street'"):
        align(states, graph, "street", "word", 1, schema=schema)


def made(weights, **options):
    rows, columns = weights.shape
    given = {
        "method": "transport",
        "anchor": 0,
        "a": "region",
        "b": "word",
        "rows": tuple(f"r{row}" for row in range(rows)),
        "columns": tuple(f"[w{column}]" for column in range(columns)),
        "index": (torch.arange(rows) + 10, torch.arange(columns) + 20),
        "weights": weights,
        "cost": 0.25,
    }
    return Alignment(**{**given, **options})


def test_pairs_are_those_near_the_heaviest_of_their_row():
    found = made(torch.tensor([[0.1, 0.3, 0.2], [0.0, 0.0, 0.0], [0.05, 0.01, 0.0]]))
    assert [pair[:2] for pair in found.pairs(0.6)] == [("r0", "[w1]"), ("r0", "[w2]"), ("r2", "[w0]")]
    assert [pair[:2] for pair in found.pairs(1.0)] == [("r0", "[w1]"), ("r2", "[w0]")]
    assert len(found.pairs(0.0)) == 5
    edges = found.as_edges(0.6)
    assert edges.index.tolist() == [[10, 10, 12], [21, 22, 20]]
    torch.testing.assert_close(edges.weight, torch.tensor([0.3, 0.2, 0.05]))
    for threshold in (-0.1, 1.1):
        with pytest.raises(ConfigError, match=f"from 0 to 1.*got {threshold}"):
            found.pairs(threshold)


def test_the_table_shows_names_as_they_are():
    console = Console(width=60, file=io.StringIO())
    console.print(made(torch.eye(2)).table())
    said = " ".join(console.file.getvalue().split())
    assert "region and word by transport, cost 0.250" in said
    assert "r1 [w1] 1.000" in said


def test_what_cannot_be_aligned_is_refused(case):
    graph, schema, states = case
    with pytest.raises(DataError, match=r"Anchor 2 must have nodes of both types to align, got 0 'region', 2 'word'"):
        align(states, graph, "region", "word", 2, schema=schema)
    with pytest.raises(DataError, match="row from 0 to 2, got 3"):
        align(states, graph, "region", "word", 3, schema=schema)
    with pytest.raises(ConfigError, match="needs a schema with an anchor"):
        align(states, graph, "region", "word", 1)
    with pytest.raises(ConfigError, match="got 'best'"):
        align(states, graph, "region", "word", 1, schema=schema, method="best")
    with pytest.raises(ConfigError, match=r"some of \['word'\], got 'region'"):
        align({"word": states["word"]}, graph, "region", "word", 1, schema=schema)
    with pytest.raises(DataError, match="got 6 of 'region' and 2 of 'word'"):
        align({**states, "word": torch.ones(7, 2)}, graph, "region", "word", 1, schema=schema)
    with pytest.raises(ConfigError, match="attend from 'region' to 'word' or back, got dict without"):
        align(states, graph, "region", "word", 1, schema=schema, method="attention")
    graph, schema = fake_graph()
    model = Model(schema=schema, encoder=Table({"scan": 3, "text": 5}, 4), fusion=Sum(), head=nn.Identity())
    with pytest.raises(ConfigError, match="got Model without"):
        align(model, graph, "scan", "text", 1, method="attention")
    spaces = {"joint": {"scan": nn.Linear(3, 2), "text": nn.Linear(5, 2)}}
    encoder, views = Raw(["scan", "text"]), {"all": ("scan", "text"), "scan": ("scan",)}
    aligner = Aligner(schema=schema, encoder=encoder, spaces=spaces, views=views)
    with pytest.raises(ConfigError, match="a view of their own.*got 'text'"):
        align(aligner, graph, "scan", "text", 1)
