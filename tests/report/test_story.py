"""What a story refuses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from mmgraph.errors import DataError
from mmgraph.report import Neighbourhood
from mmgraph.train.results import Results


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"points": np.ones((3, 2)), "point_ids": ["a"]}, "point_ids must be as many as the rows of points, 3, got 1"),
        (
            {"points": np.ones((3, 2)), "point_labels": ["a"] * 4},
            "point_labels must be as many as the rows of points, 3, got 4",
        ),
        ({"point_ids": ["a"]}, "point_ids must be as many as the rows of points, 0, got 1"),
        ({"points": np.ones(3)}, "points must have the shape [rows, channels], got [3]"),
        (
            {"points": np.array([[1.0], [np.nan]])},
            "points must be finite numbers, got others in 1 of 2 rows, first row 1",
        ),
        (
            {"points": np.ones((1, 1)), "point_parts": ["dev"]},
            "point_parts must be among ['train', 'val', 'test', ''], got 'dev'",
        ),
        ({"published": [{"source": "A"}]}, "got {'source': 'A'} without ['metric', 'value']"),
    ],
)
def test_story_refuses_by_value(given: dict[str, Any], message: str, make_story: Any) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        make_story(**given)


def test_story_needs_the_full_model(make_story: Any, make_results: Any) -> None:
    with pytest.raises(DataError, match="must have cells of the variant 'full', got 5 others"):
        make_story(make_results(variants={"majority": 0.6}))
    with pytest.raises(DataError, match=r"must be one of .*, got 'recall'"):
        make_story(Results(make_results().cells, "recall"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"centre": "z"}, "The centre of a neighbourhood must be one of its 2 ids, got 'z'"),
        ({"labels": ["x"]}, "labels must be as many as the ids of the neighbourhood, 2, got 1"),
        ({"edges": [(0, 2, "near")]}, "must join positions 0 to 1, got (0, 2, 'near')"),
        ({"edges": [(-1, 0, "near")]}, "must join positions 0 to 1, got (-1, 0, 'near')"),
        ({"similarity": [1.0, float("nan")]}, "similarity must be finite numbers, got [1.0, nan]"),
    ],
)
def test_neighbourhood_refuses_by_value(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Neighbourhood(**{"centre": "a", "ids": ["a", "b"], **given})


def test_similarity_of_the_centre_does_not_matter() -> None:
    around = Neighbourhood(centre="b", ids=["a", "b", "c"], similarity=[0.9, float("nan"), 0.1])
    assert around.distances.tolist() == pytest.approx([0.45, 0.0, 1.0])


def test_equal_similarities_stand_at_one_distance() -> None:
    assert Neighbourhood(centre="a", ids=["a", "b", "c"], similarity=[1.0, 0.5, 0.5]).distances.tolist() == [0, 1, 1]
    assert Neighbourhood(centre="a", ids=["a"], similarity=[1.0]).distances.tolist() == [0]
