"""From the nodes of a modality to the anchors that they are of."""

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import aggregate, mass, mean_weight, spread


def gather(x: Tensor, edges: Adjacency, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean of each anchor's nodes of one modality, and which anchors have any.

    Args:
        x: Node states, ``[rows, channels]``.
        edges: From nodes to anchors.
        present: Which nodes count, ``[rows]``; by default all.

    Returns:
        The part ``[anchors, channels]`` (zeros where there is no node) and the mask ``[anchors]``.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 1]]), 2, 2)
        >>> part, present = gather(torch.tensor([[1.0], [3.0]]), edges)
        >>> part.flatten().tolist(), present.tolist()
        ([0.0, 2.0], [False, True])
    """
    exporting = torch.compiler.is_exporting()
    if present is not None and (exporting or not bool(present.all())):
        counts = present.index_select(0, edges.sources).to(x.dtype)  # [edges], by target
        return spread(x, edges, mean_weight(edges, counts)), mass(edges, counts, like=x) > 0
    if edges.is_identity:
        return x, x.new_ones(x.shape[0], dtype=torch.bool)
    return aggregate(x, edges, reduce="mean"), edges.degree > 0
