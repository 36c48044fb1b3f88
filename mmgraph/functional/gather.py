"""From the nodes of a modality to the anchors that they are of."""

import torch
from torch import Tensor

from mmgraph.functional.message import aggregate, degree


def gather(x: Tensor, index: Tensor, num_anchors: int) -> tuple[Tensor, Tensor]:
    """Mean of each anchor's nodes of one modality, and which anchors have any.

    Args:
        x: Node states, ``[rows, channels]``.
        index: ``[2, edges]``: node row, anchor row.
        num_anchors: Number of anchors.

    Returns:
        The part ``[anchors, channels]`` (zeros where there is no node) and the mask ``[anchors]``.

    Example:
        >>> part, present = gather(torch.tensor([[1.0], [3.0]]), torch.tensor([[0, 1], [1, 1]]), 2)
        >>> part.flatten().tolist(), present.tolist()
        ([0.0, 2.0], [False, True])
    """
    present = degree(index, num_anchors) > 0
    if index.shape[1] == x.shape[0] == num_anchors and torch.equal(index[0], index[1]) and present.all():
        return x, present  # one node an anchor, in order: nothing to move
    return aggregate(x, index, num_anchors, reduce="mean"), present
