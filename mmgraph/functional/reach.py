"""Which nodes are within ``hops`` of a node: neighbourhoods, and what they hold on average."""

import torch
from torch import Tensor


def reach(index: Tensor, num_nodes: int, *, hops: int) -> Tensor:
    """For every node the nodes from which it is reached in at most ``hops`` edges, itself included.

    Args:
        index: ``[2, edges]``.
        num_nodes: Number of nodes.
        hops: How many edges a path may have.

    Returns:
        Pairs ``[2, pairs]``: member, centre; sorted by centre, then member.

    Example:
        >>> reach(torch.tensor([[0, 1], [1, 2]]), 3, hops=1).tolist()
        [[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]]
    """
    order = index[1].argsort(stable=True)
    sources = index[0][order]
    counts = torch.bincount(index[1], minlength=num_nodes)  # in-degree of each node
    starts = counts.cumsum(0) - counts
    nodes = torch.arange(num_nodes, device=index.device)
    pairs = nodes * num_nodes + nodes  # centre × nodes + member
    for _ in range(hops):
        centres, members = pairs // num_nodes, pairs % num_nodes
        fan = counts[members]
        offset = torch.arange(int(fan.sum()), device=index.device) - (fan.cumsum(0) - fan).repeat_interleave(fan)
        reached = sources[starts[members].repeat_interleave(fan) + offset]
        pairs = torch.cat([pairs, centres.repeat_interleave(fan) * num_nodes + reached]).unique()
    return torch.stack([pairs % num_nodes, pairs // num_nodes])


def pool_reached(x: Tensor, index: Tensor, *, hops: int) -> Tensor:
    r"""Mean state of each node's ``hops``-hop neighbourhood: :math:`z_S = \frac{1}{|S|}\sum_{v \in S} h_v`.

    Args:
        x: Node states, ``[nodes, channels]``.
        index: ``[2, edges]``.
        hops: Radius of the neighbourhood.

    Returns:
        ``[nodes, channels]``.

    Example:
        >>> pool_reached(torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[0, 1], [1, 2]]), hops=1).flatten()
        tensor([0., 1., 3.])
    """
    members, centres = reach(index, x.shape[0], hops=hops)
    sums = x.new_zeros(x.shape).index_add(0, centres, x[members])
    return sums / torch.bincount(centres, minlength=x.shape[0])[:, None]
