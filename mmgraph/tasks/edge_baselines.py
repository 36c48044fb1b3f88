"""What tells which nodes are joined without learning: degrees, shared neighbours, features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.overlap import Overlap, overlap
from mmgraph.tasks.base import Part

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.tasks.edge_prediction import EdgePrediction


def _pairs(graph: HeteroData, task: EdgePrediction, part: Part) -> Tensor:
    """The pairs of a part, ``[2, pairs]``."""
    store = graph[task.node]
    rows = store[f"{part}_mask"]
    return torch.stack([store.source[rows], store.target[rows]])


def _degree(folds: Sequence[HeteroData], task: EdgePrediction, part: Part) -> Tensor:
    """Preferential attachment: the product of how many edges leave the one node and reach the other."""
    graph, pairs = folds[0], _pairs(folds[0], task, part)
    counts = [
        torch.bincount(rows, minlength=graph[node].num_nodes).double()
        for rows, node in zip(graph[task.relation].edge_index, (task.relation[0], task.relation[2]), strict=True)
    ]
    return counts[0][pairs[0]] * counts[1][pairs[1]]


def _overlap(weights: Overlap) -> Callable[[Sequence[HeteroData], EdgePrediction, Part], Tensor]:
    def scores(folds: Sequence[HeteroData], task: EdgePrediction, part: Part) -> Tensor:
        index, rows = folds[0][task.relation].edge_index, folds[0][task.relation[0]].num_nodes
        return overlap(index, _pairs(folds[0], task, part), num_nodes=rows, weights=weights)

    return scores


def _cosine(folds: Sequence[HeteroData], task: EdgePrediction, part: Part) -> Tensor:
    graph = folds[0]
    source, target = _pairs(graph, task, part)
    return F.cosine_similarity(graph[task.relation[0]].x[source], graph[task.relation[2]].x[target], dim=1)


EDGE_BASELINES: dict[str, Callable[[Sequence[HeteroData], EdgePrediction, Part], Tensor]] = {
    "degree": _degree,
    "common_neighbours": _overlap("count"),
    "adamic_adar": _overlap("adamic_adar"),
    "cosine": _cosine,
}
