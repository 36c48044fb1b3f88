import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmgraph.functional import Adjacency, Blocks, attention, attention_weights, find_blocks

NOWHERE = Blocks((), None)


@pytest.fixture
def every_block(monkeypatch):
    """Dense attention wherever it can be, however small the blocks."""
    monkeypatch.setattr("mmgraph.functional.attention_blocks.PAIR", 0.0)
    monkeypatch.setattr("mmgraph.functional.attention_blocks.BLOCK", 0.0)
    monkeypatch.setattr("mmgraph.functional.attention_blocks.STACK", 0.0)


def slow(query, key, value, index, heads, bias=None):
    """Target by target, head by head, edge by edge."""
    d, wide = query.shape[1] // heads, value.shape[1] // heads
    out, weights = value.new_zeros(len(query), value.shape[1]), value.new_zeros(index.shape[1], heads)
    for v in range(len(query)):
        into = (index[1] == v).nonzero().flatten().tolist()
        for h in range(heads if into else 0):
            mine, its = slice(h * d, (h + 1) * d), slice(h * wide, (h + 1) * wide)
            scores = torch.stack([query[v, mine] @ key[index[0, e], mine] / d**0.5 for e in into])
            if bias is not None:
                scores = scores + bias[into]
            alpha = scores.exp() / scores.exp().sum()
            weights[into, h] = alpha
            out[v, its] = sum(a * value[index[0, e], its] for a, e in zip(alpha, into, strict=True))
    return out + 0 * (query.sum() + key.sum() + value.sum()), weights  # so that there is a gradient, of 0


def rows(sources, targets, channels=4, wide=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(targets, channels), (sources, channels), (sources, wide)]
    return [torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


@st.composite
def edge_sets(draw):
    """Blocks of ragged sizes, some complete, some not, their nodes and edges shuffled, besides lonely nodes."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    pairs, sources, targets = [], 0, 0
    for _ in range(draw(st.integers(0, 5))):
        s, t = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        share = draw(st.sampled_from([0.5, 1.0]))
        joined = (torch.rand(s, t, generator=generator) < share).nonzero().T
        pairs.append(joined + torch.tensor([[sources], [targets]]))
        sources, targets = sources + s, targets + t
    index = torch.cat([torch.empty(2, 0, dtype=torch.int64), *pairs], dim=1)
    if index.shape[1] and draw(st.booleans()):
        index = torch.cat([index, index[:, :1]], dim=1)  # an edge that is there twice
    sources, targets = sources + draw(st.integers(0, 2)), targets + draw(st.integers(0, 2))
    index = index[:, torch.randperm(index.shape[1], generator=generator)]
    if draw(st.booleans()) and index.shape[1]:
        index = torch.stack(
            [
                torch.randperm(sources, generator=generator)[index[0]],
                torch.randperm(targets, generator=generator)[index[1]],
            ]
        )
    return index, sources, targets


@settings(max_examples=60)
@given(case=edge_sets(), heads=st.sampled_from([1, 2]), biased=st.booleans(), wide=st.sampled_from([2, 6]))
def test_sparse_equals_the_slow_loop(case, heads, biased, wide):
    index, sources, targets = case
    query, key, value = rows(sources, targets, wide=wide)
    bias = torch.linspace(-1, 1, index.shape[1], dtype=torch.float64).requires_grad_() if biased else None
    edges = Adjacency(index, sources, targets)
    out = attention(query, key, value, edges, heads=heads, bias=bias, blocks=NOWHERE)
    expected, weights = slow(query, key, value, index, heads, bias)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(attention_weights(query, key, edges, heads=heads, bias=bias), weights)
    wanted = [query, key, value, *([bias] if biased else [])]
    ours, theirs = (torch.autograd.grad(x.sin().sum(), wanted, allow_unused=True) for x in (out, expected))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other)


@pytest.mark.usefixtures("every_block")
@settings(max_examples=100)
@given(case=edge_sets(), biased=st.booleans())
def test_dense_equals_sparse_and_so_do_the_gradients(case, biased):
    index, sources, targets = case
    wanted = rows(sources, targets)
    bias = torch.linspace(-1, 1, index.shape[1], dtype=torch.float64).requires_grad_() if biased else None
    edges = Adjacency(index, sources, targets)
    blocks = find_blocks(edges)
    taken = [block.edges for block in blocks.dense] + ([blocks.rest[1]] if blocks.rest else [])
    if blocks.dense:
        assert torch.cat(taken).sort().values.tolist() == list(range(index.shape[1]))
    outs = [attention(*wanted, edges, heads=2, bias=bias, blocks=one) for one in (blocks, NOWHERE)]
    torch.testing.assert_close(*outs)
    wanted += [bias] if biased else []
    grads = [torch.autograd.grad(out.sin().sum(), wanted, allow_unused=True) for out in outs]
    for dense, sparse in zip(*grads, strict=True):
        torch.testing.assert_close(torch.zeros_like(sparse) if dense is None else dense, sparse)


@pytest.mark.parametrize("dense", [True, False])
def test_gradients_equal_finite_differences(dense, every_block):
    index = torch.cartesian_prod(torch.arange(3), torch.arange(2)).T[:, 1:]
    edges = Adjacency(index, 3, 3)
    bias = torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_()
    blocks = find_blocks(edges) if dense else NOWHERE
    assert bool(blocks.dense) is dense

    def run(query, key, value, bias):
        return attention(query, key, value, edges, heads=2, bias=bias, blocks=blocks)

    assert torch.autograd.gradcheck(run, (*rows(3, 3), bias))


def test_equals_torch_with_a_mask():
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[:, 0] = True
    query, key, value = rows(7, 5, channels=6, wide=6)
    edges = Adjacency(mask.nonzero().T.flip(0), 7, 5)
    q, k, v = (x.unflatten(1, (3, 2)).transpose(0, 1) for x in (query, key, value))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(0, 1).flatten(1)
    torch.testing.assert_close(attention(query, key, value, edges, heads=3), expected)


def test_merged_is_a_blend_of_within_and_across():
    """λ intra + (1 - λ) cross with λ = Z_intra / (Z_intra + Z_cross), for one head."""
    query, key, value = rows(6, 6)
    a = torch.arange(6) < 2
    whole = torch.cartesian_prod(torch.arange(6), torch.arange(6)).T
    within = a[whole[0]] == a[whole[1]]
    merged, intra, cross = (
        attention(query, key, value, Adjacency(index, 6, 6), heads=1)
        for index in (whole, whole[:, within], whole[:, ~within])
    )
    grown = (query @ key.T / 2).exp()
    same = a[:, None] == a
    share = (grown * same).sum(1) / grown.sum(1)
    torch.testing.assert_close(merged, share[:, None] * intra + (1 - share[:, None]) * cross)


def test_large_scores_stay_finite():
    edges = Adjacency(torch.tensor([[0, 1], [0, 0]]), 2, 1)
    key = torch.tensor([[1000.0], [999.0]], requires_grad=True)
    out = attention(torch.tensor([[100.0]]), key, torch.tensor([[1.0], [2.0]]), edges, heads=1)
    assert out.item() == 1
    out.backward()
    assert key.grad.isfinite().all()


@pytest.mark.parametrize("dense", [True, False])
def test_dropout_zeroes_weights_and_scales_the_others(dense, every_block):
    torch.manual_seed(0)
    index = torch.cartesian_prod(torch.arange(400), torch.arange(3)).T
    edges = Adjacency(index, 400, 3)
    value = torch.ones(400, 2, requires_grad=True)
    blocks = find_blocks(edges) if dense else NOWHERE
    out = attention(torch.zeros(3, 2), torch.zeros(400, 2), value, edges, heads=1, dropout=0.25, blocks=blocks)
    assert (out[:, 0] - 1).abs().max() < 0.15
    counts = out[:, 0] * 400 * 0.75  # each kept edge brings 1 / 400 / 0.75
    torch.testing.assert_close(counts, counts.round(), atol=1e-2, rtol=0)
    assert (counts < 390).all()
    out.sum().backward()
    torch.testing.assert_close(value.grad.sum(), out.sum())
    assert bool((value.grad == 0).any())


def test_dropout_and_its_gradient_agree():
    edges = Adjacency(torch.tensor([[0, 1, 2, 2], [0, 0, 0, 1]]), 3, 2)

    def run(*tensors):
        torch.manual_seed(3)
        return attention(*tensors, edges, heads=2, dropout=0.4, blocks=NOWHERE)

    assert torch.autograd.gradcheck(run, rows(3, 2))


def test_dense_and_sparse_parts_are_told_apart():
    block = torch.cartesian_prod(torch.arange(50), torch.arange(50)).T
    chain = torch.stack([torch.arange(60), torch.arange(60)]) + 50
    edges = Adjacency(torch.cat([chain, block], dim=1), 110, 110)
    (dense,), (rest, which) = find_blocks(edges)
    assert dense.shape == (1, 50, 50)
    assert which.tolist() == list(range(60))
    assert rest.num_edges == 60
    wanted = rows(110, 110)
    torch.testing.assert_close(attention(*wanted, edges, heads=2), attention(*wanted, edges, heads=2, blocks=NOWHERE))


def test_an_edge_that_is_there_twice_counts_twice():
    pairs = torch.cartesian_prod(torch.arange(40), torch.arange(40)).T
    missing = pairs[:, 1:]  # so that the number of edges tells nothing
    edges = Adjacency(torch.cat([missing, missing[:, :1]], dim=1), 40, 40)
    assert find_blocks(edges) == NOWHERE
    weights = attention_weights(torch.zeros(40, 2), torch.zeros(40, 2), edges, heads=1)
    assert weights[[0, -1]].flatten().tolist() == pytest.approx([1 / 41, 1 / 41])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(1, 4)}, r"query must have a row for each of the 2 nodes, got \[1, 4\]"),
        ({"key": torch.ones(2, 4)}, r"key must have a row for each of the 3 nodes, got \[2, 4\]"),
        ({"key": torch.ones(3, 2)}, r"got \[\[2, 4\], \[3, 2\], \[3, 4\]\]"),
        ({"value": torch.ones(2, 4)}, r"got \[\[2, 4\], \[3, 4\], \[2, 4\]\]"),
        ({"heads": 3}, "heads must divide the 4 and 4 channels, got 3"),
        ({"heads": 0}, "got 0"),
        ({"value": torch.ones(3, 3), "heads": 2}, "heads must divide the 4 and 3 channels, got 2"),
        ({"bias": torch.ones(3)}, r"one number an edge, \[2\], got \[3\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    edges = Adjacency(torch.tensor([[0, 2], [0, 1]]), 3, 2)
    given = {"query": torch.ones(2, 4), "key": torch.ones(3, 4), "value": torch.ones(3, 4), "heads": 2}
    with pytest.raises(ValueError, match=message):
        attention(**{**given, **change}, edges=edges)


def test_autocast_computes_in_its_type():
    edges = Adjacency(torch.cartesian_prod(torch.arange(40), torch.arange(40)).T, 40, 40)
    query, key, value = (x.float() for x in rows(40, 40))
    expected = attention(query, key, value, edges, heads=2)
    with torch.autocast("cpu", torch.bfloat16):
        for blocks in (None, NOWHERE):
            out = attention(query, key, value, edges, heads=2, blocks=blocks)
            assert out.dtype == torch.bfloat16
            torch.testing.assert_close(out.float(), expected, atol=0.05, rtol=0.05)
