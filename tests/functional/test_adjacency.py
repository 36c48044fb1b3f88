import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import Adjacency, aggregate


@st.composite
def edge_sets(draw):
    """Sources, targets and any edges between them, the same one twice included."""
    sources, targets = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    pairs = st.tuples(st.integers(0, max(sources - 1, 0)), st.integers(0, max(targets - 1, 0)))
    chosen = draw(st.lists(pairs, max_size=12)) if sources and targets else []
    return sources, targets, torch.tensor(chosen, dtype=torch.long).reshape(-1, 2).T


@settings(max_examples=150)
@given(edges=edge_sets())
def test_an_adjacency_is_its_edges_in_order(edges):
    sources, targets, index = edges
    found = Adjacency(index, sources, targets)
    assert found.num_edges == index.shape[1]
    assert torch.equal(found.sources.long(), index[0][found.order])
    assert torch.equal(found.targets.long(), index[1][found.order])
    assert found.targets.tolist() == sorted(index[1].tolist())
    assert found.degree.tolist() == np.bincount(index[1], minlength=targets).tolist()
    assert found.offsets.tolist() == [0, *np.cumsum(found.degree.numpy()).tolist()]
    back = found.transposed
    assert (back.num_sources, back.num_targets) == (targets, sources)
    assert torch.equal(back.sources, found.targets[back.order])
    assert torch.equal(back.targets, found.sources[back.order])
    assert back.targets.tolist() == sorted(index[0].tolist())
    assert back.degree.tolist() == np.bincount(index[0], minlength=sources).tolist()
    same = sources == targets == index.shape[1] and sorted(index.T.tolist()) == [[row, row] for row in range(sources)]
    assert found.is_identity == same


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_edges_from_each_row_to_itself_need_no_sort_and_give_what_it_gives(dtype):
    index = torch.arange(6, dtype=dtype).repeat(2, 1)
    found, sorted_ = Adjacency(index, 6, 6), Adjacency(index.flip(1), 6, 6)
    assert found.is_identity
    assert sorted_.is_identity
    assert torch.equal(found.order, torch.arange(6))
    for name in ("sources", "targets", "offsets", "degree"):
        one, other = getattr(found, name), getattr(sorted_, name)
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    x, back = torch.randn(6, 2), found.transposed
    assert torch.equal(aggregate(x, found), x)
    assert back.is_identity
    index.zero_()  # nothing is kept of what was given
    assert found.order.tolist() == found.sources.tolist() == list(range(6))


def test_a_shift_and_too_many_rows_are_no_identity():
    index = torch.arange(3).repeat(2, 1)
    assert not Adjacency(torch.stack([index[0], index[0].roll(1)]), 3, 3).is_identity
    assert not Adjacency(index, 4, 3).is_identity
    assert not Adjacency(index, 3, 4).is_identity


@settings(max_examples=100)
@given(several=st.lists(edge_sets(), min_size=1, max_size=4))
def test_many_are_sorted_at_once_as_one_by_one(several):
    specs = [(index, sources, targets) for sources, targets, index in several]
    for one, spec in zip(Adjacency.several(specs), specs, strict=True):
        alone = Adjacency(*spec)
        for mine, theirs in ((one, alone), (one.transposed, alone.transposed)):
            assert (mine.num_sources, mine.num_targets) == (theirs.num_sources, theirs.num_targets)
            for name in ("sources", "targets", "order", "offsets"):
                assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
        again = one.transposed.transposed
        assert again.targets.tolist() == one.targets.tolist()


@settings(max_examples=100)
@given(edges=edge_sets())
def test_those_that_are_reached_are_named(edges):
    sources, targets, index = edges
    found = Adjacency(index, sources, targets)
    rows = sorted(set(index[1].tolist()))
    if len(rows) > 0.75 * targets or targets == 0:
        assert found.reached is None
        return
    assert found.reached.rows.tolist() == rows
    assert found.reached.before.tolist() == [sum(row < target for row in rows) for target in range(targets + 1)]
    starts = found.reached.offsets.tolist()
    for row, first, last in zip(rows, starts[:-1], starts[1:], strict=True):
        assert found.targets[first:last].tolist() == [row] * int((index[1] == row).sum())


def test_edges_of_any_integer_type():
    index = torch.tensor([[0, 2, 1], [1, 0, 1]])
    expected = Adjacency(index, 3, 2)
    for dtype in (torch.int16, torch.int32, torch.uint8):
        found = Adjacency(index.to(dtype), 3, 2)
        assert torch.equal(found.sources, expected.sources)
        assert torch.equal(aggregate(torch.eye(3), found), aggregate(torch.eye(3), expected))


@pytest.mark.parametrize("wrong", [2, 7])
def test_a_row_that_is_not_there_is_named(wrong):
    fine, index = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, 1], [1, wrong]])
    with pytest.raises(ValueError, match=f"rows below 2, got {wrong}"):
        Adjacency(index, 2, 2)
    with pytest.raises(ValueError, match=f"rows below 2, got {wrong}"):
        Adjacency.several([(index, 2, 2), (fine, 2, 2)])
    with pytest.raises(ValueError, match=f"rows below 2, got {wrong}"):
        Adjacency(index.flip(0), 2, 2).transposed  # noqa: B018
    negative = torch.tensor([[0], [-1]])
    for edges, got in ([(negative, 2, 2)], -1), ([(index, 2, 2), (negative, 2, 2)], wrong):
        with pytest.raises(ValueError, match=f"rows below 2, got {got}"):
            Adjacency.several(edges)
