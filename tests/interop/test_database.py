"""Databases: keys, times, cuts, numbers for keys; graphs as databases and back."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError
from mmgraph.interop import Database, DatabaseTable, TaskTable, from_database, to_database
from mmgraph.interop.database import NEVER, read_times
from mmgraph.schema import Schema
from mmgraph.testing import fake_graph

DAY = 86_400_000_000


def sport(**changes):
    """Two clubs; members of a club since a day; a member may have a mentor."""
    clubs = DatabaseTable({"id": ["c", "d"], "name": ["chess", "rowing"]}, key="id")
    people = {"id": [1, 2, 3], "club": ["d", None, "c"], "mentor": [2.0, None, 1.0], "at": ["2024-01-05"] * 3} | changes
    foreign = {"club": "clubs", "mentor": "people"}
    return Database({"clubs": clubs, "people": DatabaseTable(people, key="id", foreign=foreign, time="at")})


def cells(database, table="people"):
    return database.tables[table].rows.to_pydict()


def test_keys_become_the_numbers_of_rows():
    made = sport().for_relbench()
    assert cells(made) == {
        "id": [0, 1, 2],
        "club": [1, None, 0],
        "mentor": [1, None, 0],
        "at": [pd.Timestamp("2024-01-05")] * 3,
        "id_name": [1, 2, 3],
    }
    assert cells(made, "clubs") == {"id": [0, 1], "name": ["chess", "rowing"], "id_name": ["c", "d"]}
    again = made.for_relbench()
    assert cells(again) == cells(made)


def test_rows_are_in_order_of_time():
    made = cells(sport(at=["2024-01-05", None, "2024-01-01"]).for_relbench())
    assert made["id_name"] == [3, 1, 2]
    assert made["mentor"] == [1, 2, None]
    assert made["at"] == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-05"), None]
    exact = pa.array([5_000_000_007, None, 1], pa.timestamp("ns", tz="Asia/Tokyo"))
    made = sport(at=exact).for_relbench().tables["people"].rows.column("at")
    assert made.cast(pa.int64()).to_pylist() == [1, 5_000_000_007, None]
    with pytest.raises(DataError, match="'at' of 'people' must be within 1677 and 2262 for RelBench"):
        sport(at=["9999-12-31"] * 3).for_relbench()


def test_a_key_that_leads_nowhere_becomes_nothing():
    assert cells(sport(mentor=[9, None, 1]).for_relbench())["mentor"] == [None, None, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": [1, 1, 3]}, "Keys of 'people' must be there, each once, got 1 empty or again"),
        ({"id": [1, None, 3]}, "Keys of 'people' must be there, each once, got 1 empty or again"),
        ({"id_name": [7, 8, 9]}, "'people' must have no column 'id_name'; rename it"),
    ],
)
def test_keys_that_are_none_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        sport(**changes).for_relbench()


def test_a_cut_leaves_what_was_there():
    database = sport(at=["2024-01-05", None, "2024-01-01"])
    cut = database.upto("2024-01-03")
    assert cells(cut) == {"id": [3], "club": ["c"], "mentor": [None], "at": ["2024-01-01"]}
    assert cells(cut, "clubs") == cells(database, "clubs")  # of no time
    assert cells(database.upto(datetime(2024, 1, 5, tzinfo=UTC)))["mentor"] == [None, 1.0]


def test_a_cut_is_of_the_kind_of_the_times():
    numbers = sport(at=[2020, 2021, 2022])
    assert cells(numbers.upto(2021))["id"] == [1, 2]
    with pytest.raises(DataError, match="must be a whole number, as 'at' of 'people' is, got '2024-01-01'"):
        numbers.upto("2024-01-01")
    with pytest.raises(DataError, match="must be a moment, as 'at' of 'people' is, got 2021"):
        sport().upto(2021)
    with pytest.raises(DataError, match="The time must be known, got None"):
        sport().upto(sport().test_time)


@pytest.mark.parametrize(
    ("column", "values", "moments"),
    [
        (["1970-01-02", " ", None, "1970-01-01T01:00:00+01:00"], [DAY, NEVER, NEVER, 0], True),
        ([date(1970, 1, 3), None], [2 * DAY, NEVER], True),
        (pa.array([1, None], pa.timestamp("s")), [1_000_000, NEVER], True),
        (pa.array([1, 2], pa.timestamp("ms")), [1000, 2000], True),
        (pa.array([1001, -1], pa.timestamp("ns")), [2, 0], True),  # never earlier than it was
        (pa.array([DAY], pa.timestamp("us", tz="Europe/Rome")), [DAY], True),
        ([3.0, float("nan"), None], [3, NEVER, NEVER], False),
        (pa.array([3, None], pa.int16()), [3, NEVER], False),
        ([None, None], [NEVER, NEVER], False),
    ],
)
def test_times_are_whole_numbers(column, values, moments):
    times = read_times(column, "times")
    assert times.values.tolist() == values
    assert times.moments is moments


@given(st.lists(st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))))
def test_strings_and_moments_say_the_same(moments):
    strings = [None if one is None else one.isoformat() for one in moments]
    wanted = [NEVER if one is None else int(np.datetime64(one, "us").astype(int)) for one in moments]
    assert read_times(pa.array(moments, pa.timestamp("us")), "times").values.tolist() == wanted
    assert read_times(pa.array(strings, pa.string()), "times").values.tolist() == wanted


def test_a_limit_is_never_later_than_it_was():
    assert read_times(pa.array([1999], pa.timestamp("ns")), "limit", early=True).values.tolist() == [1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["2024-01-01", "soon"], "times must be ISO 8601, like 2024-02-29T12:30, got 'soon' in row 1"),
        ([1.5], "times must be whole numbers, got 1.5; round it"),
        ([True], "times must be dates, times, whole numbers or strings of ISO 8601, got bool"),
        ([1, "a"], "times must be times of one kind, but"),
    ],
)
def test_other_times_are_refused(column, message):
    with pytest.raises(DataError, match=message):
        read_times(column, "times")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DatabaseTable({"a": [1]}, key="id"), r"must have the column 'id' once, got \['a'\]"),
        (lambda: DatabaseTable({"a": [1]}, foreign={"b": "t"}), "must have the column 'b' once"),
        (lambda: DatabaseTable({"a": [1]}, time="at"), "must have the column 'at' once"),
        (lambda: DatabaseTable({"a": [1, "x"]}), "or what becomes one, but"),
        (lambda: Database({"t": DatabaseTable({"a": [1]}, foreign={"a": "u"})}), r"but 'u' is none of \['t'\]"),
        (lambda: Database({"t": DatabaseTable({"a": [1]}, foreign={"a": "t"})}), "but 't' has no key"),
        (lambda: TaskTable({"train": {"e": [1]}}, "t", "e", "y"), r"must be train, val and test, got \['train'\]"),
        (
            lambda: TaskTable({part: {"e": [1]} for part in ("train", "val", "test")}, "t", "e", "y"),
            r"Training must have the answers, 'y', got \['e'\]",
        ),
    ],
)
def test_parts_must_agree(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_a_part_may_lack_the_answers():
    known, asked = {"e": [1, 2], "y": [0.5, 1.5]}, {"e": [3], "more": ["x"]}
    task = TaskTable({"train": known, "val": known, "test": asked}, "t", "e", "y")
    assert task.rows.to_pydict() == {
        "e": [1, 2, 1, 2, 3],
        "y": [0.5, 1.5, 0.5, 1.5, None],
        "part": ["train", "train", "val", "val", "test"],
    }


@given(st.data())
def test_any_graph_comes_back(graphs, same, data):
    graph, schema = data.draw(graphs)
    back, payloads = from_database(to_database(graph, schema), schema)
    same(graph, back)
    assert payloads == {}


def test_payloads_come_back(same):
    graph, schema = fake_graph()
    texts = [None, *(f"é {row}" for row in range(1, graph["subject"].num_nodes))]
    back, payloads = from_database(to_database(graph, schema, {"subject": texts}), schema)
    same(graph, back)
    assert payloads == {"subject": texts}


def test_what_would_be_lost_is_refused(small):
    graph, schema = small()
    database = to_database(graph, schema)
    graph["a"].id = torch.zeros(2)
    with pytest.raises(DataError, match="must not have a tensor 'id', got one on 'a'"):
        to_database(graph, schema)
    with pytest.raises(DataError, match="a table for each type of the schema, got none for 'a'"):
        from_database(Database({}), schema)
    odd = database.tables["a"].rows.take([1, 0])
    with pytest.raises(DataError, match="'id' of 'a' must be the numbers of its rows, 0 to 1"):
        from_database(Database({**database.tables, "a": DatabaseTable(odd, key="id")}), schema)


def test_tables_must_have_names_of_their_own():
    graph = HeteroData()
    for node in ("a", "a_", "c"):
        graph[node].x = torch.empty(0, 1)
    for edge in (("a", "_b", "c"), ("a_", "b", "c")):
        graph[edge].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(DataError, match="names of their own, got 'a___b__c'"):
        to_database(graph, Schema.infer(graph))
