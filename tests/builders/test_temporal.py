import numpy as np
import pytest
import torch

from mmgraph.builders import Track, aligned, unaligned
from mmgraph.errors import ConfigError, DataError, SchemaError
from mmgraph.layers import MultiViewLSTM, edge_sets

NAN = float("nan")


def pairs(graph, *edge):
    return set(zip(*graph[edge].edge_index.tolist(), strict=True))


def test_aligned_steps_keep_the_given_order():
    audio = [[1.0, 1.5], [NAN, NAN], [3.0, 3.5], [4.0, 4.5]]
    graph, schema = aligned(
        {"audio": audio, "video": torch.arange(4.0)[:, None]}, sequence=["b", "a", "b", "b"], time_s=[2, 0, 1, 3]
    )
    schema.check(graph)
    assert (schema.anchor, schema.modalities) == ("step", ("audio", "video"))
    assert graph["step"].sequence.tolist() == [1, 0, 1, 1]
    assert graph["step"].time_s.tolist() == [2, 0, 1, 3]
    assert graph["audio"].x.tolist() == [[1.0, 1.5], [3.0, 3.5], [4.0, 4.5]]
    assert pairs(graph, "audio", "of", "step") == {(0, 0), (1, 2), (2, 3)}
    assert pairs(graph, "step", "next", "step") == {(2, 0), (0, 3)}
    assert pairs(graph, "audio", "next", "audio") == {(1, 0), (0, 2)}
    assert pairs(graph, "audio", "previous", "audio") == {(0, 1), (2, 0)}
    assert ("audio", "next", "video") not in graph.edge_types


def test_aligned_without_times_is_in_order():
    graph, _ = aligned({"a": np.ones((4, 1))}, sequence=[0, 1, 0, 1])
    assert graph["step"].time_s.tolist() == [0, 0, 1, 1]
    assert pairs(graph, "step", "next", "step") == {(0, 2), (1, 3)}


def test_across_modalities_a_gap_is_passed_over():
    graph, schema = aligned({"a": [[1.0], [NAN], [3.0]], "v": [[1.0], [2.0], [3.0]]}, across=True)
    assert pairs(graph, "a", "next", "v") == {(0, 1), (0, 2)}
    assert pairs(graph, "v", "next", "a") == {(1, 1)}
    assert pairs(graph, "a", "previous", "v") == {(1, 0), (1, 1)}
    out = MultiViewLSTM({"a": 1, "v": 1}, 2)({name: graph[name].x for name in schema.modalities}, edge_sets(graph))
    assert {name: list(state.shape) for name, state in out.items()} == {"a": [2, 2], "v": [3, 2]}


def test_the_edges_between_views_are_those_that_the_steps_imply():
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(20, 2)), "v": rng.normal(size=(20, 2))}
    for values in x.values():
        values[rng.random(20) < 0.4] = NAN
    graph, schema = aligned(x, sequence=rng.integers(3, size=20), time_s=rng.permutation(20), across=True)
    features = {name: graph[name].x for name in schema.modalities}
    torch.manual_seed(0)
    typed, through = (MultiViewLSTM({"a": 2, "v": 2}, 3, steps=steps) for steps in (None, "step"))
    through.load_state_dict(typed.state_dict())
    one, other = typed(features, edge_sets(graph)), through(features, edge_sets(graph))
    for name in features:
        torch.testing.assert_close(one[name], other[name])


@pytest.mark.parametrize("steps", [0, 1])
def test_aligned_sequences_of_no_and_of_one_step(steps):
    graph, schema = aligned({"a": np.ones((steps, 2)), "v": np.full((steps, 2), NAN)}, across=True)
    schema.check(graph)
    assert (graph["step"].num_nodes, graph["a"].num_nodes, graph["v"].num_nodes) == (steps, steps, 0)
    assert all(graph[edge].edge_index.shape[1] == 0 for edge in schema.edges if edge[1] != "of")


def test_hundred_thousand_steps():
    graph, _ = aligned({"a": np.zeros((100_000, 1))}, sequence=np.arange(100_000) // 100)
    assert graph["a", "next", "a"].edge_index.shape == (2, 99_000)


def test_aligned_refuses_what_can_not_be():
    with pytest.raises(DataError, match=r"a row each step, got {'a': 2, 'v': 3}; use unaligned for other rates"):
        aligned({"a": np.ones((2, 1)), "v": np.ones((3, 1))})
    with pytest.raises(DataError, match="a row each step, got {}"):
        aligned({})
    with pytest.raises(DataError, match=r"Modality 'a' must be \[rows, channels\], got \[3\]; reshape it"):
        aligned({"a": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match=r"A row of 'a' must be numbers, .* got NaN in columns \[1\] alone in row 1"):
        aligned({"a": [[1.0, 2.0], [1.0, NAN]]})
    with pytest.raises(DataError, match="time_s of 'step' must be finite, got nan in row 1"):
        aligned({"a": np.ones((2, 1))}, time_s=[0, NAN])
    with pytest.raises(DataError, match=r"sequence of 'step' must be one a row, \[2\], got \[1\]"):
        aligned({"a": np.ones((2, 1))}, sequence=["a"])
    with pytest.raises(SchemaError, match="must have finite x, got inf"):
        aligned({"a": [[float("inf")]]})


def tracks():
    audio = Track(np.arange(5.0)[:, None], [0.5, 0.0, 1.0, 0.0, 9.0], ["x", "x", "x", "y", "z"])
    video = Track(np.ones((2, 2)), [0.6, 0.1], ["x", "y"])
    return {"audio": audio, "video": video}


def test_unaligned_modalities_are_joined_by_time():
    graph, schema = unaligned(tracks())
    schema.check(graph)
    assert graph["sequence"].num_nodes == 3
    assert pairs(graph, "audio", "of", "sequence") == {(0, 0), (1, 0), (2, 0), (3, 1), (4, 2)}
    assert pairs(graph, "audio", "next", "audio") == {(1, 0), (0, 2)}
    assert pairs(graph, "audio", "same_time", "video") == {(0, 0), (3, 1)}
    assert pairs(graph, "video", "same_time", "audio") == {(0, 0), (0, 1), (0, 2), (1, 3)}
    assert graph["audio"].time_s.tolist() == [0.5, 0.0, 1.0, 0.0, 9.0]


def test_unaligned_modalities_within_a_window():
    graph, _ = unaligned(tracks(), window_s=0.4)
    assert pairs(graph, "audio", "same_time", "video") == {(0, 0), (2, 0), (3, 1)}
    assert pairs(graph, "video", "same_time", "audio") == {(0, 0), (0, 2), (1, 3)}


def test_a_sequence_without_rows_is_an_anchor_without_nodes():
    graph, schema = unaligned(tracks(), sequences=["z", "nothing", "y", "x"])
    schema.check(graph)
    assert graph["sequence"].num_nodes == 4
    assert pairs(graph, "audio", "of", "sequence") == {(0, 3), (1, 3), (2, 3), (3, 2), (4, 0)}
    nobody, _ = unaligned({"audio": Track(np.empty((0, 3)), [], [])}, sequences=["a", "b"])
    assert (nobody["sequence"].num_nodes, nobody["audio"].num_nodes) == (2, 0)
    nothing, _ = unaligned({"audio": Track(np.empty((0, 3)), [])})
    assert nothing["sequence"].num_nodes == 0


def test_unaligned_refuses_what_can_not_be():
    with pytest.raises(ConfigError, match="unaligned needs at least 1 modality, got none"):
        unaligned({})
    with pytest.raises(DataError, match="Sequences must be named once each, and all of them, got 'z' 0 times"):
        unaligned(tracks(), sequences=["x", "y"])
    with pytest.raises(DataError, match="Sequences must be named once each, and all of them, got 'y' 2 times"):
        unaligned(tracks(), sequences=["x", "y", "z", "y"])
    with pytest.raises(DataError, match=r"time_s of 'a' must be one a row, \[2\], got \[1\]"):
        unaligned({"a": Track(np.ones((2, 1)), [0])})
    with pytest.raises(DataError, match="time_s of 'a' must be finite, got nan in row 0"):
        unaligned({"a": Track(np.ones((1, 1)), [NAN])})
    with pytest.raises(ConfigError, match="window_s must be at least 0 and finite, or None for the nearest, got -1"):
        unaligned(tracks(), window_s=-1)
    with pytest.raises(SchemaError, match="must have finite x, got nan"):
        unaligned({"a": Track([[NAN]], [0])})
