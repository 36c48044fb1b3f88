r"""Skip-gram with negative sampling: nodes that walks pass close to each other are alike, others are not.

.. math:: L = -\frac1P \sum_w \sum_{i} \sum_{j \in C(i)} \Big( \log \sigma(z_i \cdot z_j)
    + \sum_{n \in N(i, \tau(j))} \log \sigma(-z_i \cdot z_n) \Big), \qquad C(i) = \{j : 0 < |i - j| \le \text{window}\}

over the places i of all walks w, with P pairs (i, j) in all. The negatives :math:`N(i, \tau)` of a place are drawn once
for each type :math:`\tau` of its context, and serve all of it.

Sources: Mikolov et al. 2013, arXiv:1310.4546, with one vector a node as in Grover and Leskovec 2016, arXiv:1607.00653,
eq. 2; types as in Dong, Chawla and Swami 2017, doi:10.1145/3097983.3098036, eq. 5.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class SkipGramLoss(NamedTuple):
    """The two halves of the loss, each a mean over the pairs; 0 without a pair."""

    positive: Tensor
    negative: Tensor


def skip_gram(
    states: Tensor, walks: Tensor, negatives: Tensor, *, window: int, kinds: Tensor | None = None
) -> SkipGramLoss:
    """The loss of some walks.

    Args:
        states: ``[nodes, channels]``.
        walks: Nodes, ``[walks, places]``; -1 where there is none.
        negatives: Nodes, ``[walks, places, types, negatives]``, for each type of the context.
        window: How far apart two places may be.
        kinds: Number of the type at each place, ``[places]``; by default all are of type 0.

    Returns:
        Both halves, scalars.

    Raises:
        ValueError: Negatives of another shape, or a window below 1.

    Example:
        >>> states = torch.tensor([[1.0], [2.0], [0.0]])
        >>> loss = skip_gram(states, torch.tensor([[0, 1]]), torch.tensor([[[[2]], [[2]]]]), window=1)
        >>> [round(float(half), 4) for half in loss]  # log(1 + exp(-2)), log(1 + exp(0))
        [0.1269, 0.6931]
    """
    places = walks.shape[1]
    kinds = walks.new_zeros(places) if kinds is None else kinds
    if window < 1 or negatives.shape[:2] != walks.shape or negatives.dim() != 4:
        raise ValueError(
            f"window must be at least 1 and negatives [{len(walks)}, {places}, types, negatives], "
            f"got {window} and {list(negatives.shape)}"
        )
    types = negatives.shape[2]
    z = states[walks.clamp_min(0)]  # [walks, places, channels]
    place = torch.arange(places, device=walks.device)
    near = (place[:, None] - place).abs()
    there = walks >= 0
    pair = there[:, :, None] & there[:, None, :] & (near > 0) & (near <= window)  # [walks, places, places]
    pairs = pair.sum().clamp_min(1)
    scores = z @ z.transpose(1, 2)  # [walks, places, places]
    positive = -logsigmoid(scores).masked_fill(~pair, 0).sum() / pairs
    of_type = kinds[:, None] == torch.arange(types, device=walks.device)  # [places, types]
    served = pair.to(z.dtype) @ of_type.to(z.dtype)  # [walks, places, types]: contexts of each place
    against = torch.einsum("wpc,wptnc->wptn", z, states[negatives])
    negative = -(logsigmoid(-against).sum(dim=3) * served).sum() / pairs
    return SkipGramLoss(positive, negative)
