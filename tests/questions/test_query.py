import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import DataError
from mmgraph.questions import Path, Query, path

RELATIONS = st.sampled_from(["parents", "^parents", "spouse"])
PATHS = st.builds(Path, st.integers(0, 9), st.lists(RELATIONS, min_size=1, max_size=3).map(tuple))


@given(
    query=st.builds(
        Query, st.lists(PATHS, min_size=1, max_size=3).map(tuple), st.lists(RELATIONS, max_size=3).map(tuple)
    )
)
def test_a_query_is_its_json(query):
    assert Query.from_json(json.loads(json.dumps(query.to_json()))) == query


@pytest.mark.parametrize(
    ("branches", "then", "shape"),
    [
        ([1], 0, "1p"),
        ([2], 0, "2p"),
        ([3], 0, "3p"),
        ([1, 1], 0, "2i"),
        ([1, 1, 1], 0, "3i"),
        ([1, 1], 1, "ip"),
        ([2, 1], 0, "pi"),
        ([2, 2], 0, "2+2"),
        ([1, 1], 2, "1+1>2"),
    ],
)
def test_shapes_have_names(branches, then, shape):
    query = Query(tuple(Path(number, ("r",) * hops) for number, hops in enumerate(branches)), ("r",) * then)
    assert query.shape == shape


def test_a_path_is_a_query():
    assert path(3, "a", "^b") == Query((Path(3, ("a", "^b")),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Query(()), r"at least 1 branch, each a Path, got \(\)"),
        (lambda: path(0), "1 to 3 relations, got 0"),
        (lambda: path(0, *"abcd"), "1 to 3 relations, got 4"),
        (lambda: path(-1, "a"), "at least 0, got -1"),
        (lambda: path(True, "a"), "at least 0, got True"),
        (lambda: path(0, ""), r"tuple of names, got \(''"),
        (lambda: Query((Path(0, ("a",)),), ["b"]), r"tuple of names, got \['b'\]"),
        (lambda: Query.from_json({"branch": []}), "got {'branch': .."),
        (lambda: Query.from_json({"branches": [3]}), "A branch must be .* got 3"),
        (lambda: Query.from_json({"branches": [{"entity": 1, "relations": ["a"], "x": 0}]}), "got .*'x': 0"),
    ],
)
def test_what_is_no_query_is_named(make, message):
    with pytest.raises(DataError, match=message):
        make()
