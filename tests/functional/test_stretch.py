import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional import stretch


def slow(values, steps):
    length = len(values)
    found = []
    for step in range(steps):
        start, end = step * length / steps, (step + 1) * length / steps
        total = sum(value * max(0.0, min(end, at + 1) - max(start, at)) for at, value in enumerate(values))
        found.append(total * steps / length)
    return found


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.integers(1, 30))
def test_it_is_the_mean_over_equal_parts(values, steps):
    found = stretch(torch.tensor(values, dtype=torch.float64), steps)
    torch.testing.assert_close(found, torch.tensor(slow(values, steps), dtype=torch.float64), atol=1e-9, rtol=0)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=9), st.integers(1, 7), st.integers(1, 20))
def test_what_is_slower_comes_out_alike(values, slower, steps):
    fast = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(stretch(fast, steps), stretch(fast.repeat_interleave(slower), steps))


def test_as_many_steps_are_left_as_they_are_and_the_rest_of_the_shape_too():
    states = torch.randn(2, 3, 5)
    torch.testing.assert_close(stretch(states, 5), states)
    assert stretch(states, 8).shape == (2, 3, 8)


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="got 0 of 3"):
        stretch(torch.ones(3), 0)
    with pytest.raises(ValueError, match="got 2 of 0"):
        stretch(torch.ones(0), 2)
