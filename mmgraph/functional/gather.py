"""From the nodes of a modality to the anchors that they are of."""

from torch import Tensor

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import aggregate


def gather(x: Tensor, edges: Adjacency) -> tuple[Tensor, Tensor]:
    """Mean of each anchor's nodes of one modality, and which anchors have any.

    Args:
        x: Node states, ``[rows, channels]``.
        edges: From nodes to anchors.

    Returns:
        The part ``[anchors, channels]`` (zeros where there is no node) and the mask ``[anchors]``.

    Example:
        >>> import torch
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 1]]), 2, 2)
        >>> part, present = gather(torch.tensor([[1.0], [3.0]]), edges)
        >>> part.flatten().tolist(), present.tolist()
        ([0.0, 2.0], [False, True])
    """
    present = edges.degree > 0
    return x if edges.is_identity else aggregate(x, edges, reduce="mean"), present
