r"""The cheapest tree that joins what is worth joining: the prize-collecting Steiner tree.

Among all trees :math:`T` of a graph, find one that makes small

.. math:: \sum_{e \in T} c_e + \sum_{v \notin T} p_v

that is, what its edges cost and the prizes of the nodes that it leaves out. It is the smallest subgraph that joins what
a question is about: prizes where the question points, a cost an edge. Finding the best tree is NP-hard; growing moats
around prizes (Goemans and Williamson) and then cutting the branches that don't pay (Johnson, Minkoff and Phillips)
finds one whose objective is at most twice the best.

Source: Goemans and Williamson 1995, A general approximation technique for constrained forest problems,
doi:10.1137/S0097539793242618; Johnson, Minkoff and Phillips 2000, The prize collecting Steiner tree problem: theory and
practice, SODA (the growth without a root, and the pruning); Feofiloff, Fernandes, Ferreira and de Pina 2010, A note on
Johnson, Minkoff and Phillips' algorithm for the prize-collecting Steiner tree problem, arXiv:1004.1437 (the factor 2).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tree(NamedTuple):
    """A tree within a graph."""

    nodes: Tensor  # [nodes of the tree], ascending
    edges: Tensor  # [nodes of the tree - 1], positions among the graph's edges, ascending


def steiner_tree(index: Tensor, costs: Tensor, prizes: Tensor, *, root: int | None = None) -> Tree:
    """A tree that joins nodes with prizes by edges that cost, at most twice as bad as the best; see the module.

    Directions of edges don't matter. Of a forest the tree is the best there is. Time grows with nodes times edges.

    Args:
        index: Edges ``[2, edges]``; loops and parallel edges may be there.
        costs: ``[edges]``, at least 0.
        prizes: ``[nodes]``, at least 0.
        root: A node that the tree must hold; ``None`` leaves it free.

    Returns:
        Its nodes, at least 1, and edges.

    Raises:
        ValueError: No nodes, a number below 0 or not finite, a root that is no node, or shapes that don't fit.

    Example:
        >>> chain = torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> steiner_tree(chain, torch.tensor([1.0, 1.0, 9.0]), torch.tensor([5.0, 0.0, 5.0, 5.0])).nodes.tolist()
        [0, 1, 2]
    """
    _check(index, costs, prizes, root)
    costs, prizes = costs.double(), prizes.double()
    forest = _spanning(index, len(prizes))
    whole = int((index[0] != index[1]).sum()) == len(forest)  # no cycle: nothing to choose among
    kept = forest if whole else _grow(index, costs, prizes, root)
    return _prune(index, costs.tolist(), prizes.tolist(), kept, root)


def _check(index: Tensor, costs: Tensor, prizes: Tensor, root: int | None) -> None:
    if index.dim() != 2 or index.shape[0] != 2 or costs.shape != (index.shape[1],):
        raise ValueError(f"Edges must be [2, edges] and costs [edges], got {list(index.shape)} and {list(costs.shape)}")
    if prizes.dim() != 1 or not len(prizes):
        raise ValueError(f"prizes must be [nodes] of at least 1 node, got {list(prizes.shape)}")
    for name, values in (("costs", costs), ("prizes", prizes)):
        if not (torch.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name} must be finite and at least 0, got {float(values.min())} at the least")
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(prizes):
        raise ValueError(f"Edges must join nodes 0 to {len(prizes) - 1}, got {int(index.min())} to {int(index.max())}")
    if root is not None and not 0 <= root < len(prizes):
        raise ValueError(f"root must be one of the {len(prizes)} nodes, got {root}")


def _spanning(index: Tensor, nodes: int) -> list[int]:
    """Edges that span each component once."""
    above = list(range(nodes))

    def top(node: int) -> int:
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    kept = []
    for edge, (one, other) in enumerate(index.T.tolist()):
        a, b = top(one), top(other)
        if a != b:
            above[a] = b
            kept.append(edge)
    return kept


def _grow(index: Tensor, costs: Tensor, prizes: Tensor, root: int | None) -> list[int]:
    """The edges at which moats around prizes met, each joining two clusters: a forest.

    Every cluster that can still pay grows its moat at the same speed. Where two moats fill an edge the clusters become
    one; a cluster that has paid all its prizes stops. Without a root it ends when one cluster alone still grows.
    """
    here, there = index
    cluster = torch.arange(len(prizes))  # of each node, named after one of its nodes
    purse = prizes.clone()  # what each cluster can still pay
    grows = prizes > 0
    if root is not None:
        grows[root] = False
    moat = torch.zeros_like(prizes)  # around each node, all its clusters' together
    kept: list[int] = []
    while int(grows.sum()) > (root is None):
        speed = grows[cluster].double()  # [nodes]
        together = speed[here] + speed[there]
        open_ = (cluster[here] != cluster[there]) & (together > 0)
        room = ((costs - moat[here] - moat[there]).clamp_min(0) / together).masked_fill(~open_, torch.inf)
        until_edge, edge = room.min(dim=0) if len(room) else (torch.tensor(torch.inf), torch.tensor(-1))
        until_stop, stop = purse.masked_fill(~grows, torch.inf).min(dim=0)
        passed = torch.minimum(until_edge, until_stop)
        moat += passed * speed
        purse -= passed * grows
        if until_edge > until_stop:
            grows[stop] = False
            continue
        one, other = int(cluster[here[edge]]), int(cluster[there[edge]])
        kept.append(int(edge))
        cluster[cluster == other] = one
        purse[one] += purse[other]
        grows[one], grows[other] = root is None or int(cluster[root]) != one, False
    return kept


def _prune(index: Tensor, costs: list[float], prizes: list[float], kept: list[int], root: int | None) -> Tree:
    """The best subtree of a forest: a branch stays where its prizes pay for its edges and the edge that leads to it."""
    near: list[list[tuple[int, int]]] = [[] for _ in prizes]
    for edge in kept:
        one, other = index[:, edge].tolist()
        near[one].append((other, edge))
        near[other].append((one, edge))
    worth = list(prizes)  # of the best tree below each node, with it
    branches: list[list[tuple[int, int]]] = [[] for _ in prizes]  # that stay
    seen = [False] * len(prizes)
    starts = range(len(prizes)) if root is None else [root]
    for start in starts:
        if seen[start]:
            continue
        seen[start] = True
        order, below = [(start, -1, -1)], 0
        while below < len(order):
            node = order[below][0]
            for child, edge in near[node]:
                if not seen[child]:
                    seen[child] = True
                    order.append((child, node, edge))
            below += 1
        for child, node, edge in reversed(order[1:]):
            if worth[child] > costs[edge]:
                worth[node] += worth[child] - costs[edge]
                branches[node].append((child, edge))
    best = max(range(len(prizes)), key=lambda node: worth[node]) if root is None else root
    nodes, edges, waiting = [], [], [best]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        for child, edge in branches[node]:
            waiting.append(child)
            edges.append(edge)
    return Tree(torch.tensor(sorted(nodes)), torch.tensor(sorted(edges), dtype=torch.long))
