"""Nodes side by side: equal to loops over rows and ways."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional.packing import follow, pack, places

edges = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8)


@given(st.lists(edges, min_size=1, max_size=3))
def test_follow_is_a_loop_over_all_ways(path):
    ways = [(a, b) for a, b in path[0]]
    for step in path[1:]:
        ways = [(first, b) for first, last in ways for a, b in step if a == last]
    found = follow([torch.tensor(step, dtype=torch.long).view(-1, 2).T for step in path])
    assert sorted(map(tuple, found.T.tolist())) == sorted(ways)
    assert found.T.tolist() == sorted(found.T.tolist(), key=lambda way: (way[1], way[0]))


@given(st.lists(st.integers(0, 4), max_size=9), st.integers(5, 6))
def test_pack_puts_each_node_at_its_row(rows, count):
    states = torch.arange(len(rows), dtype=torch.float32)[:, None] + 1
    packed, present = pack(states, places(torch.tensor(rows, dtype=torch.long), count))
    assert packed.shape[:2] == present.shape == (count, max((rows.count(row) for row in rows), default=0))
    for row in range(count):
        mine = [number + 1.0 for number, one in enumerate(rows) if one == row]
        assert packed[row, : len(mine), 0].tolist() == mine
        assert present[row].tolist() == [place < len(mine) for place in range(present.shape[1])]
        assert not bool(packed[row, len(mine) :].any())


def test_gradients_pass():
    states = torch.randn(3, 2, requires_grad=True)
    packed, _ = pack(states, places(torch.tensor([1, 0, 1]), 2))
    packed.sum().backward()
    assert states.grad.tolist() == [[1, 1]] * 3
