"""DBP15K zh-en: two knowledge graphs, and the links between them as anchors that an entity of either is ``of``."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
from torch_geometric.data import HeteroData

from mmgraph import EdgeSpec, NodeSpec, Schema
from mmgraph.encoders import HashedText

SIDES = {"zh": "1", "en": "2"}
SHIPPED = 10500  # links of the shipped test part, which stand first; the 4,500 seeds follow


def build(
    files: Mapping[str, Path], seed: int | None = None, val: int = 450, names: bool = False
) -> tuple[HeteroData, Schema]:
    """Facts are the edges ``fact``, with the number of their relation; a link is the anchor of two entities.

    Args:
        files: Of the manifest.
        seed: Deals out which 4,500 of the 15,000 links are known; ``None`` for those of the authors.
        val: How many of the known links are for validation; the other known ones are for training.
        names: Whether entities carry vectors of their names (n-grams of characters): Latin ones are often the same
            in both languages.
    """
    files = {Path(path).name: file for path, file in files.items()}
    links = np.loadtxt(files["ref_ent_ids"], dtype=np.int64)
    if not 0 < val < len(links) - SHIPPED:
        raise ValueError(f"val must leave some of the {len(links) - SHIPPED} known links, got {val}")
    graph, nodes, edges, called = HeteroData(), {"link": NodeSpec()}, {}, {}
    graph["link"].num_nodes = len(links)
    graph["link"].update(_parts(len(links), seed, val))
    for column, (side, number) in enumerate(SIDES.items()):
        ids, called[side] = _entities(files[f"ent_ids_{number}"])
        facts = np.unique(np.loadtxt(files[f"triples_{number}"], dtype=np.int64, ndmin=2), axis=0)
        _, relation = np.unique(facts[:, 1], return_inverse=True)
        graph[side].num_nodes = len(ids)
        fact, of = (side, "fact", side), (side, "of", "link")
        graph[fact].edge_index = torch.from_numpy(_rows(ids, facts[:, [0, 2]]).T.copy())
        graph[fact].edge_attr = torch.from_numpy(relation).float()[:, None]
        graph[of].edge_index = torch.from_numpy(np.stack([_rows(ids, links[:, column]), np.arange(len(links))]))
        nodes[side], edges[of] = NodeSpec(), EdgeSpec()
        edges[fact] = EdgeSpec(channels=1, multiple=True, unit="number of the relation")
    if names:
        encoder = HashedText.fit([name for side in called.values() for name in side], channels=256)
        for side, texts in called.items():
            graph[side].x = encoder(texts)
            nodes[side] = NodeSpec(modality="text", channels=256, encoder=encoder.identity)
    return graph, Schema(nodes=nodes, edges=edges, anchor="link")


def _parts(count: int, seed: int | None, val: int) -> dict[str, torch.Tensor]:
    """The masks of the links."""
    order = np.roll(np.arange(count), -SHIPPED) if seed is None else np.random.default_rng(seed).permutation(count)
    known = count - SHIPPED
    rows = {"train": order[: known - val], "val": order[known - val : known], "test": order[known:]}
    return {f"{part}_mask": torch.from_numpy(np.isin(np.arange(count), some)) for part, some in rows.items()}


def _entities(file: Path) -> tuple[np.ndarray, list[str]]:
    """The numbers that a file gives its entities, in order, and what they are called."""
    lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    ids, uris = np.array([int(number) for number, _ in lines]), [uri for _, uri in lines]
    order = np.argsort(ids)
    return ids[order], [urlsplit(uris[row]).path.removeprefix("/resource/").replace("_", " ") for row in order]


def _rows(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The rows of entities, by their numbers."""
    rows = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    if (odd := wanted[ids[rows] != wanted]).size:
        raise ValueError(f"Each entity must be in the list of its graph, got {odd[0]}, which is not")
    return rows
