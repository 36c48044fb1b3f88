"""Cora: papers, words and citations with the public split, as a graph and its schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch_geometric.data import HeteroData

from mmgraph import EdgeSpec, NodeSpec, Schema, TargetSpec

SUBJECTS = ("theory", "reinforcement", "genetic", "neural", "probabilistic", "case_based", "rule")


def build(files: Mapping[str, Path], rows: Literal["sum", "length"] = "sum") -> tuple[HeteroData, Schema]:
    """A paper's words have sum 1 (as in Kipf and Welling), or length 1."""
    data = np.load(files["cora.npz"], allow_pickle=False)
    words = csr_matrix((data["X_data"], data["X_indices"], data["X_indptr"]), shape=tuple(data["X_shape"]))
    x = torch.from_numpy(words.toarray()).float()
    graph = HeteroData()
    graph["paper"].x = torch.nn.functional.normalize(x, p=1 if rows == "sum" else 2, dim=1)
    graph["paper"].y = torch.from_numpy(data["y"]).long()
    for part in ("train", "val", "test"):
        mask = torch.zeros(len(x), dtype=torch.bool)
        mask[torch.from_numpy(data[part]).long()] = True
        graph["paper"][f"{part}_mask"] = mask
    pairs = torch.from_numpy(data["edges"]).long().reshape(-1, 2).T
    pairs = pairs[:, pairs[0] != pairs[1]]
    graph["paper", "cites", "paper"].edge_index = torch.cat([pairs, pairs.flip(0)], dim=1).unique(dim=1)
    schema = Schema(
        nodes={"paper": NodeSpec(modality="text", channels=x.shape[1], unit="words, scaled")},
        edges={("paper", "cites", "paper"): EdgeSpec()},
        targets={"subject": TargetSpec(node="paper", kind="multiclass", classes=SUBJECTS)},
        anchor="paper",
    )
    return graph, schema
