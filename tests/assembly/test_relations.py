"""Relations of every origin against plain loops; what leads nowhere is set aside."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.assembly import GraphConfig, Source
from mmgraph.assembly.nodes import read_nodes
from mmgraph.assembly.rejected import Rejected
from mmgraph.assembly.relations import read_edges, value_nodes
from mmgraph.errors import ConfigError, DataError


def edges(edge, films, people=None, *, features=None, strict=False, **tables):
    """The pairs of keys (and weights) of one relation, and what was set aside: (row, column, value, reason)."""
    config = GraphConfig(
        anchor="film",
        nodes={
            "film": {"table": "films", "key": "id", "columns": {"plot": "text"} if features else {}},
            "person": {"table": "people", "key": "id"},
        },
        edges=[edge],
    )
    films = {**films, "plot": films["id"]}
    tables = {"films": films, "people": {"id": people or ["p"]}, **tables}
    source = Source(config, {name: one if isinstance(one, pa.Table) else pa.table(one) for name, one in tables.items()})
    nodes = {name: read_nodes(source, name, Rejected()) for name in config.nodes}
    nodes |= value_nodes(config, nodes)
    rejected = Rejected(strict=strict)
    found = read_edges(source, config.edges[0], nodes, features or {}, rejected)
    assert found.index.dtype == torch.long
    names = [nodes[end].keys for end in config.edges[0].type[::2]]
    pairs = [(names[0][a], names[1][b]) for a, b in found.index.T.tolist()]
    weights = None if found.weight is None else found.weight.tolist()
    return pairs, weights, [(one.row, one.column, one.value, one.reason) for one in rejected.items], rejected


FILMS = {"id": ["a", "b", "c"]}


def test_a_table_of_pairs():
    rows = {
        "film": ["a", "b", "a", "zz", None, "c", "c"],
        "person": [1, 2, 1, 1, 1, None, 99],
    }
    edge = {"type": ["film", "by", "person"], "table": "made", "source": "film", "target": "person"}
    pairs, weights, wrong, rejected = edges(edge, FILMS, [1, 2], made=rows)
    assert pairs == [("a", "1"), ("b", "2")]
    assert weights is None
    assert wrong == [
        (3, "", "zz → 1", "column 'film' must hold the key of a node, got 'zz', which is none"),
        (4, "", "None → 1", "column 'film' must hold a key, got nothing"),
        (5, "", "c → None", "column 'person' must hold a key, got nothing"),
        (6, "", "c → 99", "column 'person' must hold the key of a node, got '99', which is none"),
    ]
    assert rejected.seen["made", ""] == 7


def test_weights():
    rows = {"a": ["a", "b", "a", "b", "c", "c"], "b": ["b", "c", "b", "a", "a", "b"]}
    rows["w"] = ["0.5", "2", "3", "heavy", None, "inf"]
    edge = {"type": ["film", "like", "film"], "table": "t", "source": "a", "target": "b", "weight": "w"}
    pairs, weights, wrong, _ = edges(edge, FILMS, t=rows)
    assert (pairs, weights) == ([("a", "b"), ("b", "c")], [0.5, 2.0])
    assert [(row, reason.split(", got")[0]) for row, _, _, reason in wrong] == [
        (2, "a weighted pair must be given once"),
        (3, "a number is wanted"),
        (4, "column 'w' must hold a weight"),
        (5, "a finite number of at most 3.4e+38 is wanted"),
    ]
    pairs, weights, _, _ = edges({**edge, "symmetric": True}, FILMS, t=rows)
    assert dict(zip(pairs, weights, strict=True)) == {
        ("a", "b"): 0.5,
        ("b", "a"): 0.5,
        ("b", "c"): 2.0,
        ("c", "b"): 2.0,
    }


def test_each_way_keeps_the_weight_that_was_given():
    rows = {"a": ["a", "b", "c"], "b": ["b", "a", "c"], "w": [1, 2, 3]}
    edge = {
        "type": ["film", "like", "film"],
        "table": "t",
        "source": "a",
        "target": "b",
        "weight": "w",
        "symmetric": True,
    }
    pairs, weights, _, _ = edges(edge, FILMS, t=rows)
    assert dict(zip(pairs, weights, strict=True)) == {("a", "b"): 1, ("b", "a"): 2, ("c", "c"): 3}


def test_a_column_of_keys_with_cycles_and_itself():
    films = {"id": ["a", "b", "c", "d"], "next": ["b", "c", "a", "d"]}
    pairs, *_ = edges({"type": ["film", "before", "film"], "column": "next"}, films)
    assert pairs == [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")]
    both, *_ = edges({"type": ["film", "before", "film"], "column": "next", "symmetric": True}, films)
    assert sorted(both) == sorted({*pairs, *((b, a) for a, b in pairs)})


def test_several_keys_in_a_cell():
    edge = {"type": ["film", "with", "person"], "column": "cast"}
    lists = {**FILMS, "cast": [[1, 2, 1, None], [], [3, 4]]}
    pairs, _, wrong, rejected = edges(edge, lists, [1, 2, 3])
    assert pairs == [("a", "1"), ("a", "2"), ("c", "3")]
    assert wrong == [(2, "cast", "[3, 4]", "the key of a 'person' is wanted, got '4', which is none")]
    assert rejected.seen["films", "cast"] == 5  # keys
    texts = {**FILMS, "cast": ["1| 2|1|", None, "3|4"]}
    assert edges({**edge, "separator": "|"}, texts, [1, 2, 3])[0] == pairs
    assert edges(edge, {**FILMS, "cast": ["1.0", "2", "x.0"]}, [1, 2])[0] == [("a", "1"), ("b", "2")]
    assert edges(edge, {**FILMS, "cast": [1.0, None, 2.5]}, [1, 2])[0] == [("a", "1")]
    with pytest.raises(DataError, match=r"row 2 \(c\), column 'cast': the key of a 'person' is wanted, got '4'"):
        edges(edge, lists, [1, 2, 3], strict=True)


def test_values_are_nodes_where_there_is_no_table():
    films = {**FILMS, "genre": ["war|love", None, "love|1.5|"]}
    pairs, _, wrong, _ = edges({"type": ["film", "has", "genre"], "column": "genre", "separator": "|"}, films)
    assert pairs == [("a", "war"), ("a", "love"), ("c", "love"), ("c", "1.5")]
    assert not wrong
    assert edges({"type": ["film", "has", "genre"], "column": "genre"}, {**FILMS, "genre": [None] * 3})[0] == []
    pairs, _, wrong, _ = edges(
        {"type": ["film", "has", "genre"], "column": "genre"}, {**FILMS, "genre": [1.5, 2.0, 2.0]}
    )
    assert pairs == [("b", "2"), ("c", "2")]
    assert wrong[0][:3] == (0, "genre", "1.5")


def test_an_order_within_groups():
    films = {
        "id": ["a", "b", "c", "d", "e", "f", "g"],
        "year": ["1999", "1980", "2001", "1980", None, "soon", "5"],
        "series": ["x", "x", "y", "x", "x", "x", None],
    }
    pairs, _, wrong, rejected = edges({"type": ["film", "then", "film"], "order": "year", "by": "series"}, films)
    assert pairs == [("b", "d"), ("d", "a")]  # equal years in the order of rows
    assert wrong == [(5, "year", "soon", "a number is wanted, got 'soon'")]
    assert rejected.seen["films", "year"] == 5
    pairs, *_ = edges({"type": ["film", "then", "film"], "order": "year"}, films)
    assert pairs == [("g", "b"), ("b", "d"), ("d", "a"), ("a", "c")]


@given(st.data(), st.sampled_from(["cosine", "euclidean"]), st.integers(1, 5))
def test_the_nearest_are_those_of_a_loop(data, metric, k):
    owner = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=9))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    features = rng.normal(size=(len(owner), 3)).astype(np.float32)
    films = {"id": list("abcdef")}
    edge = {"type": ["film", "like", "film"], "nearest": "plot", "k": k, "metric": metric}
    pairs, *_ = edges(edge, films, features={"plot": (torch.from_numpy(features), torch.tensor(owner))})
    rows = np.array(owner)
    means = {one: features[rows == one].mean(axis=0) for one in sorted(set(owner))}
    expected = set()
    for one, x in means.items():
        far = {}
        for other, y in means.items():
            if metric == "cosine":
                far[other] = 1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            else:
                far[other] = np.linalg.norm(x - y)
        nearest = sorted((other for other in means if other != one), key=far.__getitem__)[:k]
        expected |= {("abcdef"[other], "abcdef"[one]) for other in nearest}
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_the_nearest_need_vectors():
    edge = {"type": ["film", "like", "film"], "nearest": "plot"}
    with pytest.raises(
        ConfigError, match=r"needs vectors of 'plot', \[rows, channels\], got \[3, 2, 2\] of torch.float32"
    ):
        edges(edge, FILMS, features={"plot": (torch.zeros(3, 2, 2), torch.arange(3))})
    with pytest.raises(ConfigError, match=r"got \[3, 2\] of torch.int64"):
        edges(edge, FILMS, features={"plot": (torch.zeros(3, 2).long(), torch.arange(3))})
    assert edges(edge, FILMS, features={"plot": (torch.zeros(0, 2), torch.arange(0))})[0] == []


def test_rows_of_a_pair_table_that_are_broken_are_said(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\na,b\nb\nc,a\n")
    config = GraphConfig(
        nodes={"film": {"table": "films", "key": "id"}},
        edges=[{"type": ["film", "like", "film"], "table": "t.csv", "source": "a", "target": "b"}],
    )
    source = Source(config, {"films": pa.table(FILMS)}, tmp_path)
    nodes, rejected = {"film": read_nodes(source, "film", Rejected())}, Rejected()
    assert read_edges(source, config.edges[0], nodes, {}, rejected).index.tolist() == [[0, 2], [1, 0]]
    assert [(one.table, one.row, one.reason) for one in rejected.items] == [
        ("t.csv", 1, "a row must have 2 cells, got 1")
    ]
    (tmp_path / "t.csv").write_text("a,b\n")
    assert read_edges(source, config.edges[0], nodes, {}, rejected).index.shape == (2, 0)
