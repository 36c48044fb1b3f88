"""Nodes: which rows they are, by which key, and the cells that are read of them later."""

import pyarrow as pa
import pytest

from mmgraph.assembly import GraphConfig, Source
from mmgraph.assembly.nodes import Nodes, read_nodes, structure_columns
from mmgraph.assembly.rejected import Rejected
from mmgraph.errors import DataError


def source(data, root=None, **fields):
    fields = {"nodes": {"film": {"table": "films", "key": "id", "columns": {}}}, **fields}
    return Source(GraphConfig(**fields), {"films": pa.table(data)} if data else {}, root)


def test_rows_without_a_key_or_with_one_that_is_taken_are_set_aside():
    rejected = Rejected()
    nodes = read_nodes(source({"id": ["a", None, "b", " a", " "]}), "film", rejected)
    assert nodes.keys == ["a", "b"]
    assert nodes.rows.tolist() == [0, 2]
    assert [(one.row, one.reason) for one in rejected.items] == [
        (1, "the key, column 'id', must not be empty"),
        (3, "a key must be unique, got 'a' in rows 0 and 3"),
        (4, "the key, column 'id', must not be empty"),
    ]
    assert rejected.seen["films", ""] == 5


def test_without_a_key_rows_name_the_nodes(tmp_path):
    (tmp_path / "films.csv").write_text("id,x\n5,a\n6\n7,b\n")
    config = {"nodes": {"film": {"table": "films.csv"}}}
    rejected = Rejected()
    nodes = read_nodes(source(None, tmp_path, **config), "film", rejected)
    assert nodes.keys == ["0", "2"]
    assert [one.row for one in rejected.items] == [1]


def test_keys_are_found_however_whole_numbers_are_written():
    nodes = read_nodes(source({"id": [7, 8, -9]}), "film", Rejected())
    assert [nodes.find(key) for key in ("7", "8.0", "-9.00", "8.5", "8.", "a", "")] == [0, 1, 2, None, None, None, None]
    assert Nodes(["1", "1.0"]).find("1.0") == 1  # what is there goes first


def test_cells_are_read_node_by_node_beyond_blocks(tmp_path):
    lines = [f"{row},x{row}" if row % 5 else f"{row}" for row in range(1500)]
    (tmp_path / "films.csv").write_text("id,x\n" + "\n".join(lines))
    config = {"nodes": {"film": {"table": "films.csv", "key": "id"}}}
    nodes = read_nodes(source(None, tmp_path, **config), "film", Rejected())
    found = list(nodes.cells(["x", "id"], lambda row, reason: None))
    assert [node for node, _ in found] == list(range(len(nodes))) == list(range(1200))
    assert all(cells == (f"x{key}", key) for (_, cells), key in zip(found, nodes.keys, strict=True))
    (tmp_path / "films.csv").write_text("id,x\n" + "\n".join(lines[:1000]))
    with pytest.raises(DataError, match="'films.csv' must not change while it is read, but row 1001 is gone"):
        list(nodes.cells(["x"], lambda row, reason: None))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"id": []}, "'films' must have at least one row that can be used, got none"),
        ({"id": [None]}, "at least one row that can be used"),
        ({"name": ["a"]}, r"must have the column 'id', got \['name'\]"),
    ],
)
def test_tables_that_give_no_nodes_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        read_nodes(source(data), "film", Rejected())


def test_a_column_that_is_declared_but_absent_is_named():
    config = {"nodes": {"film": {"table": "films", "columns": {"plto": "text"}}}}
    with pytest.raises(DataError, match=r"'films' must have the column 'plto', got \['id', 'plot'\]"):
        read_nodes(source({"id": ["a"], "plot": ["b"]}, **config), "film", Rejected())


def test_what_the_structure_needs_is_read_once():
    config = source(
        None,
        nodes={
            "film": {"table": "films", "key": "id", "columns": {"name": "keep", "plot": "text"}},
            "person": {"table": "people"},
        },
        anchor="film",
        edges=[
            {"type": ["film", "by", "person"], "column": "director"},
            {"type": ["film", "next", "film"], "order": "year", "by": "series"},
            {"type": ["film", "with", "person"], "table": "t", "source": "a", "target": "b"},
            {"type": ["person", "likes", "film"], "column": "favourite"},
        ],
        targets={"rating": {"column": "rating"}, "age": {"column": "age", "node": "person"}},
        split={"by": "time", "column": "date"},
    ).config
    assert structure_columns(config, "film") == ["name", "director", "year", "series", "rating", "date"]
    assert structure_columns(config, "person") == ["favourite", "age"]
    stratified = config.model_copy(update={"split": config.split.model_copy(update={"by": "stratified"})})
    assert "date" not in structure_columns(stratified, "film")
