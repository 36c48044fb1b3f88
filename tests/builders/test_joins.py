import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.builders import join_children, join_dialogue, join_next, join_same_time
from mmgraph.errors import ConfigError, DataError
from mmgraph.layers import LSTM, edge_sets
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing.expect import difference


def graph_of(**rows):
    graph = HeteroData()
    for node, count in rows.items():
        graph[node].x = torch.ones(count, 1)
    return graph, Schema(nodes={node: NodeSpec(channels=1) for node in rows}, anchor=next(iter(rows)))


def pairs(graph, *edge):
    return set(zip(*graph[edge].edge_index.tolist(), strict=True))


def one(values, node="u"):
    return {node: values}


CLOCK = {"sequence": one(["b", "a", "b", "b"]), "time_s": one([3, 0, 1, 2])}


def test_next_and_previous_follow_time_within_a_sequence():
    graph, schema = graph_of(u=4)
    joined, larger = join_next(graph, schema, "u", **CLOCK)
    assert pairs(joined, "u", "next", "u") == {(2, 3), (3, 0)}
    assert pairs(joined, "u", "previous", "u") == {(3, 2), (0, 3)}
    larger.check(joined)


def test_what_is_given_stays_as_it_is():
    graph, schema = graph_of(u=4)
    before, edges = copy.deepcopy(graph), dict(schema.edges)
    join_next(graph, schema, "u", **CLOCK)
    join_same_time(graph, schema, "u", "u", window_s=1.0, **CLOCK)
    join_dialogue(graph, schema, "u", speaker=one([0, 1, 0, 1]), **CLOCK)
    join_children(graph, schema, "u", [-1, 0, 0, 0])
    assert difference(before, graph) is None
    assert schema.edges == edges


@pytest.mark.parametrize(("reach", "expected"), [(1, {(0, 1), (1, 2)}), (2, {(0, 1), (1, 2), (0, 2)})])
def test_reach_is_how_many_steps_back(reach, expected):
    graph, schema = graph_of(u=3)
    clock = {"sequence": one([0, 0, 0]), "time_s": one([0, 1, 2])}
    joined, _ = join_next(graph, schema, "u", reach=reach, **clock)
    assert pairs(joined, "u", "next", "u") == expected
    assert pairs(joined, "u", "previous", "u") == {(v, u) for u, v in expected}
    every, _ = join_next(graph, schema, "u", reach=None, **clock)
    assert len(pairs(every, "u", "next", "u")) == 3


@pytest.mark.parametrize("rows", [0, 1])
def test_sequences_of_no_and_of_one_step(rows):
    graph, schema = graph_of(u=rows)
    clock = {"sequence": one(["a"] * rows), "time_s": one([0.0] * rows)}
    for joined, larger in (
        join_next(graph, schema, "u", **clock),
        join_same_time(graph, schema, "u", "u", window_s=1.0, **clock),
        join_dialogue(graph, schema, "u", speaker=one(["x"] * rows), **clock),
        join_children(graph, schema, "u", [-1] * rows),
    ):
        larger.check(joined)
        assert all(joined[edge].edge_index.shape == (2, 0) for edge in larger.edges)


def test_ties_in_time_follow_each_other_in_their_order():
    graph, schema = graph_of(u=3)
    joined, _ = join_next(graph, schema, "u", sequence=one([0, 0, 0]), time_s=one([1.0, 1.0, 0.0]))
    assert pairs(joined, "u", "next", "u") == {(2, 0), (0, 1)}
    assert pairs(joined, "u", "previous", "u") == {(0, 2), (1, 0)}


def test_between_types_the_same_time_is_neither_before_nor_after():
    graph, schema = graph_of(a=2, v=2)
    clock = {"sequence": {"a": [0, 0], "v": [0, 0]}, "time_s": {"a": [0.0, 1.0], "v": [1.0, 5.0]}}
    joined, larger = join_next(graph, schema, "a", "v", **clock)
    assert pairs(joined, "a", "next", "v") == {(0, 0), (1, 1)}
    assert pairs(joined, "a", "previous", "v") == set()
    joined, _ = join_next(joined, larger, "v", "a", **clock)
    assert pairs(joined, "v", "next", "a") == set()
    assert pairs(joined, "v", "previous", "a") == {(0, 0), (1, 1)}


def test_windows_are_closed_and_forgive_rounding():
    graph, schema = graph_of(a=8)
    times = [0.1 * step for step in range(8)]
    joined, _ = join_same_time(
        graph, schema, "a", "a", window_s=0.3, sequence=one([0] * 8, "a"), time_s=one(times, "a")
    )
    expected = {(u, v) for u in range(8) for v in range(8) if 0 < abs(u - v) <= 3}
    assert pairs(joined, "a", "same_time", "a") == expected


def test_differing_rates_are_joined_by_the_nearest_or_by_a_window():
    graph, schema = graph_of(a=5, v=2)
    clock = {"sequence": {"a": list("xxxxy"), "v": list("xx")}, "time_s": {"a": [0, 0.25, 0.5, 0.75, 0], "v": [0, 0.6]}}
    nearest, _ = join_same_time(graph, schema, "a", "v", **clock)
    assert pairs(nearest, "a", "same_time", "v") == {(0, 0), (2, 1)}
    back, _ = join_same_time(graph, schema, "v", "a", **clock)
    assert pairs(back, "v", "same_time", "a") == {(0, 0), (0, 1), (1, 2), (1, 3)}  # y has no v
    window, _ = join_same_time(graph, schema, "a", "v", window_s=0.25, **clock)
    assert pairs(window, "a", "same_time", "v") == {(0, 0), (1, 0), (2, 1), (3, 1)}


@settings(max_examples=40)
@given(
    said=st.lists(st.tuples(st.integers(0, 1), st.sampled_from("AB"), st.sampled_from([0.0, 1.0, 2.5])), max_size=8),
    past=st.sampled_from([0, 1, 2, None]),
    future=st.sampled_from([0, 1, None]),
)
def test_a_dialogue_equals_a_slow_loop(said, past, future):
    graph, schema = graph_of(u=len(said))
    sequence, speaker, time = (list(column) for column in zip(*said, strict=True)) if said else ([], [], [])
    joined, _ = join_dialogue(
        graph, schema, "u", speaker=one(speaker), sequence=one(sequence), time_s=one(time), past=past, future=future
    )
    expected = {f"{side}_{who}": set() for side in ("before", "after") for who in ("same", "other")}
    for talk in set(sequence):
        turns = sorted((row for row, s in enumerate(sequence) if s == talk), key=lambda row: (time[row], row))
        for at, v in enumerate(turns):
            for place, u in enumerate(turns):
                who = "same" if speaker[u] == speaker[v] else "other"
                if place < at and (past is None or at - place <= past):
                    expected[f"before_{who}"].add((u, v))
                if place > at and (future is None or place - at <= future):
                    expected[f"after_{who}"].add((u, v))
    assert {name: pairs(joined, "u", name, "u") for name in expected} == expected


def test_children_and_the_tree_that_an_lstm_reads():
    graph, schema = graph_of(u=4)
    joined, larger = join_children(graph, schema, "u", torch.tensor([2, 2, 3, -1]))
    assert pairs(joined, "u", "child", "u") == {(0, 2), (1, 2), (2, 3)}
    assert LSTM(1, 2, relations=larger.relations("u"))({"u": graph["u"].x}, edge_sets(joined))["u"].shape == (4, 2)
    named, _ = join_children(graph, schema, "u", [1, -1, 1, 1], relation="left")
    assert ("u", "left", "u") in named.edge_types


def test_a_node_takes_the_time_of_what_it_is_of():
    graph, schema = graph_of(u=3, a=3)
    graph["a", "of", "u"].edge_index = torch.tensor([[2, 0, 1], [0, 1, 2]])
    schema = schema.model_copy(update={"edges": {("a", "of", "u"): EdgeSpec()}})
    joined, _ = join_next(graph, schema, "a", sequence=one([7, 7, 7]), time_s=one([1, 2, 3]))
    assert pairs(joined, "a", "next", "a") == {(2, 0), (0, 1)}
    graph["u"].sequence, graph["u"].time_s = torch.zeros(3, dtype=torch.long), torch.arange(3)
    named, _ = join_next(graph, schema, "a")
    assert pairs(named, "a", "next", "a") == {(2, 0), (0, 1)}
    graph["a", "of", "u"].edge_index = torch.tensor([[2, 0], [0, 1]])
    with pytest.raises(DataError, match="Each 'a' must be of 1 'u' to take its sequence and time, got 0 for row 1"):
        join_next(graph, schema, "a")


def test_names_and_numbers_mean_the_same():
    graph, schema = graph_of(u=3)
    time = one([0, 1, 2])
    by_name, _ = join_next(graph, schema, "u", sequence=one(np.array(["x", "y", "x"], dtype=object)), time_s=time)
    by_number, _ = join_next(graph, schema, "u", sequence=one(torch.tensor([4, -1, 4])), time_s=time)
    assert pairs(by_name, "u", "next", "u") == pairs(by_number, "u", "next", "u") == {(0, 2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_s": one([0, 1, float("nan"), 2])}, "time_s of 'u' must be finite, got nan in row 2; leave the row out"),
        ({"time_s": one([0, 1, 2, float("inf")])}, "time_s of 'u' must be finite, got inf in row 3"),
        ({"time_s": one([0, None, 2, 3])}, "time_s of 'u' must be known, got None in row 1"),
        ({"time_s": one([0, 1, 2])}, r"time_s of 'u' must be one a row, \[4\], got \[3\]"),
        ({"time_s": one(list("abcd"))}, "time_s of 'u' must be numbers, got 'a' in row 0"),
        ({"time_s": "second"}, "'u' must have time_s a row, got none in 'second'"),
        ({"sequence": one([0, None, 0, 0])}, "sequence of 'u' must be known, got None in row 1"),
        ({"sequence": one([0.0, 1.0, float("nan"), 0.0])}, "sequence of 'u' must be known, got nan in row 2"),
        ({"sequence": {}}, r"'u' must have sequence a row, got none in \[\]; set graph\['u'\].sequence"),
        ({"sequence": one([[0, 0, 0, 0]])}, r"sequence of 'u' must be one a row, \[4\], got \[1, 4\]"),
    ],
)
def test_columns_that_can_not_be_are_refused(change, message):
    graph, schema = graph_of(u=4)
    with pytest.raises(DataError, match=message):
        join_next(graph, schema, "u", **{**CLOCK, **change})


def test_text_beside_numbers_is_refused():
    graph, schema = graph_of(a=1, v=1)
    with pytest.raises(DataError, match=r"all text or all numbers, got text in \['v'\] alone"):
        join_next(graph, schema, "a", "v", sequence={"a": [1], "v": ["1"]}, time_s={"a": [0], "v": [0]})


def test_options_that_can_not_be_are_refused():
    graph, schema = graph_of(u=4)
    with pytest.raises(ConfigError, match="reach must be at least 1, or None for all, got 0"):
        join_next(graph, schema, "u", reach=0, **CLOCK)
    with pytest.raises(ConfigError, match=r"A node type must be one of \['u'\], got 'w'"):
        join_next(graph, schema, "w", **CLOCK)
    with pytest.raises(ConfigError, match="window_s must be at least 0 and finite, or None for the nearest, got -1"):
        join_same_time(graph, schema, "u", "u", window_s=-1, **CLOCK)
    with pytest.raises(ConfigError, match="same_time edges within 'u' need a window_s, got None"):
        join_same_time(graph, schema, "u", "u", **CLOCK)
    with pytest.raises(ConfigError, match="past must be at least 0, or None for all, got -1"):
        join_dialogue(graph, schema, "u", speaker=one([0] * 4), past=-1, **CLOCK)
    with pytest.raises(ConfigError, match="future must be at least 0, or None for all, got -2"):
        join_dialogue(graph, schema, "u", speaker=one([0] * 4), future=-2, **CLOCK)
    with pytest.raises(DataError, match="speaker of 'u' must be known, got None in row 3"):
        join_dialogue(graph, schema, "u", speaker=one(["a", "b", "a", None]), **CLOCK)
    joined, larger = join_next(graph, schema, "u", **CLOCK)
    with pytest.raises(DataError, match=r"must not have edges of type \('u', 'next', 'u'\) yet"):
        join_next(joined, larger, "u", **CLOCK)


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ([-1, 0, 4, 0], r"must be between -1 \(a root\) and 3, got 4 in row 2"),
        ([-2, 0, 0, 0], r"must be between -1 \(a root\) and 3, got -2 in row 0"),
        ([1, 0, -1, 0], r"must lead up to a root \(-1\), got rows \[(0, 1|1, 0)\] in a ring"),
        ([0, -1, -1, -1], r"got rows \[0\] in a ring"),
        ([-1, 0, 0], r"parent of 'u' must be one a row, \[4\], got \[3\]"),
        ([-1, 0.5, 0, 0], "parent of 'u' must be whole numbers, got 0.5 in row 1"),
    ],
)
def test_parents_that_can_not_be_are_refused(parent, message):
    graph, schema = graph_of(u=4)
    with pytest.raises(DataError, match=message):
        join_children(graph, schema, "u", parent)


@pytest.mark.data
def test_mosi_as_dialogues():
    try:
        built = mg.build_graph(mg.load_dataset("mosi"))
    except DataError as error:
        pytest.skip(f"dataset mosi is not here: {error}")
    video = built.notes["utterance", "video_id"]
    order = [int(name.rsplit("_", 1)[1]) for name in built.ids]
    columns = {"sequence": one(video, "utterance"), "time_s": one(order, "utterance")}
    graph, schema = join_dialogue(
        built.graph, built.schema, speaker=one(video, "utterance"), **columns, past=1, future=1
    )
    schema.check(graph)
    assert pairs(graph, "utterance", "before_same", "utterance") == pairs(graph, "utterance", "next", "utterance")
    assert pairs(graph, "utterance", "after_same", "utterance") == pairs(graph, "utterance", "previous", "utterance")
    assert graph["utterance", "before_other", "utterance"].edge_index.shape == (2, 0)
    graph, schema = join_next(graph, schema, "text", **columns)
    assert graph["text", "next", "text"].edge_index.shape == (2, 2106)
