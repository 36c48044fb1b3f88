"""The shelf: nodes as they are shown, and neighbourhoods against a slow walk over all edges."""

import numpy as np
import pyarrow as pa
import pytest

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.engine import Engine
from mmgraph.errors import DataError
from mmgraph.serve.graph import LABEL, LONG, SHOWN, Shelf


@pytest.fixture(scope="module")
def shelf(engine):
    return Shelf(engine.now)


def joined(shelf, node, row):
    """All that is joined to a node, by a look at each edge."""
    found = set()
    for edge in shelf.schema.edges:
        for source, target in shelf.built.graph[edge].edge_index.T.tolist():
            if (edge[0], source) == (node, row):
                found.add((edge[2], target))
            if (edge[2], target) == (node, row):
                found.add((edge[0], source))
    return found - {(node, row)}


@pytest.mark.parametrize(
    ("node", "row"), [("thing", 0), ("thing", 12), ("shop", 0), ("tag", 2), ("picture", 5), ("table", 3)]
)
def test_a_neighbourhood_is_all_that_is_joined_and_the_edges_among_it(shelf, node, row):
    found = shelf.neighbourhood(node, shelf.node(node, row).id, limit=60)
    nodes = [(one.node, one.row) for one in found.nodes]
    assert nodes[0] == (node, row)
    assert set(nodes[1:]) == joined(shelf, node, row)
    assert len(set(nodes)) == len(nodes)
    assert found.left_out == 0
    edges = {
        (edge[0], source, edge[1], edge[2], target)
        for edge in shelf.schema.edges
        for source, target in shelf.built.graph[edge].edge_index.T.tolist()
        if (edge[0], source) in nodes and (edge[2], target) in nodes and (edge[0], source) != (edge[2], target)
    }
    assert {(*nodes[one.source], one.relation, *nodes[one.target]) for one in found.edges} == edges


def test_of_too_many_there_are_some_of_each_relation(shelf):
    whole = shelf.neighbourhood("thing", "red bar", limit=60)
    some = shelf.neighbourhood("thing", "red bar", limit=7)
    assert len(some.nodes) == 7
    assert some.left_out == len(whole.nodes) - 7
    assert {one.node for one in some.nodes} == {one.node for one in whole.nodes}
    assert shelf.neighbourhood("thing", "red bar", limit=1).edges == []


def test_nodes_say_what_they_stand_for(shelf, engine):
    thing = shelf.node("thing", 1)
    assert (thing.id, thing.label, thing.modality) == ("green circle", "green circle", None)
    assert (thing.payload.kind, thing.payload.text) == ("data", "shape: circle")
    assert thing.face == "/api/v1/payload/picture/1"
    name = shelf.node("name", 1)
    assert (name.id, name.label, name.modality, name.payload.kind) == ("1", "A green circle", "text", "text")
    assert shelf.node("picture", 1).payload.url == "/api/v1/payload/picture/1"
    assert shelf.node("picture", 1).payload.kind == "image"
    assert shelf.node("sound", 1).payload.kind == "audio"
    assert shelf.node("table", 1).payload.text == "price 1"
    tag = shelf.node("tag", 0)
    assert (tag.payload.kind, tag.payload.url, tag.face) == ("none", None, None)
    assert shelf.node("shop", 0).payload.text == "city: Oslo"


def test_what_hangs_on_a_node_comes_with_what_was_matched_first(shelf):
    found = shelf.hanging("thing", 1, [("picture", 1)])
    assert [one.node for one in found] == ["name", "picture", "sound", "table"]
    assert shelf.hanging("tag", 0) == []


def test_of_many_that_hang_on_a_node_there_are_some(shelf, monkeypatch):
    monkeypatch.setattr(Shelf, "ends", lambda *_, **__: np.arange(9))
    found = shelf.hanging("thing", 0, [("name", 7)])
    assert [one.row for one in found[:SHOWN]] == [7, 0, 1, 2]
    assert [one.row for one in found[SHOWN : 2 * SHOWN]] == [0, 1, 2, 3]
    assert len(found) == SHOWN * len(shelf.parts)


@pytest.mark.parametrize(
    ("node", "id", "message"),
    [
        ("nonsense", "0", "A node type must be one of .*'thing'.*, got 'nonsense'"),
        ("thing", "gold bar", "'thing' must have a node 'gold bar', got none by that key"),
        ("thing", "0", "got none by that key"),
        ("name", "13", "A row of 'name' must be between 0 and 12, got '13'"),
        ("name", "-1", "got '-1'"),
        ("name", "１", "got '１'"),
        ("name", "9" * 5000, "got '9{80}'"),
    ],
)
def test_nodes_that_are_not_there(shelf, node, id, message):
    with pytest.raises(DataError, match=message):
        shelf.place(node, id)


def test_long_texts_are_cut_and_odd_letters_replaced(tmp_path):
    config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
    films = pa.table({"id": ["a\x1b[31m"], "plot": ["x" * 5000]})
    built = build_graph(Source(config, {"films": films}), cache=FeatureCache(tmp_path))
    shelf = Shelf(Engine(built).now)
    assert shelf.node("film", 0).label == "a�[31m"
    assert shelf.node("film", 0).id == "a\x1b[31m"
    plot = shelf.node("plot", 0)
    assert (len(plot.label), plot.label[-1]) == (LABEL, "…")
    assert (len(plot.payload.text), plot.payload.text[-1]) == (LONG, "…")


def test_a_node_that_is_joined_to_itself_stands_there_once(shelf, monkeypatch):
    monkeypatch.setattr(Shelf, "ends", lambda self, edge, row, by_source: np.array([0]))
    found = shelf.neighbourhood("thing", "red circle", limit=60)
    assert [(one.node, one.row) for one in found.nodes].count(("thing", 0)) == 1
    assert [edge for edge in found.edges if edge.source == edge.target] == []
