import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional import levels
from mmgraph.functional.levels import chains, cycle

EDGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def index(pairs):
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T


def slow_level(node, pairs, path=()):
    """Length of the longest path into a node; None if one of them goes in a ring."""
    if node in path:
        return None
    above = [slow_level(u, pairs, (*path, node)) for u, v in pairs if v == node]
    return None if None in above else max([level + 1 for level in above], default=0)


@given(pairs=EDGES)
def test_levels_equal_a_slow_recursion(pairs):
    slow = [slow_level(node, pairs) for node in range(7)]
    assert levels(index(pairs), 7).tolist() == [-1 if level is None else level for level in slow]


@given(pairs=EDGES)
def test_a_cycle_is_one(pairs):
    found = cycle(index(pairs), 7)
    assert bool(found) == any(slow_level(node, pairs) is None for node in range(7))
    for u, v in zip(found, [*found[1:], *found[:1]], strict=True):
        assert (u, v) in pairs
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 1000, 1025])
def test_chains_of_any_length(rows):
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
    found = chains(torch.stack([order[:-1], order[1:]]), rows)
    assert found.place[order].tolist() == list(range(rows))
    assert rows == 0 or found.first.unique().tolist() == [int(order[0])]


@given(length=st.integers(1, 9))
def test_a_ring_is_no_chain(length):
    ring = torch.arange(length)
    assert chains(torch.stack([ring, ring.roll(1)]), length + 2) is None
    assert levels(torch.stack([ring, ring.roll(1)]), length + 2).tolist() == [-1] * length + [0, 0]


def test_forks_and_joins_are_no_chains():
    assert chains(index([(0, 1), (0, 2)]), 3) is None
    assert chains(index([(0, 2), (1, 2)]), 3) is None
