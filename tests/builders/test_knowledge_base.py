"""Payloads and types: what a graph of payloads brings stays; entities find their node types."""

import pyarrow as pa
import pytest
import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.data.triples import Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.schema.facts import Numbering


def triples(*rows):
    return Triples(*([*column] for column in zip(*rows, strict=True)))


@pytest.fixture
def payloads():
    """Three films, two with a text; one sequel; a class for each, and parts."""
    graph = HeteroData()
    graph["film"].x = torch.empty(3, 0)
    graph["film"].y = torch.tensor([0, 1, 0])
    graph["film"].train_mask = torch.tensor([True, True, False])
    graph["text"].x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    graph["text", "of", "film"].edge_index = torch.tensor([[0, 1], [2, 0]])
    graph["film", "before", "film"].edge_index = torch.tensor([[2], [0]])
    graph["film", "before", "film"].edge_weight = torch.tensor([0.5])
    schema = Schema(
        nodes={"film": NodeSpec(channels=0), "text": NodeSpec(modality="text", channels=2)},
        edges={("text", "of", "film"): EdgeSpec(), ("film", "before", "film"): EdgeSpec(weighted=True)},
        targets={"good": TargetSpec(node="film", kind="binary", classes=("no", "yes"))},
        anchor="film",
    )
    return graph, schema, ["z", "y", "x"]


def fit(given, payloads=None, **options):
    return mg.KnowledgeGraph.fit(given, payloads=payloads, **options)


def test_payloads_and_their_relations_stay(payloads):
    before = payloads[0].clone()
    knowledge = fit(triples(("x", "like", "new"), ("a", "like", "z")), payloads)
    graph = knowledge.graph
    assert knowledge.entities == ("z", "y", "x", "a", "new")
    assert knowledge.relations == ("before", "like")
    assert knowledge.facts["train"].tolist() == [[2, 0, 0], [2, 1, 4], [3, 1, 0]]
    assert graph["film", "^before", "film"].edge_index.tolist() == [[0], [2]]
    assert graph["film", "^before", "film"].edge_weight.tolist() == [0.5]
    assert graph["film"].x.shape == (5, 0)
    assert graph["film"].y.tolist() == [0, 1, 0, -1, -1]
    assert graph["film"].train_mask.tolist() == [True, True, False, False, False]
    assert torch.equal(graph["text"].x, before["text"].x)
    assert graph["text", "of", "film"].edge_index.tolist() == [[0, 1], [2, 0]]
    assert knowledge.schema.anchor == "film"
    assert knowledge.schema.modalities == ("text",)
    assert knowledge.report.alone == 1  # y
    for one, other in zip(payloads[0].stores, before.stores, strict=True):
        assert set(one.keys()) == set(other.keys())
        assert all(torch.equal(one[key], other[key]) for key in one.keys())  # noqa: SIM118


def test_an_entity_without_facts_may_be_asked_for(payloads):
    knowledge = fit({"train": triples(("x", "like", "z")), "test": triples(("y", "like", "x"))}, payloads)
    assert knowledge.facts["test"].tolist() == [[1, 1, 2]]
    assert knowledge.report.unknown["test"] == 0


def test_a_graph_of_payloads_may_be_all_there_is(payloads):
    knowledge = fit(Triples([], [], []), payloads)
    assert knowledge.relations == ("before",)
    assert knowledge.facts["train"].tolist() == [[2, 0, 0]]


def test_a_built_graph_gives_payloads(tmp_path):
    table = pa.table({"id": ["ann", "bob"], "bio": ["Ann paints.", None]})
    config = mg.GraphConfig(nodes={"entity": {"table": "people", "key": "id", "columns": {"bio": "text"}}})
    built = mg.build_graph(mg.Source(config, {"people": table}), cache=mg.FeatureCache(tmp_path))
    knowledge = fit(triples(("bob", "knows", "cid")), built)
    assert knowledge.entities == ("ann", "bob", "cid")
    assert knowledge.graph["bio", "of", "entity"].edge_index.tolist() == [[0], [0]]
    assert knowledge.schema.nodes["bio"] == built.schema.nodes["bio"]


def test_entities_of_several_node_types_are_numbered_through(payloads):
    graph, schema, films = payloads
    graph["person"].num_nodes = 2
    graph["person", "made", "film"].edge_index = torch.tensor([[1], [0]])
    schema = Schema(
        nodes={"person": NodeSpec(), **schema.nodes},
        edges={**schema.edges, ("person", "made", "film"): EdgeSpec()},
        anchor="film",
    )
    given = {"train": triples(("p", "saw", "x"), ("p", "knows", "q")), "test": triples(("x", "saw", "p"))}
    knowledge = fit(given, (graph, schema, {"film": films, "person": ["p", "q"]}))
    assert knowledge.entities == ("p", "q", "z", "y", "x")
    assert knowledge.relations == ("before", "made", "knows", "saw")
    facts = {tuple(fact) for fact in knowledge.facts["train"].tolist()}
    assert facts == {(4, 0, 2), (1, 1, 2), (0, 3, 4), (0, 2, 1)}
    assert knowledge.graph["film", "saw", "person"].edge_index.shape == (2, 0)  # a type of test alone
    assert knowledge.facts["test"].tolist() == [[4, 3, 0]]
    assert knowledge.graph["film", "^saw", "person"].edge_index.tolist() == [[2], [0]]


def test_types_as_edges():
    types = {"a": "letter", "b": ["letter", "later", "later"], "zoe": "person"}
    knowledge = fit(triples(("a", "r", "b")), types=types)
    assert knowledge.entities == ("a", "b", "later", "letter")
    assert knowledge.relations == ("r", "type")
    assert knowledge.graph["entity", "type", "class"].edge_index.tolist() == [[0, 1, 1], [1, 0, 1]]
    assert knowledge.graph["class", "^type", "entity"].edge_index.tolist() == [[1, 0, 1], [0, 1, 1]]
    assert knowledge.facts["train"].tolist() == [[0, 0, 1], [0, 1, 3], [1, 1, 2], [1, 1, 3]]
    assert list(knowledge.triples()["train"]) == [("a", "r", "b")]
    assert (knowledge.report.types, knowledge.report.unused_types) == (3, 1)


def test_types_of_nobody_change_nothing():
    plain, typed = fit(triples(("a", "r", "b"))), fit(triples(("a", "r", "b")), types={"zoe": "person"})
    assert plain.schema == typed.schema


@pytest.mark.parametrize("target", [True, False])
def test_types_as_nodes(payloads, target):
    graph, schema, names = payloads
    schema = schema if target else schema.model_copy(update={"targets": {}})
    types = {"x": "short", "new": "person", "a": "person", "zoe": "person"}
    given = {"train": triples(("x", "like", "new"), ("a", "like", "z")), "test": triples(("a", "like", "x"))}
    if target:
        with pytest.raises(ConfigError, match="got target 'good' on 'film'; give types_as='edges'"):
            fit(given, (graph, schema, names), types=types, types_as="nodes")
        return
    knowledge = fit(given, (graph, schema, names), types=types, types_as="nodes")
    found = knowledge.graph
    assert Numbering(knowledge.schema).entities == ("film", "person", "short")
    assert knowledge.entities == ("z", "y", "a", "new", "x")
    assert knowledge.schema.anchor == "film"
    assert found["text", "of", "short"].edge_index.tolist() == [[0], [0]]
    assert found["text", "of", "film"].edge_index.tolist() == [[1], [0]]
    assert found["short", "before", "film"].edge_weight.tolist() == [0.5]
    assert found["film", "^before", "short"].edge_index.tolist() == [[0], [0]]
    assert found["short", "like", "person"].edge_index.tolist() == [[0], [1]]
    assert found["person", "^like", "short"].edge_index.tolist() == [[1], [0]]
    assert found["person", "like", "film"].edge_index.tolist() == [[0], [0]]
    assert found["person", "like", "short"].edge_index.shape == (2, 0)
    assert found["short"].train_mask.tolist() == [False]
    assert {tuple(fact) for fact in knowledge.facts["train"].tolist()} == {(4, 0, 0), (4, 1, 3), (2, 1, 0)}
    assert knowledge.facts["test"].tolist() == [[2, 1, 4]]


def test_all_entities_typed_leave_no_untyped_node_type():
    knowledge = fit(triples(("a", "r", "b")), types={"a": "x", "b": "y"}, types_as="nodes")
    assert knowledge.graph.node_types == ["x", "y", "query"]
    assert knowledge.schema.anchor == "x"


def test_a_node_type_that_no_fact_joins_is_numbered_too(payloads):
    graph, schema, names = payloads
    schema = schema.model_copy(update={"targets": {}})
    knowledge = fit(triples(("x", "like", "z")), (graph, schema, names), types={"y": "lone"}, types_as="nodes")
    assert knowledge.entities == ("z", "x", "y")
    assert knowledge.graph["lone", "before", "lone"].edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ConfigError, r"'a' has \['x', 'y'\]; choose one", {"types": {"a": ["x", "y"]}, "types_as": "nodes"}),
        (ConfigError, "of another node type, got 'query'", {"types": {"a": "query"}, "types_as": "nodes"}),
        (ConfigError, "of an entity, got 'b'", {"types": {"a": "b"}}),
    ],
)
def test_types_that_clash_are_refused(error, message, options):
    with pytest.raises(error, match=message):
        fit(triples(("a", "r", "b")), **options)


def test_the_relation_of_types_is_reserved_where_they_are_edges():
    with pytest.raises(ConfigError, match="got 'type'; rename"):
        fit(triples(("a", "type", "b")), types={"a": "x"})
    assert fit(triples(("a", "type", "b"))).relations == ("type",)


def changed(payloads, *, ids=None, nodes=None, edges=None, targets=None, anchor="film"):
    graph, schema, names = payloads
    parts = {"nodes": nodes or {}, "edges": edges or {}, "targets": targets or {}}
    more = {key: {**getattr(schema, key), **value} for key, value in parts.items()}
    return graph, Schema(**more, anchor=anchor), names if ids is None else ids


@pytest.mark.parametrize(
    ("error", "message", "change", "options"),
    [
        (ConfigError, "must be the entities, 'thing', got 'film'", {}, {"entity": "thing"}),
        (ConfigError, "must be the entities, None, got None", {"anchor": None}, {}),
        (DataError, r"once \(3 nodes\), got 2 names", {"ids": ["a", "b"]}, {}),
        (DataError, r"must name its anchors, 'film', got names of \['text'\]", {"ids": {"text": ["a", "b"]}}, {}),
        (DataError, "must be different, got 'a' of 'film' and of 'film'", {"ids": ["a", "b", "a"]}, {}),
        (DataError, "a string that is not empty, got 7 of 'film'", {"ids": ["a", "b", 7]}, {}),
        (ConfigError, "no node type 'query' and no target 'answer'", {"nodes": {"query": NodeSpec()}}, {}),
        (ConfigError, r"got \('film', '\^a', 'film'\)", {"edges": {("film", "^a", "film"): EdgeSpec()}}, {}),
    ],
)
def test_payloads_that_cannot_be_used_are_refused(payloads, error, message, change, options):
    with pytest.raises(error, match=message):
        fit(triples(("x", "r", "y")), changed(payloads, **change), **options)


def test_a_relation_of_payloads_is_not_one_of_triples(payloads):
    with pytest.raises(ConfigError, match="Relation 'before' is in triples and in the graph of payloads"):
        fit(triples(("x", "before", "y")), payloads)


def test_new_entities_have_no_features_of_their_own(payloads):
    graph, schema, names = payloads
    graph["film"].x = torch.ones(3, 4)
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "film": NodeSpec(channels=4)}})
    assert fit(triples(("x", "r", "y")), (graph, schema, names)).graph["film"].x.shape == (3, 4)
    with pytest.raises(DataError, match=r"'film' has 'x' and 'new' has none; hang features on entities as nodes"):
        fit(triples(("x", "r", "new")), (graph, schema, names))


def test_a_class_node_type_of_payloads_clashes_with_types(payloads):
    graph, schema, names = payloads
    graph["class"].num_nodes = 1
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "class": NodeSpec()}})
    with pytest.raises(ConfigError, match="must have no node type 'class'"):
        fit(triples(("x", "r", "y")), (graph, schema, names), types={"x": "short"})


def test_nodes_that_relations_join_have_names(payloads):
    graph, schema, names = payloads
    graph["maker"].num_nodes = 2
    graph["maker", "made", "film"].edge_index = torch.tensor([[1], [0]])
    edges = {**schema.edges, ("maker", "made", "film"): EdgeSpec()}
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "maker": NodeSpec()}, "edges": edges})
    with pytest.raises(DataError, match=r"\('maker', 'made', 'film'\) of payloads joins 'maker', which has none"):
        fit(triples(("x", "r", "y")), (graph, schema, names))
