import pytest
import torch
from torch.autograd import gradcheck

from mmgraph.functional import gru, message


def cell(in_channels, channels, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.nn.GRUCell(in_channels, channels, dtype=dtype)


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_equals_torchs_cell(rows, monkeypatch):
    monkeypatch.setattr("mmgraph.functional.dense.BLOCK_BYTES", 4096)  # several blocks
    theirs = cell(5, 3)
    x, h = torch.randn(rows, 5, dtype=torch.float64), torch.randn(rows, 3, dtype=torch.float64)
    torch.testing.assert_close(gru(x, h, *theirs.parameters()), theirs(x, h), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_equal_torchs(monkeypatch, dtype):
    monkeypatch.setattr("mmgraph.functional.dense.BLOCK_BYTES", 4096)
    theirs = cell(5, 3, dtype)
    x, h = (torch.randn(200, n, dtype=dtype, requires_grad=True) for n in (5, 3))
    leaves = [x, h, *theirs.parameters()]
    sent = torch.randn(200, 3, dtype=dtype)
    ours = torch.autograd.grad(gru(x, h, *theirs.parameters()), leaves, sent)
    expected = torch.autograd.grad(theirs(x, h), leaves, sent)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for mine, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


def test_gradients_are_right():
    theirs = cell(2, 3)
    inputs = [torch.randn(4, n, dtype=torch.float64, requires_grad=True) for n in (2, 3)]
    assert gradcheck(gru, [*inputs, *(p.detach().requires_grad_() for p in theirs.parameters())])


@pytest.mark.parametrize("which", range(6))
def test_each_gradient_alone(which):
    theirs = cell(2, 3)
    inputs = [torch.randn(4, n, dtype=torch.float64) for n in (2, 3)]
    inputs += [p.detach().clone() for p in theirs.parameters()]
    inputs[which].requires_grad_()
    assert gradcheck(gru, inputs)


def test_autocast_computes_in_its_type():
    theirs = cell(4, 4, torch.float32)
    x, h = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = gru(x, h, *theirs.parameters())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), theirs(x, h), rtol=0.05, atol=0.05)
    out.sum().backward()
    assert x.grad.dtype == torch.float32
    assert theirs.weight_hh.grad.isfinite().all()


def test_blocks_are_those_of_the_house():
    assert message.BLOCK_BYTES == 1 << 20
