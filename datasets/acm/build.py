"""ACM: papers, their authors, subjects and words, with the splits of HeCo, as a graph and its schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.sparse import load_npz
from torch.nn.functional import normalize
from torch_geometric.data import HeteroData

from mmgraph import EdgeSpec, NodeSpec, Schema, TargetSpec

FIELDS, TOPICS = ("0", "1", "2"), 128
RELATIONS = {("paper", "by", "author"): "pa.txt", ("paper", "about", "subject"): "ps.txt"}


def build(
    files: Mapping[str, Path],
    labels: Literal[20, 40, 60] = 20,
    words: Literal["shares", "tfidf", "topics"] = "shares",
) -> tuple[HeteroData, Schema]:
    """With ``labels`` training papers a field.

    A paper's or author's words have sum 1; or they weigh the less, the more papers use them, and have length 1; or
    they are 128 topics: those rows on the first singular directions of all papers', of length 1 again.
    """
    by_name = {path.name: path for path in files.values()}
    used = {"paper": load_npz(by_name["p_feat.npz"]).tocsr(), "author": load_npz(by_name["a_feat.npz"]).tocsr()}
    rows = {node: torch.from_numpy((table > 0).toarray()).float() for node, table in used.items()}
    if words == "shares":
        rows = {node: normalize(x, p=1, dim=1) for node, x in rows.items()}
    else:
        rarity = (len(rows["paper"]) / rows["paper"].sum(dim=0).clamp_min(1)).log()  # [words]
        rows = {node: normalize(x * rarity, dim=1) for node, x in rows.items()}
    if words == "topics":
        x = rows["paper"].double()
        topics = torch.linalg.eigh(x.T @ x).eigenvectors[:, -TOPICS:].float()  # [words, topics]
        rows = {node: normalize(x @ topics, dim=1) for node, x in rows.items()}
    graph = HeteroData()
    for node, x in rows.items():
        graph[node].x = x
    for (source, name, target), file in RELATIONS.items():
        index = torch.from_numpy(np.loadtxt(by_name[file], dtype=np.int64).T.copy())  # [2, edges]
        graph[source, name, target].edge_index = index
        graph[target, f"^{name}", source].edge_index = index.flip(0)
    graph["subject"].x = torch.eye(1 + int(graph["paper", "about", "subject"].edge_index[1].max()))
    graph["paper"].y = torch.from_numpy(np.load(by_name["labels.npy"], allow_pickle=False)).long()
    for part in ("train", "val", "test"):
        mask = torch.zeros(len(graph["paper"].y), dtype=torch.bool)
        mask[torch.from_numpy(np.load(by_name[f"{part}_{labels}.npy"], allow_pickle=False))] = True
        graph["paper"][f"{part}_mask"] = mask
    specs = {
        node: NodeSpec(modality="text", channels=graph[node].num_features, unit=f"{words}, scaled") for node in used
    }
    schema = Schema(
        nodes={**specs, "subject": NodeSpec(modality="symbol", channels=graph["subject"].num_features)},
        edges=dict.fromkeys(graph.edge_types, EdgeSpec()),
        targets={"field": TargetSpec(node="paper", kind="multiclass", classes=FIELDS)},
        anchor="paper",
    )
    return graph, schema
