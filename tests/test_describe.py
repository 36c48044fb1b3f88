"""Figures against slow loops, networkx, and what was put in."""

import json
from collections import Counter
from dataclasses import asdict
from itertools import product

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.assembly import Built, GraphConfig, Source, build_graph
from mmgraph.data import Collection, CollectionWriter
from mmgraph.describe import describe, homophily
from mmgraph.report.cards import cards, choose
from mmgraph.report.description import Description, Spread
from mmgraph.report.whole import whole_of
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_graph


def write(folder, *graphs, schema=None, splits=None, payloads=None) -> Collection:
    with CollectionWriter(folder, schema) as writer:
        for number, graph in enumerate(graphs):
            writer.add(graph, split=splits[number] if splits else None, payloads=payloads[number] if payloads else None)
    return Collection(folder)


def joined(edges: torch.Tensor, rows: int) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(rows))
    graph.add_edges_from(edges.T.tolist())
    return graph


@pytest.fixture(scope="module")
def graph_and_schema():
    graph, schema = fake_graph(30)
    extra = torch.tensor([[3, 3, 5, 5, 7], [4, 4, 5, 5, 8]])  # duplicates and self loops
    graph["subject", "knows", "subject"].edge_index = extra
    fields = {**dict(schema), "edges": {**schema.edges, ("subject", "knows", "subject"): EdgeSpec(multiple=True)}}
    return graph, Schema(**fields)


@pytest.fixture(scope="module")
def found(graph_and_schema, tmp_path_factory) -> Description:
    graph, schema = graph_and_schema
    return describe(write(tmp_path_factory.mktemp("one") / "fake", graph, schema=schema))


@pytest.fixture(scope="module")
def films() -> Built:
    rows = {
        "id": [f"f{n}" for n in range(12)],
        "plot": [f"A film about number {n}." if n % 4 else None for n in range(12)],
        "genre": ["a", "b", None] * 4,
        "stars": [n + 0.5 for n in range(11)] + [None],
        "said": ["train"] * 6 + ["val"] * 2 + ["test"] * 3 + [None],
        "next": ["f1", "f0", "f9 f8", "", "f4", *[None] * 6, "nobody"],
        "note": [f"note {n}" for n in range(12)],
    }
    config = GraphConfig(
        name="films",
        nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text", "note": "keep"}}},
        edges=[{"type": ("film", "leads_to", "film"), "column": "next", "separator": " "}],
        targets={"genre": {"column": "genre"}, "stars": {"column": "stars"}},
        split={"by": "column", "column": "said"},
        limits={"rejected": 0.5},
    )
    return build_graph(Source(config, {"films": pa.table(rows)}))


def test_nodes_and_edges_are_counted(found, graph_and_schema):
    graph, _ = graph_and_schema
    assert found.unit == "subject"
    assert found.units == 30
    assert {one.type: one.rows for one in found.nodes} == {node: graph[node].num_nodes for node in graph.node_types}
    assert {one.type: one.attributes for one in found.nodes}["scan"] == {"x": (3,)}
    assert [(one.type, one.edges, one.weighted) for one in found.edges] == [
        (kind, graph[kind].num_edges, "edge_weight" in graph[kind]) for kind in dict(graph_and_schema[1].edges)
    ]


def test_degrees_are_those_of_networkx(found, graph_and_schema):
    graph, _ = graph_and_schema
    for one in found.edges:
        source, _, target = one.type
        index = graph[one.type].edge_index
        if source == target:
            other = joined(index, graph[source].num_nodes)
            out, into = (np.array([degree for _, degree in way()]) for way in (other.out_degree, other.in_degree))
            assert one.isolated == len(list(nx.isolates(other)))
            assert one.self_loops == nx.number_of_selfloops(other)
        else:
            counts = [Counter(end.tolist()) for end in index]
            out, into = (
                np.array([count[row] for row in range(graph[end].num_nodes)])
                for count, end in zip(counts, (source, target), strict=True)
            )
            assert one.isolated == (out == 0).sum() + (into == 0).sum()
            assert one.self_loops == 0
        for spread, degrees in ((one.out_degree, out), (one.in_degree, into)):
            assert spread == Spread(degrees.mean(), np.median(degrees), degrees.min(), degrees.max())
        assert one.duplicates == index.shape[1] - len(set(map(tuple, index.T.tolist())))
    knows = next(one for one in found.edges if one.type[1] == "knows")
    assert (knows.self_loops, knows.duplicates, knows.isolated) == (2, 2, 25)


def test_components_are_those_of_networkx(found, graph_and_schema):
    graph, _ = graph_and_schema
    near, knows = (graph["subject", name, "subject"].edge_index for name in ("near", "knows"))
    assert [one.relations for one in found.relations] == [("near",), ("knows",), ("near", "knows")]
    for one, index in zip(found.relations, (near, knows, torch.cat([near, knows], dim=1)), strict=True):
        parts = list(nx.weakly_connected_components(joined(index, 30)))
        assert one.components == len(parts)
        assert one.largest == max(map(len, parts)) / 30


def test_homophily_is_that_of_the_fake_graph(found, graph_and_schema):
    graph, _ = graph_and_schema
    labels = graph["subject"].y.tolist()
    pairs = [(labels[s], labels[t]) for s, t in graph["subject", "near", "subject"].edge_index.T.tolist() if s != t]
    known = [(a, b) for a, b in pairs if a >= 0 and b >= 0]
    one = found.relations[0].homophily["diagnosis"]
    assert one.edges == len(known) < len(pairs)
    assert one.share == pytest.approx(np.mean([a == b for a, b in known]))
    assert one.expected == pytest.approx(np.mean([a == b for (a, _), (_, b) in product(known, known)]))
    knows = found.relations[1].homophily["diagnosis"]
    assert (knows.share, knows.edges) == (0.0, 3)  # without the two self loops


@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=8),
    ends=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=25),
)
def test_homophily_and_chance_give_the_assortativity_of_networkx(labels, ends):
    edges = [(s % len(labels), t % len(labels)) for s, t in ends]
    edges = [(s, t) for s, t in edges if s != t]
    one = homophily(np.array(edges, dtype=np.int64).reshape(-1, 2).T, np.array(labels))
    if not edges:
        assert one is None
        return
    graph = joined(torch.tensor(edges).T, len(labels))
    nx.set_node_attributes(graph, dict(enumerate(labels)), "label")
    assert one is not None
    if one.expected < 1:
        expected = nx.attribute_assortativity_coefficient(graph, "label")
        assert (one.share - one.expected) / (1 - one.expected) == pytest.approx(expected)


def test_missing_is_what_a_loop_finds(found, graph_and_schema):
    graph, _ = graph_and_schema
    for one in found.missing:
        owners = set(graph[one.node, "of", "subject"].edge_index[1].tolist())
        lacks = [row not in owners for row in range(30)]
        assert (one.of, one.missing, one.share) == ("subject", sum(lacks), pytest.approx(np.mean(lacks)))
        for part in ("train", "val", "test"):
            mask = graph["subject"][f"{part}_mask"].numpy()
            assert one.parts[part] == pytest.approx(np.mean(np.array(lacks)[mask]))


def test_targets_and_parts(found, graph_and_schema):
    graph, _ = graph_and_schema
    labels = graph["subject"].y
    (target,) = found.targets
    assert target.classes == {"healthy": int((labels == 0).sum()), "ill": int((labels == 1).sum())}
    assert (target.known, target.unknown) == (int((labels >= 0).sum()), int((labels < 0).sum()))
    for part in found.parts:
        mine = labels[graph["subject"][f"{part.name}_mask"]]
        assert part.units == len(mine)
        assert part.classes["diagnosis"]["ill"] == pytest.approx(float((mine[mine >= 0] == 1).double().mean()))
    assert [part.name for part in found.parts] == ["train", "val", "test"]


def test_a_built_graph_says_keys_labels_notes_and_what_was_set_aside(films):
    found = describe(films, previews=12)
    assert (found.title, found.unit, found.units) == ("films", "film", 12)
    assert [one.key for one in found.previews] == [f"f{n}" for n in range(12)]
    assert found.previews[1].payloads == {"plot": ("A film about number 1.",)}
    assert found.previews[1].totals == {"plot": 1}
    assert found.previews[0].payloads == {"plot": ()}
    assert [one.labels for one in found.previews[10:]] == [
        {"genre": "b", "stars": "10.5"},
        {"genre": None, "stars": None},
    ]
    assert found.previews[3].notes == {"note": "note 3"}
    assert [one.part for one in found.previews] == ["train"] * 6 + ["val"] * 2 + ["test"] * 3 + [""]
    assert [(part.name, part.units) for part in found.parts] == [
        ("train", 6),
        ("val", 2),
        ("test", 3),
        ("in no part", 1),
    ]
    stars = found.targets[1]
    assert (stars.values, stars.known, stars.unknown, stars.classes) == (Spread(5.5, 5.5, 0.5, 10.5), 11, 1, {})
    assert found.rejected == 1
    assert [(one.column, one.count) for one in found.reasons] == [("next", 1)]
    assert "'nobody'" in found.reasons[0].reason
    assert [node.encoder for node in found.nodes][1].startswith("hashed_text@")


def test_what_was_written_is_described_like_what_was_built(films, tmp_path):
    films.write(tmp_path / "films")
    for source in (Collection(tmp_path / "films"), Built.open(tmp_path / "films")):
        assert describe(source, previews=12) == describe(films, previews=12)


def test_all_of_it_is_json(found, films):
    for one in (found, describe(films)):
        said = json.loads(json.dumps(asdict(one), allow_nan=False))
        assert said["units"] == one.units
        assert said["edges"][0]["type"] == list(one.edges[0].type)


def test_a_part_that_lacks_a_modality_or_a_class_of_its_own_is_warned_of(tmp_path):
    graph = HeteroData()
    graph["film"].x = torch.empty(7, 0)
    graph["film"].y = torch.tensor([0, 0, 0, 1, 0, 2, 3])  # the last is in no part
    for number, part in enumerate(("train", "val", "test")):
        graph["film"][f"{part}_mask"] = torch.arange(7) // 2 == number
    graph["film"].val_mask[0] = True
    graph["plot"].x, graph["poster"].x = torch.ones(4, 2), torch.ones(0, 2)
    graph["plot", "of", "film"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])
    graph["poster", "of", "film"].edge_index = torch.empty(2, 0, dtype=torch.long)
    found = describe(write(tmp_path / "films", graph))
    assert found.warnings == (
        "No film of the part 'test' has a node of 'plot', others do",
        "No film has a node of 'poster'",
        "The class '1' of 'label' is in the part 'val', but not in 'train'",
        "The class '2' of 'label' is in the part 'test', but not in 'train'",
        "1 are in the parts 'train' and 'val'",
    )


def test_a_graph_of_one_type_without_anchor_relations_split_or_targets(tmp_path):
    graph = HeteroData()
    graph["paper"].x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = describe(write(tmp_path / "papers", graph))
    assert (found.unit, found.units, found.title) == ("paper", 3, "papers")
    assert (found.edges, found.targets, found.parts, found.missing, found.relations) == ((), (), (), (), ())
    assert [one.payloads for one in found.previews] == [{"paper": ("features [4]",)}] * 3
    assert found.warnings == ()


def test_several_types_without_an_anchor_have_no_units(tmp_path):
    graph = HeteroData()
    graph["a"].x, graph["b"].x = torch.ones(2, 1), torch.ones(3, 1)
    graph["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    found = describe(write(tmp_path / "two", graph))
    assert (found.unit, found.units, found.previews, found.missing) == ("", 0, (), ())
    assert [(one.node, one.components) for one in found.relations] == [("a", 1)]


def test_zero_rows(tmp_path):
    graph = HeteroData()
    graph["film"].x = torch.empty(0, 0)
    graph["plot"].x = torch.empty(0, 5)
    graph["plot", "of", "film"].edge_index = torch.empty(2, 0, dtype=torch.long)
    graph["film", "near", "film"].edge_index = torch.empty(2, 0, dtype=torch.long)
    graph["film"].y = torch.empty(0, dtype=torch.long)
    graph["film"].train_mask = torch.empty(0, dtype=torch.bool)
    target = {"genre": TargetSpec(node="film", kind="binary", classes=("a", "b"))}
    schema = Schema(
        nodes={"film": NodeSpec(channels=0), "plot": NodeSpec(channels=5)},
        edges={("plot", "of", "film"): EdgeSpec(), ("film", "near", "film"): EdgeSpec()},
        targets=target,
        anchor="film",
    )
    found = describe(write(tmp_path / "none", graph, schema=schema))
    assert (found.units, found.missing[0].share, found.previews) == (0, None, ())
    assert (found.relations[0].components, found.relations[0].largest, found.relations[0].homophily) == (0, None, {})
    assert found.edges[0].out_degree == Spread(None, None, None, None)
    assert json.dumps(asdict(found), allow_nan=False)


def test_a_collection_without_samples(tmp_path):
    for name, schema in (("bare", None), ("told", fake_graph(10)[1])):
        found = describe(write(tmp_path / name, schema=schema))
        assert (found.unit, found.units, found.previews) == ("sample", 0, ())
        assert {one.rows for one in found.nodes} <= {0}


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> tuple[list[HeteroData], Collection]:
    graphs = [fake_graph(10 + 3 * number, seed=number)[0] for number in range(5)]
    empty = graphs[3]
    empty["scan"].x = torch.empty(0, 3)
    for kind in (("scan", "of", "subject"), ("scan", "next", "scan")):
        empty[kind].edge_index = torch.empty(2, 0, dtype=torch.long)
    schema = fake_graph(10)[1]
    payloads = [
        {"title": f"talk {n}", ("text", "words"): [f"word {n}.{row}" for row in range(one["text"].num_nodes)]}
        for n, one in enumerate(graphs)
    ]
    folder = tmp_path_factory.mktemp("many") / "talks"
    splits = ["train", "train", "dev", "dev", None]
    return graphs, write(folder, *graphs, schema=schema, splits=splits, payloads=payloads)


def test_of_several_samples_figures_are_over_samples(several):
    graphs, collection = several
    found = describe(collection, previews=5)
    assert (found.unit, found.units, found.title) == ("sample", 5, "talks")
    nodes = np.array([graph.num_nodes for graph in graphs])
    edges = np.array([sum(graph[kind].num_edges for kind in graph.edge_types) for graph in graphs])
    assert found.samples is not None
    assert (found.samples.nodes, found.samples.edges) == (Spread.of(nodes), Spread.of(edges))
    assert {one.node: (one.of, one.missing, one.share, one.parts) for one in found.missing} == {
        "scan": ("sample", 1, 0.2, {"train": 0.0, "dev": 0.5}),
        "text": ("sample", 0, 0.0, {"train": 0.0, "dev": 0.0}),
    }
    assert [(part.name, part.units) for part in found.parts] == [("train", 2), ("dev", 2), ("in no part", 1)]
    labels = torch.cat([graphs[0]["subject"].y, graphs[1]["subject"].y])
    share = float((labels[labels >= 0] == 1).double().mean())
    assert found.parts[0].classes["diagnosis"]["ill"] == pytest.approx(share)


def test_of_several_samples_edges_stay_within_theirs(several):
    graphs, collection = several
    found = describe(collection)
    near = ("subject", "near", "subject")
    whole = nx.disjoint_union_all([joined(graph[near].edge_index, graph["subject"].num_nodes) for graph in graphs])
    assert found.relations[0].components == nx.number_weakly_connected_components(whole)
    one = next(one for one in found.edges if one.type == near)
    assert one.isolated == len(list(nx.isolates(whole)))
    scans = [graph["scan", "of", "subject"].edge_index[1] for graph in graphs]
    degrees = [
        torch.bincount(end, minlength=graph["subject"].num_nodes) for end, graph in zip(scans, graphs, strict=True)
    ]
    of = next(one for one in found.edges if one.type == ("scan", "of", "subject"))
    assert of.in_degree == Spread.of(torch.cat(degrees).numpy())
    labels = [label for graph in graphs for label in graph["subject"].y.tolist()]
    known = [(labels[s], labels[t]) for s, t in whole.edges() if labels[s] >= 0 and labels[t] >= 0]
    assert found.relations[0].homophily["diagnosis"].share == pytest.approx(np.mean([a == b for a, b in known]))


def test_of_several_samples_previews_say_what_is_kept(several):
    graphs, collection = several
    found = describe(collection, previews=5)
    assert [one.notes for one in found.previews] == [{"title": f"talk {n}"} for n in range(5)]
    one = found.previews[2]
    assert one.payloads["text"] == tuple(f"word 2.{row}" for row in range(4))
    assert one.payloads["scan"] == ("features [3]",) * 4
    assert one.totals == {"scan": graphs[2]["scan"].num_nodes, "text": graphs[2]["text"].num_nodes}
    assert found.previews[3].payloads["scan"] == ()
    assert (one.key, one.part, one.labels) == ("2", "dev", {"diagnosis": "healthy, ill"})


def test_features_of_any_float_are_read(tmp_path):
    for number, dtype in enumerate((torch.bfloat16, torch.float16, torch.uint8)):
        graph = HeteroData()
        graph["patch"].x = torch.ones(2, 3, dtype=dtype)
        for name, graphs in (("one", [graph]), ("two", [graph, graph])):
            collection = write(tmp_path / f"{name}{number}", *graphs)
            whole = whole_of(collection)
            assert whole.features("patch", "x", [1, 0]).tolist() == [[1, 1, 1]] * 2


def test_a_target_of_several_numbers_a_node_is_left_out(tmp_path):
    graph = HeteroData()
    graph["patch"].x = torch.ones(3, 2)
    graph["patch"].y = torch.ones(3, 4)
    for name, graphs in (("one", [graph]), ("two", [graph, graph])):
        assert describe(write(tmp_path / name, *graphs)).targets == ()


def test_payloads_of_other_shapes_than_vectors_need_no_schema(tmp_path):
    graph = HeteroData()
    graph["picture"].x = torch.rand(2, 3, 5, 6)
    found = describe(write(tmp_path / "pictures", graph, graph))
    assert found.previews[0].payloads == {"picture": ("features [3, 5, 6]",) * 2}


def test_the_same_are_chosen_some_of_each_class_and_part_a_quarter_incomplete(graph_and_schema, tmp_path):
    graph, schema = fake_graph(200)
    whole = whole_of(write(tmp_path / "fake", graph, schema=schema))
    chosen = choose(whole, 24)
    assert chosen.tolist() == choose(whole, 24).tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 24
    shown = cards(whole, chosen.tolist())
    labels = Counter(card.labels["diagnosis"] for card in shown)
    assert set(labels) == {"healthy", "ill", None}
    assert max(labels.values()) - min(labels.values()) <= 4
    parts = Counter(card.part for card in shown)
    assert max(parts.values()) - min(parts.values()) <= 2
    lacking = [tuple(node for node, items in card.items.items() if not items) for card in shown]
    assert sum(map(bool, lacking)) == 6
    assert {("scan",), ("text",), ("scan", "text")} <= set(lacking)
    assert choose(whole, 0).tolist() == []
    assert len(choose(whole, 500)) == 200


def test_of_a_measure_low_middle_and_high_ones_are_chosen(films):
    rows = choose(whole_of(films), 6)
    stars = films.graph["film"].y_stars[rows]
    assert bool((stars < 4).any())
    assert bool(((stars > 4) & (stars < 8)).any())
    assert bool((stars > 8).any())


def test_neighbours_are_told_by_relation_and_direction(films):
    whole = whole_of(films)
    (first,) = cards(whole, [0])
    assert [(one.relation, one.direction, one.keys) for one in first.neighbours] == [("leads_to", "↔", ("f1",))]
    (third,) = cards(whole, [2])
    assert [(one.direction, set(one.keys), one.total) for one in third.neighbours] == [("→", {"f8", "f9"}, 2)]
    (ninth,) = cards(whole, [9])
    assert [(one.direction, one.keys) for one in ninth.neighbours] == [("←", ("f2",))]
