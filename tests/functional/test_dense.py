import pytest
import torch

from mmgraph.functional import message, product
from mmgraph.functional.dense import STEP, blocks, dot_products, onednn, outer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("rows", "wide", "narrow"), [(7, 5, 3), (300, 128, 64), (512, 64, 32), (1, 1, 1), (0, 4, 3), (4, 0, 3)]
)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("added", [False, True])
def test_equals_the_product_in_double_precision(dtype, rows, wide, narrow, biased, added):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(rows, wide, generator=generator), torch.randn(narrow, wide, generator=generator)
    bias = torch.randn(narrow, generator=generator) if biased else None
    add = torch.randn(rows, narrow, generator=generator) if added else None
    x, weight, bias, add = (None if one is None else one.to(dtype) for one in (x, weight, bias, add))
    expected = x.double() @ weight.double().T
    for term in (bias, add):
        expected = expected if term is None else expected + term.double()
    before = None if add is None else add.clone()
    got = product(x, weight, bias, add=add)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance * max(wide, 1) ** 0.5)
    assert got.dtype == dtype
    assert add is None or torch.equal(add, before)  # a new tensor: what was given stays


@pytest.mark.parametrize("fast", [True, False])
def test_both_ways_give_the_same(monkeypatch, fast):
    there = onednn()
    monkeypatch.setattr("mmgraph.functional.dense.onednn", lambda: fast and there)
    torch.manual_seed(0)
    x, weight = torch.randn(STEP, 128), torch.randn(32, 128)
    y = torch.randn(STEP, 16)
    torch.testing.assert_close(product(x, weight), (x.double() @ weight.double().T).float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outer(x.T, y), (x.double().T @ y.double()).float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1, 7, STEP])
def test_dot_products_and_their_gradients_equal_the_matrix_product(rows):
    torch.manual_seed(0)
    x, y, pull = torch.randn(rows, 12), torch.randn(5, 12), torch.randn(rows, 5)
    found = []
    for multiply in (dot_products, lambda x, y: x @ y.T):
        ends = [one.clone().requires_grad_() for one in (x, y)]
        scores = multiply(*ends)
        found.append([scores, *torch.autograd.grad((scores * pull).sum(), ends)])
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_dot_products_differentiate_twice_and_to_one_side_alone():
    torch.manual_seed(0)
    x, y = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(dot_products, (x.requires_grad_(), y.clone().requires_grad_()))
    (grad,) = torch.autograd.grad(dot_products(x, y).sum(), [x])
    torch.testing.assert_close(grad, y.sum(dim=0).expand(3, -1))


def test_dot_products_are_of_the_dtype_that_is_asked_for():
    x, y = torch.ones(2, 3), torch.ones(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert dot_products(x, y).dtype == torch.bfloat16
    assert dot_products(x, y).dtype == torch.float32


def test_transposed_and_sliced_matrices():
    torch.manual_seed(0)
    x, weight = torch.randn(40, 12), torch.randn(6, 10)
    torch.testing.assert_close(product(x[3:20, 2:], weight), x[3:20, 2:] @ weight.T, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(product(x[:, :6], weight.T), x[:, :6] @ weight, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outer(x.T, x[:, :5]), x.T @ x[:, :5], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lacks", ["the library", "the operator", "the sense of it"])
def test_a_build_that_lacks_it_does_without(monkeypatch, lacks):
    operator = torch.ops.mkldnn._linear_pointwise

    class Other:
        default = staticmethod(lambda *arguments: operator.default(*arguments) + (lacks == "the sense of it"))
        if lacks == "the operator":
            default = property()
        binary = operator.binary

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: lacks != "the library")
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", Other())
    onednn.cache_clear()
    try:
        assert not onednn()
        assert product(torch.ones(1, 2), torch.ones(1, 2)).item() == 2
    finally:
        onednn.cache_clear()


@pytest.mark.parametrize(
    ("rows", "row_bytes"), [(0, 4), (1, 4), (100, 4), (1000, 3 * 2**19), (5, 0), (256, 4), (700, 4), (9000, 512)]
)
@pytest.mark.parametrize("whole", [False, True])
def test_blocks_cover_all_rows_once(rows, row_bytes, whole):
    found = list(blocks(rows, row_bytes, whole=whole))
    assert [row for block in found for row in range(block.rows.start, block.rows.stop)] == list(range(rows))
    assert not whole or len(found) <= 1
    x = torch.randn(rows, 3)
    for number, block in enumerate(found):
        size = block.rows.stop - block.rows.start
        assert whole or size <= STEP or size * row_bytes <= message.BLOCK_BYTES
        assert size % STEP == 0 or number == len(found) - 1
        assert block.padded - size < STEP
        assert block.padded % STEP == 0 or size == block.padded < STEP
        assert torch.equal(block.of(x)[:size], x[block.rows])
        assert not block.of(x)[size:].any()
        assert torch.equal(block.turned(x), block.of(x).T)
