"""Sequences of any length to a fixed number of steps."""

import torch
from torch import Tensor


def stretch(states: Tensor, steps: int) -> Tensor:
    r"""Means over equal parts of the time axis, each step being constant for one unit of time.

    :math:`y_j = \frac{K}{T} \int_{jT/K}^{(j+1)T/K} x(t)\,dt`. A sequence in which each step is repeated the same number
    of times gives the same: what was played slower comes out alike.

    Args:
        states: ``[..., T]``, at least 1 step.
        steps: ``K``, how many there are to be.

    Returns:
        ``[..., K]``.

    Raises:
        ValueError: No step is given or asked for.

    Example:
        >>> stretch(torch.tensor([1.0, 1.0, 3.0, 3.0]), 2), stretch(torch.tensor([1.0, 3.0]), 3)
        (tensor([1., 3.]), tensor([1., 2., 3.]))
    """
    length = states.shape[-1]
    if steps < 1 or length < 1:
        raise ValueError(f"stretch must give at least 1 step of at least 1, got {steps} of {length}")
    edges = torch.arange(steps + 1, device=states.device, dtype=torch.float64) * (length / steps)  # [K + 1]
    whole = edges.long().clamp_max(length - 1)
    exact = states.double()
    until = exact.cumsum(dim=-1) - exact  # the integral up to the start of each step, [..., T]
    integral = until[..., whole] + exact[..., whole] * (edges - whole)  # [..., K + 1]
    return (integral.diff(dim=-1) * (steps / length)).to(states.dtype)
