import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import Adjacency, gather


@st.composite
def owners(draw):
    rows, anchors = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    pairs = st.tuples(st.integers(0, max(rows - 1, 0)), st.integers(0, max(anchors - 1, 0)))
    chosen = draw(st.lists(pairs, max_size=6)) if rows and anchors else []
    return rows, anchors, torch.tensor(chosen, dtype=torch.long).reshape(-1, 2).T


@settings(max_examples=200)
@given(owners())
def test_gather_equals_a_slow_loop(drawn):
    rows, anchors, index = drawn
    x = torch.randn(rows, 3, dtype=torch.float64)
    expected, expected_present = np.zeros((anchors, 3)), np.zeros(anchors, dtype=bool)
    for anchor in range(anchors):
        nodes = [x[row].numpy() for row, owner in index.T.tolist() if owner == anchor]
        if nodes:
            expected[anchor], expected_present[anchor] = np.mean(nodes, axis=0), True
    part, present = gather(x, Adjacency(index, rows, anchors))
    np.testing.assert_allclose(part, expected, rtol=1e-12)
    assert present.tolist() == expected_present.tolist()


def test_one_node_an_anchor_in_any_order():
    x = torch.randn(4, 2)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        index = torch.tensor([order, order])
        part, present = gather(x, Adjacency(index, 4, 4))
        assert torch.equal(part, x)
        assert present.all()
    swapped, _ = gather(x, Adjacency(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), 4, 4))
    assert torch.equal(swapped, x[[1, 0, 3, 2]])


def test_an_edge_given_twice_does_not_stand_for_another():
    part, present = gather(torch.tensor([[1.0], [2.0]]), Adjacency(torch.zeros(2, 2, dtype=torch.long), 2, 2))
    assert part.flatten().tolist() == [1, 0]
    assert present.tolist() == [True, False]


@settings(max_examples=200)
@given(owners(), st.integers(0, 15))
def test_nodes_that_do_not_count_are_as_if_they_were_not_there(drawn, bits):
    rows, anchors, index = drawn
    x, counts = torch.randn(rows, 3, dtype=torch.float64), torch.tensor([bits >> row & 1 for row in range(rows)]).bool()
    part, present = gather(x, Adjacency(index, rows, anchors), counts)
    left = index[:, counts[index[0]]]
    expected, expected_present = gather(x, Adjacency(left, rows, anchors))
    torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(present, expected_present)
