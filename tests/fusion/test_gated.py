import torch

from mmgraph.fusion import Gated
from mmgraph.keys import weight_key


def test_equals_a_slow_loop(parts, widths):
    torch.manual_seed(0)
    fusion = Gated(widths, 5).double()
    values, present = parts
    out = fusion(values, present)
    for anchor in range(15):
        here = {name: bool(present[name][anchor]) for name in widths}
        said = torch.cat([values[name][anchor] * here[name] for name in sorted(widths)])
        row = torch.zeros(5, dtype=torch.float64)
        for name in widths:
            if here[name]:
                U, W = fusion.gate[weight_key(name)], fusion.value[weight_key(name)]
                gate = 1 / (1 + torch.exp(-(U.weight @ said + U.bias)))
                row = row + gate * torch.tanh(W.weight @ values[name][anchor] + W.bias)
        torch.testing.assert_close(out[anchor], row, rtol=1e-12, atol=1e-12)


def test_nan_in_an_absent_row_does_not_reach_the_weights(parts, widths):
    """What is masked after the projection is right forwards, and NaN backwards."""
    values, present = parts
    fusion = Gated(widths, 5).double()
    spoiled = {name: part.masked_fill(~present[name][:, None], float("nan")) for name, part in values.items()}
    fusion(spoiled, present).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in fusion.parameters())


def test_gradients(parts, widths):
    torch.manual_seed(0)
    values, present = parts
    fusion, names = Gated(widths, 3).double(), list(values)
    run = lambda *rows: fusion(dict(zip(names, rows, strict=True)), present)  # noqa: E731
    assert torch.autograd.gradcheck(run, [part.requires_grad_() for part in values.values()])
