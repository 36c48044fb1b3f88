"""Which relations are written, and what follows from their facts."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.builders.knowledge_marks import Mark, follow, read_marks
from mmgraph.errors import ConfigError

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12, unique=True)


def test_an_inverse_has_no_other_mark():
    with pytest.raises(ConfigError, match="inverse_of 'r' must have no other mark"):
        Mark(inverse_of="r", functional=True)
    with pytest.raises(ConfigError, match="inverse_of 'r'"):
        Mark(inverse_of="r", opposite_of="q")
    with pytest.raises(ConfigError, match="inverse_of 'r'"):
        Mark(inverse_of="r", asymmetric=True)


def test_a_relation_is_not_symmetric_and_asymmetric():
    with pytest.raises(
        ConfigError, match="must not be marked symmetric=True and asymmetric=True; take one of them out"
    ):
        Mark(symmetric=True, asymmetric=True)


def test_inverses_are_written_once():
    relations = read_marks({"b": Mark(inverse_of="a"), "d": Mark(inverse_of="c")}, ["c"], ["a", "b", "c", "d", "e"])
    assert relations.names == ("c", "a", "e")
    assert relations.inverses == {"b": "a", "d": "c"}
    facts = np.array([[0, 1, 5], [0, 0, 5], [0, 2, 5]])
    assert relations.written(facts, ["a", "b", "x"]).tolist() == [[5, 1, 0], [0, 1, 5], [0, -1, 5]]
    assert relations.facts_of("b", np.array([[0, 1, 5], [1, 0, 2]])).tolist() == [[5, 1, 0]]


def test_inverses_may_be_said_of_both():
    marks = {"b": Mark(inverse_of="a"), "a": Mark(inverse_of="b")}
    assert read_marks(marks, (), ["a", "b"]).inverses == {"b": "a"}


@pytest.mark.parametrize(
    "marks",
    [
        {"b": Mark(inverse_of="a"), "c": Mark(inverse_of="a")},
        {"b": Mark(inverse_of="a"), "c": Mark(inverse_of="b")},
        {"b": Mark(inverse_of="a"), "a": Mark(inverse_of="c")},
    ],
)
def test_a_relation_has_one_inverse(marks):
    with pytest.raises(ConfigError, match="one inverse at most, got 'b' of 'a', "):
        read_marks(marks, (), ["a", "b", "c"])


@given(PAIRS, st.booleans(), st.booleans())
def test_what_follows_is_what_networkx_says(pairs, symmetric, transitive):
    marks = {"r": Mark(symmetric=symmetric, transitive=transitive)}
    facts = np.array([[h, 1, t] for h, t in pairs] + [[0, 0, 1], [1, 0, 2]], np.int64)  # s, which is not marked
    graph = nx.DiGraph(pairs)
    if symmetric:
        graph.add_edges_from([(t, h) for h, t in pairs])
    turned = graph.number_of_edges() - len(pairs)
    if transitive:
        graph = nx.transitive_closure(graph, reflexive=None)
    derived, counts = follow(facts, ("s", "r"), marks, 6)
    assert set(map(tuple, derived.tolist())) == {(h, 1, t) for h, t in set(graph.edges) - set(pairs)}
    assert len(derived) == graph.number_of_edges() - len(pairs)
    assert counts == {"symmetric": turned, "transitive": len(derived) - turned}
