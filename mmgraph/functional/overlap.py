r"""How much the neighbourhoods of two nodes overlap: what joins nodes without any learning.

| weights | :math:`s(u, v) = \sum_{w \in N(u) \cap N(v)}` | source |
|---|---|---|
| ``count`` | 1 | common neighbours (Newman 2001) |
| ``adamic_adar`` | :math:`1 / \log \lvert N(w) \rvert` | Adamic and Adar 2003, doi:10.1016/S0378-8733(03)00009-1 |

See Liben-Nowell and Kleinberg 2007, The link-prediction problem for social networks, doi:10.1002/asi.20591.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

Overlap: TypeAlias = Literal["count", "adamic_adar"]
BLOCK = 1 << 22  # neighbours looked up at a time


def overlap(index: Tensor, pairs: Tensor, *, num_nodes: int, weights: Overlap = "count") -> Tensor:
    """Weighs the neighbours that two nodes share; edges count once and in both directions, loops not at all.

    Args:
        index: Edges ``[2, edges]``.
        pairs: ``[2, pairs]``.
        num_nodes: Number of nodes.
        weights: ``count`` or ``adamic_adar``.

    Returns:
        ``[pairs]``.

    Raises:
        ValueError: Unknown weights.

    Example:
        >>> square = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
        >>> overlap(square, torch.tensor([[0, 0], [2, 1]]), num_nodes=4)
        tensor([2., 0.])
    """
    if weights not in get_args(Overlap):
        raise ValueError(f"weights must be one of {list(get_args(Overlap))}, got {weights!r}")
    both = torch.cat([index, index.flip(0)], dim=1).long()
    both = both[:, both[0] != both[1]]
    keys = (both[0] * num_nodes + both[1]).unique()  # sorted: the neighbours of a node are together
    degree = torch.bincount(keys // max(num_nodes, 1), minlength=num_nodes)
    first = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    worth = torch.ones(num_nodes, device=index.device)
    if weights == "adamic_adar":
        worth = 1 / degree.clamp_min(2).log()
    found = torch.zeros(pairs.shape[1], device=index.device)
    ends = degree[pairs[0]].cumsum(0)
    start = 0
    while start < pairs.shape[1]:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(ends, before + BLOCK, right=True)))
        source, target = pairs[:, start:stop].long()
        size = degree[source]
        number = torch.arange(stop - start, device=index.device).repeat_interleave(size)
        place = torch.arange(len(number), device=index.device) - (size.cumsum(0) - size)[number]
        shared = keys[first[source][number] + place] % num_nodes
        wanted = shared * num_nodes + target[number]
        at = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        hit = keys[at] == wanted
        found[start:stop].index_add_(0, number[hit], worth[shared[hit]])
        start = stop
    return found
