"""How far what is decoded lies from what is there."""

from __future__ import annotations

from torch import Tensor


def reconstruction(decoded: Tensor, payload: Tensor, index: Tensor) -> Tensor:
    r"""Mean squared error of what each anchor's code says of its nodes, over all values that are there.

    .. math:: L = \frac{1}{|V|} \sum_{(j, i, c) \in V} (\hat x_{ic} - x_{jc})^2,
        \quad V = \{(j, i, c) : j \text{ is of } i,\ x_{jc} \text{ is finite}\}

    (Vincent, Larochelle, Bengio & Manzagol 2008, Extracting and composing robust features with denoising
    autoencoders, ICML, for real values.) Of several nodes of one anchor, the code is held to their mean.

    Args:
        decoded: What the codes say, :math:`\hat x`: ``[anchors, *shape]``.
        payload: What is there, :math:`x`: ``[rows, *shape]``; a value that is not finite does not count.
        index: Which node is of which anchor: ``[2, edges]``.

    Returns:
        A scalar; without any value 0, with a gradient.

    Example:
        >>> import torch
        >>> decoded, payload = torch.zeros(2, 2), torch.tensor([[1.0, 2.0], [3.0, torch.nan]])
        >>> reconstruction(decoded, payload, torch.tensor([[0, 1], [0, 0]]))
        tensor(4.6667)
    """
    rows, anchors = index
    said, there = decoded[anchors], payload[rows]  # [edges, *shape]
    known = there.isfinite()
    gaps = said - there.where(known, said.detach())
    return gaps.square().sum() / known.sum().clamp_min(1)
