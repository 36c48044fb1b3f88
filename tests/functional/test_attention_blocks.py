import torch

from mmgraph.functional import Adjacency, Blocks, find_blocks

NOWHERE = Blocks((), None)


def complete(sizes):
    pairs, first = [], torch.zeros(2, 1, dtype=torch.int64)
    for s, t in sizes:
        pairs.append(torch.cartesian_prod(torch.arange(s), torch.arange(t)).T + first)
        first = first + torch.tensor([[s], [t]])
    return Adjacency(torch.cat(pairs, dim=1), int(first[0]), int(first[1]))


def test_complete_blocks_need_no_mask_and_ragged_ones_a_short_one():
    (equal,), rest = find_blocks(complete([(40, 30)] * 3))
    assert equal.shape == (3, 30, 40)
    assert equal.mask is None
    assert equal.targets.whole
    assert rest is None
    (ragged,), rest = find_blocks(complete([(40, 30), (38, 29)]))
    assert ragged.shape == (2, 30, 40)
    assert ragged.mask.shape == (2, 1, 1, 40)
    assert ragged.mask.sum() == 78


def test_a_stack_is_made_for_each_octave_where_one_would_be_mostly_padding():
    blocks, rest = find_blocks(complete([(200, 200), *[(30, 30)] * 40]))
    assert sorted(block.shape for block in blocks) == [(1, 200, 200), (40, 30, 30)]
    assert rest is None


def test_what_is_too_sparse_or_too_small_goes_edge_by_edge():
    window = torch.cartesian_prod(torch.arange(2000), torch.arange(-2, 3))
    ends = torch.stack([window.sum(1), window[:, 0]])
    chain = Adjacency(ends[:, (ends[0] >= 0) & (ends[0] < 2000)], 2000, 2000)
    assert find_blocks(chain) == NOWHERE
    assert find_blocks(complete([(3, 3)] * 1000)) == NOWHERE
    assert find_blocks(complete([(1, 1)] * 1000)) == NOWHERE
